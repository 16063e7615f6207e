"""Files mapped to memory: rows are read by asking for the bytes, not through the map.

A touched page of a map counts as memory of the process, and touching a page behind the
end of a file that has been cut kills it. Reading does neither.
"""

import mmap
import os
from pathlib import Path

import numpy as np


class MappedRows:
    """Rows of one size at equal distances in a file.

    Parameters
    ----------
    path : path-like
        The file, which must not change from now on.
    start : int
        Where the first row lies, in bytes.
    stride : int
        From one row to the next, in bytes.
    shape : tuple of int
        Of all rows together, the first number that of rows.
    dtype : numpy.dtype
        Of the values.

    Raises
    ------
    ValueError
        If the file is too short.
    """

    def __init__(self, path, start, stride, shape, dtype):
        self.path, self.start, self.stride = Path(path).absolute(), start, stride
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.n_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        status = os.stat(self.path)
        self.identity = _identity(status)
        end = start + max(0, stride) * (self.shape[0] - 1) + self.n_bytes
        if self.shape[0] and status.st_size < end:
            raise ValueError(
                f"{self.path} has {status.st_size} bytes, but {end} are mapped to "
                "memory: it was cut after it was opened. Write it again, and open it "
                "again with np.load(path, mmap_mode='r')."
            )

    def __len__(self):
        """Return the number of rows."""
        return self.shape[0]

    def read(self, rows):
        """Return rows, a slice or an array of row numbers, as a new array.

        Raises
        ------
        ValueError
            If the file is not what it was.
        """
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if out.size == 0:
            return out
        target = memoryview(out.reshape(-1).view(np.uint8))
        # Neighbours in the file are read at once.
        starts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1)
        if self.stride != self.n_bytes:
            starts = np.arange(len(rows))
        stops = [*starts[1:].tolist(), len(rows)]
        try:
            with open(self.path, "rb", buffering=0) as file:
                self._check(os.fstat(file.fileno()))
                for first, stop in zip(starts.tolist(), stops, strict=True):
                    file.seek(self.start + int(rows[first]) * self.stride)
                    part = target[first * self.n_bytes : stop * self.n_bytes]
                    self._fill(file, part)
        except OSError as error:
            raise ValueError(
                f"{self.path} cannot be read any more: {error.strerror}. It has to "
                "stay as it is while it is in use."
            ) from error
        return out

    def _fill(self, file, target):
        """Read as many bytes as there is room for."""
        while len(target):
            n_read = file.readinto(target)
            if not n_read:
                self._check(os.fstat(file.fileno()))
            target = target[n_read:]

    def _check(self, status):
        """Raise ValueError if this is not the file of old."""
        if _identity(status) == self.identity:
            return
        before, now = self.identity[2], status.st_size
        found = f"had {before} bytes and has {now}" if before != now else "was replaced"
        raise ValueError(
            f"{self.path} changed while it was in use: it {found}. It has to stay as "
            "it is; write other data to another file."
        )


def _identity(status):
    """Return what a file cannot change without having changed: place and size."""
    return status.st_dev, status.st_ino, status.st_size


def find_mapping(array):
    """Return the rows of an array as a file holds them, or None.

    Parameters
    ----------
    array : ndarray
        A memory map, or a view of one such as ``check_array`` returns.

    Returns
    -------
    rows : MappedRows or None
        None where the values are not those of a file: an ordinary array, a map that
        copies on writing, a file that has been removed or replaced.

    Raises
    ------
    ValueError
        If the file is shorter than the map.
    """
    root = array
    while isinstance(root, np.ndarray) and not isinstance(root.base, mmap.mmap):
        root = root.base
    if not isinstance(root, np.memmap) or not root.filename or root.mode == "c":
        return None
    if len(array) == 0 or not array[:1].flags.c_contiguous:
        return None
    if not os.path.exists(root.filename):
        return None
    start = root.offset + array.ctypes.data - root.ctypes.data
    rows = MappedRows(root.filename, start, array.strides[0], array.shape, array.dtype)
    # Another file may have come in place of the one that is mapped.
    ends = [0, len(array) - 1]
    found, expected = rows.read(np.array(ends)), array[ends]
    return rows if found.tobytes() == expected.tobytes() else None
