"""Images side by side in one, and that one as a file."""

import numpy as np
from PIL import Image


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
    low, high = data_range
    images = np.clip((images - low) / (high - low), 0, 1)
    n, height, width, channels = images.shape
    n_columns = n_columns or int(np.ceil(np.sqrt(n)))
    n_rows = -(-n // n_columns)
    grid = np.ones((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1, channels))
    for k, image in enumerate(images):
        top, left = (k // n_columns) * (height + 1), (k % n_columns) * (width + 1)
        grid[top : top + height, left : left + width] = image
    return grid


def write_grid(path, grid):
    """Write a grid to a file that Pillow knows by its ending."""
    values = np.rint(grid * 255).astype(np.uint8)
    Image.fromarray(values[..., 0] if values.shape[2] == 1 else values).save(path)
