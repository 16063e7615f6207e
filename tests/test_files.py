"""Files are there whole, as they were or as they are to be, whatever happens."""

import errno
import os
import time

import numpy as np
import pytest

from sklgan._files import remove_leftovers, write_whole
from sklgan._grid import write_grid


@pytest.fixture
def path(tmp_path):
    """A file that was there before."""
    path = tmp_path / "picture.png"
    path.write_bytes(b"before")
    return path


@pytest.mark.parametrize("shared", [False, True])
def test_ctrl_c_leaves_the_old_file_and_nothing_else(path, monkeypatch, shared):
    """It goes on to the user as what it is."""

    def interrupt(*names):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"after", shared=shared)
    assert path.read_bytes() == b"before"
    assert os.listdir(path.parent) == [path.name]


def test_a_full_disk_leaves_the_old_picture_and_says_what_to_set(path, monkeypatch):
    """By the parameter that the user knows."""

    def fail(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="picture could not.*No space.*as folder") as full:
        write_grid(path, np.zeros((4, 4, 1)), parameter="folder")
    assert full.value.errno == errno.ENOSPC
    assert full.value.filename == str(path)
    assert path.read_bytes() == b"before"
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_that_cannot_be_synced_is_no_error(path, monkeypatch):
    """The file is there; some systems sync no folders."""
    sync, calls = os.fsync, []

    def fail_second(handle):
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fail_second)
    write_whole(path, b"after")
    assert len(calls) == 2
    assert path.read_bytes() == b"after"


def test_processes_that_share_a_file_do_not_share_its_part(path, monkeypatch):
    """Each renames its own; that of a process killed before is in nobody's way."""
    replace, parts = os.replace, []

    def keep(part, target):
        parts.append(part.name)
        replace(part, target)

    monkeypatch.setattr(os, "replace", keep)
    for number in (1, 2):
        monkeypatch.setattr(os, "getpid", lambda number=number: number)
        write_whole(path, b"after", shared=True)
    write_whole(path, b"alone")
    one, two, alone = parts
    assert one.startswith("picture.png.1-")
    assert two.startswith("picture.png.2-")
    assert alone == "picture.png.part"
    assert path.read_bytes() == b"alone"


def test_what_killed_processes_left_is_removed_in_the_end(path):
    """But not what another one may be writing, nor other files."""
    old, new, other = (
        path.with_name(name)
        for name in ("picture.png.1-1.part", "picture.png.2-1.part", "x.1-1.part")
    )
    for part in (old, new, other):
        part.write_bytes(b"some")
    before = time.time() - 700
    for part in (path, old, other):
        os.utime(part, (before, before))
    remove_leftovers(path)
    assert {part.name for part in path.parent.iterdir()} == {
        path.name,
        new.name,
        other.name,
    }
