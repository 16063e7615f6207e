"""Pictures and films of walks in the latent space."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from sklgan import DCGANFeatureExtractor
from sklgan.inspection import InterpolationDisplay, TraversalDisplay, interpolate

D = 6  # latent variables


def make_gan(**kwargs):
    """Return an estimator that is trained in a moment."""
    options = {"latent_dim": D, "n_filters": 4, "max_epochs": 1, "random_state": 0}
    return DCGANFeatureExtractor(
        **({"batch_size": 50, "device": "cpu"} | options | kwargs)
    )


@pytest.fixture(scope="module")
def grey(digits):
    """Return an estimator fitted on grey images in [0, 16]."""
    return make_gan().fit(digits[0])


@pytest.fixture(scope="module")
def coloured(two_colours):
    """Return an estimator fitted on colour images, uint8."""
    return make_gan().fit(two_colours[0])


@pytest.fixture
def Z():
    """Return three key points."""
    return np.random.default_rng(0).standard_normal((3, D))


def test_path_is_drawn_a_row_from_key_to_key(grey, Z):
    """Both ends of each row are key points; a closed path comes back to the first."""
    display = InterpolationDisplay.from_estimator(grey, Z, n_steps=4)
    assert display.figure_ is display.ax_.figure
    assert_array_equal(display.images[..., 0], interpolate(grey, Z, 4))
    drawn = display.im_.get_array()
    assert drawn.shape == (2 * 9 - 1, 5 * 9 - 1)
    assert_allclose(drawn[:8, -8:], drawn[9:, :8])
    assert_allclose(drawn[:8, :8] * 16, grey.generate(Z)[0], atol=1e-5)
    closed = InterpolationDisplay.from_estimator(grey, Z, n_steps=4, closed=True)
    drawn = closed.im_.get_array()
    assert drawn.shape == (3 * 9 - 1, 5 * 9 - 1)
    assert_allclose(drawn[-8:, -8:], drawn[:8, :8])


def test_lines_are_drawn_a_row_each(coloured, Z):
    """Rows have their names, columns their offsets."""
    display = TraversalDisplay.from_estimator(
        coloured, Z[0], dimensions=[1, 4, 5], n_steps=5
    )
    assert display.im_.get_array().shape == (3 * 9 - 1, 5 * 9 - 1, 3)
    labels = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    assert labels == ["dimension 1", "dimension 4", "dimension 5"]
    labels = [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert labels == ["-3", "-1.5", "+0", "+1.5", "+3"]
    figure, ax = plt.subplots()
    named = TraversalDisplay.from_estimator(
        coloured, Z[0], directions=Z[1:], n_steps=5, names=["red", "blue"], ax=ax
    )
    assert named.ax_ is ax
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["red", "blue"]


def test_arrays_of_ones_own_are_drawn():
    """Displays need no estimator, and what does not fit is refused."""
    images = np.zeros((2, 3, 4, 4), dtype=np.uint8)
    assert TraversalDisplay(images).plot().im_.get_array().shape == (9, 14)
    assert InterpolationDisplay(images[0]).plot().im_.get_array().shape == (4, 14)
    with pytest.raises(ValueError, match="names holds 3 labels.*2 to draw"):
        TraversalDisplay(images, names="abc").plot()
    with pytest.raises(ValueError, match=r"n_directions, n_steps, h, w"):
        TraversalDisplay(images[0]).plot()
    with pytest.raises(ValueError, match="3 images are no open path of n_steps=4"):
        InterpolationDisplay(images[0], n_steps=4).plot()
    with pytest.raises(ValueError, match="n_steps=0 should be an int of at least 1"):
        InterpolationDisplay(images[0], n_steps=0).plot()
    with pytest.raises(ValueError, match="3 images are no closed path of n_steps=2"):
        InterpolationDisplay(images[0], n_steps=2, closed=True).plot()


def test_flat_rows_have_no_pictures(Z):
    """The message says how rows become images."""
    gan = make_gan().fit(np.random.default_rng(0).normal(size=(20, 3)))
    with pytest.raises(ValueError, match=r"flat X.*image_shape=\(h, w\)"):
        InterpolationDisplay.from_estimator(gan, Z)
    with pytest.raises(ValueError, match=r"flat X.*image_shape=\(h, w\)"):
        TraversalDisplay.from_estimator(gan, Z[0], dimensions=0)
    assert not plt.get_fignums()


# Files --------------------------------------------------------------------------------


def frames_of(path):
    """Return an animated picture's frames as an array, and their durations in ms."""
    with Image.open(path) as film:
        assert film.info["loop"] == 0
        frames, durations = [], []
        for index in range(film.n_frames):
            film.seek(index)
            frames.append(np.asarray(film.convert("RGB")))
            durations.append(film.info["duration"])
    return np.array(frames), durations


def films(shape):
    """Return five images of that shape, all different."""
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(5, *shape)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 1), (6, 8, 3)], ids=str)
@pytest.mark.parametrize("closed", [False, True])
def test_film_shows_the_path_without_a_stop(tmp_path, shape, closed):
    """No frame twice in a row, where it begins again either; grey values are exact."""
    images = films(shape)
    display = InterpolationDisplay(images, n_steps=5, closed=closed)
    display.save_gif(tmp_path / "walk.gif", duration=0.25)
    frames, durations = frames_of(tmp_path / "walk.gif")
    order = [0, 1, 2, 3, 4] if closed else [0, 1, 2, 3, 4, 3, 2, 1]
    expected = images[order] if images.ndim == 4 else images[order][..., None]
    assert durations == [250] * len(order)
    # 240 colours fit into a palette of 256.
    assert_array_equal(frames, np.broadcast_to(expected, frames.shape))


def test_film_for_a_folder_that_is_not_there(tmp_path):
    """The message names the file that was asked for."""
    display = InterpolationDisplay(films((6, 8)), n_steps=5)
    with pytest.raises(FileNotFoundError, match=r"make it first: .*none/walk.gif'"):
        display.save_gif(tmp_path / "none" / "walk.gif")


def test_film_of_lines_shows_all_at_once(tmp_path):
    """A frame a step, there and back; the rest of the square is white."""
    images = films((4, 4)).reshape(5, 1, 4, 4).repeat(3, axis=1)
    images[:, 1:] //= np.array([2, 3], dtype=np.uint8).reshape(2, 1, 1)
    TraversalDisplay(images).save_gif(tmp_path / "lines.GIF", scale=2)
    frames, durations = frames_of(tmp_path / "lines.GIF")
    assert frames.shape == (4, 18, 28, 3)
    assert durations == [100] * 4
    assert_array_equal(frames[0, :8:2, :8:2, 0], images[0, 0])
    assert_array_equal(frames[2, :8:2, 10:18:2, 0], images[1, 2])
    assert_array_equal(frames[1], frames[3])
    assert (frames[:, 10:, 20:] == 255).all()


def test_transparency_of_a_film_is_white(tmp_path):
    """GIF has none in between."""
    images = np.zeros((2, 2, 2, 4), dtype=np.uint8)
    images[1, ..., 3] = 255
    InterpolationDisplay(images, closed=True).save_gif(tmp_path / "walk.gif")
    frames, _ = frames_of(tmp_path / "walk.gif")
    assert_array_equal(frames[:, 0, 0, 0], [255, 0])


def test_strip_is_the_grid(tmp_path, coloured, Z):
    """As a PNG file each pixel becomes a square."""
    display = InterpolationDisplay.from_estimator(coloured, Z, n_steps=3)
    display.save_png(tmp_path / "strip.png", scale=3)
    with Image.open(tmp_path / "strip.png") as picture:
        pixels = np.asarray(picture)
    expected = np.rint(display.grid() * 255)
    assert_array_equal(pixels[::3, ::3], expected)
    assert_array_equal(pixels[2::3, 1::3], expected)
    rows = TraversalDisplay(films((4, 4))[None])
    rows.save_png(str(tmp_path / "rows.png"))
    with Image.open(tmp_path / "rows.png") as picture:
        assert picture.size == (24, 4)


@pytest.mark.parametrize(
    ("method", "name", "options", "message"),
    [
        ("save_gif", "walk.png", {}, "should end in .gif"),
        ("save_gif", "walk", {}, "should end in .gif"),
        ("save_png", "walk.xyz", {}, "should end in .png"),
        ("save_gif", "walk.gif", {"duration": 0}, "duration=0 "),
        ("save_gif", "walk.gif", {"duration": "fast"}, "duration='fast'"),
        ("save_gif", "walk.gif", {"scale": 0}, "scale=0"),
        ("save_png", "walk.png", {"scale": 1.5}, "scale=1.5"),
    ],
)
def test_what_cannot_be_written_leaves_no_file(
    tmp_path, method, name, options, message
):
    """What was there before is still there, and nothing else."""
    (tmp_path / name).write_bytes(b"before")
    for display in (
        InterpolationDisplay(films((4, 4))),
        TraversalDisplay(films((4, 4))[None]),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(display, method)(tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"before"


def test_images_that_cannot_be_encoded_leave_no_file(tmp_path):
    """A folder that is missing, or a value that is no grey."""
    images = films((4, 4)).astype(float)
    with pytest.raises(FileNotFoundError):
        InterpolationDisplay(images).save_gif(tmp_path / "none" / "walk.gif")
    images[3, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        InterpolationDisplay(images).save_gif(tmp_path / "walk.gif")
    assert not list(tmp_path.iterdir())
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OSError, match=r"folder\.png"):
        InterpolationDisplay(films((4, 4))).save_png(tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]
