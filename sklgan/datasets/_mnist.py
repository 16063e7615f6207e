"""MNIST from the idx files in which it is distributed."""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

# The page of the authors, http://yann.lecun.com/exdb/mnist/, no longer hands files out.
_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_MNIST_DESCR = f"""MNIST: 70,000 grey images of handwritten digits, 28 x 28 pixels.

60,000 training images and 10,000 test images, white on black, made by Yann LeCun,
Corinna Cortes and Christopher Burges from data sets of NIST.

Source: {_MNIST_URL}
Reference: Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning
applied to document recognition", Proceedings of the IEEE 86, 1998.
"""
_MNIST_PARTS = {"train": ("train",), "test": ("t10k",), "all": ("train", "t10k")}
# Where the files lie inside the folder that a user names, nearest first; the second is
# torchvision's.
_MNIST_PLACES = ("", "MNIST/raw")
# The first word says uint8 (8) and the number of axes.
_IMAGES_MAGIC, _LABELS_MAGIC = 0x803, 0x801
_IMAGE_SHAPE = (28, 28)
# The training images are 47 MB; what is far larger is no MNIST, whatever it unpacks to.
_MAX_BYTES = 2**27


def _bad_file(path, problem):
    """Return the error for the file at `path`, which `problem` says is unusable."""
    name = path.name.removesuffix(".gz")
    return ValueError(
        f"{path} is not a complete MNIST file: {problem}. Get {name}.gz anew from "
        f"{_MNIST_URL}."
    )


def _find_folder(data, names):
    """Return the folder with all of the named files, packed or not, and their paths."""
    path = Path(data).expanduser()
    if not path.is_dir():
        raise ValueError(
            f"data={str(data)!r} is not a folder; name the one that holds "
            f"{names[0]}.gz and the other files of MNIST, from {_MNIST_URL}."
        )
    found = []
    for folder in (path / place for place in _MNIST_PLACES):
        candidates = [(folder / name, folder / f"{name}.gz") for name in names]
        found.append([next(filter(Path.is_file, pair), None) for pair in candidates])
        if all(found[-1]):
            return found[-1]
    # The folder with the most of them is the one that is meant.
    nearest = min(found, key=lambda files: files.count(None))
    missing = [name for name, file in zip(names, nearest, strict=True) if file is None]
    raise ValueError(
        f"{path} lacks {', '.join(missing)} of MNIST, with or without .gz; get "
        f"{missing[0]}.gz from {_MNIST_URL}."
    )


def _read_bytes(path):
    """Return what a file holds, unpacked if it is a gzip file, whatever its name."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            unpacked = gzip.GzipFile(fileobj=file) if packed else file
            content = unpacked.read(_MAX_BYTES + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _bad_file(path, f"truncated or damaged ({error})") from error
    if len(content) > _MAX_BYTES:
        raise _bad_file(path, f"more than {_MAX_BYTES} bytes are too many")
    return content


def _read_idx(path, magic):
    """Return the uint8 array of an idx file that must begin with `magic`."""
    content = _read_bytes(path)
    # The magic number's last byte is the number of axes, each with a word of its own.
    n_words = 1 + magic % 256
    if len(content) < 4 * n_words:
        raise _bad_file(path, f"truncated, it has {len(content)} bytes")
    found, *shape = np.frombuffer(content, ">u4", count=n_words).tolist()
    if found != magic:
        raise _bad_file(path, f"it begins with {found:#010x}, not with {magic:#010x}")
    n_bytes = len(content) - 4 * n_words
    if n_bytes != prod(shape):
        problem = f"{n_bytes} bytes are not the {prod(shape)} of shape {tuple(shape)}"
        raise _bad_file(path, "truncated, " * (n_bytes < prod(shape)) + problem)
    return np.frombuffer(content, np.uint8, offset=4 * n_words).reshape(shape)


def _read_part(images_path, labels_path):
    """Return images (n, 28, 28) uint8 and labels (n,) int64 of one part, checked."""
    images = _read_idx(images_path, _IMAGES_MAGIC)
    labels = _read_idx(labels_path, _LABELS_MAGIC)
    if images.shape[1:] != _IMAGE_SHAPE or len(images) == 0:
        raise _bad_file(images_path, f"its images are of shape {images.shape}")
    if len(labels) != len(images):
        problem = f"it has {len(labels)} labels for {len(images)} images"
        raise _bad_file(labels_path, problem)
    if labels.max() > 9:
        raise _bad_file(labels_path, f"its labels go up to {labels.max()}, not to 9")
    return images, labels.astype(np.int64)


def load_mnist(data, *, subset="train", return_X_y=False):
    """Load MNIST from the files that users have.

    Parameters
    ----------
    data : str or path-like
        The folder that holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
        ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, each packed with the
        suffix ``.gz`` or as it is; or a folder in which torchvision has put them into
        ``MNIST/raw``. Files of a part that is not asked for may be missing.
    subset : {"train", "test", "all"}, default="train"
        The 60,000 training images, the 10,000 test images, or the former followed
        by the latter.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` in place of a Bunch.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        With ``data``, uint8 of shape (n_samples, 28, 28), 0 for the black ground;
        ``target``, int64 of shape (n_samples,), 0 to 9; ``target_names``, the names
        of the ten classes; and ``DESCR``. If `return_X_y`, ``(data, target)``.

    Raises
    ------
    ValueError
        If a file is missing, truncated, damaged or another than its name says; the
        message names the file.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to
    document recognition", Proceedings of the IEEE 86, 1998, section III.A.
    """
    if subset not in _MNIST_PARTS:
        raise ValueError(
            f"subset={subset!r} is unknown; choose 'train', 'test' or 'all'."
        )
    kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
    names = [f"{part}-{kind}" for part in _MNIST_PARTS[subset] for kind in kinds]
    paths = _find_folder(data, names)
    pairs = zip(paths[::2], paths[1::2], strict=True)
    parts = [_read_part(*pair) for pair in pairs]
    # Joined even if there is one part: arrays over bytes cannot be written to.
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if return_X_y:
        return images, labels
    return Bunch(
        data=images,
        target=labels,
        target_names=[str(digit) for digit in range(10)],
        DESCR=_MNIST_DESCR,
    )
