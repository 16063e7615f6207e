"""Look inside a fitted GAN: its latent space, its filters, what it has memorised.

All of it takes a fitted GAN estimator, and takes and returns images in the layout,
dtype and range of the X given to ``fit``.
"""

from sklgan.inspection._copies import CopyFigures
from sklgan.inspection._memorization import MemorizationReport, memorization_report
from sklgan.inspection._memorization_display import MemorizationDisplay
from sklgan.inspection._neighbors import nearest_samples

__all__ = [
    "CopyFigures",
    "MemorizationDisplay",
    "MemorizationReport",
    "memorization_report",
    "nearest_samples",
]
