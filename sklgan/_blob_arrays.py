"""Between arrays of blobs, which users see, and tensors, which networks see."""

import numpy as np
import torch
from scipy.special import expit, logit

from sklgan._blob_dtype import GEOMETRY, blobs_from_matrix
from sklgan._inference import device_of, for_each_batch
from sklgan._tensors import as_tensor
from sklgan.networks._splatting import VARIANCE, Blobs, resized


def as_matrix(blobs):
    """Return blobs as rows, (n, n_features_out), float32: each ellipse in one form.

    The longer axis is the length, so that aspects are 1 at least, and angles lie from
    -pi/2 to pi/2.
    """
    tall = blobs.aspect < 1
    aspect = torch.where(tall, 1 / blobs.aspect, blobs.aspect)
    angle = blobs.angle + tall * (np.pi / 2)
    angle = (angle + np.pi / 2) % np.pi - np.pi / 2
    blobs = blobs._replace(aspect=aspect, angle=angle)
    geometry = torch.stack([getattr(blobs, name) for name in GEOMETRY], dim=2)
    each = torch.cat([geometry, blobs.feature, blobs.style], dim=2)
    background = blobs.background_feature, blobs.background_style
    return torch.cat([each.flatten(1), *background], dim=1).float()


def as_array(blobs, dtype):
    """Return blobs as an array of the dtype."""
    return blobs_from_matrix(as_matrix(blobs).cpu().numpy(), dtype)


def as_blobs(B, device):
    """Return an array of blobs as tensors on a device."""
    return Blobs(*(as_tensor(B[name].copy()).to(device) for name in Blobs._fields))


def render_blobs(generator, B, *, opacity=False):
    """Return the images of an array of blobs, float32, or what is seen of each blob.

    Parameters
    ----------
    generator : torch.nn.Module
        With ``render``, and for opacities ``scores`` and ``sides``.
    B : ndarray of shape (n_samples,), structured
        Checked.
    opacity : bool, default=False
        Whether to return maps (n_samples, n_blobs + 1, h, w) instead.
    """
    device = device_of(generator)
    parts = []

    def run(rows, batch_size):
        blobs = as_blobs(B[rows], device)
        if opacity:
            drawn = resized(generator.scores(blobs), generator.sides[-1])
        else:
            drawn = generator.render(blobs)
        parts.append(drawn.cpu().numpy())

    with torch.inference_mode():
        for_each_batch(len(B), run)
    return np.concatenate(parts)


def half_axes(B):
    """Return half the length and half the breadth of each blob, and its opacity.

    Parameters
    ----------
    B : ndarray of shape (n_samples,), structured
        Checked.

    Returns
    -------
    axes : ndarray of shape (n_samples, n_blobs, 2)
        Of the ellipse on which a blob is half as opaque as in its centre, in parts of
        the image's longer side.
    opacity : ndarray of shape (n_samples, n_blobs)
        In the centre.
    """
    size = np.maximum(B["size"].astype(float), 1e-6)
    center = size + np.log(-np.expm1(-size))
    opacity = expit(center)
    squared = (center - logit(opacity / 2)) * VARIANCE
    long, broad = np.sqrt(squared * B["aspect"]), np.sqrt(squared / B["aspect"])
    return np.stack([long, broad], axis=-1), opacity
