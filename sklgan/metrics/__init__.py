"""Figures of quality, functions of arrays, and scorers made of them.

Of two sets of features: X is taken for real and Y for generated in figures where that
does not matter; where it does, the arguments are called ``X_real`` and ``X_fake``. Real
comes first always.
"""

from sklgan.metrics._clusters import cluster_accuracy
from sklgan.metrics._frechet import frechet_distance
from sklgan.metrics._inception import InceptionFeatures
from sklgan.metrics._kernel import kernel_distance
from sklgan.metrics._neighbors import density_coverage, precision_recall
from sklgan.metrics._scorer import sample_quality_scorer

__all__ = [
    "InceptionFeatures",
    "cluster_accuracy",
    "density_coverage",
    "frechet_distance",
    "kernel_distance",
    "precision_recall",
    "sample_quality_scorer",
]
