"""Displays: arrays in, a drawing out, and nothing shown on a screen."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from sklgan import DCGANFeatureExtractor, SamplesDisplay, TrainingHistoryDisplay


def make_gan(**kwargs):
    """Return an estimator that is trained in a moment."""
    options = {"n_filters": 4, "max_epochs": 2, "batch_size": 50, "random_state": 0}
    return DCGANFeatureExtractor(**(options | kwargs))


@pytest.fixture(scope="module")
def grey(digits):
    """Return an estimator fitted on grey images in [0, 16]."""
    return make_gan().fit(digits[0])


@pytest.fixture(scope="module")
def coloured(two_colours):
    """Return an estimator fitted on colour images."""
    return make_gan().fit(two_colours[0])


def test_samples_of_an_estimator_are_drawn(coloured):
    """The picture is the grid of the estimator's samples."""
    display = SamplesDisplay.from_estimator(coloured, n_samples=6, random_state=1)
    assert isinstance(display, SamplesDisplay)
    assert display.figure_ is display.ax_.figure
    assert display.im_ in display.ax_.images
    assert_array_equal(display.images, coloured.sample(6, random_state=1))
    assert_allclose(display.im_.get_array(), display.grid())
    assert display.im_.get_array().shape == (2 * 9 - 1, 3 * 9 - 1, 3)


def test_grey_samples_are_drawn_in_grey(grey):
    """Black and white are the ends of the range of X, not those of the samples."""
    display = SamplesDisplay.from_estimator(grey, n_samples=4)
    assert display.im_.get_array().shape == (17, 17)
    assert display.im_.get_clim() == (0, 1)
    assert display.im_.get_cmap().name == "gray"
    image = grey.sample(4)[0]
    assert_allclose(display.im_.get_array()[:8, :8], image / 16, atol=1e-6)


def test_samples_of_flattened_images_are_drawn(digits):
    """Rows have their images' shape again."""
    X, _ = digits
    gan = make_gan(image_shape=(8, 8)).fit(X.reshape(len(X), -1))
    display = SamplesDisplay.from_estimator(gan, n_samples=4, n_columns=4)
    assert display.im_.get_array().shape == (8, 4 * 9 - 1)


def test_samples_without_random_state_are_the_estimators_own(grey):
    """As in ``sample``, the estimator's random_state decides."""
    display = SamplesDisplay.from_estimator(grey, n_samples=3)
    assert_array_equal(np.squeeze(display.images), grey.sample(3))


def test_grid_has_images_in_reading_order():
    """Rows of n_columns, a white pixel between; the rest of the last row is white."""
    images = np.arange(5).reshape(5, 1, 1) * np.ones((1, 2, 3))
    grid = SamplesDisplay(images, data_range=(0, 5)).grid(n_columns=3)
    expected = np.array(
        [
            [0.0, 0, 0, 1, 0.2, 0.2, 0.2, 1, 0.4, 0.4, 0.4],
            [0.0, 0, 0, 1, 0.2, 0.2, 0.2, 1, 0.4, 0.4, 0.4],
            [1.0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
            [0.6, 0.6, 0.6, 1, 0.8, 0.8, 0.8, 1, 1, 1, 1],
            [0.6, 0.6, 0.6, 1, 0.8, 0.8, 0.8, 1, 1, 1, 1],
        ]
    )
    assert_allclose(grid, expected[..., None])


@pytest.mark.parametrize(
    ("n_images", "n_columns", "shape"),
    [(1, None, (1, 1)), (4, None, (2, 2)), (5, None, (2, 3)), (10, 5, (2, 5))],
)
def test_grid_is_about_square(n_images, n_columns, shape):
    """By default there are as many columns as rows, or one more."""
    grid = SamplesDisplay(np.zeros((n_images, 3, 3, 4))).grid(n_columns)
    assert grid.shape == (4 * shape[0] - 1, 4 * shape[1] - 1, 4)


def test_grid_clips_to_the_range():
    """Values outside the range are black or white."""
    images = np.array([-5.0, 1.0, 2.0, 9.0]).reshape(1, 2, 2)
    grid = SamplesDisplay(images, data_range=(0, 2)).grid()
    assert_array_equal(grid[..., 0], [[0, 0.5], [1, 1]])


def test_grid_leaves_the_images_alone():
    """The arrays that were given are not written to."""
    images = np.full((2, 2, 2), 300.0)
    SamplesDisplay(images).grid()
    assert (images == 300).all()


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 8, 8), (2, 8, 8, 2), (1, 2, 8, 8, 3)])
def test_what_is_no_batch_of_images_is_refused(shape):
    """The message says what was given and which shapes are drawn."""
    with pytest.raises(
        ValueError, match=r"images of shape.*\(n_samples, h, w"
    ) as error:
        SamplesDisplay(np.zeros(shape)).grid()
    assert str(shape) in str(error.value)


def test_history_of_an_estimator_is_drawn(grey):
    """A labelled line for each loss, a point an epoch."""
    display = TrainingHistoryDisplay.from_estimator(grey)
    assert isinstance(display, TrainingHistoryDisplay)
    assert display.figure_ is display.ax_.figure
    for line, name, label in zip(
        display.lines_,
        ("d_loss", "g_loss"),
        ("discriminator", "generator"),
        strict=True,
    ):
        assert line in display.ax_.lines
        assert line.get_label() == label
        assert_array_equal(line.get_xdata(), [1, 2])
        assert_array_equal(line.get_ydata(), [row[name] for row in grey.history_])


def test_history_may_lack_a_loss():
    """An epoch too short for the generator's turn leaves a gap."""
    history = [{"epoch": 1, "d_loss": 1.0}, {"epoch": 2, "d_loss": 2.0, "g_loss": 3.0}]
    losses = TrainingHistoryDisplay(history).losses()
    assert losses.keys() == {"d_loss", "g_loss"}
    assert_array_equal(losses["d_loss"], [1, 2])
    assert_array_equal(losses["g_loss"], [np.nan, 3])


def test_history_of_one_epoch_can_be_seen():
    """A point is drawn as such, and epochs are whole numbers."""
    history = [{"epoch": 1, "d_loss": 1.0, "g_loss": 2.0}]
    display = TrainingHistoryDisplay(history).plot()
    assert all(line.get_marker() != "None" for line in display.lines_)
    ticks = TrainingHistoryDisplay([*history, {"epoch": 2, "d_loss": 1.5}])
    ticks = ticks.plot().ax_.get_xticks()
    assert_array_equal(ticks, np.round(ticks))


@pytest.mark.parametrize("display", [SamplesDisplay, TrainingHistoryDisplay])
def test_axes_of_ones_own_are_used(display, grey):
    """With ``ax`` no figure is made; a second plot draws again."""
    figure, axes = plt.subplots(1, 2)
    drawn = display.from_estimator(grey, ax=axes[0])
    assert drawn.ax_ is axes[0]
    assert drawn.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    assert drawn.plot(ax=axes[1]) is drawn
    assert drawn.ax_ is axes[1]
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("display", [SamplesDisplay, TrainingHistoryDisplay])
def test_estimator_has_to_be_fitted(display):
    """The error is scikit-learn's, and no figure is opened."""
    with pytest.raises(NotFittedError):
        display.from_estimator(make_gan())
    assert not plt.get_fignums()


def test_flat_rows_have_no_pictures():
    """The message says how rows become images."""
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match=r"flat X.*image_shape=\(h, w\)"):
        SamplesDisplay.from_estimator(make_gan().fit(X))
    assert not plt.get_fignums()


def test_empty_history_is_refused(digits):
    """An untrained network has no losses to draw."""
    gan = make_gan(max_epochs=0).fit(digits[0])
    with pytest.raises(ValueError, match="max_epochs"):
        TrainingHistoryDisplay.from_estimator(gan)
    assert not plt.get_fignums()
