"""Blobs as tensors, and how they become maps: pure, differentiable functions."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

# Variance of a round blob, in squares of the image's longer side (Epstein et al. 2022:
# the product of the axes is the same for all blobs, and the size alone makes them
# larger).
VARIANCE = 0.02

# Below it a blob cannot be seen: its opacity is this at most.
_SMALLEST_SIZE = 1e-6


class Blobs(NamedTuple):
    """Blobs of n images, k in each, from the rearmost to the foremost.

    Parameters
    ----------
    x, y : Tensor
        (n, k); centres, in parts of the image's width and height.
    size : Tensor
        (n, k), at least 0, where a blob is not there; see :func:`opacities`.
    aspect : Tensor
        (n, k); length over breadth, the square root of the variances' ratio.
    angle : Tensor
        (n, k); of the length, in radians from the x axis towards the y axis.
    feature, style : Tensor
        (n, k, f) and (n, k, s); what a blob is, and what it looks like.
    background_feature, background_style : Tensor
        (n, f) and (n, s); the same of what is behind all blobs.
    """

    x: Tensor
    y: Tensor
    size: Tensor
    aspect: Tensor
    angle: Tensor
    feature: Tensor
    style: Tensor
    background_feature: Tensor
    background_style: Tensor

    def all_features(self) -> Tensor:
        """Return (n, k + 1, f): features of the background, then of the blobs."""
        return torch.cat([self.background_feature[:, None], self.feature], dim=1)

    def all_styles(self) -> Tensor:
        """Return (n, k + 1, s): styles of the background, then of the blobs."""
        return torch.cat([self.background_style[:, None], self.style], dim=1)


def covariances(blobs: Blobs) -> Tensor:
    """Return the blobs' covariances (n, k, 3): of x with x, x with y, y with y.

    In squares of the longer side, counted in the variance of a round blob; the
    determinant is 1.
    """
    cosine, sine = blobs.angle.cos(), blobs.angle.sin()
    long, short = blobs.aspect, 1 / blobs.aspect
    return torch.stack(
        [
            long * cosine**2 + short * sine**2,
            (long - short) * cosine * sine,
            long * sine**2 + short * cosine**2,
        ],
        dim=-1,
    )


def squared_distances(blobs: Blobs, sides: tuple[int, int]) -> Tensor:
    """Return the squared Mahalanobis distance (n, k, h, w) of each cell to each blob.

    ``sides`` is (h, w). Cells are places at their centres, distances are counted in
    parts of the longer side, so that a round blob is round in any image.
    """
    height, width = sides
    x, y = blobs.x, blobs.y
    cells = {"dtype": x.dtype, "device": x.device}
    columns = (torch.arange(width, **cells) + 0.5) / width
    rows = (torch.arange(height, **cells) + 0.5) / height
    longest = max(sides)
    u = (columns - x[..., None])[:, :, None, :] * (width / longest)
    v = (rows - y[..., None])[:, :, :, None] * (height / longest)
    cosine, sine = blobs.angle.cos(), blobs.angle.sin()
    aspect = blobs.aspect[..., None, None]
    cosine, sine = cosine[..., None, None], sine[..., None, None]
    along, across = u * cosine + v * sine, v * cosine - u * sine
    return (along**2 / aspect + across**2 * aspect) / VARIANCE


def opacities(blobs: Blobs, sides: tuple[int, int]) -> Tensor:
    """Return each blob's own opacity (n, k, h, w) on a grid of ``sides`` (h, w).

    It is sigmoid(s - d^2) with the squared Mahalanobis distance d^2 and s = log(exp(
    size) - 1): at size 0 a blob is not there, a large one is about its size, and its
    half-opaque ellipse then has an area in proportion to it. Source: Epstein et al.
    2022, equations 1 and 2 (arXiv:2205.02837), where s itself is the parameter.
    """
    size = blobs.size.clamp_min(_SMALLEST_SIZE)
    logit = size + torch.log(-torch.expm1(-size))
    return torch.sigmoid(logit[..., None, None] - squared_distances(blobs, sides))


def composed(opacity: Tensor) -> Tensor:
    """Return what is seen of the background and of each blob, (n, k + 1, h, w).

    ``opacity`` is (n, k, h, w), and later blobs hide earlier ones: o_i times the
    product of (1 - o_j) over all j > i. The background, the first, has opacity 1, so
    that a cell's values sum to 1. Source: Epstein et al. 2022, equation 3.
    """
    left = (1 - opacity).flip(1).cumprod(1).flip(1)
    ones = torch.ones_like(opacity[:, :1])
    return torch.cat([ones, opacity], 1) * torch.cat([left, ones], 1)


def splat(scores: Tensor, values: Tensor) -> Tensor:
    """Return the map (n, c, h, w) of values (n, k, c), by scores (n, k, h, w)."""
    flat = torch.bmm(values.transpose(1, 2), scores.flatten(2))
    return flat.unflatten(2, scores.shape[2:])


def resized(scores: Tensor, sides: tuple[int, int]) -> Tensor:
    """Return maps (n, k, h, w) on a finer grid of ``sides``, bilinearly."""
    if tuple(scores.shape[2:]) == tuple(sides):
        return scores
    return interpolate(scores, size=sides, mode="bilinear", align_corners=False)


def jittered(
    blobs: Blobs,
    place: float,
    size: float,
    angle: float,
    draw: Callable[[Tensor], Tensor] = torch.rand_like,
) -> Blobs:
    """Return the blobs a little moved, resized and turned, each on its own.

    Uniformly by up to ``place`` in parts of the sides, ``size`` times the size, and
    ``angle`` radians, by what ``draw`` gives in [0, 1). Source: Epstein et al. 2022,
    section 3.3.
    """

    def uniform(like: Tensor, width: float) -> Tensor:
        return (2 * draw(like) - 1) * width

    return blobs._replace(
        x=blobs.x + uniform(blobs.x, place),
        y=blobs.y + uniform(blobs.y, place),
        size=blobs.size * (1 + uniform(blobs.size, size)),
        angle=blobs.angle + uniform(blobs.angle, angle),
    )
