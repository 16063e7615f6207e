"""Pictures become the pixels a user expects, and a bad one is named."""

import gc
import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal
from PIL import Image, ImageOps
from sklearn.base import BaseEstimator

from sklgan._images import check_images
from sklgan._listing import list_pictures


class Gate(BaseEstimator):
    """The smallest estimator behind the gate."""

    def __init__(self, image_shape=None, data_range="auto"):
        self.image_shape = image_shape
        self.data_range = data_range

    def fit(self, X, y=None):
        check_images(self, X, reset=True)
        return self


def make_images(*shape, dtype=np.uint8):
    """Draw noise over the whole range of uint8."""
    return np.random.RandomState(0).randint(256, size=shape).astype(dtype)


def save(folder, images, suffix="png"):
    """Write images to a folder and list the paths."""
    paths = [folder / f"{i:02}.{suffix}" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


GREY = make_images(5, 6, 7)
COLOR = make_images(5, 6, 7, 3)


@pytest.mark.parametrize(
    "container",
    [
        list,
        tuple,
        lambda paths: [str(path) for path in paths],
        lambda paths: np.array([str(path) for path in paths]),
        lambda paths: np.array(paths, dtype=object),
        lambda paths: pd.Series([str(path) for path in paths], index=[9, 8, 7, 6, 5]),
        pd.Series,
    ],
)
def test_paths_give_the_pixels_of_the_files(tmp_path, container):
    """Any sequence of paths is decoded, in order, in colour and in grey."""
    gate = Gate().fit(container(save(tmp_path, COLOR)))
    X = container(save(tmp_path, GREY))
    assert gate.image_shape_ == (6, 7, 3)
    gate.fit(X)
    assert_array_equal(check_images(gate, X, reset=False), GREY.reshape(5, -1))


def test_many_paths_keep_their_order_under_any_backend(tmp_path):
    """More files than a thread is handed at once, within a process backend."""
    images = make_images(150, 3, 2)
    with parallel_config(backend="loky", n_jobs=2):
        rows = check_images(Gate(), save(tmp_path, images), reset=True)
    assert_array_equal(rows, images.reshape(150, 6))


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        (["L", "L"], "L"),
        (["1", "L"], "L"),
        (["L", "RGB"], "RGB"),
        (["P", "P"], "RGB"),
        (["CMYK", "RGB"], "RGB"),
        (["YCbCr", "HSV"], "RGB"),
        (["RGB", "RGBA"], "RGBA"),
        (["LA", "L"], "RGBA"),
        (["PA", "RGB"], "RGBA"),
        (["La", "RGBa"], "RGBA"),
    ],
)
def test_one_mode_is_chosen_for_all_pictures(modes, expected):
    """All grey is grey, any transparency is RGBA, the rest RGB."""
    images = []
    for mode, image in zip(modes, make_images(2, 6, 7, 3), strict=True):
        premultiplied = {"La": "LA", "RGBa": "RGBA"}.get(mode, mode)
        images.append(Image.fromarray(image).convert("L" if mode == "1" else "RGB"))
        if mode == "PA":
            images[-1] = images[-1].convert("P")
        images[-1] = images[-1].convert(premultiplied).convert(mode)
    before = [image.tobytes() for image in images]
    rows = check_images(Gate(), images, reset=True)
    assert rows.shape == (2, 6 * 7 * len(expected))
    assert [image.tobytes() for image in images] == before
    if not set(modes) & {"La", "RGBa"}:
        for row, image in zip(rows, images, strict=True):
            assert_array_equal(row, np.asarray(image.convert(expected)).ravel())


def test_transparent_palettes_become_rgba(tmp_path):
    """A palette with transparency, of a PNG or a GIF, keeps it."""
    image = Image.fromarray(COLOR[0]).quantize(8)
    image.save(tmp_path / "a.png", transparency=bytes(range(8)))
    image.save(tmp_path / "b.gif", transparency=0)
    paths = sorted(tmp_path.iterdir())
    rows = check_images(Gate(), paths, reset=True)
    with Image.open(paths[0]) as opened:
        assert_array_equal(rows[0], np.asarray(opened.convert("RGBA")).ravel())
    gate = Gate(image_shape=(6, 7, 3)).fit(paths)
    assert gate.image_shape_ == (6, 7, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 4, 6, 7])
@pytest.mark.parametrize("image_shape", [None, (5, 4, 3)])
def test_exif_orientation_is_applied(tmp_path, suffix, orientation, image_shape):
    """Pictures are turned upright, in their size as in their pixels."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    paths = [tmp_path / f"{i}.{suffix}" for i in range(2)]
    for path, image in zip(paths, COLOR, strict=False):
        Image.fromarray(image).save(path, exif=exif)
    gate = Gate(image_shape=image_shape)
    rows = check_images(gate, paths, reset=True)
    for row, path in zip(rows, paths, strict=True):
        with Image.open(path) as image:
            expected = ImageOps.exif_transpose(image)
        if image_shape is not None:
            expected = ImageOps.fit(expected, (4, 5), Image.Resampling.LANCZOS)
        assert_array_equal(row.reshape(gate.image_shape_), np.asarray(expected))
    with Image.open(paths[0]) as image:
        for _ in range(2):  # not yet decoded, then decoded
            assert_array_equal(
                check_images(Gate(image_shape), [image] * 2, reset=True), rows[[0, 0]]
            )


def test_damaged_exif_is_ignored(tmp_path):
    """Bad metadata are no reason to refuse good pixels."""
    paths = save(tmp_path, COLOR[:2])
    with Image.open(paths[1]) as image:
        image.save(paths[1], exif=b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\xff\xff")
    assert_array_equal(
        check_images(Gate(), paths, reset=True), COLOR[:2].reshape(2, -1)
    )


def test_pictures_are_fitted_to_image_shape(tmp_path):
    """Other sizes and modes are cropped, scaled and converted to image_shape."""
    images = [make_images(9, 20, 3), make_images(13, 5), make_images(6, 8, 4)]
    paths = save(tmp_path, images)
    gate = Gate(image_shape=(6, 8))
    rows = check_images(gate, paths, reset=True)
    assert gate.image_shape_ == (6, 8, 1)
    for row, image in zip(rows, images, strict=True):
        grey = Image.fromarray(image).convert("L")
        expected = ImageOps.fit(grey, (8, 6), Image.Resampling.LANCZOS)
        assert_array_equal(row.reshape(6, 8), np.asarray(expected))
    gate = Gate().fit(COLOR)
    assert check_images(gate, paths[:1], reset=False).shape == (1, 126)
    pil = [Image.fromarray(image) for image in images]
    assert_array_equal(
        check_images(gate, pil, reset=False), check_images(gate, paths, reset=False)
    )


def test_grey_pictures_of_width_three_are_grey():
    """Only arrays can be mistaken for a single colour image, not pictures."""
    images = make_images(4, 9, 3)
    gate = Gate().fit([Image.fromarray(image) for image in images])
    assert gate.image_shape_ == (9, 3, 1)


def test_the_same_open_file_twice_is_decoded(tmp_path):
    """A list may hold one lazily opened image more than once."""
    (path,) = save(tmp_path, COLOR[:1])
    with Image.open(path) as image:
        rows = check_images(Gate(), [image] * 100, reset=True)
    assert_array_equal(rows, np.repeat(COLOR[:1].reshape(1, -1), 100, axis=0))


def test_files_are_closed(tmp_path):
    """No file stays open, whether it was decoded or refused."""
    paths = save(tmp_path, COLOR)
    paths[-1].write_bytes(paths[-1].read_bytes()[:60])
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        Gate().fit(paths[:-1])
        with pytest.raises(ValueError, match="cannot be decoded"):
            Gate().fit(paths)
        gc.collect()
    assert found == []


def write_bomb(path, side):
    """Write the header of a huge PNG."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = [
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        for body in (header, data)
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def spoil(path, how):
    """Spoil a picture in one of several ways."""
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "no picture":
        path.write_text("no picture at all")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "bomb":
        write_bomb(path, 100_000)
    elif how == "small bomb":
        write_bomb(path, 10_000)
    elif how == "deep":
        Image.fromarray(make_images(6, 7, dtype=np.uint16)).save(path)


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "no such file"),
        ("truncated", "damaged"),
        ("no picture", "not an image"),
        ("empty", "not an image"),
        ("folder", "it is a folder"),
        ("bomb", "decompression bomb"),
        ("small bomb", "decompression bomb"),
        ("deep", "more than 8 bits"),
    ],
)
def test_bad_file_is_named(tmp_path, how, reason, fitted):
    """The message of a ValueError names the file and the reason; nothing is fitted."""
    paths = save(tmp_path, make_images(40, 9, 9, 3))
    spoil(paths[33], how)
    gate = Gate()
    with pytest.raises(ValueError, match=f"33.png' .*{reason}"):
        check_images(gate.fit(COLOR) if fitted else gate, paths, reset=not fitted)
    assert fitted or not vars(gate).keys() - {"image_shape", "data_range"}


@pytest.mark.parametrize("mode", ["I", "F", "I;16"])
def test_deep_pil_images_are_refused(mode):
    """Pictures of more than 8 bits are to be passed as arrays."""
    images = [Image.new("L", (4, 4)), Image.new(mode, (4, 4))]
    with pytest.raises(ValueError, match=rf"X\[1\].*mode '{mode}'.*as an array"):
        Gate(image_shape=(4, 4)).fit(images)


def test_closed_pil_image_is_named(tmp_path):
    """A PIL image whose file was closed before it was decoded is named."""
    paths = save(tmp_path, COLOR)
    with Image.open(paths[1]) as closed:
        pass
    with pytest.raises(ValueError, match=r"X\[1\] \(a PIL image\) cannot be decoded"):
        Gate().fit([Image.fromarray(COLOR[0]), closed])


def test_mixed_sizes_of_pictures_are_named(tmp_path):
    """Two pictures and their sizes are named, with the way out."""
    images = [make_images(6, 7), make_images(6, 7), make_images(8, 9)]
    match = "{} is 6 x 7 and .*{} is 8 x 9 .*image_shape=\\(h, w, c\\).*resize"
    with pytest.raises(ValueError, match=match.format("00.png'", "02.png'")):
        Gate().fit(save(tmp_path, images))
    with pytest.raises(ValueError, match=match.format(r"X\[0\] .*", r"X\[2\] .*")):
        Gate().fit([Image.fromarray(image) for image in images])


@pytest.mark.parametrize(
    ("X", "match"),
    [
        ("a.png", r"single path, 'a.png'.*\['a.png'\].*sorted\(Path"),
        (Path("folder"), "single path, 'folder'"),
        (b"a.png", "single path"),
        ([b"GIF89a", b"GIF89a"], r"of bytes.*Image.open\(io.BytesIO\(item\)\) for"),
        (np.array([b"GIF89a"]), r"Image.open\(io.BytesIO\(item\)\) for item in X"),
        ([BytesIO(b"GIF89a")], r"of BytesIO.*\[Image.open\(item\) for item in X\]"),
        (Image.new("L", (4, 4)), r"single PIL image .*\[image\]"),
        (["a.png", np.zeros((2, 2))], r"X\[1\] is ndarray"),
        (["a.png", None], r"X\[1\] is NoneType"),
        ([Image.new("L", (4, 4)), "a.png"], r"PIL images, but X\[1\] is str"),
        ((path for path in ["a.png"]), r"generator.*Pass list\(X\)"),
        (Path(".").glob("*.png"), r"Pass list\(X\)"),
    ],
)
def test_what_is_not_a_list_of_pictures_raises_type_error(X, match):
    """One picture, mixed lists and generators are refused with the remedy."""
    with pytest.raises(TypeError, match=match):
        Gate().fit(X)


def test_a_data_frame_of_paths_names_the_column(tmp_path):
    """Of a frame with a column of text, the message says how to pass it."""
    frame = pd.DataFrame({"width": 7, "path": [*map(str, save(tmp_path, GREY))]})
    with pytest.raises(ValueError, match=r"00.png' in its column 'path'.* X\['path'\]"):
        Gate().fit(frame)
    assert Gate().fit(frame["path"]).image_shape_ == (6, 7, 1)


def test_a_data_frame_of_numbers_is_none_of_pictures():
    """Nor is one of numbers written as text; whatever its index."""
    values = np.random.default_rng(0).random((6, 4))
    index = [3.5, 0.5, 9.5, 2.5, 1.5, 7.5]
    assert list_pictures(pd.DataFrame(values, index=index)) is None
    assert list_pictures(pd.DataFrame(values.astype(str), index=index)) is None
    with pytest.raises(ValueError, match="'a' in its column 1"):
        list_pictures(pd.DataFrame([[0, "a"], [1, "b"]], index=[3.5, 0.5]))
    assert list_pictures(pd.DataFrame(values)[:0]) is None
