"""Tests of the MNIST loader, on small idx files of the shapes that users have."""

import gzip
import struct

import numpy as np
import pytest

from sklgan.datasets import load_mnist

SIZES = {"train": 6, "t10k": 4}
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def make_part(part):
    """Return random images (n, 28, 28) uint8 and labels (n,) of one part."""
    rng = np.random.default_rng(SIZES[part])
    images = rng.integers(0, 256, size=(SIZES[part], 28, 28), dtype=np.uint8)
    return images, rng.integers(0, 10, size=SIZES[part])


def idx_bytes(array):
    """Return an array as an idx file of unsigned bytes holds it."""
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_folder(folder, *, packed=False):
    """Write all four files into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in SIZES:
        images, labels = make_part(part)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content, name = idx_bytes(array), f"{part}-{kind}-ubyte"
            if packed:
                content, name = gzip.compress(content), f"{name}.gz"
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the four files, not packed."""
    return write_folder(tmp_path / "mnist")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("subset", "parts"),
    [("train", ["train"]), ("test", ["t10k"]), ("all", ["train", "t10k"])],
)
def test_load_mnist_returns_the_subset(tmp_path, packed, subset, parts):
    """Every subset has its parts in order, packed or not, as arrays of one's own."""
    write_folder(tmp_path, packed=packed)
    images, labels = zip(*map(make_part, parts), strict=True)
    dataset = load_mnist(tmp_path, subset=subset)
    np.testing.assert_array_equal(dataset.data, np.concatenate(images))
    np.testing.assert_array_equal(dataset.target, np.concatenate(labels))
    assert dataset.data.dtype == np.uint8
    assert dataset.target.dtype == np.int64
    assert dataset.data.flags.writeable
    assert dataset.target_names == list("0123456789")
    assert "MNIST" in dataset.DESCR


def test_load_mnist_returns_a_pair_on_request(folder):
    """return_X_y=True gives the same arrays without the Bunch."""
    X, y = load_mnist(str(folder), subset="test", return_X_y=True)
    dataset = load_mnist(folder, subset="test")
    np.testing.assert_array_equal(X, dataset.data)
    np.testing.assert_array_equal(y, dataset.target)


def test_load_mnist_finds_torchvisions_files(tmp_path):
    """The folder that torchvision was given will do."""
    write_folder(tmp_path / "MNIST" / "raw")
    X = load_mnist(tmp_path, subset="test").data
    np.testing.assert_array_equal(X, make_part("t10k")[0])


def test_load_mnist_goes_by_what_a_file_holds(folder):
    """A file may have been unpacked on the way, or not, whatever its name says."""
    (folder / IMAGES).rename(folder / f"{IMAGES}.gz")
    labels = folder / LABELS
    labels.write_bytes(gzip.compress(labels.read_bytes()))
    images, target = make_part("train")
    dataset = load_mnist(folder)
    np.testing.assert_array_equal(dataset.data, images)
    np.testing.assert_array_equal(dataset.target, target)


def test_load_mnist_names_missing_files_and_the_remedy(folder):
    """What is missing is listed, with where to get it; the other part is not needed."""
    (folder / IMAGES).unlink()
    with pytest.raises(ValueError, match=rf"lacks {IMAGES} .*{IMAGES}\.gz .*https://"):
        load_mnist(folder)
    assert len(load_mnist(folder, subset="test").data) == SIZES["t10k"]


def test_load_mnist_names_a_place_without_files(tmp_path):
    """An empty folder, and a path that is none, are refused with the remedy."""
    with pytest.raises(ValueError, match=rf"lacks {IMAGES}, {LABELS} .*https://"):
        load_mnist(tmp_path)
    with pytest.raises(ValueError, match="nowhere.* is not a folder.*https://"):
        load_mnist(tmp_path / "nowhere")


@pytest.mark.parametrize("length", [0, 3, 15, 100, -1])
def test_load_mnist_names_a_truncated_file(folder, length):
    """A file that ends too early, within its header or after it, is named."""
    path = folder / IMAGES
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=f"{IMAGES} is not a complete.*truncated"):
        load_mnist(folder)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_load_mnist_names_a_truncated_gzip_file(tmp_path, share):
    """So is a packed file that ends too early."""
    path = write_folder(tmp_path, packed=True) / f"{LABELS}.gz"
    content = path.read_bytes()
    path.write_bytes(content[: max(2, int(share * len(content)))])
    with pytest.raises(ValueError, match=rf"{LABELS}\.gz is not .*truncated"):
        load_mnist(tmp_path)


@pytest.mark.parametrize("position", [12, 40])
def test_load_mnist_names_a_damaged_gzip_file(tmp_path, position):
    """A flipped byte is found by gzip's own checks."""
    path = write_folder(tmp_path, packed=True) / f"{IMAGES}.gz"
    content = bytearray(path.read_bytes())
    content[position] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{IMAGES}\.gz is not a complete MNIST"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, b"<html>404 Not Found</html>", "begins with 0x3c68746d, not with"),
        (IMAGES, idx_bytes(np.zeros(6)) + bytes(16), "0x00000801, not with 0x00000803"),
        (LABELS, idx_bytes(np.zeros((6, 28, 28))), "0x00000803, not with 0x00000801"),
        (LABELS, idx_bytes(np.zeros(6)) + b"\0", r"7 bytes are not the 6 of .*\(6,\)"),
        (LABELS, idx_bytes(np.zeros(5)), "5 labels for 6 images"),
        (LABELS, idx_bytes(np.full(6, 10)), "labels go up to 10"),
        (IMAGES, idx_bytes(np.zeros((6, 8, 8))), r"of shape \(6, 8, 8\)"),
        (IMAGES, idx_bytes(np.zeros((0, 28, 28))), r"of shape \(0, 28, 28\)"),
    ],
)
def test_load_mnist_checks_every_file(folder, name, content, message):
    """Magic numbers, lengths, shapes and labels that are wrong are named."""
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is not a .*{message}.*https://"):
        load_mnist(folder)


def test_load_mnist_stops_unpacking_what_has_no_end(folder):
    """A small file that unpacks to far more than MNIST is refused."""
    content = idx_bytes(np.zeros((6, 28, 28))) + bytes(2**27)
    (folder / IMAGES).write_bytes(gzip.compress(content, compresslevel=1))
    with pytest.raises(ValueError, match=f"{IMAGES} is not .*are too many"):
        load_mnist(folder)


def test_load_mnist_refuses_an_unknown_subset(folder):
    """An unknown subset is refused with the names of those there are."""
    with pytest.raises(ValueError, match="'valid' is unknown; choose 'train'"):
        load_mnist(folder, subset="valid")
