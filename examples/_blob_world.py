"""A world with known truth: coloured ellipses and squares on a textured ground."""

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, label

from sklgan.datasets import load_mnist

# Hues that are easily told apart.
_COLOURS = np.array(
    [
        [0.90, 0.20, 0.20],
        [0.20, 0.75, 0.25],
        [0.20, 0.35, 0.95],
        [0.95, 0.80, 0.15],
        [0.80, 0.25, 0.85],
        [0.15, 0.80, 0.85],
    ]
)

# More colourful than that is no ground, which is grey.
_SATURATION = 0.25

# Parts of fewer pixels are no objects.
_FEWEST_PIXELS = 12


def _ground(rng, n, side):
    """Return grey textures (n, side, side) about a mean level of each image's own."""
    coarse = gaussian_filter(
        rng.standard_normal((n, side, side)), (0, 2, 2), mode="wrap"
    )
    fine = rng.standard_normal((n, side, side))
    level = rng.uniform(0.4, 0.6, size=(n, 1, 1))
    return level + 0.03 * coarse / coarse.std() + 0.01 * fine


def _places(rng, n_objects, side):
    """Return centres and radii of objects that do not touch."""
    while True:
        radii = rng.uniform(0.11, 0.17, n_objects) * side
        places = rng.uniform(0.17 * side, 0.83 * side, (n_objects, 2))
        gaps = np.linalg.norm(places[:, None] - places, axis=2)
        needed = radii[:, None] + radii + 0.1 * side
        if (gaps >= needed)[~np.eye(n_objects, dtype=bool)].all():
            return places, radii


def _moved(places, move, side):
    """Return places in pixels, of which one has moved by parts of the side."""
    places = places.copy()
    if move is not None:
        index, step = move
        places[index] += np.round(side * np.asarray(step)).astype(places.dtype)
    return places


def make_world(n_samples, *, side=32, max_objects=3, moves=None, random_state=None):
    """Draw images of 1 to ``max_objects`` ellipses or squares.

    Parameters
    ----------
    moves : list of (tuple or None) of length n_samples, default=None
        For each image the index of an object and a step, in parts of the side, by which
        it is painted elsewhere, whole pixels away; all else stays as it is without.

    Returns
    -------
    images : ndarray of shape (n_samples, side, side, 3), uint8
    centers : list of ndarray of shape (n_objects, 2)
        x and y of each object, in parts of the side.
    """
    rng = np.random.default_rng(random_state)
    images = np.repeat(_ground(rng, n_samples, side)[..., None], 3, axis=3)
    rows, columns = np.mgrid[:side, :side] + 0.5
    centers = []
    for image, move in zip(images, moves or [None] * n_samples, strict=True):
        n_objects = rng.integers(1, max_objects + 1)
        places, radii = _places(rng, n_objects, side)
        places = _moved(places, move, side)
        colours = rng.permutation(len(_COLOURS))[:n_objects]
        for (x, y), radius, colour in zip(places, radii, colours, strict=True):
            u, v = (columns - x) / radius, (rows - y) / radius
            if rng.random() < 0.5:
                stretch = rng.uniform(0.7, 1 / 0.7)
                distance = np.hypot(u * stretch, v / stretch)
            else:
                distance = np.maximum(abs(u), abs(v)) / 0.9
            # An edge of one pixel is antialiased.
            cover = np.clip((1 - distance) * radius + 0.5, 0, 1)[..., None]
            image += cover * (_COLOURS[colour] - image)
        centers.append(places / side)
    return (np.clip(images, 0, 1) * 255).round().astype(np.uint8), centers


def is_grey(image):
    """Tell whether an image (h, w, 3) has no colour, and hence digits for objects."""
    return not np.ptp(image, axis=2).any()


def find_objects(image):
    """Return the masks of an image's objects, largest first.

    They are connected and colourful, or bright where all is grey: digits, of which a
    stroke may be two pixels from the next.
    """
    if is_grey(image):
        seen = image[..., 0] > 255 * _SATURATION
        parts, n_parts = label(binary_dilation(seen, np.ones((3, 3))))
        parts *= seen
    else:
        parts, n_parts = label(np.ptp(image, axis=2) > 255 * _SATURATION)
    masks = [parts == part for part in range(1, n_parts + 1)]
    masks = [mask for mask in masks if mask.sum() >= _FEWEST_PIXELS]
    return sorted(masks, key=np.sum, reverse=True)


def centroid(mask):
    """Return x and y of a mask's centre, in pixels."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


def owner(maps, mask):
    """Return the blob that is most seen in a mask, of maps (n_blobs + 1, h, w)."""
    return int(np.argmax(maps[1:, mask].mean(axis=1)))


def make_digits_world(
    n_samples, data, *, subset="train", side=64, moves=None, random_state=None
):
    """Draw two digits of a part of MNIST on each canvas, which do not touch.

    Parameters are those of :func:`make_world`, but that what ``moves`` would take out
    of the canvas is painted at its edge.

    Returns
    -------
    images : ndarray of shape (n_samples, side, side), uint8
    centers : list of ndarray of shape (2, 2)
        x and y of the middle of each digit's ink, in parts of the side.
    """
    digits = load_mnist(data, subset=subset).data
    rng = np.random.default_rng(random_state)
    images = np.zeros((n_samples, side, side), dtype=np.uint8)
    centers = []
    for image, move in zip(images, moves or [None] * n_samples, strict=True):
        while True:
            corners = rng.integers(0, side - 27, size=(2, 2))
            if abs(corners[0] - corners[1]).max() >= 24:
                break
        corners = _moved(corners, move, side).clip(0, side - 28)
        places = []
        for (left, top), digit in zip(
            corners, digits[rng.integers(len(digits), size=2)], strict=True
        ):
            part = image[top : top + 28, left : left + 28]
            np.maximum(part, digit, out=part)
            ink = centroid(digit > 64)
            places.append((ink + (left, top)) / side)
        centers.append(np.array(places))
    return images, centers
