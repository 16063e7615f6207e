"""Data sets as users have them on disk, read into channels-last arrays."""

from sklgan.datasets._cifar10 import load_cifar10
from sklgan.datasets._mnist import load_mnist

__all__ = ["load_cifar10", "load_mnist"]
