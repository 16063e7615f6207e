"""Differentiable augmentations of a batch, the same policy for real and for fake.

Each takes and returns images (n, c, h, w) in [-1, 1] (colour may leave the range),
draws anew for every image from torch's global generator, and lets gradients through.
Shown to the discriminator alone they would leak into the samples; applied to real and
fake images alike they do not (Zhao et al. 2020, section 3, arXiv:2006.10738).
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def _per_image(images: Tensor) -> Tensor:
    """Draw one number in [0, 1) an image, (n, 1, 1, 1)."""
    return torch.rand(len(images), 1, 1, 1, device=images.device)


def flip(images: Tensor) -> Tensor:
    """Mirror each image left to right with probability 1/2.

    Not for digits, letters or anything else that has a handedness.
    """
    return torch.where(_per_image(images) < 0.5, images.flip(3), images)


def translation(images: Tensor, ratio: float = 0.125) -> Tensor:
    """Shift each image by whole pixels, up to ``ratio`` of each side.

    What comes in at the edge is 0, the middle of the range of values.
    """
    n, _, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device)[None, :, None]
    columns = torch.arange(width, device=device)[None, None, :]
    largest = [int(side * ratio + 0.5) for side in (height, width)]
    shift = [torch.randint(-m, m + 1, (n, 1, 1), device=device) for m in largest]
    rows, columns = rows + shift[0], columns + shift[1]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    moved = images.permute(0, 2, 3, 1)[
        torch.arange(n, device=device)[:, None, None],
        rows.clamp(0, height - 1),
        columns.clamp(0, width - 1),
    ]
    return (moved * inside[..., None]).permute(0, 3, 1, 2)


def shift(images: Tensor, ratio: float = 0.1) -> Tensor:
    """Shift each image as ``translation`` does, but repeat the pixels of its edge.

    For images on a uniform ground, such as digits, which it continues.
    """
    n, _, height, width = images.shape
    sides = []
    for dim, side in ((1, height), (2, width)):
        largest = int(side * ratio + 0.5)
        offset = torch.randint(-largest, largest + 1, (n, 1, 1), device=images.device)
        shape = [1, side, 1] if dim == 1 else [1, 1, side]
        position = torch.arange(side, device=images.device).view(shape)
        sides.append((position + offset).clamp(0, side - 1))
    chosen = torch.arange(n, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[chosen, sides[0], sides[1]].permute(0, 3, 1, 2)


def affine(images: Tensor) -> Tensor:
    """Turn (by up to 20 degrees), zoom (x 0.85 to 1.15) and shear (by up to 0.2).

    Each about the image's centre, drawn anew for each image; bilinear, and the pixels
    of the edge are repeated.
    """
    n, device = len(images), images.device
    angle, zoom, shear = (torch.rand(3, n, device=device) * 2 - 1).unbind()
    angle, zoom, shear = angle * 0.35, 1 / (1 + 0.15 * zoom), 0.2 * shear
    cos, sin, zero = zoom * angle.cos(), zoom * angle.sin(), torch.zeros_like(angle)
    # The grid goes from -1 to 1 on both sides, however long they are.
    aspect = images.shape[2] / images.shape[3]
    matrix = [cos, (shear * cos - sin) * aspect, zero]
    matrix = torch.stack([*matrix, sin / aspect, shear * sin + cos, zero])
    grid = affine_grid(matrix.T.reshape(n, 2, 3), images.shape, align_corners=False)
    changed = grid_sample(
        images, grid.to(images.dtype), padding_mode="border", align_corners=False
    )
    if images.is_contiguous(memory_format=torch.channels_last):
        changed = changed.contiguous(memory_format=torch.channels_last)
    return changed


def noise(images: Tensor, scale: float = 0.1) -> Tensor:
    """Add noise of N(0, scale^2) to each value; rows (n, d) are taken as well."""
    drawn = torch.randn(images.shape, dtype=images.dtype, device=images.device)
    return images + scale * drawn


def color(images: Tensor) -> Tensor:
    """Change brightness (by up to 0.5), saturation (x 0 to 2), contrast (x 0.5 to 1.5).

    Saturation has no effect on grey images; an alpha channel is changed like a colour.
    """
    images = images + (_per_image(images) - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (2 * _per_image(images))
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (_per_image(images) + 0.5)


def cutout(images: Tensor, ratio: float = 0.5) -> Tensor:
    """Set a rectangle of ``ratio`` of each side, anywhere, to 0.

    The rectangle's centre lies inside the image; what is outside is cut off.
    """
    keep = None
    for dim in (2, 3):
        side = images.shape[dim]
        shape = [1, 1, 1, 1]
        shape[dim] = side
        position = torch.arange(side, device=images.device).view(shape)
        start = (_per_image(images) * side).floor() - int(side * ratio + 0.5) // 2
        outside = (position < start) | (position >= start + int(side * ratio + 0.5))
        keep = outside if keep is None else keep | outside
    return images * keep


AUGMENTATIONS = {
    "flip": flip,
    "translation": translation,
    "shift": shift,
    "affine": affine,
    "color": color,
    "cutout": cutout,
    "noise": noise,
}


def compose(names: str | Iterable[str]) -> Callable[[Tensor], Tensor]:
    """Return the augmentations of these names as one function, applied in order.

    Parameters
    ----------
    names : str or iterable of str
        Keys of ``AUGMENTATIONS``.

    Returns
    -------
    callable
        Images (n, c, h, w) to images (n, c, h, w).

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in AUGMENTATIONS]
    if unknown:
        raise ValueError(
            f"{unknown[0]!r} is no augmentation; choose among "
            f"{', '.join(map(repr, AUGMENTATIONS))}."
        )

    def augment(images: Tensor) -> Tensor:
        for name in names:
            images = AUGMENTATIONS[name](images)
        return images

    return augment


__all__ = [
    "AUGMENTATIONS",
    "affine",
    "color",
    "compose",
    "cutout",
    "flip",
    "noise",
    "shift",
    "translation",
]
