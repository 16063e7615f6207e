"""Folders, tables and caches of images: what they are, and what is wrong with them."""

import os
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from image_files import Dataset, encode, write_parquet
from numpy.testing import assert_array_equal
from PIL import Image
from pyarrow import parquet

from sklgan.datasets import HuggingFaceImages, ImageFolder, NpyImages, ParquetImages


@pytest.fixture
def X():
    """Return 64 different images."""
    return np.random.default_rng(0).integers(256, size=(64, 8, 8, 3)).astype(np.uint8)


# A folder ------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three images in each of two classes and without one."""
    for number, name in enumerate(("cat", "dog", "unlabeled")):
        (tmp_path / name).mkdir()
        for k in range(3):
            image = np.full((6, 8, 3), 50 * number + k, np.uint8)
            Image.fromarray(image).save(tmp_path / name / f"{k}.png")
    return tmp_path


def test_sub_folders_are_classes(folder):
    (folder / "dog" / "notes.txt").write_text("no image")
    (folder / "dog" / ".hidden.png").write_text("no image")
    (folder / "dog" / "puppies").mkdir()
    Image.new("L", (8, 6)).save(folder / "dog" / "puppies" / "small.JPG")
    images = ImageFolder(folder)
    assert images.shape == (10, 6, 8, 3)
    assert images.y.tolist() == ["cat"] * 3 + ["dog"] * 4 + [-1] * 3
    assert images.classes.tolist() == ["cat", "dog"]
    assert images.paths[6] == str(folder / "dog" / "puppies" / "small.JPG")
    assert repr(images[:2]) == "<ImageFolder of shape (2, 6, 8, 3)>"


def test_classes_are_integers_where_all_names_are(folder):
    (folder / "cat").rename(folder / "10")
    (folder / "dog").rename(folder / "9")
    y = ImageFolder(folder).y
    assert y.tolist() == [10] * 3 + [9] * 3 + [-1] * 3
    assert y.dtype == np.int64
    (folder / "9").rename(folder / "010")
    assert set(ImageFolder(folder).y) == {"10", "010", -1}
    (folder / "10").rename(folder / "-1")
    with pytest.raises(ValueError, match="Rename it to unlabeled"):
        ImageFolder(folder)


def test_a_folder_without_sub_folders_has_no_labels(folder):
    images = ImageFolder(folder / "cat")
    assert images.y is None
    assert images.classes is None
    assert images[1:].y is None


def test_a_folder_without_images_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(ValueError, match="holds no images"):
        ImageFolder(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        ImageFolder(tmp_path / "notes.txt")


def test_images_beside_classes_are_an_error(folder):
    Image.new("L", (8, 6)).save(folder / "lost.png")
    with pytest.raises(ValueError, match=r"lost.png.*Move those without a class"):
        ImageFolder(folder)


def test_mixed_sizes_and_modes_need_an_image_shape(folder):
    Image.new("RGBA", (20, 10), (9, 8, 7, 255)).save(folder / "cat" / "3.png")
    Image.new("1", (5, 5)).save(folder / "dog" / "3.png")
    with pytest.raises(ValueError, match=r"different sizes.*Set image_shape"):
        ImageFolder(folder)
    images = ImageFolder(folder, image_shape=(4, 4, 3))
    assert images.shape == (11, 4, 4, 3)
    assert images[3].tolist() == [[[9, 8, 7]] * 4] * 4
    assert ImageFolder(folder, image_shape=(4, 4)).shape == (11, 4, 4, 1)


def test_modes_of_one_size_become_one(folder):
    Image.new("L", (8, 6), 3).save(folder / "cat" / "3.png")
    assert ImageFolder(folder)[3].tolist() == [[[3, 3, 3]] * 8] * 6
    Image.new("LA", (8, 6), (3, 0)).save(folder / "cat" / "4.png")
    assert ImageFolder(folder).shape == (11, 6, 8, 4)


def test_more_than_8_bits_are_refused(folder):
    image = Image.fromarray(np.full((6, 8), 1000, np.uint16))
    image.save(folder / "cat" / "deep.png")
    for options in ({}, {"image_shape": (4, 4, 3)}, {"on_error": "skip"}):
        with pytest.raises(ValueError, match=r"deep.png.*more than 8 bits"):
            np.asarray(ImageFolder(folder, **options))


def cut(path):
    """Leave half of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def test_an_unreadable_file_is_named(folder):
    path = folder / "dog" / "1.png"
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"dog/1.png' cannot be decoded"):
        ImageFolder(folder)
    images = ImageFolder(folder, image_shape=(6, 8, 3))
    assert images[3].shape == (6, 8, 3)
    with pytest.raises(ValueError, match=r"dog/1.png' cannot be decoded"):
        images[4]
    path.unlink()
    with pytest.raises(ValueError, match="there is no such file"):
        images.decode()


@pytest.mark.parametrize("image_shape", [None, (4, 4, 3)])
def test_skip_leaves_unreadable_files_out_and_warns_once(folder, image_shape):
    (folder / "dog" / "1.png").write_bytes(b"no image")
    rng = np.random.default_rng(0)
    noise = rng.integers(256, size=(6, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "cat" / "2.png")
    cut(folder / "cat" / "2.png")
    with pytest.warns(UserWarning, match="2 of 9 images") as warned:
        images = ImageFolder(folder, image_shape=image_shape, on_error="skip")
    assert len(warned) == 1
    assert warned[0].filename == __file__
    assert images.n_skipped == 2
    assert images.y.tolist() == ["cat"] * 2 + ["dog"] * 2 + [-1] * 3
    assert np.asarray(images)[:, 0, 0, 0].tolist() == [0, 1, 50, 52, 100, 101, 102]


def test_skip_of_all_is_an_error(tmp_path):
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match="cannot be decoded"):
        ImageFolder(tmp_path, on_error="skip")
    with pytest.raises(ValueError, match="should be 'raise' or 'skip'"):
        ImageFolder(tmp_path, on_error="ignore")


# Parquet -------------------------------------------------------------------------


def test_several_files_and_a_plain_column(X, tmp_path):
    for k in range(3):
        cells = [encode(x) for x in X[4 * k : 4 * k + 4]]
        table = pyarrow.table({"picture": cells, "name": list("abc") + [None]})
        parquet.write_table(table, tmp_path / f"{k}.parquet", row_group_size=3)
    for path in (tmp_path, sorted(tmp_path.glob("*.parquet"))):
        images = ParquetImages(path, label_column="name")
        assert_array_equal(np.asarray(images[::-1]), X[11::-1])
        assert images.y.tolist() == ["a", "b", "c", -1] * 3


def test_a_file_without_an_image_column_is_an_error(tmp_path):
    path = tmp_path / "table.parquet"
    parquet.write_table(pyarrow.table({"a": [1, 2], "text": ["x", "y"]}), path)
    with pytest.raises(ValueError, match=r"no column.*a \(int64\), text \(string\)"):
        ParquetImages(path)
    with pytest.raises(ValueError, match="image_column='text'.* holds string"):
        ParquetImages(path, image_column="text")
    with pytest.raises(ValueError, match="image_column='b' is not among the columns"):
        ParquetImages(path, image_column="b")


def test_which_of_two_image_columns_has_to_be_said(tmp_path):
    path = tmp_path / "table.parquet"
    cells = [[encode(np.full((4, 4), k, np.uint8))] for k in (1, 2)]
    parquet.write_table(pyarrow.table({"a": cells[0], "b": cells[1]}), path)
    with pytest.raises(ValueError, match="several columns of images: a, b"):
        ParquetImages(path)
    assert ParquetImages(path, image_column="b")[0][0, 0] == 2


def test_rows_that_cannot_be_decoded_are_named(tmp_path):
    path = tmp_path / "table.parquet"
    good = encode(np.zeros((4, 4, 3), np.uint8))
    cells = [
        {"bytes": good, "path": None},
        {"bytes": b"no image", "path": "bad.png"},
        None,
    ]
    parquet.write_table(pyarrow.table({"image": cells}), path)
    images = ParquetImages(path, image_shape=(4, 4, 3))
    with pytest.raises(ValueError, match=r"Row 1 of .*table.parquet \(bad.png\)"):
        images[1]
    with pytest.raises(ValueError, match=r"Row 2 of .*table.parquet has no image"):
        images[2]
    with pytest.warns(UserWarning, match="2 of 3 images"):
        assert len(ParquetImages(path, on_error="skip")) == 1


def test_images_beside_the_file_are_found_by_their_path(tmp_path):
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "1.png")
    cells = [{"bytes": None, "path": "1.png"}] * 2
    schema = pyarrow.schema(
        {"image": pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})}
    )
    table = pyarrow.table({"image": cells}, schema=schema)
    parquet.write_table(table, tmp_path / "table.parquet")
    images = ParquetImages(tmp_path / "table.parquet")
    assert images[0][0, 0].tolist() == [1, 2, 3]


def test_row_groups_are_read_when_needed(tmp_path, monkeypatch):
    """A damaged row group hurts nobody who does not ask for it."""
    images = np.random.default_rng(0).integers(256, size=(8, 16, 16, 3))
    images = images.astype(np.uint8)
    path = write_parquet(
        tmp_path / "1.parquet", images, row_group_size=2, compression="none"
    )
    column = parquet.ParquetFile(path).metadata.row_group(3).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 30] = b"\xff" * 30
    path.write_bytes(data)
    lazy = ParquetImages(path, image_shape=(16, 16, 3))
    monkeypatch.setattr("sklgan.datasets._parquet._KEPT_BYTES", 0)
    assert_array_equal(lazy.decode([5, 0, 3]), images[[5, 0, 3]])
    with pytest.raises(ValueError, match=r"Row group 3 of .*1.parquet cannot be read"):
        lazy.decode([5, 6])


def test_files_that_are_none(tmp_path):
    (tmp_path / "1.parquet").write_bytes(b"no Parquet")
    with pytest.raises(ValueError, match="is no whole Parquet file"):
        ParquetImages(tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="there is no such file"):
        ParquetImages(tmp_path / "2.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="holds no files"):
        ParquetImages(tmp_path / "folder")
    with pytest.raises(ValueError, match="empty list"):
        ParquetImages([])
    write_parquet(tmp_path / "3.parquet", np.zeros((0, 4, 4), np.uint8), [])
    with pytest.raises(ValueError, match="no column of images|has no rows"):
        ParquetImages(tmp_path / "3.parquet")


def test_files_of_other_tables_are_refused(X, tmp_path):
    write_parquet(tmp_path / "1.parquet", X[:2])
    parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "2.parquet")
    with pytest.raises(ValueError, match="2.parquet has no column 'image' of images"):
        ParquetImages(tmp_path)


# Hugging Face ----------------------------------------------------------------------


def test_encoded_rows_of_a_dataset(X, tmp_path):
    X = X[:4]
    Image.fromarray(X[3]).save(tmp_path / "3.png")
    cells = [{"bytes": encode(x), "path": None} for x in X[:3]]
    cells.append({"bytes": None, "path": str(tmp_path / "3.png")})
    dataset = Dataset(text=list("abcd"), image=cells, label=[0, 1, None, 1])
    images = HuggingFaceImages(dataset, label_column="label")
    assert_array_equal(np.asarray(images), X)
    assert images.y.tolist() == [0, 1, -1, 1]


def test_a_row_of_a_dataset_that_cannot_be_decoded_is_named(X):
    cells = [encode(x) for x in X[:5]]
    cells[3] = b"no image"
    dataset = Dataset(image=cells)
    with pytest.raises(ValueError, match="Row 3 of the data set cannot be decoded"):
        HuggingFaceImages(dataset)
    with pytest.warns(UserWarning, match="1 of 5 images"):
        images = HuggingFaceImages(dataset, on_error="skip")
    assert_array_equal(np.asarray(images), X[[0, 1, 2, 4]])


def test_what_is_no_dataset_is_refused(X):
    with pytest.raises(TypeError, match="dataset is dict"):
        HuggingFaceImages({"train": Dataset(image=[1])})
    with pytest.raises(TypeError, match="dataset is generator"):
        HuggingFaceImages(x for x in [1])
    with pytest.raises(ValueError, match="no rows"):
        HuggingFaceImages(Dataset(image=[]))
    with pytest.raises(ValueError, match=r"no column of images.*a \(int\)"):
        HuggingFaceImages(Dataset(a=[1, 2]))
    with pytest.raises(ValueError, match="label_column='y' is not among"):
        HuggingFaceImages(Dataset(image=[encode(X[0])]), label_column="y")


# A .npy file, and the cache --------------------------------------------------------


def test_other_arrays_are_refused(tmp_path):
    for array, message in [
        (np.zeros((4, 8, 8, 3)), "dtype float64"),
        (np.zeros((4, 9), np.uint8), r"shape \(4, 9\)"),
        (np.zeros((4, 3, 8, 8), np.uint8), r"shape \(4, 3, 8, 8\)"),
        (np.asfortranarray(np.zeros((4, 8, 8), np.uint8)), "Fortran order"),
    ]:
        np.save(tmp_path / "images.npy", array)
        with pytest.raises(ValueError, match=message):
            NpyImages(tmp_path / "images.npy")
    np.save(tmp_path / "images.npy", np.zeros((4, 8, 8), np.uint8))
    assert NpyImages(tmp_path / "images.npy").shape == (4, 8, 8, 1)
    with pytest.raises(ValueError, match="y has 3 labels for the 4 images"):
        NpyImages(tmp_path / "images.npy", y=[1, 2, 3])


def test_a_cache_of_other_images_is_not_used(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache") / "cache.npy"
    images = ImageFolder(folder, image_shape=(4, 4, 3))
    images.cache(path)
    for other in (images[::-1], ImageFolder(folder, image_shape=(4, 5, 3))):
        with pytest.raises(ValueError, match="made from other images.*Delete it"):
            other.cache(path)
    Image.new("RGB", (9, 9)).save(folder / "cat" / "1.png")
    with pytest.raises(ValueError, match="made from other images"):
        images.cache(path)
    cut(path)
    with pytest.raises(ValueError, match="was cut"):
        images.cache(path)
    with pytest.raises(ValueError, match="should end in .npy"):
        images.cache(path.with_suffix(".dat"))


def test_a_cache_that_cannot_be_finished_leaves_nothing(folder, tmp_path_factory):
    place = tmp_path_factory.mktemp("cache")
    (folder / "dog" / "1.png").write_bytes(b"no image")
    images = ImageFolder(folder, image_shape=(4, 4, 3))
    with pytest.raises(ValueError, match="dog/1.png"):
        images.cache(place / "cache.npy")
    assert os.listdir(place) == []
    with pytest.raises(OSError, match="The cache could not be written"):
        images.cache(place / "missing" / "cache.npy")


@pytest.mark.parametrize("change", [cut, Path.unlink], ids=["cut", "removed"])
def test_a_file_that_changes_is_an_error(X, tmp_path, change):
    path = tmp_path / "images.npy"
    np.save(path, X)
    images = NpyImages(path)
    change(path)
    with pytest.raises(ValueError, match=r"images.npy (changed|cannot be read)"):
        images.decode()
