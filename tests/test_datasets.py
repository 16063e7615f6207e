"""Tests of the data set loaders, on small files of the shapes that users have."""

import io
import os
import pickle
import struct
import tarfile

import numpy as np
import pytest
from sklearn.utils import Bunch

from sklgan.datasets import _cifar10, load_cifar10

N_ROWS = 6
TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
BATCHES = [*TRAIN, "test_batch"]


def make_batch(name):
    """Return random rows (6, 3072) uint8 and labels (6,) of the named batch."""
    rng = np.random.default_rng(BATCHES.index(name))
    rows = rng.integers(0, 256, size=(N_ROWS, 3072), dtype=np.uint8)
    return rows, rng.integers(0, 10, size=N_ROWS)


def expected(names):
    """Return the images, channels last, and the labels of the named batches."""
    rows, labels = zip(*(make_batch(name) for name in names), strict=True)
    planes = np.concatenate(rows).reshape(-1, 3, 32, 32)
    return np.stack(list(planes.swapaxes(0, 1)), axis=-1), np.concatenate(labels)


def python2_string(text):
    """Return the opcodes with which Python 2 pickles a str."""
    return b"T" + struct.pack("<i", len(text)) + text


def python2_pickle(rows, labels, *, dtype=b"u1", reconstruct=b"_reconstruct"):
    """Return a batch byte for byte as Python 2 and its NumPy wrote CIFAR-10's."""
    array = (
        b"cnumpy.core.multiarray\n" + reconstruct + b"\ncnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87R(K\x01"
        + b"".join(b"J" + struct.pack("<i", size) for size in rows.shape)
        + b"\x86cnumpy\ndtype\n"
        + python2_string(dtype)
        + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + python2_string(rows.tobytes())
        + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    items = [b"batch_label", b"labels", b"data", b"filenames"]
    values = [python2_string(b"a batch"), numbers, array, b"]"]
    content = b"".join(
        python2_string(item) + value for item, value in zip(items, values, strict=True)
    )
    return b"\x80\x02}(" + content + b"u."


def python3_pickle(rows, labels, *, as_text=False, as_array=False):
    """Return a batch as tools of Python 3 write it, with keys of bytes or of str."""
    labels = labels if as_array else labels.tolist()
    batch = {"labels": labels, "data": rows, "batch_label": "a batch"}
    if not as_text:
        batch = {key.encode(): value for key, value in batch.items()}
    return pickle.dumps(batch, protocol=2)


def binary_batch(rows, labels):
    """Return a batch of the binary version."""
    return np.column_stack([labels.astype(np.uint8), rows]).tobytes()


def write_folder(folder, encode=python2_pickle, suffix=""):
    """Write all six batches into `folder`, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in BATCHES:
        (folder / (name + suffix)).write_bytes(encode(*make_batch(name)))
    return folder


def pack(folder, archive):
    """Pack `folder` into the .tar.gz `archive`, and return it."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.add(folder, arcname=folder.name)
    return archive


@pytest.fixture
def python_folder(tmp_path):
    """Return a folder with the Python version as the original has it."""
    return write_folder(tmp_path / "cifar-10-batches-py")


@pytest.mark.parametrize(
    ("subset", "names"), [("train", TRAIN), ("test", ["test_batch"]), ("all", BATCHES)]
)
def test_load_cifar10_returns_the_subset_channels_last(python_folder, subset, names):
    """Every subset has its batches in order, as images with channels last."""
    images, labels = expected(names)
    dataset = load_cifar10(python_folder, subset=subset)
    np.testing.assert_array_equal(dataset.data, images)
    np.testing.assert_array_equal(dataset.target, labels)
    assert dataset.data.dtype == np.uint8
    assert dataset.data.flags.c_contiguous
    assert dataset.target.dtype == np.int64
    assert dataset.target_names[:2] == ["airplane", "automobile"]
    assert len(dataset.target_names) == 10
    assert "CIFAR-10" in dataset.DESCR


def test_load_cifar10_returns_a_pair_on_request(python_folder):
    """return_X_y=True gives the same arrays without the Bunch."""
    X, y = load_cifar10(python_folder, subset="test", return_X_y=True)
    dataset = load_cifar10(python_folder, subset="test")
    np.testing.assert_array_equal(X, dataset.data)
    np.testing.assert_array_equal(y, dataset.target)


@pytest.mark.parametrize(
    "options", [{}, {"as_text": True}, {"as_array": True}], ids=str
)
def test_load_cifar10_reads_pickles_of_python_3(tmp_path, options):
    """Batches that Python 3 wrote, with any kind of keys and labels, are read."""
    write_folder(tmp_path, lambda X, y: python3_pickle(X, y, **options))
    X, y = load_cifar10(str(tmp_path), return_X_y=True)
    images, labels = expected(TRAIN)
    np.testing.assert_array_equal(X, images)
    np.testing.assert_array_equal(y, labels)


@pytest.mark.parametrize("version", ["python", "binary"])
@pytest.mark.parametrize("place", ["folder", "parent", "archive", "archive's parent"])
def test_load_cifar10_finds_the_files_where_users_have_them(tmp_path, version, place):
    """Folder or archive, named itself or by the folder around it, is found."""
    (tmp_path / "home").mkdir()
    packed = place.startswith("archive")
    parent = tmp_path if packed else tmp_path / "home"
    if version == "python":
        folder = write_folder(parent / "cifar-10-batches-py")
    else:
        folder = write_folder(parent / "cifar-10-batches-bin", binary_batch, ".bin")
    data = (
        pack(folder, tmp_path / f"home/cifar-10-{version}.tar.gz") if packed else folder
    )
    data = data.parent if "parent" in place else data
    for subset, names in (("train", TRAIN), ("test", ["test_batch"])):
        X, y = load_cifar10(data, subset=subset, return_X_y=True)
        images, labels = expected(names)
        np.testing.assert_array_equal(X, images)
        np.testing.assert_array_equal(y, labels)


def test_load_cifar10_extracts_nothing(tmp_path, monkeypatch):
    """Members of an archive with absolute or climbing names write no file."""
    archive = tmp_path / "home" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        for name in BATCHES:
            content = python2_pickle(*make_batch(name))
            member = tarfile.TarInfo(f"../../{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    monkeypatch.chdir(archive.parent)
    before = sorted(tmp_path.rglob("*"))
    assert load_cifar10(archive).data.shape == (5 * N_ROWS, 32, 32, 3)
    assert sorted(tmp_path.rglob("*")) == before


class Attack:
    """An object whose pickle runs a command when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        """Have the unpickler call os.system."""
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("version", ["folder", "archive"])
def test_load_cifar10_never_runs_a_pickle(tmp_path, version):
    """A pickle that would run a command is refused by name, and nothing runs."""
    folder, marker = write_folder(tmp_path / "cifar-10-batches-py"), tmp_path / "ran"
    attack = {b"data": Attack(marker), b"labels": [1]}
    (folder / "data_batch_3").write_bytes(pickle.dumps(attack, protocol=2))
    data = folder
    if version == "archive":
        data = pack(folder, tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(ValueError, match=r"data_batch_3 .*global \w+\.system"):
        load_cifar10(data)
    assert not marker.exists()


def forged_dtype(rows, labels):
    """Return a batch whose dtype is one of objects, the bytes being pointers."""
    return python2_pickle(rows, labels, dtype=b"O8")


TRICKS = {
    "eval": b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
    "python 2 eval": b"\x80\x02c__builtin__\neval\nU\x011\x85R.",
    "old-style instance": b"(S'1'\ni__builtin__\neval\n.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x08os.execv\x93.",
    "another codec": b"\x80\x02c_codecs\nencode\n\x8c\x01a\x8c\x05rot13\x86R.",
    "decoding": b"\x80\x02c_codecs\ndecode\nU\x01aU\x06rot_13\x86R.",
    "an array called directly": b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",
    "numpy's loader": b"\x80\x02cnumpy\nload\nU\x01a\x85R.",
    "a state for a function": b"\x80\x02c_codecs\nencode\n}U\x01aK\x01sb.",
    "a state for a class": b"\x80\x02cnumpy\ndtype\n}U\x01aK\x01sb.",
    "a registered extension": b"\x80\x02\x82\x01.",
    "a persistent id": b"\x80\x02U\x01aQ.",
    "objects": forged_dtype(*make_batch("test_batch")),
    "another function of numpy": python2_pickle(
        *make_batch("test_batch"), reconstruct=b"fromfile"
    ),
    "an array of objects": pickle.dumps(
        {b"data": np.array([[1], [[]]], dtype=object), b"labels": [1, 1]}, protocol=2
    ),
    "no rows": python2_pickle(np.empty((0, 3072), dtype=np.uint8), []),
    "no dict": pickle.dumps([1, 2], protocol=2),
    "no pickle": b"<html>404 Not Found</html>",
    "nothing": b"",
}


@pytest.mark.parametrize("content", TRICKS.values(), ids=TRICKS.keys())
def test_load_cifar10_refuses_any_other_pickle(python_folder, content):
    """Whatever a batch never holds is refused, with the file's name."""
    (python_folder / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match=r"test_batch is not a complete CIFAR-10 file"):
        load_cifar10(python_folder, subset="test")


def test_load_cifar10_refuses_labels_nested_without_end(python_folder):
    """Lists of one list of lists ... are refused at once, not unfolded."""
    labels = [0] * 10
    for _ in range(30):
        labels = [labels] * 10
    batch = {b"data": make_batch("test_batch")[0], b"labels": labels}
    (python_folder / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(ValueError, match="test_batch.*labels are not a list of int"):
        load_cifar10(python_folder, subset="test")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, :-1], y), r"uint8 of shape \(6, 3071\)"),
        (lambda X, y: (X.ravel(), y), r"uint8 of shape \(18432,\)"),
        (lambda X, y: (X.astype("i4"), y), r"int32 of shape \(6, 3072\)"),
        (lambda X, y: (X, y[:-1]), "6 images and 5 labels"),
        (lambda X, y: (X, np.full_like(y, 10)), "span 10 to 10"),
        (lambda X, y: (X, np.full_like(y, -1)), "span -1 to -1"),
        (lambda X, y: (X, y.astype(str)), "not a list of integers"),
        (lambda X, y: (X.astype(float), y), "dtype 'f8'"),
    ],
)
def test_load_cifar10_checks_every_batch(python_folder, change, message):
    """Shapes, dtypes, counts and labels that are wrong are named with the file."""
    content = python3_pickle(*change(*make_batch("test_batch")))
    (python_folder / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match=rf"test_batch is not .*{message}"):
        load_cifar10(python_folder, subset="test")


@pytest.mark.parametrize("length", [1, 100, 10_000, -1])
def test_load_cifar10_names_a_truncated_pickle(python_folder, length):
    """A batch of the Python version that ends too early is named."""
    path = python_folder / "data_batch_4"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="data_batch_4 is not a complete CIFAR-10"):
        load_cifar10(python_folder)


@pytest.mark.parametrize("length", [0, 1000, 3073, -1, -3073])
def test_load_cifar10_names_a_truncated_binary_batch(tmp_path, length):
    """A batch of the binary version is named even if it ends between two rows."""
    folder = write_folder(tmp_path, binary_batch, ".bin")
    path = folder / "data_batch_1.bin"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"data_batch_1\.bin is not a complete CIFAR"):
        load_cifar10(folder)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_load_cifar10_names_a_truncated_archive(python_folder, tmp_path, share):
    """An archive that ends too early, or is none, is named."""
    archive = pack(python_folder, tmp_path / "cifar-10-python.tar.gz")
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cifar-10-python\.tar\.gz .*Get the data"):
        load_cifar10(archive)


@pytest.mark.parametrize("packed", [False, True])
def test_load_cifar10_names_missing_files_and_the_remedy(
    python_folder, tmp_path, packed
):
    """Missing batches are listed, with where to get them."""
    for name in TRAIN[1:3]:
        (python_folder / name).unlink()
    data = python_folder
    if packed:
        data = pack(python_folder, tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(ValueError, match="lacks data_batch_2, data_batch_3 .*https://"):
        load_cifar10(data)
    assert len(load_cifar10(data, subset="test").data) == N_ROWS


def test_load_cifar10_names_a_place_without_files(tmp_path):
    """An empty folder, and a path that is nothing, are refused with the remedy."""
    with pytest.raises(ValueError, match="lacks test_batch .*https://"):
        load_cifar10(tmp_path, subset="test")
    with pytest.raises(ValueError, match="nowhere.* is neither a folder nor a file"):
        load_cifar10(tmp_path / "nowhere")


def test_load_cifar10_refuses_an_unknown_subset(tmp_path):
    """An unknown subset is refused with the names of those there are."""
    with pytest.raises(ValueError, match="'valid' is unknown; choose 'train'"):
        load_cifar10(tmp_path, subset="valid")


def openml_bunch(n_train=50, n_test=10, dtype=np.int64):
    """Return what fetch_openml gives: planes of integers, labels of text."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, size=(n_train + n_test, 3072)).astype(dtype)
    labels = np.r_[np.arange(n_train) % 10, np.arange(n_test) % 10]
    return Bunch(data=rows, target=labels.astype(str).astype(object))


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint8])
def test_openml_rows_become_images(dtype):
    """OpenML's rows are channel planes, training images first."""
    fetched = openml_bunch(dtype=dtype)
    planes = fetched.data.reshape(-1, 3, 32, 32)
    X, y = _cifar10._split_openml(fetched, "all")
    np.testing.assert_array_equal(X[..., 2], planes[:, 2])
    assert X.dtype == np.uint8
    assert y.dtype == np.int64
    X_train, y_train = _cifar10._split_openml(fetched, "train")
    X_test, y_test = _cifar10._split_openml(fetched, "test")
    np.testing.assert_array_equal(np.concatenate([X_train, X_test]), X)
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), y)
    assert len(X_test) == 10


def test_openml_rows_in_another_order_are_refused():
    """A first part with unequal classes is not taken for the training images."""
    fetched = openml_bunch()
    fetched.target = np.sort(fetched.target)
    with pytest.raises(ValueError, match="no longer begins with the training images"):
        _cifar10._split_openml(fetched, "test")
    assert len(_cifar10._split_openml(fetched, "all")[0]) == 60


@pytest.mark.parametrize("value", [-1, 256, 0.5, np.nan])
def test_openml_rows_that_are_no_pixels_are_refused(value):
    """Values that uint8 cannot hold are refused, not wrapped."""
    fetched = openml_bunch(dtype=np.float64)
    fetched.data[3, 3] = value
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        _cifar10._split_openml(fetched, "train")
