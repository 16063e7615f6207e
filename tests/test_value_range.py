"""Which values mean black and white: guessed, told, and warned of where they differ."""

import re
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from test_images import GREY, Gate

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan._images import check_images


@pytest.mark.parametrize(
    ("X", "data_range", "expected"),
    [
        (GREY, "auto", (0, 255)),
        (GREY / 255, "auto", (0, 1)),
        (GREY / 300, "auto", (0, 1)),
        (GREY > 100, "auto", (0, 1)),
        (GREY / 127.5 - 1, "auto", (-1, 1)),
        (GREY.astype(float), "auto", (0, 255)),
        (GREY * (200 / 255), "auto", (0, 255)),
        (GREY * (100 / 255), "auto", (0, 100)),
        (load_digits().images, "auto", (0, 16)),
        (GREY.astype(int) * 10, "auto", (0, 2550)),
        (GREY - 100.0, "auto", (-100, 155)),
        (np.full((3, 2, 2), 7.0), "auto", (7, 8)),
        (np.zeros((3, 2, 2)), "auto", (0, 1)),
        (GREY, (-10, 300), (-10, 300)),
        (GREY.astype(float), [0, np.float32(255)], (0, 255)),
        (GREY, (5, 250), (5, 250)),
    ],
)
def test_data_range_is_the_narrowest_plainly_meant(X, data_range, expected):
    """The range is guessed from dtype and values, or taken as given."""
    gate = Gate(data_range=data_range).fit(X)
    assert gate.data_range_ == expected
    assert all(type(value) is float for value in gate.data_range_)
    batch = gate.batch(X)
    low, high = expected
    expected = (X.astype(float) - low) / (high - low) * 2 - 1
    assert_allclose(batch.numpy()[:, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("fitted", "data_range", "X"),
    [
        (GREY / 255, "auto", GREY),
        (GREY, "auto", GREY * 2.0),
        (GREY, "auto", GREY - 100.0),
        (GREY / 255 * 200, (0, 250), GREY * 1.5),
    ],
)
def test_values_outside_the_range_warn(fitted, data_range, X):
    """A warning names what was found, the range and what to do."""
    gate = Gate(data_range=data_range).fit(fitted)
    low, high = gate.data_range_
    found = f"from {X.min():.6g} to {X.max():.6g}, outside the range of the model"
    match = re.escape(f"{found}, [{low:.6g}, {high:.6g}]. Scale X")
    with pytest.warns(UserWarning, match=match):
        gate.batch(X)


def test_fit_warns_of_an_explicit_range_that_is_too_narrow():
    """Values far outside an explicit data_range are warned of in fit."""
    with pytest.warns(UserWarning, match=r"0 to 255, outside .* \[0, 100\]"):
        Gate(data_range=(0, 100)).fit(GREY)


def test_images_scaled_to_one_warn():
    """Floats in [0, 1] or [-1, 1] for a wider model, but no black images."""
    gate = Gate().fit(GREY)
    with pytest.warns(UserWarning, match=r"looks scaled to \[0, 1\].*\[0, 255\]"):
        gate.batch(GREY / 255)
    with pytest.warns(UserWarning, match=r"looks scaled to \[-1, 1\].*\[0, 255\]"):
        gate.batch(GREY / 127.5 - 1)
    gate.batch(np.zeros((2, 6, 7)))
    gate.batch(GREY // 200)
    with pytest.warns(UserWarning, match=r"looks scaled to \[0, 1\].*\[0, 16\]"):
        Gate().fit(GREY / 255 * 16).batch(GREY / 255)


def test_ordinary_values_do_not_warn():
    """Values up to 5 % of the span outside the range pass in silence."""
    gate = Gate().fit(GREY.astype(np.float32))
    gate.batch(GREY * 1.04)
    gate.batch(GREY - 12.0)
    Gate(data_range=(0, 250)).fit(GREY)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 16), (100, 140)])
def test_uint8_of_a_narrow_range_is_warned_of(low, high):
    """Masks of 0 and 1 are all but black on a scale from 0 to 255."""
    X = np.tile(np.array([low, high], dtype=np.uint8), (70, 4, 4))
    gan = Gate()
    remedy = re.escape(f"data_range=({low}, {high})")
    with pytest.warns(UserWarning, match=f"70 images.* from {low} to {high}.*{remedy}"):
        check_images(gan, X, reset=True)
    assert gan.data_range_ == (0, 255)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data_range in ((low, high), (0, 255)):
            check_images(Gate(data_range=data_range), X, reset=True)
        # No scale helps images of one value, and most of the range is enough.
        check_images(Gate(), np.full_like(X, 3), reset=True)
        X[-1] = 255
        check_images(Gate(), X[-64:], reset=True)


@pytest.mark.parametrize(
    "data_range",
    ["full", 3, (1, 0), (1, 1), (0, np.inf), (np.nan, 1), (0, 1, 2), ("a", "b"), None],
)
def test_malformed_data_range_raises(data_range):
    """data_range is "auto" or a finite, increasing pair."""
    match = re.escape(f"data_range={data_range!r}")
    with pytest.raises(ValueError, match=f"{match}.*low < high"):
        Gate(data_range=data_range).fit(GREY)


def test_some_bright_images_among_dark_ones_are_not_overlooked():
    """Of 128 images every second is looked at first, and these are all dark."""
    X = np.zeros((128, 4, 4), dtype=np.uint8)
    X[:, 0] = 15
    X[1::2] = 255
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_images(Gate(), X, reset=True)


@pytest.mark.parametrize(
    "make",
    [
        DCGANFeatureExtractor,
        SemiSupervisedGANClassifier,
        CategoricalGANClusterer,
        lambda **kwargs: make_pipeline(
            DCGANFeatureExtractor(**kwargs), FunctionTransformer()
        ),
    ],
)
@pytest.mark.parametrize("method", ["fit", "fit_transform", "fit_predict"])
def test_warnings_name_the_users_line(make, method):
    """However many frames of ours and of scikit-learn's lie between."""
    X = np.tile(np.array([0, 1], dtype=np.uint8), (20, 4, 4))
    estimator = make(n_filters=2, max_epochs=0, device="cpu")
    if not hasattr(estimator, method):
        method = "fit"
    with pytest.warns(UserWarning, match="data_range=\\(0, 1\\)") as caught:
        getattr(estimator, method)(X, np.arange(20) % 2)
    assert caught[0].filename == __file__
