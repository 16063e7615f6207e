"""A folder of images, with class sub-folders or without."""

import os
from pathlib import Path

import numpy as np

from sklgan._labels import UNLABELED
from sklgan._sequences import ImageSequence

# By which files are taken for images: what Pillow reads everywhere.
_SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)
_UNLABELED_FOLDER = "unlabeled"


class ImageFolder(ImageSequence):
    """Images of a folder, decoded when they are needed.

    Sub-folders are classes, with all images in and below them; those in a sub-folder
    ``unlabeled`` have the label -1. A folder without sub-folders gives no labels. Files
    are taken in the order of their names, those of one class after another.

    Parameters
    ----------
    path : path-like
        The folder. Files that are not .bmp, .gif, .jpeg, .jpg, .pgm, .png, .ppm, .tif,
        .tiff or .webp, and those whose names begin with a dot, are passed by.
    image_shape : tuple of int, default=None
        ``(h, w)`` or ``(h, w, c)`` to which each image is scaled and cropped. None
        takes the size that all have in common; it opens each file once.
    on_error : {"raise", "skip"}, default="raise"
        What happens to files that cannot be decoded. ``"raise"`` is an error that names
        the file, when it is needed. ``"skip"`` decodes each file once to find them,
        leaves them out, and warns.
    n_jobs : int, default=None
        Processes that decode, -1 for as many as there are CPUs. None decodes in
        threads, as many as CPUs, which hold each other up: several of them are not
        much faster than one where images are small. A process takes some 250 MB and
        seconds to begin. In workers of a search, threads decode.

    Attributes
    ----------
    y : ndarray of shape (n,) or None
        The classes: integers if all sub-folders are named so, else strings, as objects.
        -1 where there is none; None for a folder without sub-folders.
    classes : ndarray of shape (n_classes,) or None
        The classes that there are.
    paths : list of str
        The files, in order.
    n_skipped : int
        Number of files left out by ``on_error="skip"``.

    See Also
    --------
    ImageSequence.cache : Decode once instead of at each use.

    Examples
    --------
    >>> import os, tempfile
    >>> from PIL import Image
    >>> from sklgan.datasets import ImageFolder
    >>> path = tempfile.mkdtemp()
    >>> for name in ("cat", "dog", "unlabeled"):
    ...     os.mkdir(os.path.join(path, name))
    ...     Image.new("RGB", (10, 12)).save(os.path.join(path, name, "1.png"))
    >>> images = ImageFolder(path, image_shape=(8, 8, 3))
    >>> images
    <ImageFolder of shape (3, 8, 8, 3)>
    >>> images.y.tolist(), images[images.y != -1].shape, images[0].dtype
    (['cat', 'dog', -1], (2, 8, 8, 3), dtype('uint8'))
    """

    def __init__(self, path, *, image_shape=None, on_error="raise", n_jobs=None):
        self.path = Path(path).expanduser().absolute()
        self._files, names = _list_files(self.path)
        y = None if names is None else _to_labels(names)
        super().__init__(len(self._files), image_shape, y, on_error, n_jobs)

    @property
    def paths(self):
        """The files, in order, as a list of str."""
        return [str(self.path / self._files[row]) for row in self._rows]

    def _pictures(self, rows):
        return [str(self.path / self._files[row]) for row in rows]

    def _source(self):
        facts = []
        for row in self._rows:
            status = os.stat(self.path / self._files[row])
            facts.append((self._files[row], status.st_size, status.st_mtime_ns))
        return repr(facts)


def _list_files(folder):
    """Return the files relative to the folder, and the sub-folder of each or None."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is not a folder. Name the folder that holds the images, or the "
            "sub-folders of its classes."
        )
    names = sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )
    files, folders = [], []
    for name in names:
        found = _images_below(folder / name)
        files += [os.path.relpath(path, folder) for path in found]
        folders += [name] * len(found)
    flat = sorted(path.name for path in folder.iterdir() if _is_image_file(path))
    if flat and files:
        raise ValueError(
            f"{folder} holds images, such as {flat[0]}, and sub-folders with images, "
            f"such as {files[0]}. Move those without a class to {_UNLABELED_FOLDER}/, "
            "or all into one folder."
        )
    if not flat and not files:
        raise ValueError(
            f"{folder} holds no images, neither itself nor in sub-folders. Files named "
            f"{', '.join('*' + suffix for suffix in _SUFFIXES)} count as images."
        )
    return (flat, None) if flat else (files, folders)


def _images_below(folder):
    """Return the paths of all images in and below a folder, sorted."""
    return sorted(
        str(path)
        for place, _, names in os.walk(folder)
        for path in (Path(place, name) for name in names)
        if _is_image_file(path)
    )


def _is_image_file(path):
    """Tell whether a path is that of an image, by its name, and no folder."""
    hidden = path.name.startswith(".")
    return not hidden and path.suffix.lower() in _SUFFIXES and not path.is_dir()


def _to_labels(names):
    """Return the labels of images in sub-folders of these names."""
    classes = set(names) - {_UNLABELED_FOLDER}
    if str(UNLABELED) in classes:
        raise ValueError(
            f"A sub-folder is named {UNLABELED}, which means that there is no class. "
            f"Rename it to {_UNLABELED_FOLDER}."
        )
    values = {name: name for name in classes}
    # Not where 1 and 01 are two classes.
    if all(name.isdecimal() for name in classes):
        numbers = {name: int(name) for name in classes}
        if len(set(numbers.values())) == len(classes):
            values = numbers
    is_number = all(isinstance(value, int) for value in values.values())
    values[_UNLABELED_FOLDER] = UNLABELED
    labels = [values[name] for name in names]
    return np.array(labels, dtype=np.int64 if is_number else object)
