"""Images side by side in one, and that one, or several in turn, as a file."""

from io import BytesIO
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from PIL import Image

from sklgan._files import check_folder, write_whole


def to_unit_range(images, data_range):
    """Return values from black to white as 0 to 1, those beyond clipped."""
    low, high = data_range
    if not low < high:
        raise ValueError(
            f"data_range={data_range!r} should be (low, high), low < high."
        )
    return np.clip((images - low) / (high - low), 0, 1)


def image_grid(images, data_range, n_columns=None):
    """Return images as one, a pixel of white between them.

    Parameters
    ----------
    images : ndarray of shape (n_samples, h, w, c)
        All values are finite.
    data_range : pair of float
        Values that mean black and white.
    n_columns : int, default=None
        Images a row; by default as many as there are rows, or one more.

    Returns
    -------
    grid : ndarray of shape (height, width, c), float
        Values in [0, 1].
    """
    images = to_unit_range(images, data_range)
    n, height, width, channels = images.shape
    n_columns = n_columns or int(np.ceil(np.sqrt(n)))
    n_rows = -(-n // n_columns)
    grid = np.ones((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1, channels))
    for k, image in enumerate(images):
        top, left = (k // n_columns) * (height + 1), (k % n_columns) * (width + 1)
        grid[top : top + height, left : left + width] = image
    return grid


def write_grid(path, grid, *, scale=1, parameter="path"):
    """Write a grid to a PNG file.

    Parameters
    ----------
    path : str or path
        Ends in .png.
    grid : ndarray of shape (height, width, c)
        Values in [0, 1]; 1, 3 or 4 channels.
    scale : int, default=1
        Side of the square that a pixel becomes.
    parameter : str, default="path"
        What the user told where to write with, for the message.

    Raises
    ------
    ValueError
        If the ending or ``scale`` is another.
    OSError
        If it cannot be written.
    """
    path = _check_ending(path, ".png")
    _write(path, _picture(grid, scale), parameter)


def write_film(path, grids, *, duration, scale=1):
    """Write grids to an animated GIF that begins again when it is over.

    Parameters
    ----------
    path : str or path
        Ends in .gif.
    grids : sequence of ndarray of shape (height, width, c)
        One a frame; values in [0, 1]. Where they are transparent, there is white.
    duration : float
        Seconds that a frame is shown, between 0.02 and 60.
    scale : int, default=1
        Side of the square that a pixel becomes.

    Raises
    ------
    ValueError
        If the ending, ``duration`` or ``scale`` is another.
    """
    path = _check_ending(path, ".gif")
    # Most viewers show what is faster at a tenth of a second a frame.
    if not isinstance(duration, Real) or not 0.02 <= duration <= 60:
        raise ValueError(
            f"duration={duration!r} should be the seconds of a frame, between 0.02 and "
            "60."
        )
    first, *others = [_picture(_on_white(grid), scale) for grid in grids]
    options = {"save_all": True, "append_images": others, "loop": 0}
    _write(path, first, "path", duration=round(1000 * duration), **options)


def _check_ending(path, ending):
    """Return the path of a file that is about to be written, if it ends so."""
    path = Path(path)
    if path.suffix.lower() != ending:
        raise ValueError(f"path={str(path)!r} should end in {ending}.")
    return check_folder(path)


def _picture(grid, scale):
    """Return a grid as a PIL image."""
    if not isinstance(scale, Integral) or scale < 1:
        raise ValueError(f"scale={scale!r} should be an int of at least 1.")
    values = np.rint(grid * 255).astype(np.uint8)
    values = values.repeat(scale, axis=0).repeat(scale, axis=1)
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def _on_white(grid):
    """Return a grid without transparency, of which GIF has only all or nothing."""
    if grid.shape[2] != 4:
        return grid
    alpha = grid[..., 3:]
    return grid[..., :3] * alpha + 1 - alpha


def _write(path, picture, parameter, **options):
    """Write a PIL image to a file, of the format that its ending says."""
    encoded = BytesIO()
    picture.save(encoded, format=path.suffix[1:].upper(), **options)
    write_whole(path, encoded.getvalue(), "picture", parameter, shared=True)
