"""Pictures decoded by other processes, whose interpreters do not wait for this one's.

Pillow needs Python's lock for about a third of the time of a small picture, so that
threads hold each other up. Processes write pixels into memory that all share: through a
pipe they would be copied three times.
"""

import ctypes
import mmap
import os
import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict, deque
from contextlib import suppress
from itertools import count
from math import prod
from numbers import Integral
from pathlib import Path

import numpy as np
from joblib import cpu_count
from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker

from sklgan._decoding import (
    decode_rows,
    pillow_limits,
    quiet_pillow,
    set_pillow_limits,
)

# Seconds after which a process that has nothing to do ends.
_PATIENCE = 60

# Bytes of shared memory that stay for the next pictures.
_KEPT_BYTES = 2**28

# Where files lie in memory, on Linux; containers may have next to none of it.
_MEMORY, _ENOUGH_BYTES = Path("/dev/shm"), 2**30

# In a process that decodes: slots it has mapped, up to so many bytes.
_MAPPED, _MAPPED_BYTES = OrderedDict(), 2**26

# Pools by process and number of processes, and a lock for threads that want one.
_POOLS, _LOCK = {}, threading.Lock()


def check_n_jobs(n_jobs):
    """Return the number of processes that n_jobs asks for, or None for threads.

    Raises
    ------
    ValueError
        If it is no such number.
    """
    if n_jobs is None:
        return None
    whole = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool)
    if not whole or n_jobs == 0:
        raise ValueError(
            f"n_jobs={n_jobs!r} should be a positive number of processes, -1 for as "
            "many as there are CPUs, or None for threads of this process."
        )
    return int(n_jobs) if n_jobs > 0 else max(1, cpu_count() + 1 + int(n_jobs))


def decode_in_processes(pictures, rows, image_shape, *, fit, n_processes):
    """Do what ``decode_rows`` does, in one of so many processes; this thread waits.

    For several processes to work, several threads have to call it.

    Raises
    ------
    RuntimeError
        If the process has died.
    """
    if len(pictures) == 0:
        return decode_rows(pictures, rows, image_shape, fit=fit)
    # An idle process may have been ended, as by Ctrl-C: that is not its task's fault.
    for is_last in (False, True):
        pool = _get_pool(n_processes)
        try:
            return pool.decode(pictures, rows, image_shape, fit)
        except BrokenProcessPool as error:
            _forget_pool(n_processes, pool)
            if is_last:
                raise RuntimeError(
                    f"One of {n_processes} processes that decode images has died, "
                    "perhaps for want of memory. Use fewer, or threads: n_jobs=None."
                ) from error


def _get_pool(n_processes):
    """Return the pool of this process; one that has been forked begins its own."""
    key = os.getpid(), n_processes
    with _LOCK:
        if key not in _POOLS:
            _POOLS[key] = _Pool(n_processes)
        return _POOLS[key]


def _forget_pool(n_processes, pool):
    """Let the next task have a new pool, unless another thread has seen to that."""
    key = os.getpid(), n_processes
    with _LOCK:
        if _POOLS.get(key) is pool:
            del _POOLS[key]


class _Slot:
    """A file of so many bytes, mapped to memory."""

    def __init__(self, path, n_bytes):
        self.path, self.n_bytes = path, n_bytes
        try:
            with open(path, "w+b") as file:
                file.truncate(n_bytes)
                if hasattr(os, "posix_fallocate"):
                    # Too little room is an error here; later it would kill who writes.
                    os.posix_fallocate(file.fileno(), 0, n_bytes)
                self.map = mmap.mmap(file.fileno(), n_bytes)
        except OSError as error:
            self.remove()
            raise OSError(
                f"{n_bytes} bytes for decoded images cannot be had in "
                f"{os.path.dirname(path)}: {error.strerror}. Make room there, or use "
                "threads: n_jobs=None."
            ) from error

    def remove(self):
        """Give the memory back, once no array lies in it any more."""
        with suppress(OSError):  # the folder may have gone before, as Python ends
            os.remove(self.path)


class _Pool:
    """Processes, and the memory that is shared with them.

    The memory is used again and again: the system takes longer to find new memory than
    a process to decode into it.
    """

    def __init__(self, n_processes):
        self.process = os.getpid()
        self.executor = ProcessPoolExecutor(n_processes, timeout=_PATIENCE)
        self.folder = tempfile.mkdtemp(prefix="sklgan-", dir=_find_memory())
        # joblib's own process removes the folder if this one is killed.
        resource_tracker.register(self.folder, "folder")
        weakref.finalize(self, _remove_folder, self.folder, self.process)
        # Appending and popping need no lock: arrays may end in any thread.
        self.free, self.numbers = deque(), count()

    def decode(self, pictures, rows, image_shape, fit):
        """Return pictures as an array that another process has filled."""
        shape = (len(pictures), *image_shape)
        slot = self.take(prod(shape))
        task = _decode_into, slot.path, shape, pictures, rows, fit, pillow_limits()
        try:
            self.executor.submit(*task).result()
        except ValueError:  # of the pictures: the process has done with the slot
            self.give_back(slot)
            raise
        return self.lend(slot, shape)

    def take(self, n_bytes):
        """Return a slot of at least so many bytes."""
        with suppress(IndexError):  # none is left
            while True:
                slot = self.free.popleft()
                if slot.n_bytes >= n_bytes:
                    return slot
                slot.remove()
        path = os.path.join(self.folder, str(next(self.numbers)))
        return _Slot(path, n_bytes)

    def lend(self, slot, shape):
        """Return an array in a slot, which is free again when nothing refers to it."""
        # Views of arrays refer to what the first of them lies in.
        owner = (ctypes.c_ubyte * prod(shape)).from_buffer(slot.map)
        weakref.finalize(owner, self.give_back, slot).atexit = False
        return np.frombuffer(owner, np.uint8).reshape(shape)

    def give_back(self, slot):
        """Take a slot that nobody uses any more."""
        if os.getpid() != self.process:  # a copy of it, which has been forked
            return
        # As if all were of its size: another may come back while they are added up.
        if len(self.free) * slot.n_bytes < _KEPT_BYTES:
            self.free.append(slot)
        else:
            slot.remove()


def _find_memory():
    """Return the folder of files in memory; None, for that of other temporary files."""
    usable = os.access(_MEMORY, os.W_OK)
    usable = usable and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES
    return _MEMORY if usable else None


def _remove_folder(folder, process):
    """Remove a pool's folder with all slots, unless this is a fork of its process."""
    if os.getpid() != process:
        return
    shutil.rmtree(folder, ignore_errors=True)
    resource_tracker.unregister(folder, "folder")


def _decode_into(path, shape, pictures, rows, fit, limits):
    """Decode pictures into a slot; what another process does."""
    set_pillow_limits(limits)
    images = np.frombuffer(_map_slot(path), np.uint8, prod(shape)).reshape(shape)
    with quiet_pillow():
        decode_rows(pictures, rows, shape[1:], fit=fit, out=images)


def _map_slot(path):
    """Return the memory of another process's slot; the last ones stay mapped.

    Few of them: they count as memory of this process, which joblib ends where that has
    grown by 300 MB, and are not given back when the slot has been removed.
    """
    memory = _MAPPED.pop(path, None)
    if memory is None:
        with open(path, "r+b") as file:
            memory = mmap.mmap(file.fileno(), 0)
    _MAPPED[path] = memory
    while sum(map(len, _MAPPED.values())) > _MAPPED_BYTES:
        _MAPPED.popitem(last=False)
    return memory
