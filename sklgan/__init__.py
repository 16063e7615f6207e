"""GAN training as scikit-learn estimators.

Estimators, displays and callbacks are imported from here, functions from the public
modules ``augment``, ``blobs``, ``datasets``, ``inspection``, ``losses``, ``metrics``,
``model_selection`` and ``networks``.
"""

from importlib.metadata import version

from sklgan._blobgan import BlobGAN
from sklgan._blobs_display import BlobsDisplay
from sklgan._checkpoint import CheckpointError
from sklgan._clustering import CategoricalGANClusterer
from sklgan._dcgan import DCGANFeatureExtractor
from sklgan._diagnosis import Diagnosis, TrainingWarning
from sklgan._display import SamplesDisplay, TrainingHistoryDisplay
from sklgan._duplicates import NearDuplicateDetector
from sklgan._leakage import LeakageReport
from sklgan._linear import TorchLinearSVC
from sklgan._semi_supervised import SemiSupervisedGANClassifier
from sklgan._training import (
    DistributedTrainingError,
    KeepBest,
    SampleGrid,
    TrainingDivergedError,
)

__version__ = version("sklgan")

__all__ = [
    "BlobGAN",
    "BlobsDisplay",
    "CategoricalGANClusterer",
    "CheckpointError",
    "DCGANFeatureExtractor",
    "Diagnosis",
    "DistributedTrainingError",
    "KeepBest",
    "LeakageReport",
    "NearDuplicateDetector",
    "SampleGrid",
    "SamplesDisplay",
    "SemiSupervisedGANClassifier",
    "TorchLinearSVC",
    "TrainingDivergedError",
    "TrainingHistoryDisplay",
    "TrainingWarning",
]
