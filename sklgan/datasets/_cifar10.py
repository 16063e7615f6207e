"""CIFAR-10 from the files in which it is distributed, none of which is trusted."""

import io
import pickle
import tarfile
import zlib
from math import prod
from pathlib import Path

import numpy as np
from sklearn.datasets import fetch_openml
from sklearn.utils import Bunch

_CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar.html"
_CIFAR10_NAMES = tuple(
    "airplane automobile bird cat deer dog frog horse ship truck".split()
)
_CIFAR10_DESCR = f"""CIFAR-10: 60,000 colour images of 32 x 32 pixels in 10 classes.

50,000 training images (5,000 of each class) and 10,000 test images (1,000 of each
class), collected by Alex Krizhevsky, Vinod Nair and Geoffrey Hinton.

Source: {_CIFAR10_URL}
Reference: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
technical report, University of Toronto, 2009.
"""
_CIFAR10_BATCHES = {
    "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
    "test": ("test_batch",),
}
_CIFAR10_BATCHES["all"] = _CIFAR10_BATCHES["train"] + _CIFAR10_BATCHES["test"]
# Where the files lie inside the folder that a user names, nearest first.
_CIFAR10_PLACES = (
    "",
    "cifar-10-batches-py",
    "cifar-10-batches-bin",
    "cifar-10-python.tar.gz",
    "cifar-10-binary.tar.gz",
)
_N_PIXELS = 3 * 32 * 32
# A batch is 31 MB, at most 47 MB where Python 3 has pickled it anew for Python 2.
_MAX_BATCH_BYTES = 2**27


class _PickledDtype:
    """Stand-in for numpy.dtype in a batch: plain integers and nothing else."""

    def __init__(self, code, *flags):
        code = code.decode("latin1") if isinstance(code, bytes) else code
        if code not in ("u1", "i4", "i8"):
            raise pickle.UnpicklingError(f"it holds an array of dtype {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state):
        order = state[1].decode("latin1") if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder(order)


class _PickledArray:
    """Stand-in for numpy.ndarray in a batch: a shape, an integer dtype and bytes."""

    def __setstate__(self, state):
        _version, shape, pickled, fortran, content = state
        dtype = pickled.dtype
        if len(content) != prod(shape) * dtype.itemsize:
            raise pickle.UnpicklingError(f"its array of shape {shape} is incomplete")
        values = np.frombuffer(content, dtype=dtype)
        self.array = values.reshape(shape, order="F" if fortran else "C")


def _encode_latin1(text, encoding):
    """Stand-in for _codecs.encode, which in a batch spells bytes as latin-1 text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {encoding!r}")
    return text.encode("latin1")


def _new_array(*_):
    """Stand-in for numpy's _reconstruct: an empty array whose state comes next."""
    return _PickledArray()


class _BatchUnpickler(pickle.Unpickler):
    """Unpickler that calls nothing but the stand-ins above.

    NumPy's own functions are kept out as well: given a forged dtype they read bytes
    as pointers. Nothing of the stream reaches them but bytes and their length.
    """

    _ALLOWED = {
        ("_codecs", "encode"): _encode_latin1,
        ("numpy", "dtype"): _PickledDtype,
        ("numpy", "ndarray"): None,
        ("numpy.core.multiarray", "_reconstruct"): _new_array,
        ("numpy._core.multiarray", "_reconstruct"): _new_array,
    }

    def find_class(self, module, name):
        """Return the stand-in of a global, or refuse it."""
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for the global {module}.{name}, which no CIFAR-10 batch "
                "needs, so it was refused and not run"
            )
        return self._ALLOWED[module, name]


def _bad_file(source, problem):
    """Return the error for the file `source`, which `problem` says is unusable."""
    return ValueError(
        f"{source} is not a complete CIFAR-10 file: {problem}. Get the data set anew "
        f"from {_CIFAR10_URL}."
    )


def _unpickle_batch(content, source):
    """Return (rows, labels) of a batch of the Python version; rows are (n, 3072)."""
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise _bad_file(source, str(error)) from error
    # A damaged stream makes the unpickler fail in as many ways as there are opcodes.
    except (
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        TypeError,
        ValueError,
    ) as error:
        raise _bad_file(source, f"truncated or damaged ({error})") from error
    if not isinstance(batch, dict):
        raise _bad_file(source, f"it holds a {type(batch).__name__}, not a dict")
    parts = []
    for key in ("data", "labels"):
        part = batch.get(key.encode(), batch.get(key))
        parts.append(part.array if hasattr(part, "array") else part)
    if not isinstance(parts[0], np.ndarray) or parts[1] is None:
        raise _bad_file(source, "it holds no 'data' array with 'labels'")
    return parts


def _split_binary_batch(content, source):
    """Return (rows, labels) of a batch of the binary version; rows are (n, 3072)."""
    row_bytes = 1 + _N_PIXELS
    if not content or len(content) % row_bytes:
        problem = f"truncated, {len(content)} bytes are not rows of {row_bytes} bytes"
        raise _bad_file(source, problem)
    rows = np.frombuffer(content, dtype=np.uint8).reshape(-1, row_bytes)
    return rows[:, 1:], rows[:, 0]


def _check_batch(rows, labels, source):
    """Return images (n, 32, 32, 3) uint8 and labels (n,) int64 of a checked batch."""
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != _N_PIXELS:
        raise _bad_file(
            source, f"its data are {rows.dtype} of shape {rows.shape}, not uint8 rows"
        )
    # Lists are looked into first: NumPy would unfold lists of lists without end.
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        labels = np.asarray(labels)
    if getattr(labels, "ndim", None) != 1 or labels.dtype.kind not in "iu":
        raise _bad_file(source, "its labels are not a list of integers")
    if len(labels) != len(rows) or len(rows) == 0:
        raise _bad_file(source, f"it has {len(rows)} images and {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= len(_CIFAR10_NAMES):
        raise _bad_file(
            source, f"its labels span {labels.min()} to {labels.max()}, not 0 to 9"
        )
    # Every row is a red, then a green, then a blue plane.
    images = rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _read_folder(folder, names):
    """Return {file name: bytes} of those of `names` that lie in `folder`."""
    contents = {}
    for path in (folder / name for name in names):
        if path.is_file():
            if path.stat().st_size > _MAX_BATCH_BYTES:
                raise _bad_file(path, f"{path.stat().st_size} bytes are too many")
            contents[path.name] = path.read_bytes()
    return contents


def _read_archive(path, names):
    """Return {member name: bytes} of those of `names` in an archive, in one pass.

    Nothing is extracted, so no name in the archive is ever used as a path.
    """
    contents = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if name not in names or name in contents or not member.isfile():
                    continue
                if member.size > _MAX_BATCH_BYTES:
                    raise _bad_file(f"{path}:{name}", f"{member.size} bytes are many")
                contents[name] = archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        problem = f"truncated, or no archive ({type(error).__name__})"
        raise _bad_file(path, problem) from error
    return contents


def _read_batches(data, names):
    """Return the place and {file name: bytes} of the batches in what the user named."""
    wanted = {*names, *(f"{name}.bin" for name in names)}
    path = Path(data).expanduser()
    if path.is_file():
        return path, _read_archive(path, wanted)
    if not path.is_dir():
        raise ValueError(
            f"data={str(data)!r} is neither a folder nor a file; name the folder that "
            "holds cifar-10-batches-py, or cifar-10-python.tar.gz, from "
            f"{_CIFAR10_URL}."
        )
    for place in (path / place for place in _CIFAR10_PLACES):
        read = _read_archive if place.is_file() else _read_folder
        contents = read(place, wanted)
        if contents:
            return place, contents
    return path, {}


def _load_batches(data, names):
    """Return images and labels of the named batches, from either version."""
    place, contents = _read_batches(data, names)
    binary = not any(name in contents for name in names)
    suffix = ".bin" if binary and contents else ""
    missing = [name + suffix for name in names if name + suffix not in contents]
    if missing:
        raise ValueError(
            f"{place} lacks {', '.join(missing)} of CIFAR-10; get the Python or the "
            f"binary version from {_CIFAR10_URL} and name its folder or archive."
        )
    # Rows have one length in the binary version, so a batch cut between two rows
    # shows only beside the others.
    longest = max(map(len, contents.values()))
    images, labels = [], []
    for name in names:
        source, content = place / (name + suffix), contents.pop(name + suffix)
        if binary and len(content) != longest:
            raise _bad_file(source, f"{len(content)} bytes where others have {longest}")
        split = _split_binary_batch if binary else _unpickle_batch
        batch_images, batch_labels = _check_batch(*split(content, source), source)
        images.append(batch_images)
        labels.append(batch_labels)
    return np.concatenate(images), np.concatenate(labels)


def _split_openml(fetched, subset):
    """Return images and labels of `subset` from what fetch_openml returned."""
    rows, labels = np.asarray(fetched.data), np.asarray(fetched.target)
    with np.errstate(invalid="ignore"):
        pixels = rows.astype(np.uint8)
    if not np.array_equal(pixels, rows):
        raise ValueError(
            "OpenML's CIFAR_10 holds other values than whole numbers from 0 to 255; "
            f"use the files from {_CIFAR10_URL}."
        )
    images, labels = _check_batch(pixels, labels.astype(np.int64), "OpenML's CIFAR_10")
    if subset == "all":
        return images, labels
    # OpenML keeps the two parts one after the other without saying where one ends:
    # both have equally many images of each class, and hardly any other cut has.
    n_train = len(labels) * 5 // 6
    if np.ptp(np.bincount(labels[:n_train], minlength=len(_CIFAR10_NAMES))):
        raise ValueError(
            f"OpenML's CIFAR_10 no longer begins with the training images, so "
            f"subset={subset!r} cannot be told; use subset='all', or the files from "
            f"{_CIFAR10_URL}."
        )
    part = slice(n_train) if subset == "train" else slice(n_train, None)
    return images[part], labels[part]


def load_cifar10(data, *, subset="train", return_X_y=False):
    """Load CIFAR-10 from the files that users have.

    The Python version consists of pickles, and unpickling runs what a pickle says.
    They are therefore read by an unpickler that knows integers, text, lists, dicts
    and integer arrays only; a file that asks for anything else is refused unread.

    Parameters
    ----------
    data : str or path-like
        One of

        - a folder that is or that holds ``cifar-10-batches-py`` (Python version) or
          ``cifar-10-batches-bin`` (binary version);
        - ``cifar-10-python.tar.gz`` or ``cifar-10-binary.tar.gz``, read without
          being extracted, or a folder that holds one of them;
        - ``"openml"``, which fetches the data set ``CIFAR_10`` with
          :func:`sklearn.datasets.fetch_openml`, and keeps it in scikit-learn's data
          folder. The first call needs the network; every call needs pandas and a
          few GB of memory, because OpenML's copy is text.
    subset : {"train", "test", "all"}, default="train"
        The 50,000 training images, the 10,000 test images, or the former followed
        by the latter.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` in place of a Bunch.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        With ``data``, uint8 of shape (n_samples, 32, 32, 3), channels last;
        ``target``, int64 of shape (n_samples,), 0 to 9; ``target_names``, the names
        of the ten classes; and ``DESCR``. If `return_X_y`, ``(data, target)``.

    Raises
    ------
    ValueError
        If a file is missing, truncated, damaged, or a pickle that asks for more
        than a CIFAR-10 batch needs; the message names the file.

    References
    ----------
    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images",
    University of Toronto, 2009, chapter 3.
    """
    if subset not in _CIFAR10_BATCHES:
        raise ValueError(
            f"subset={subset!r} is unknown; choose 'train', 'test' or 'all'."
        )
    if isinstance(data, str) and data == "openml":
        fetched = fetch_openml("CIFAR_10", version=1, as_frame=False)
        images, labels = _split_openml(fetched, subset)
    else:
        images, labels = _load_batches(data, _CIFAR10_BATCHES[subset])
    if return_X_y:
        return images, labels
    return Bunch(
        data=images,
        target=labels,
        target_names=list(_CIFAR10_NAMES),
        DESCR=_CIFAR10_DESCR,
    )
