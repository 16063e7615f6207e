"""Look inside a fitted GAN: its latent space, its filters, what it has memorised.

All of it takes a fitted GAN estimator, and takes and returns images in the layout,
dtype and range of the X given to ``fit``.
"""

from sklgan.inspection._directions import directions
from sklgan.inspection._latent import interpolate, traverse, vector_arithmetic
from sklgan.inspection._latent_displays import InterpolationDisplay, TraversalDisplay

__all__ = [
    "InterpolationDisplay",
    "TraversalDisplay",
    "directions",
    "interpolate",
    "traverse",
    "vector_arithmetic",
]
