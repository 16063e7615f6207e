"""Look inside a fitted GAN: its latent space, its filters, what it has memorised.

All of it takes a fitted GAN estimator, and takes and returns images in the layout,
dtype and range of the X given to ``fit``.
"""

__all__ = []
