"""A cache of decoded images: a ``.npy`` file that remembers what it was made from."""

import os

import numpy as np

from sklgan._files import whole_file

# Stands behind the array, where np.load does not look.
_MARK = b"\nsklgan cache of "


def write_cache(path, shape, parts, digest):
    """Write a uint8 array, given in parts, to a ``.npy`` file, whole or not at all.

    Parameters
    ----------
    path : Path
        The file, which gets its name when all is written.
    shape : tuple of int
        Of the whole array.
    parts : iterable of ndarray
        The array, part by part.
    digest : str
        Of the source.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind then.
    """
    if path.suffix != ".npy":
        raise ValueError(f"path={str(path)!r} should end in .npy.")
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    try:
        with whole_file(path, shared=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for part in parts:
                file.write(part.data)
            file.write(_MARK + digest.encode())
    except OSError as error:
        raise OSError(
            error.errno,
            f"The cache could not be written ({error.strerror}), and nothing is left "
            f"of it. It takes {np.prod(shape, dtype=int)} bytes: make room, or name "
            "another folder",
            str(path),
        ) from error


def check_cache(path, digest):
    """Raise ValueError unless a file is what ``write_cache`` wrote for this source."""
    mark = _MARK + digest.encode()
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - len(mark)))
        found = file.read()
    if found == mark:
        return
    if found.startswith(_MARK):
        problem = "was made from other images, or with another image_shape"
    else:
        problem = "is no cache of sklgan's, or was cut"
    raise ValueError(
        f"{path} {problem}. Delete it to have it written anew, or name another file."
    )
