"""The loss of telling which way an image is turned, which needs no label."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

# Quarters of a turn that are told apart, none among them.
N_TURNS = 4


def turns_cross_entropy(discriminator: Callable, images: Tensor) -> Tensor:
    """Turn every fourth image all four ways, and return the cross-entropy of which.

    So it costs what one look at all images costs. One image in four turns teaches more
    than four images in one, by what was measured.

    Parameters
    ----------
    discriminator : callable
        Returns (features, logits); the last four logits are those of 0, 1, 2 and 3
        quarters of a turn to the left.
    images : Tensor
        (n, c, h, w). Of those that are not square every second is turned, by half a
        turn and not at all.

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
    square = images.shape[2] == images.shape[3]
    ways = range(0, N_TURNS, 1 if square else 2)
    # Not the first ones: rows of a batch can be sorted, labelled ones first.
    images = images[:: len(ways)]
    turned = torch.cat([torch.rot90(images, way, (2, 3)) for way in ways])
    turns = torch.arange(0, N_TURNS, ways.step, device=images.device)
    logits = discriminator(turned)[1][:, -N_TURNS:].float()
    return cross_entropy(logits, turns.repeat_interleave(len(images)))
