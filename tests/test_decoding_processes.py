"""Images decoded by processes: the same pixels and errors, and nothing left behind."""

import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from sklgan import DCGANFeatureExtractor, _decoding_processes
from sklgan._decoding_processes import check_n_jobs, decode_in_processes
from sklgan._placement import read_batches
from sklgan.datasets import ImageFolder, ParquetImages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of 30 images."""
    path = tmp_path_factory.mktemp("images")
    images = np.random.default_rng(0).integers(256, size=(30, 8, 8, 3), dtype=np.uint8)
    for k, image in enumerate(images):
        Image.fromarray(image).save(path / f"{k:02}.png")
    return path


def pool():
    """Return the pool of two processes that all tests use."""
    return _decoding_processes._get_pool(2)


def test_processes_decode_what_threads_decode(folder, monkeypatch):
    expected = np.asarray(ImageFolder(folder))
    images = ImageFolder(folder, n_jobs=2)
    assert_array_equal(np.asarray(images), expected)
    assert_array_equal(images[[7, 3, 20]].decode(), expected[[7, 3, 20]])
    assert_array_equal(images[5], expected[5])
    batches = list(read_batches(images.reshape(30, -1), 4))
    # All of them are held: none may lie in the memory of another.
    for rows, batch in batches:
        assert_array_equal(batch, expected[rows].reshape(len(batch), -1))
    monkeypatch.setattr("sklgan._placement._KEPT_BYTES", 0)
    gans = [
        DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0).fit(X)
        for X in (images, expected)
    ]
    assert_array_equal(*(gan.transform(expected) for gan in gans))
    assert_array_equal(gans[0].transform(images), gans[1].transform(expected))


def test_memory_is_used_again_and_given_back(folder, monkeypatch):
    X = ImageFolder(folder, n_jobs=2).reshape(30, -1)
    before = len(os.listdir(pool().folder))
    for _ in range(3):
        collections.deque(read_batches(X, 2), maxlen=0)
    # Three threads, two results in waiting, and the one that is looked at.
    assert 0 < len(os.listdir(pool().folder)) <= max(before, 6)
    # Where nothing may be kept, memory goes with the arrays in it.
    monkeypatch.setattr(_decoding_processes, "_KEPT_BYTES", 0)
    while pool().free:
        pool().free.pop().remove()
    held = [batch for _, batch in read_batches(X, 30)]
    assert len(os.listdir(pool().folder)) == 1
    del held
    assert os.listdir(pool().folder) == []


def test_errors_come_through_by_name(folder, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    images = ImageFolder(tmp_path, image_shape=(8, 8, 3), n_jobs=2)
    with pytest.raises(ValueError, match=r"1\.png' cannot be decoded: it is not an im"):
        images.decode()
    n_slots = len(os.listdir(pool().folder))
    with pytest.raises(ValueError, match=r"1\.png' cannot be decoded"):
        images.decode()
    assert len(os.listdir(pool().folder)) == n_slots
    Image.new("RGB", (9, 8)).save(tmp_path / "1.png")
    with pytest.raises(ValueError, match="different sizes"):
        decode_in_processes(
            [str(tmp_path / "1.png")], [0], (8, 8, 3), fit=False, n_processes=2
        )
    assert len(os.listdir(pool().folder)) == n_slots
    # Pillow's settings are those of this process.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"00\.png' .* a decompression bomb"):
        ImageFolder(folder, image_shape=(8, 8, 3), n_jobs=2).decode()


class Deadly:
    """Ends the process that is given it."""

    def __reduce__(self):
        return os._exit, (1,)


def test_a_process_that_dies_is_an_error_and_not_the_end(folder):
    paths = [str(path) for path in sorted(folder.iterdir())]
    shape = {"image_shape": (8, 8, 3), "fit": True, "n_processes": 2}
    with pytest.raises(RuntimeError, match="One of 2 processes that decode images has"):
        decode_in_processes([paths[0], Deadly()], [0, 1], **shape)
    images = decode_in_processes(paths, range(30), **shape)
    assert_array_equal(images, np.asarray(ImageFolder(folder)))


KILLED = """
import os, signal, sys
from sklgan import _decoding_processes
from sklgan.datasets import ImageFolder
_decoding_processes._PATIENCE = 1  # of the processes that outlive this one
ImageFolder(sys.argv[1], n_jobs=1).decode()
print(_decoding_processes._get_pool(1).folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL if sys.argv[2] == "kill" else 0)
"""


@pytest.mark.parametrize(
    "end", [pytest.param("kill", marks=pytest.mark.slow), "return"]
)
def test_no_memory_is_left_behind(folder, end):
    command = [sys.executable, "-c", KILLED, str(folder), end]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if end == "kill" else 0), done.stderr
    if end == "return":
        assert "Warning" not in done.stderr
    shared = Path(done.stdout.strip())
    deadline = time.monotonic() + 60
    while shared.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert shared.name.startswith("sklgan-")
    assert not shared.exists()


def test_little_shared_memory_is_left_alone(tmp_path, monkeypatch):
    """As in a container: temporary files take its place."""
    monkeypatch.setattr(_decoding_processes, "_MEMORY", tmp_path)
    assert _decoding_processes._find_memory() == tmp_path
    monkeypatch.setattr(_decoding_processes, "_ENOUGH_BYTES", 2**63)
    assert _decoding_processes._find_memory() is None
    monkeypatch.setattr(_decoding_processes, "_MEMORY", tmp_path / "none")
    assert _decoding_processes._find_memory() is None


def test_workers_decode_in_threads(folder, monkeypatch):
    """Each of them would begin as many processes, and some may begin none."""
    monkeypatch.setattr("sklgan._sequences.parent_process", lambda: "a parent")
    monkeypatch.setattr("sklgan._sequences.decode_in_processes", None)
    images = ImageFolder(folder, n_jobs=2)
    assert images.n_readers is None
    assert_array_equal(np.asarray(images), np.asarray(ImageFolder(folder)))


def test_processes_that_ended_while_idle_are_replaced(folder):
    """As by Ctrl-C, which a terminal sends to all of them."""
    images = ImageFolder(folder, n_jobs=2)
    expected = images.decode()
    for process in list(pool().executor._processes):
        os.kill(process, signal.SIGKILL)
    assert_array_equal(images.decode(), expected)


def test_no_images_need_no_process(folder):
    assert ImageFolder(folder, n_jobs=2)[:0].decode().shape == (0, 8, 8, 3)
    assert decode_in_processes([], [], (8, 8, 3), fit=True, n_processes=2).shape == (
        0,
        8,
        8,
        3,
    )


def test_pools_stand_side_by_side(folder):
    one, two = (ImageFolder(folder, n_jobs=n).decode() for n in (1, 2))
    assert_array_equal(one, two)
    pools = [_decoding_processes._get_pool(n) for n in (1, 2)]
    assert pools[0] is not pools[1]
    assert pools[1] is pool()


def test_little_stays_mapped_by_the_processes(folder):
    """joblib ends workers whose memory grows."""
    paths = [str(path) for path in sorted(folder.iterdir())]
    shape = {"fit": True, "n_processes": 1}
    held = [
        decode_in_processes(paths, range(30), (300 + k, 300, 3), **shape)
        for k in range(12)
    ]
    assert sum(images.nbytes for images in held) > 90e6
    (worker,) = _decoding_processes._get_pool(1).executor._processes
    maps = Path(f"/proc/{worker}/maps")
    if maps.exists():
        mapped = [line for line in maps.read_text().splitlines() if "sklgan-" in line]
        ends = [line.split()[0].split("-") for line in mapped]
        assert 0 < sum(int(stop, 16) - int(start, 16) for start, stop in ends) <= 2**26


def test_n_jobs(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(_decoding_processes, "cpu_count", lambda: 4)
    assert [check_n_jobs(n) for n in (None, np.int64(3), -1, -2, -9)] == [
        *(None, 3, 4, 3, 1)
    ]
    for wrong in (0, 1.5, "2", True):
        with pytest.raises(ValueError, match=r"n_jobs=.* should be a positive number"):
            ImageFolder(folder, n_jobs=wrong)


def test_parquet_files_are_decoded_by_processes_too(folder, tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    files = [{"bytes": path.read_bytes()} for path in sorted(folder.iterdir())]
    parquet.write_table(pa.table({"image": files}), tmp_path / "images.parquet")
    images = ParquetImages(tmp_path / "images.parquet", n_jobs=2)
    assert_array_equal(np.asarray(images), np.asarray(ImageFolder(folder)))
