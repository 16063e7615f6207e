"""Rows that are read while training goes on: same results, no threads left behind."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from skorch.callbacks import Callback

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan._mapping import find_mapping
from sklgan._placement import place_rows, read_batches
from sklgan._prefetch import read_ahead
from sklgan._rows import StreamedRows
from sklgan.datasets import ImageFolder


@pytest.fixture
def streamed(monkeypatch):
    """Keep no rows in memory, however few they are."""
    monkeypatch.setattr("sklgan._placement._KEPT_BYTES", 0)


@pytest.fixture
def path(tmp_path, two_colours):
    """Return the path of a file that holds the images."""
    np.save(tmp_path / "images.npy", two_colours[0])
    return tmp_path / "images.npy"


def extractor(**params):
    """Return a small transformer."""
    params = {"n_filters": 4, "max_epochs": 2, "batch_size": 16, **params}
    return DCGANFeatureExtractor(random_state=0, **params)


def readers():
    """Return the threads that read ahead."""
    return [t for t in threading.enumerate() if t.name.startswith("sklgan-read")]


def assert_same_weights(one, other):
    for name in ("generator_", "discriminator_"):
        one_state, other_state = (getattr(x, name).state_dict() for x in (one, other))
        for key in one_state:
            assert_array_equal(one_state[key].cpu(), other_state[key].cpu())


# Reading ahead -------------------------------------------------------------------


def test_results_come_in_order_and_threads_end():
    assert list(read_ahead(lambda x: x * 2, range(100), 8)) == list(range(0, 200, 2))
    assert list(read_ahead(str, [], 8)) == []
    assert readers() == []


def test_no_more_is_read_ahead_than_there_is_room_for():
    begun = []
    # Of 1 GB each: one thread, whatever the number of CPUs.
    results = read_ahead(begun.append, iter(range(100)), 2**30)
    for _ in range(10):
        next(results)
    assert len(readers()) == 1
    results.close()
    assert max(begun) < 10 + 1 + 2
    assert readers() == []


def test_an_error_comes_through_in_its_place():
    results = read_ahead(lambda x: 1 // x, [1, 1, 0, 1], 8)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert readers() == []


# Memory maps ---------------------------------------------------------------------


@pytest.mark.usefixtures("streamed")
def test_a_memory_map_gives_what_the_array_gives(path, two_colours):
    X = np.load(path, mmap_mode="r")
    mapped, plain = extractor().fit(X), extractor().fit(two_colours[0])
    assert_same_weights(mapped, plain)
    assert_array_equal(mapped.transform(X), plain.transform(two_colours[0]))
    assert readers() == []


@pytest.mark.usefixtures("streamed")
def test_labels_go_with_the_rows_of_a_memory_map(path, two_colours):
    y = np.where(np.arange(64) < 20, two_colours[1], -1)
    both = [
        SemiSupervisedGANClassifier(n_filters=4, max_epochs=1, random_state=0).fit(X, y)
        for X in (np.load(path, mmap_mode="r"), two_colours[0])
    ]
    assert_same_weights(*both)
    assert_array_equal(both[0].transduction_, both[1].transduction_)


@pytest.mark.parametrize(
    "view",
    [
        lambda X: X,
        lambda X: X[5:],
        lambda X: X[::3],
        lambda X: X[::-2],
        lambda X: np.asarray(X).reshape(len(X), -1)[7:50],
    ],
)
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_views_of_a_map_are_read_from_the_file(path, view, mode):
    X = view(np.load(path, mmap_mode=mode))
    mapped = find_mapping(X)
    assert mapped is not None
    assert_array_equal(mapped.read(slice(3, 9)), X[3:9])
    assert_array_equal(
        mapped.read(np.array([4, 5, 6, 1, -0, 7])), X[[4, 5, 6, 1, 0, 7]]
    )
    assert mapped.read(slice(0, 0)).shape == (0, *X.shape[1:])


def test_maps_of_part_of_a_raw_file(tmp_path):
    values = np.arange(5000, dtype=np.float32)
    values.tofile(tmp_path / "values.dat")
    X = np.memmap(tmp_path / "values.dat", np.float32, "r", offset=4400, shape=(50, 6))
    assert_array_equal(find_mapping(X).read(slice(None)), X)
    assert_array_equal(X[0], values[1100:1106])


def test_what_is_no_longer_in_the_file_comes_from_memory(path, two_colours):
    changed = np.load(path, mmap_mode="c")
    changed[0] = 0
    for X in (changed, two_colours[0], np.load(path, mmap_mode="r")[[1, 2]]):
        assert find_mapping(X) is None
    assert find_mapping(np.load(path, mmap_mode="r").transpose(0, 2, 1, 3)) is None
    X = np.load(path, mmap_mode="r")
    path.unlink()
    assert find_mapping(X) is None
    np.save(path, two_colours[0][::-1])
    assert find_mapping(X) is None
    assert extractor(max_epochs=1).fit(X).transform(X).shape[0] == 64


def resize(path, n_bytes):
    """Cut a file, or add to it."""
    with open(path, "r+b") as file:
        file.truncate(n_bytes)


class Resize(Callback):
    """Change the size of a file during the first epoch."""

    def __init__(self, path, n_bytes):
        self.path, self.n_bytes = path, n_bytes

    def on_epoch_end(self, net, **kwargs):
        resize(self.path, self.n_bytes)


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("n_bytes", [5000, 50_000])
def test_a_map_whose_file_changes_size_during_fit_is_an_error(path, n_bytes):
    X = np.load(path, mmap_mode="r")
    gan = extractor(max_epochs=3).fit(X)
    before = vars(gan).copy()
    gan.set_params(callbacks=[Resize(path, n_bytes)])
    with pytest.raises(ValueError, match=f"images.npy changed.* and has {n_bytes}"):
        gan.fit(X)
    assert gan.generator_ is before["generator_"]
    assert readers() == []


def test_a_map_that_is_cut_before_the_rows_are_clustered_is_an_error(path):
    """Rows that were kept for training are read again for the objective."""
    gan = CategoricalGANClusterer(
        2, n_filters=4, max_epochs=1, random_state=0, callbacks=[Resize(path, 5000)]
    )
    with pytest.raises(ValueError, match="images.npy has 5000 bytes.*it was cut"):
        gan.fit(np.load(path, mmap_mode="r"))
    assert not hasattr(gan, "labels_")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_map_whose_file_was_cut_is_an_error(path, two_colours, dtype):
    np.save(path, two_colours[0].astype(dtype))
    X = np.load(path, mmap_mode="r")
    gan = extractor(max_epochs=0).fit(X)
    resize(path, 5000)
    for method in (gan.fit, gan.transform):
        with pytest.raises(ValueError, match="has 5000 bytes, but .* are mapped"):
            method(X)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_reading_a_map_takes_no_memory(tmp_path):
    shape = (300, 1000, 1000)
    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.uint8, shape)
    X[:, ::500, ::500] = 1
    X.flush()
    X = np.load(tmp_path / "X.npy", mmap_mode="r").reshape(300, -1)

    def private():
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(x.split()[1]) for x in lines if x.startswith("Private")) / 1024

    before = private()
    for _, batch in read_batches(X, 5):
        assert batch.shape == (5, 1_000_000)
    order = torch.randperm(300)
    rows = StreamedRows(
        lambda index: torch.from_numpy(find_mapping(X).read(index.numpy())),
        X.shape,
        "cpu",
        1_000_000,
    )
    for batch in rows.batches(order.split(5), 5):
        assert batch.sum() == 20
    # Of 300 MB; the threads' arenas hold a few batches of 5, 60 MB on a busy machine.
    assert private() - before < 120


# Errors and interruptions ----------------------------------------------------------


@pytest.fixture
def folder(tmp_path, two_colours):
    """Return a folder with the images."""
    (tmp_path / "images").mkdir()
    for k, image in enumerate(two_colours[0]):
        Image.fromarray(image).save(tmp_path / "images" / f"{k:02}.png")
    return tmp_path / "images"


class Spoil(Callback):
    """Make a file unreadable after the first epoch."""

    def __init__(self, path):
        self.path = path

    def on_epoch_end(self, net, **kwargs):
        self.path.write_bytes(b"no image")


@pytest.mark.usefixtures("streamed")
def test_a_file_that_cannot_be_read_stops_fit_and_is_named(folder, two_colours):
    gan = extractor(max_epochs=1).fit(two_colours[0])
    before = vars(gan).copy()
    gan.set_params(max_epochs=3, callbacks=[Spoil(folder / "33.png")])
    with pytest.raises(ValueError, match=r"33.png' cannot be decoded"):
        gan.fit(ImageFolder(folder))
    assert gan.generator_ is before["generator_"]
    assert gan.history_ is before["history_"]
    assert readers() == []
    with pytest.raises(ValueError, match=r"33.png' cannot be decoded"):
        gan.transform(ImageFolder(folder, image_shape=(8, 8, 3)))
    assert readers() == []


class Interrupt(Callback):
    """Press Ctrl-C in the second epoch."""

    def on_batch_end(self, net, **kwargs):
        if net.n_steps_ == 6:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("streamed")
def test_an_interruption_ends_the_threads_and_keeps_the_epoch(folder):
    gan = extractor(callbacks=[Interrupt()])
    with pytest.raises(KeyboardInterrupt):
        gan.fit(ImageFolder(folder))
    assert readers() == []
    assert gan.n_iter_ == 1


@pytest.mark.usefixtures("streamed")
def test_other_warnings_are_not_hushed(folder):
    class Warn(Callback):
        def on_epoch_begin(self, net, **kwargs):
            import warnings

            warnings.warn("from a callback", UserWarning, stacklevel=1)

    with pytest.warns(UserWarning, match="from a callback"):
        extractor(callbacks=[Warn()]).fit(ImageFolder(folder))


# Where rows lie ------------------------------------------------------------------


def test_rows_in_memory_are_not_copied(two_colours):
    X = two_colours[0].reshape(64, -1)
    rows = place_rows(X, torch.device("cpu"))
    assert rows.data_ptr() == X.ctypes.data


def test_rows_on_disk_are_kept_where_they_are_few(path, monkeypatch):
    X = np.load(path, mmap_mode="r").reshape(64, -1)
    rows = place_rows(X, torch.device("cpu"))
    assert torch.is_tensor(rows)
    assert_array_equal(rows, X)
    monkeypatch.setattr("sklgan._placement._KEPT_BYTES", X.nbytes - 1)
    rows = place_rows(X, torch.device("cpu"))
    assert isinstance(rows, StreamedRows)
    assert_array_equal(rows[torch.tensor([3, 1])], X[[3, 1]])
    assert_array_equal(rows[5:9], X[5:9])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_rows_that_do_not_fit_on_the_card_are_streamed(two_colours, path, monkeypatch):
    fits = extractor(device="cuda").fit(two_colours[0])
    loaded = extractor(device="cuda").fit(np.load(path, mmap_mode="r"))
    monkeypatch.setattr("sklgan._placement._fits", lambda *args, **kwargs: False)
    for X in (two_colours[0], np.load(path, mmap_mode="r")):
        assert_same_weights(extractor(device="cuda").fit(X), fits)
    assert_same_weights(loaded, fits)
    assert readers() == []


# Features in an array of the user's ------------------------------------------------


def test_features_are_written_to_out(path, two_colours, tmp_path):
    X = np.load(path, mmap_mode="r")
    gan = extractor(max_epochs=0).fit(X)
    expected = gan.transform(two_colours[0])
    out = np.lib.format.open_memmap(
        tmp_path / "features.npy", "w+", np.float32, expected.shape
    )
    assert gan.transform(X, out=out) is out
    out.flush()
    assert_array_equal(np.load(tmp_path / "features.npy"), expected)
    wide = np.zeros((64, 2 * expected.shape[1]), np.float32)
    gan.transform(X, wide[:, ::2])
    assert_array_equal(wide[:, ::2], expected)


def test_an_out_that_does_not_fit_is_refused_and_left_alone(two_colours):
    X = two_colours[0]
    gan = extractor(max_epochs=0).fit(X)
    shape = gan.transform(X).shape
    read_only = np.ones(shape, np.float32)
    read_only.flags.writeable = False
    for out, message in [
        (np.ones(shape, np.float64), "dtype float64"),
        (np.ones(shape, ">f4"), "dtype >f4"),
        (np.ones((63, shape[1]), np.float32), r"out has shape \(63, "),
        (read_only, "read-only"),
        (np.ones(shape, np.float32)[::-1], "reversed"),
    ]:
        with pytest.raises(ValueError, match=message):
            gan.transform(X, out=out)
        assert (out == 1).all()
    with pytest.raises(TypeError, match="out is list"):
        gan.transform(X, out=[])


def test_set_output_and_routing_do_not_mind_out(two_colours):
    X = two_colours[0]
    gan = extractor(max_epochs=0).set_output(transform="pandas")
    features = gan.fit_transform(X)
    assert list(features.columns) == gan.get_feature_names_out().tolist()
    assert not hasattr(gan, "set_transform_request")
