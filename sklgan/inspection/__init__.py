"""Look inside a fitted GAN: its latent space, its filters, what it has memorised.

All of it takes a fitted GAN estimator, and takes and returns images in the layout,
dtype and range of the X given to ``fit``.
"""

from sklgan.inspection._encoder import LatentEncoder, fit_encoder
from sklgan.inspection._project import project

__all__ = ["LatentEncoder", "fit_encoder", "project"]
