"""Differentiable augmentations of a batch, the same policy for real and for fake.

Each takes and returns images (n, c, h, w) in [-1, 1] (``color`` and ``noise`` may leave
the range), draws anew for every image from torch's global generator, and lets gradients
through. Shown to the discriminator alone they would leak into the samples; applied to
real and fake images alike they do not (Zhao et al. 2020, section 3, arXiv:2006.10738).
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def _per_image(images: Tensor) -> Tensor:
    """Draw one number in [0, 1) an image, (n, 1, 1, 1)."""
    return torch.rand(len(images), 1, 1, 1, device=images.device)


def _in_layout_of(images: Tensor, changed: Tensor) -> Tensor:
    """Return what ``images`` became, in channels-last memory if they are."""
    if images.is_contiguous(memory_format=torch.channels_last):
        return changed.contiguous(memory_format=torch.channels_last)
    return changed


def _working_dtype(images: Tensor) -> torch.dtype:
    """Return float32 for images of half precision, whose rounding would add up."""
    return torch.promote_types(images.dtype, torch.float32)


def _check_between(low: float, high: float, **parameters: float) -> None:
    """Refuse parameters out of [low, high]."""
    for name, value in parameters.items():
        if not low <= value <= high:
            raise ValueError(
                f"{name} should be between {low} and {high}, got {value!r}."
            )


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
    # Autocast would round where pixels come from.
    with torch.autocast(images.device.type, enabled=False):
        grid = affine_grid(matrix.T.reshape(n, 2, 3), images.shape, align_corners=False)
    changed = grid_sample(
        images, grid.to(images.dtype), padding_mode="border", align_corners=False
    )
    return _in_layout_of(images, changed)


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


def resized_crop(
    images: Tensor,
    scale: tuple[float, float] = (0.2, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """Enlarge a rectangle, drawn anew for each image, to the size of the image.

    Its area is a part of the image's, uniform in ``scale``; its width over its height,
    in units of the image's own, is log-uniform in that part of ``ratio`` for which it
    fits into the image. Bilinear, without smoothing; between pixels, so a rectangle
    need not begin on one. For photographs: what is left has to be still the same thing.
    ``scale`` begins at 0.08 for large ones (Szegedy et al. 2015, section 6,
    arXiv:1409.4842), at 0.2 for small ones in Jeong and Shin 2021 (arXiv:2103.09742).
    """
    if not 0 < scale[0] <= scale[1] <= 1:
        raise ValueError(
            f"scale should be two parts of an image's area, 0 < low <= high <= 1, got "
            f"{scale!r}."
        )
    if not 0 < ratio[0] <= ratio[1]:
        raise ValueError(
            f"ratio should be two positive numbers, low <= high, got {ratio!r}."
        )
    n, channels, height, width = images.shape
    dtype = _working_dtype(images)
    drawn = torch.rand(4, n, device=images.device).to(dtype)
    wide, high = _sides_of_crops(drawn[0], drawn[1], scale, ratio)
    columns = _bilinear_weights(drawn[2] * (1 - wide), wide, width)
    rows = _bilinear_weights(drawn[3] * (1 - high), high, height)
    # Two products of matrices: 3 times as fast as grid_sample on a CPU for 32x32, and
    # unlike it the same from run to run on CUDA, and twice differentiable. Autocast
    # would round the pixels.
    with torch.autocast(images.device.type, enabled=False):
        lines = images.to(dtype).permute(0, 2, 3, 1).reshape(n, height, -1)
        # Each product puts its own axis last, where the next one leaves it.
        lines = torch.bmm(lines.mT, rows.mT).view(n, width, -1)
        cropped = torch.bmm(lines.mT, columns.mT)
    return _in_layout_of(images, cropped.view(images.shape).to(images.dtype))


def _sides_of_crops(
    drawn_area: Tensor,
    drawn_ratio: Tensor,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Return widths and heights (n,), parts of the image's, from numbers in [0, 1).

    Rectangles that do not fit are not drawn again, for which the host would have to
    wait: the range of ratios is cut to those that fit, 1 if there is none.
    """
    area = scale[0] + (scale[1] - scale[0]) * drawn_area
    largest = -area.log()
    low, high = (
        torch.maximum(largest.clamp(max=math.log(end)), -largest) for end in ratio
    )
    aspect = (low + (high - low) * drawn_ratio).exp()
    return (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)


def _bilinear_weights(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return the matrices (n, size, size) that enlarge a part of a side to all of it.

    ``start`` and ``length`` (n,) are parts of the side. Beyond the image's edge its
    last pixels are repeated.
    """
    pixel = torch.arange(size, device=start.device, dtype=start.dtype)
    center = start[:, None] * size + length[:, None] * (pixel + 0.5) - 0.5
    distance = center.clamp(0, size - 1)[:, :, None] - pixel
    return (1 - distance.abs()).clamp(min=0)


def _luma(values: Tensor) -> Tensor:
    """Return the brightness that is seen in red, green and blue, the second axis."""
    red, green, blue = values.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)  # ITU-R BT.601


def _split_colours(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the colours, or the one grey, and what is beside them, such as alpha."""
    n_colours = 3 if images.shape[1] >= 3 else 1
    return images[:, :n_colours], images[:, n_colours:]


def _join_colours(images: Tensor, colours: Tensor, others: Tensor) -> Tensor:
    """Return changed colours of images beside their other channels."""
    if others.shape[1]:
        colours = torch.cat([colours, others], 1)
    return _in_layout_of(images, colours)


def color_jitter(
    images: Tensor,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
    p: float = 0.8,
) -> Tensor:
    """Change the colours of each image with probability ``p``, within [-1, 1].

    Brightness, contrast (about the mean luma) and saturation are multiplied by 1 - s to
    1 + s for a strength s, not below 0; hue turns by up to ``hue`` of the colour circle
    either way, at most 0.5. The turn is linear: primary colours go along a circle, not
    along the hexagon of HSV, from whose hue it is at most 2.3 degrees away; it keeps
    luma where HSV keeps the largest channel. So the four commute, and there is no order
    to draw; values are clipped once, at the end. On grey images saturation and hue have
    no effect; an alpha channel is left alone.

    The defaults are those for CIFAR-10 (Chen et al. 2020, appendices A and B.9,
    arXiv:2002.05709). Not where colour tells the classes apart.
    """
    _check_between(
        0, math.inf, brightness=brightness, contrast=contrast, saturation=saturation
    )
    _check_between(0, 0.5, hue=hue)
    _check_between(0, 1, p=p)
    colours, others = _split_colours(images)
    values = colours.to(_working_dtype(images)).flatten(2)
    drawn = torch.rand(5, len(images), device=images.device).to(values.dtype)
    chosen = drawn[4] < p
    strengths = (brightness, contrast, saturation)
    light, contrasts, saturations = (
        torch.where(chosen, _factor(one, strength), 1.0)
        for one, strength in zip(drawn[:3], strengths, strict=True)
    )
    turn = torch.where(chosen, (drawn[3] * 2 - 1) * (2 * math.pi * hue), 0.0)
    scale = light * contrasts
    mean = values.mean(2)
    matrix = scale[:, None, None]
    if values.shape[1] == 3:
        mean, matrix = _luma(mean), _color_matrix(scale, saturations, turn)
    # In [0, 1] the mean's part is light * (1 - contrast) * mean; here in [-1, 1].
    offset = light * (1 + (1 - contrasts) * mean[:, 0]) - 1
    with torch.autocast(images.device.type, enabled=False):
        values = torch.baddbmm(offset[:, None, None], matrix, values).clamp(-1, 1)
    colours = values.view(colours.shape).to(images.dtype)
    return _join_colours(images, colours, others)


def _factor(drawn: Tensor, strength: float) -> Tensor:
    """Return factors of 1 - ``strength``, or 0, to 1 + ``strength``."""
    low = max(0.0, 1 - strength)
    return low + (1 + strength - low) * drawn


def _color_matrix(scale: Tensor, saturation: Tensor, turn: Tensor) -> Tensor:
    """Return the matrices (n, 3, 3) that change saturation and hue, times ``scale``.

    What is beside the grey of the same luma is multiplied by ``saturation`` and turned
    about the axis of greys by ``turn`` radians, from red towards green; the luma that
    a turn would add is taken off.
    """
    along = scale * (saturation * turn.cos() - 1)
    across = scale * saturation * turn.sin() / math.sqrt(3)
    rows = [along, -across, across, across, along, -across, -across, across, along]
    change = torch.stack(rows, 1).view(-1, 3, 3)
    change = change - _luma(change)
    return change + torch.diag_embed(scale[:, None].expand(-1, 3))


def greyscale(images: Tensor, p: float = 0.2) -> Tensor:
    """Take the colour from each image with probability ``p``: three times its luma.

    For tasks that colour alone would solve. Grey images stay as they are, and so does
    an alpha channel.
    """
    _check_between(0, 1, p=p)
    if images.shape[1] < 3:
        return images
    colours, others = _split_colours(images)
    luma = _luma(colours.to(_working_dtype(images))).to(images.dtype)
    colours = torch.where(_per_image(images) < p, luma, colours)
    return _join_colours(images, colours, others)


def simclr(images: Tensor) -> Tensor:
    """Apply resized_crop, flip, color_jitter and greyscale, for contrastive views.

    Two views of an image share what it shows and little else. SimCLR's composition
    (Chen et al. 2020, appendix A, arXiv:2002.05709) without its blur, which images of
    32x32 do not need, as in Jeong and Shin 2021 (arXiv:2103.09742). Of grey images it
    changes brightness and contrast.
    """
    # Colours in planes of their own: a fifth faster on a CPU.
    planes = resized_crop(images.contiguous())
    return _in_layout_of(images, greyscale(color_jitter(flip(planes))))


AUGMENTATIONS = {
    "flip": flip,
    "translation": translation,
    "shift": shift,
    "affine": affine,
    "color": color,
    "cutout": cutout,
    "noise": noise,
    "resized_crop": resized_crop,
    "color_jitter": color_jitter,
    "greyscale": greyscale,
    "simclr": simclr,
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
    "color_jitter",
    "compose",
    "cutout",
    "flip",
    "greyscale",
    "noise",
    "resized_crop",
    "shift",
    "simclr",
    "translation",
]
