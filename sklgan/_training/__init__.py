"""The training engine: the adversarial loop over skorch, and what it is made of.

It sees tensors and callables; estimators, labels' meaning, NumPy and image layouts
are unknown here, but to the callbacks that users put into ``callbacks``. This is the
only room of the house that imports skorch.
"""

from sklgan._training._averages import gather_batch_norm
from sklgan._training._batches import LabeledBatches, ShuffledBatches, equal_batches
from sklgan._training._callbacks import EpochProgress, EpochTasks, check_callbacks
from sklgan._training._distributed import (
    check_same_fit,
    is_main_process,
    joined_processes,
    leave_group,
    of_rank_0,
)
from sklgan._training._errors import (
    BROKEN_OFF,
    DistributedTrainingError,
    TrainingDivergedError,
)
from sklgan._training._keep_best import KeepBest
from sklgan._training._memory import memory_given_back
from sklgan._training._net import AdversarialNet
from sklgan._training._sample_grid import SampleGrid
from sklgan._training._settled import (
    settled,
    settled_discriminator,
    settled_generator,
)

__all__ = [
    "BROKEN_OFF",
    "AdversarialNet",
    "DistributedTrainingError",
    "EpochProgress",
    "EpochTasks",
    "KeepBest",
    "LabeledBatches",
    "SampleGrid",
    "ShuffledBatches",
    "TrainingDivergedError",
    "check_callbacks",
    "check_same_fit",
    "equal_batches",
    "gather_batch_norm",
    "is_main_process",
    "joined_processes",
    "leave_group",
    "memory_given_back",
    "of_rank_0",
    "settled",
    "settled_discriminator",
    "settled_generator",
]
