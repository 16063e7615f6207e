"""The loss of telling which way an image is turned, which needs no label."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

# Quarters of a turn that are told apart, none among them.
N_TURNS = 4


def turns_cross_entropy(discriminator: Callable, images: Tensor) -> Tensor:
    """Turn images by random quarters, and return the cross-entropy of telling which.

    Parameters
    ----------
    discriminator : callable
        Returns (features, logits); the last four logits are those of 0, 1, 2 and 3
        quarters of a turn to the left.
    images : Tensor
        (n, c, h, w). Those that are not square are left, or turned by half a turn.

    Returns
    -------
    Tensor
        A scalar, the mean cross-entropy; log(4) where the logits say nothing.

    References
    ----------
    Gidaris, Singh and Komodakis, "Unsupervised Representation Learning by Predicting
    Image Rotations", 2018 (arXiv:1803.07728), with one turn of each image in place of
    all four.
    """
    n, _, height, width = images.shape
    turns = torch.randint(N_TURNS if height == width else 2, (n,), device=images.device)
    if height != width:
        turns = 2 * turns
    logits = discriminator(turned(images, turns))[1].float()
    return cross_entropy(logits[:, -N_TURNS:], turns)


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """Return images (n, c, h, w), each turned left by its number of quarters (n,)."""
    turns = turns.view(-1, 1, 1, 1)
    if images.shape[2] == images.shape[3]:
        quarter = images.transpose(2, 3).flip(2)
        images = torch.where(turns % 2 == 1, quarter, images)
    return torch.where(turns >= 2, images.flip(2, 3), images)
