"""Files that are written whole, or not at all."""

import errno
import glob
import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

# Seconds after which nobody writes to a part that has not grown.
_ABANDONED = 600


def check_folder(path):
    """Return the path of a file that is to be written, if its folder is there."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "There is no folder for this file; make it first", str(path)
        )
    return path


@contextmanager
def whole_file(path, *, shared):
    """Open a binary file that takes its path when all is written and on the disk.

    Whatever breaks in, were it Ctrl-C, leaves what was at the path before. With
    ``shared``, others may be writing the same file: each writes a part of its own,
    which stays there if it is killed, for :func:`remove_leftovers`. Else the next one's
    takes its place.
    """
    own = f".{os.getpid()}-{threading.get_ident()}" if shared else ""
    part = path.with_name(f"{path.name}{own}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def remove_leftovers(path):
    """Remove parts of a file whose writers must have been killed."""
    for part in path.parent.glob(f"{glob.escape(path.name)}*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _ABANDONED:
                part.unlink()


def write_whole(path, data, what="checkpoint", parameter="checkpoint", shared=False):
    """Write a file so that, whatever happens, it is the old one or the new one.

    Parameters
    ----------
    path : Path
        The file.
    data : bytes
        What it is to hold.
    what, parameter : str
        What is written, and what the user told where with, for the message.
    shared : bool
        As for :func:`whole_file`.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is still there.
    """
    try:
        with whole_file(path, shared=shared) as file:
            file.write(data)
    except OSError as error:
        raise OSError(
            error.errno,
            f"The {what} could not be written ({error.strerror}); what was in the "
            "folder before is still there. Make room there or give the right to write, "
            f"or set another folder as {parameter}",
            str(path),
        ) from error
    # Some systems refuse this; the file is there then, if not yet for a power failure.
    with suppress(OSError):
        _sync_folder(path.parent)


def _sync_folder(folder):
    """Let a renaming reach the disk, where the system can be asked for that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
