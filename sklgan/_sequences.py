"""Sequences of images that lie on disk, indexed like arrays, decoded when needed."""

import copy
import hashlib
import warnings
from contextlib import closing
from functools import partial
from math import prod
from multiprocessing import parent_process
from numbers import Integral
from pathlib import Path

import numpy as np
from joblib import cpu_count

from sklgan._caching import check_cache, write_cache
from sklgan._decoding import (
    CHANNELS,
    ImageDecodeError,
    check_image_shape,
    common_shape,
    decode_rows,
    inspect_pictures,
    quiet_pillow,
)
from sklgan._decoding_processes import check_n_jobs, decode_in_processes
from sklgan._mapping import MappedRows
from sklgan._prefetch import read_ahead

# Images handed to a thread at a time: the cost of a task is then negligible.
_CHUNK = 32

# A guess at what a thread needs to look at images of which no size is known, in bytes.
_LOOKED_AT = 2**20


def _chunks(rows):
    """Return rows in parts, one or more for each thread."""
    size = max(1, min(_CHUNK, len(rows) // cpu_count()))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


class ImageSequence:
    """Images that are indexed like an array, and decoded when they are needed.

    What the sequences of this module have in common. A slice, an array of row numbers
    or a boolean mask gives another sequence, in which nothing is decoded, so that
    ``train_test_split``, ``cross_validate`` and ``GridSearchCV`` split it at no cost.
    An int gives one image, an array; ``np.asarray`` decodes them all.

    Parameters
    ----------
    n_images : int
        Number of images.
    image_shape : tuple of (h, w, c) or None
        The shape to give to each; None takes the one that they have in common.
    y : ndarray of shape (n_images,), default=None
        Their labels.
    on_error : {"raise", "skip"}, default="raise"
        Whether images that cannot be decoded are an error, or left out.
    n_jobs : int, default=None
        Processes that decode, -1 for as many as CPUs; None for threads of this one.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, n_images, image_shape=None, y=None, on_error="raise", n_jobs=None
    ):
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error={on_error!r} should be 'raise' or 'skip'.")
        self._rows, self._labels, self._flat = np.arange(n_images), y, False
        self._fit = image_shape is not None
        self._image_shape = check_image_shape(image_shape)
        self.n_jobs, self._n_processes = n_jobs, check_n_jobs(n_jobs)
        self.n_skipped = 0
        if on_error == "skip" or not self._fit:
            self._look(on_error)

    def _look(self, on_error):
        """Learn the common shape from all headers, and which images to skip."""
        load = on_error == "skip"

        def look(rows):
            return inspect_pictures(self._pictures(rows), rows, load=load)

        with quiet_pillow():
            parts = list(read_ahead(look, _chunks(self._rows), _LOOKED_AT))
        headers = [found for part in parts for found in part]
        good = [not isinstance(found, ImageDecodeError) for found in headers]
        errors = [found for found in headers if isinstance(found, ImageDecodeError)]
        if errors and (not load or not any(good)):
            raise errors[0]
        if not self._fit:
            self._image_shape = common_shape(
                [found for found, is_good in zip(headers, good, strict=True) if is_good]
            )
        if errors:
            self._rows, self.n_skipped = self._rows[good], len(errors)
            warnings.warn(
                f"{len(errors)} of {len(good)} images cannot be decoded and are left "
                f"out. The first: {errors[0]}",
                UserWarning,
                stacklevel=4,
            )

    # For subclasses --------------------------------------------------------------

    def _pictures(self, rows):
        """Return pictures for ``decode_rows``; called from several threads."""
        raise NotImplementedError

    def _read(self, rows):
        """Return rows of the source, (b, h, w, c); called from several threads."""
        decode = decode_rows
        if self._has_processes:
            decode = partial(decode_in_processes, n_processes=self._n_processes)
        return decode(self._pictures(rows), rows, self._image_shape, fit=self._fit)

    @property
    def _has_processes(self):
        """Whether others decode; each worker of a search would begin as many."""
        return self._n_processes is not None and parent_process() is None

    @property
    def n_readers(self):
        """Threads that should read at a time; None for as many as CPUs."""
        # Each waits for a process, one more has the next task ready.
        return self._n_processes + 1 if self._has_processes else None

    def _read_all(self, rows):
        """Yield the same in parts, read by threads."""
        n_bytes = _CHUNK * prod(self._image_shape)
        return read_ahead(self._read, _chunks(rows), n_bytes, self.n_readers)

    def _source(self):
        """Return text that tells this source from others, for a cache."""
        raise NotImplementedError

    # For everybody ---------------------------------------------------------------

    @property
    def shape(self):
        """The shape ``(n, h, w, c)``; of flattened images ``(n, h * w * c)``."""
        sizes = self._image_shape
        return len(self), *((prod(sizes),) if self._flat else sizes)

    @property
    def ndim(self):
        """The number of dimensions: 4, or 2 where images are flattened."""
        return len(self.shape)

    @property
    def y(self):
        """The labels of these images, an array of n, or None where there are none."""
        return None if self._labels is None else self._labels[self._rows]

    @property
    def classes(self):
        """The labels that there are, sorted, without -1; None where there are none."""
        if self._labels is None:
            return None
        return np.unique(self.y[self.y != -1])

    def __len__(self):
        """Return the number of images."""
        return len(self._rows)

    def __repr__(self):
        """Return name and shape."""
        return f"<{type(self).__name__} of shape {self.shape}>"

    def __getitem__(self, key):
        """Return one image as an array, or some of them as a sequence."""
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:
            key = key[0]  # as scikit-learn writes it
        if isinstance(key, tuple):
            raise TypeError(
                f"Only whole images can be taken from {type(self).__name__}, got the "
                f"index {key!r}. Decode it first: np.asarray(sequence)."
            )
        if isinstance(key, Integral):
            return self.decode([key])[0]
        chosen = copy.copy(self)
        chosen._rows = self._choose(key)
        return chosen

    def _choose(self, key):
        """Return the source's rows for a slice, row numbers or a mask."""
        if not isinstance(key, slice):
            key = np.asarray(key)
            key = key.astype(np.intp) if key.size == 0 and key.dtype != bool else key
        rows = self._rows[key]
        if rows.ndim != 1:
            raise IndexError(
                f"{type(self).__name__} is indexed by a slice, or by row numbers or a "
                f"mask of one dimension, got {rows.ndim} dimensions."
            )
        return rows

    def __array__(self, dtype=None, copy=None):
        """Decode all images."""
        if copy is False:
            raise ValueError(f"{type(self).__name__} has to be decoded to be an array.")
        images = self.decode()
        return images if dtype is None else images.astype(dtype, copy=False)

    def decode(self, rows=None):
        """Decode images, in as many threads as there are CPUs.

        Parameters
        ----------
        rows : slice, array of int or mask, default=None
            Which images; None for all.

        Returns
        -------
        images : ndarray of shape (b, h, w, c) or (b, h * w * c), dtype uint8
            The images, flat where the sequence is.

        Raises
        ------
        ValueError
            If one cannot be decoded; the message names it.
        """
        chosen = self._rows if rows is None else self._choose(rows)
        images = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        start = 0
        with quiet_pillow():
            for part in self._read_all(chosen):
                images[start : start + len(part)] = part.reshape(-1, *self.shape[1:])
                start += len(part)
        return images

    def _decode_here(self, rows):
        """Do the same in this thread alone, while ``quiet_pillow`` is in force."""
        return self._read(self._choose(rows)).reshape(-1, *self.shape[1:])

    def reshape(self, *shape):
        """Return the sequence with flattened images, or back; nothing is decoded.

        Parameters
        ----------
        *shape : int
            ``(n, h * w * c)`` or ``(n, h, w, c)``; n may be -1.

        Returns
        -------
        sequence : ImageSequence
            The same images.
        """
        sizes = shape[0] if len(shape) == 1 and np.iterable(shape[0]) else shape
        wanted = tuple(sizes[1:]) if len(sizes) else ()
        flat = (prod(self._image_shape),)
        n_fits = len(sizes) > 0 and sizes[0] in (-1, len(self))
        if not n_fits or wanted not in (flat, (-1,), self._image_shape):
            raise ValueError(
                f"{self!r} can be reshaped to {(len(self), *flat)} and "
                f"{(len(self), *self._image_shape)}, not to {tuple(sizes)}. Decode it "
                "first: np.asarray(sequence)."
            )
        other = copy.copy(self)
        other._flat = len(wanted) == 1
        return other

    def cache(self, path):
        """Decode all images once, to a ``.npy`` file that is then used in their place.

        Where the file is there already it is used as it is, if it was made from the
        same images. It is whole or not there: it gets its name once all is written.

        Parameters
        ----------
        path : path-like
            The file, ``name.npy``; it takes n * h * w * c bytes.

        Returns
        -------
        images : NpyImages
            The images of the file, with the same ``y``.

        Raises
        ------
        ValueError
            If a file is there that holds something else.
        """
        path = Path(path)
        shape = (len(self), *self._image_shape)
        text = f"{type(self).__name__} {shape} {self._fit} {self._source()}"
        digest = hashlib.sha256(text.encode() + self._rows.tobytes()).hexdigest()
        if path.exists():
            check_cache(path, digest)
        else:
            with quiet_pillow(), closing(self._read_all(self._rows)) as parts:
                write_cache(path, shape, parts, digest)
        images = NpyImages(path, y=self.y)
        return images.reshape(self.shape) if self._flat else images


class NpyImages(ImageSequence):
    """Images of a ``.npy`` file, of which rows are read when they are needed.

    ``np.load(path, mmap_mode="r")`` is accepted as X too; but to index that by row
    numbers, as cross-validation does, copies the rows to memory.

    Parameters
    ----------
    path : path-like
        A file that ``np.save`` has written: uint8, ``(n, h, w)`` or ``(n, h, w, c)``.
    y : array-like of shape (n,), default=None
        Labels to keep beside the images.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from sklgan.datasets import NpyImages
    >>> path = os.path.join(tempfile.mkdtemp(), "images.npy")
    >>> np.save(path, np.zeros((10, 8, 8, 3), dtype=np.uint8))
    >>> NpyImages(path)[::2].shape
    (5, 8, 8, 3)
    """

    def __init__(self, path, y=None):
        array = np.load(path, mmap_mode="r")
        shape = (*array.shape, 1)[:4] if array.ndim == 3 else array.shape
        if array.dtype != np.uint8 or len(shape) != 4 or shape[3] not in CHANNELS:
            raise ValueError(
                f"{path} has dtype {array.dtype} and shape {array.shape}; NpyImages "
                "needs uint8 images, (n, h, w) or (n, h, w, c), c in 1, 3, 4. "
                "Other arrays are X as they are: np.load(path, mmap_mode='r')."
            )
        if not array.flags.c_contiguous:
            raise ValueError(
                f"{path} is in Fortran order, which scatters images over the file. "
                "Save np.ascontiguousarray(array) instead."
            )
        if y is not None and len(y) != len(array):
            raise ValueError(f"y has {len(y)} labels for the {len(array)} images.")
        self.path = Path(path).absolute()
        super().__init__(len(array), shape[1:], None if y is None else np.asarray(y))
        size = prod(shape[1:])
        self._mapped = MappedRows(path, array.offset, size, shape, np.uint8)

    @property
    def array(self):
        """The whole file as a memory map, ``np.memmap``."""
        return np.load(self.path, mmap_mode="r")

    def _read(self, rows):
        return self._mapped.read(rows)

    def _source(self):
        return f"{self.path} {self._mapped.identity} {self.path.stat().st_mtime_ns}"
