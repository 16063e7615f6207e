"""Data sets as users have them on disk: channels-last arrays, or sequences of images.

Loaders return arrays. Sequences (:class:`ImageFolder`, :class:`ParquetImages`,
:class:`HuggingFaceImages`, :class:`NpyImages`) are indexed like arrays and decode
images when they are needed: X for data larger than memory.
"""

from sklgan._sequences import ImageSequence, NpyImages
from sklgan.datasets._cifar10 import load_cifar10
from sklgan.datasets._folder import ImageFolder
from sklgan.datasets._huggingface import HuggingFaceImages
from sklgan.datasets._mnist import load_mnist
from sklgan.datasets._parquet import ParquetImages

__all__ = [
    "HuggingFaceImages",
    "ImageFolder",
    "ImageSequence",
    "NpyImages",
    "ParquetImages",
    "load_cifar10",
    "load_mnist",
]
