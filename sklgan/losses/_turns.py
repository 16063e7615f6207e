"""The loss of telling which way an image is turned, which needs no label."""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

# Quarters of a turn that are told apart, none among them.
N_TURNS = 4


def turns_cross_entropy(discriminator: Callable, images: Tensor) -> Tensor:
    """Turn a quarter of the images all four ways, and see how well these are told.

    So it costs what one look at all images costs. The quarter is drawn at random.

    Parameters
    ----------
    discriminator : callable
        Returns (features, logits); the last four logits are those of 0, 1, 2 and 3
        quarters of a turn to the left.
    images : Tensor
        (n, c, h, w). If they are not square, half of them are seen as they are and
        turned by half a turn.

    Returns
    -------
    Tensor
        A scalar, the mean cross-entropy; log(4) where the logits say nothing.

    References
    ----------
    Gidaris, Singh and Komodakis, "Unsupervised Representation Learning by Predicting
    Image Rotations", 2018 (arXiv:1803.07728); of a part of each batch as in Chen, Zhai,
    Ritter, Lucic and Houlsby, "Self-Supervised GANs via Auxiliary Rotation Loss", 2019
    (arXiv:1811.11212).
    """
    n, _, height, width = images.shape
    ways = range(0, N_TURNS, 1 if height == width else 2)
    n_seen = ceil(n / len(ways))
    # At random, since rows can be in order: labelled ones first, class after class.
    seen = images[torch.rand(n, device=images.device).argsort()[:n_seen]]
    turned = torch.cat([torch.rot90(seen, way, (2, 3)) for way in ways])
    turns = torch.arange(0, N_TURNS, ways.step, device=images.device)
    logits = discriminator(turned)[1][:, -N_TURNS:].float()
    return cross_entropy(logits, turns.repeat_interleave(n_seen))
