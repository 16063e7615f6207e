"""What the functions of inspection ask of their arguments."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_array

from sklgan._inference import check_gan


def check_count(name, value, least):
    """Refuse what is no whole number of at least ``least``."""
    is_int = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_int or value < least:
        raise ValueError(f"{name}={value!r} should be an int of at least {least}.")


def check_latents(estimator, Z, name="Z"):
    """Return rows of latent vectors as floats, if a fitted estimator takes them.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted.
    Z : array-like of shape (n_samples, latent_dim)
        Latent vectors.
    name : str, default="Z"
        How the caller calls them, for messages.

    Returns
    -------
    Z : ndarray of shape (n_samples, latent_dim), float32 or float64
        Not to be written to: it may be the caller's own.
    """
    check_gan(estimator)
    Z = check_array(Z, dtype=[np.float64, np.float32], input_name=name)
    latent_dim = estimator._architecture["latent_dim"]
    if Z.shape[1] != latent_dim:
        raise ValueError(
            f"{name} has {Z.shape[1]} columns, but the generator was fitted with "
            f"latent_dim={latent_dim}."
        )
    return Z
