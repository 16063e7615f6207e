"""Every accepted input ends in one array, every bad one in a helpful message."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator

from sklgan._images import check_images, from_batch, to_batch


class Gate(BaseEstimator):
    """The smallest estimator behind the gate: X as the networks see it."""

    def __init__(self, image_shape=None, data_range="auto"):
        self.image_shape = image_shape
        self.data_range = data_range

    def fit(self, X, y=None):
        check_images(self, X, reset=True)
        return self

    def batch(self, X):
        rows = torch.tensor(check_images(self, X, reset=False))
        center, half_range = map(torch.tensor, self._scale)
        return to_batch(rows, center, half_range, self.image_shape_)


def make_images(*shape, dtype=np.uint8, seed=0):
    """Draw uint8 noise over the whole range, then convert it to a dtype."""
    images = np.random.RandomState(seed).randint(256, size=shape)
    images.flat[:2] = 0, 255
    return images.astype(dtype)


GREY = make_images(5, 6, 7)
COLOR = make_images(5, 6, 7, 3)
FLAT = np.random.RandomState(0).normal(size=(20, 4))


@pytest.mark.parametrize(
    ("X", "image_shape", "expected"),
    [
        (GREY, None, GREY),
        (GREY, (6, 7), GREY),
        (GREY, [6, 7, 1], GREY),
        (GREY[..., None], None, GREY),
        (list(GREY), None, GREY),
        (tuple(GREY[..., None]), None, GREY),
        (GREY.reshape(5, 42), (6, 7), GREY),
        (pd.DataFrame(GREY.reshape(5, 42)), (6, 7), GREY),
        (pd.Series(list(GREY)), None, GREY),
        (torch.tensor(GREY), None, GREY),
        (list(torch.tensor(GREY)), None, GREY),
        ([Image.fromarray(image) for image in GREY], None, GREY),
        (COLOR, None, COLOR),
        (COLOR, np.array([6, 7, 3]), COLOR),
        (list(COLOR), None, COLOR),
        (COLOR.reshape(5, -1), (6, 7, 3), COLOR),
        (np.asfortranarray(COLOR), None, COLOR),
        (COLOR[:, ::-1][:, ::-1], None, COLOR),
        (tuple(Image.fromarray(image) for image in COLOR), None, COLOR),
        (make_images(3, 1, 1), None, make_images(3, 1, 1)),
        (make_images(3, 9, 2, 4), None, make_images(3, 9, 2, 4)),
        (make_images(7, 9, 3), (9, 3), make_images(7, 9, 3)),
        (make_images(7, 2, 3), None, make_images(7, 2, 3)),
    ],
)
def test_uint8_inputs_become_rows(X, image_shape, expected):
    """Arrays, lists, frames, tensors and PIL images give the same uint8 rows."""
    gate = Gate(image_shape=image_shape)
    rows = check_images(gate, X, reset=True)
    assert rows.dtype == np.uint8
    assert rows.flags.c_contiguous
    assert_array_equal(rows, expected.reshape(len(expected), -1))
    assert gate.image_shape_ == (*expected.shape[1:], 1)[:3]
    assert all(type(size) is int for size in gate.image_shape_)
    assert gate.data_range_ == (0.0, 255.0)
    assert gate.n_features_in_ == rows.shape[1]
    assert_array_equal(check_images(gate, X, reset=False), rows)
    assert_array_equal(check_images(gate, rows[:1], reset=False), rows[:1])


@pytest.mark.parametrize("container", [torch.stack, list, tuple])
def test_bfloat16_becomes_float32(container):
    """NumPy has no such dtype; the values fit. Gradients are left behind."""
    X = torch.tensor(GREY / 255).bfloat16().requires_grad_()
    rows = check_images(Gate(), container(tuple(X)), reset=True)
    assert_array_equal(rows, X.detach().float().flatten(1))


def test_images_are_accepted_after_flattened_rows():
    """An estimator fitted on flattened rows takes images, and the reverse."""
    gate = Gate(image_shape=(6, 7, 3)).fit(COLOR.reshape(5, -1))
    assert_array_equal(check_images(gate, COLOR, reset=False), COLOR.reshape(5, -1))


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.uint8, np.uint8),
        (np.float32, np.float32),
        (np.float64, np.float64),
        (np.float16, np.float32),
        (np.int64, np.float32),
        (np.uint16, np.float32),
        (bool, np.float32),
        (">f4", np.float32),
        (object, np.float32),
    ],
)
@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 4), (5, 2, 2, 3)])
def test_dtypes_are_kept_or_become_float32(dtype, expected, shape):
    """uint8, float32 and float64 stay; the rest becomes float32; X is not written."""
    X = make_images(*shape, dtype=dtype)
    before = X.copy()
    gate = Gate().fit(X)
    rows = check_images(gate, X, reset=False)
    assert rows.dtype == expected
    assert_array_equal(rows, before.reshape(5, -1).astype(expected))
    gate.batch(X)
    assert_array_equal(X, before)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 12), (5, 3, 4), (5, 2, 2, 3)])
def test_contiguous_input_is_not_copied(dtype, shape):
    """The rows are X's own memory where nothing has to be converted."""
    X = make_images(*shape, dtype=dtype)
    X.flags.writeable = False
    gate = Gate()
    assert np.shares_memory(check_images(gate, X, reset=True), X)
    assert np.shares_memory(check_images(gate, X, reset=False), X)


def test_feature_names_of_data_frames_are_kept():
    """A data frame's column names are fitted, and forgotten by the next fit."""
    gate = Gate().fit(pd.DataFrame(FLAT, columns=list("abcd")))
    assert list(gate.feature_names_in_) == list("abcd")
    gate.fit(FLAT)
    assert not hasattr(gate, "feature_names_in_")


def test_flat_data_is_standardised_and_has_no_range():
    """Flat columns have mean 0 and deviation 1; a constant column becomes 0."""
    X = FLAT * [1, 10, 0, 1e-3] + [5, -3, 0.1, 2]
    gate = Gate(data_range=(0, 1)).fit(X)
    assert gate.image_shape_ is None
    assert gate.data_range_ is None
    batch = gate.batch(X)
    assert batch.dtype == torch.float32
    assert_allclose(batch.mean(0), np.zeros(4), atol=1e-5)
    assert_allclose(batch.std(0, correction=0), [1, 1, 0, 1], atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, np.int32])
@pytest.mark.parametrize(
    "shape", [(5, 6, 7), (5, 6, 7, 1), (5, 6, 7, 3), (5, 4, 2, 4), (5, 42)]
)
def test_integers_round_trip_exactly(dtype, shape):
    """Integer images come back from the networks' values as they were."""
    X = make_images(*shape, dtype=dtype)
    gate = Gate(image_shape=(6, 7) if len(shape) == 2 else None).fit(X)
    batch = gate.batch(X)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous(memory_format=torch.channels_last)
    back = from_batch(gate, batch.numpy())
    assert back.dtype == dtype
    assert back.flags.c_contiguous
    assert_array_equal(back, X)


def test_every_uint8_value_lies_in_the_open_range_and_back():
    """0 is exactly -1, 255 exactly 1, and all 256 values survive."""
    X = np.arange(256, dtype=np.uint8).reshape(2, 128, 1)
    gate = Gate().fit(X)
    batch = gate.batch(X)
    assert batch.min() == -1
    assert batch.max() == 1
    assert_array_equal(from_batch(gate, batch.numpy()), X)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scale", [(1 / 255, 0), (2 / 255, -1), (1, 0), (16 / 255, 0)])
def test_floats_round_trip(dtype, scale):
    """Float images come back in their dtype, range and layout."""
    X = (COLOR * scale[0] + scale[1]).astype(dtype)
    gate = Gate().fit(X)
    back = from_batch(gate, gate.batch(X).numpy())
    assert back.dtype == dtype
    assert_allclose(back, X, rtol=1e-5 if dtype != np.float16 else 1e-3, atol=1e-4)
    assert back.min() >= gate.data_range_[0]
    assert back.max() <= gate.data_range_[1]


def test_bool_round_trips():
    """Masks come back as masks."""
    gate = Gate().fit(GREY > 100)
    assert_array_equal(from_batch(gate, gate.batch(GREY > 100).numpy()), GREY > 100)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8])
def test_flat_rows_round_trip(dtype):
    """Flat data come back in their own units, unclipped."""
    X = (FLAT * 20 + 100).astype(dtype)
    gate = Gate().fit(X)
    back = from_batch(gate, gate.batch(X).numpy())
    assert back.dtype == dtype
    assert_allclose(back, X, rtol=1e-5)
    beyond = from_batch(gate, np.full((1, 4), 4, dtype=np.float32))
    assert (beyond > X.max(axis=0)).all()


def test_flat_float64_keeps_its_precision():
    """Rows far from zero are centred in float64, before they become float32."""
    gate = Gate().fit(FLAT + 1e9)
    assert_allclose(gate.batch(FLAT + 1e9), Gate().fit(FLAT).batch(FLAT), atol=1e-5)


def test_generated_values_are_rounded_and_clipped():
    """Values beyond the range are clipped, also where the dtype is the narrower."""
    batch = np.array([-3, -1, 0.002, 1, 3], dtype=np.float32).reshape(1, 1, 1, 5)
    gate = Gate().fit(make_images(2, 1, 5))
    assert from_batch(gate, batch).tolist() == [[[0, 0, 128, 255, 255]]]
    gate = Gate(data_range=(-10, 300)).fit(make_images(2, 1, 5))
    assert from_batch(gate, batch).tolist() == [[[0, 0, 145, 255, 255]]]
    big = Gate().fit(np.array([[[-(2**62)]], [[2**62]]]))
    assert from_batch(big, batch[..., 3:4]).tolist() == [[[2**62]]]
    flat = Gate().fit(make_images(9, 2))
    assert from_batch(flat, np.float32([[-9, 9]])).tolist() == [[0, 255]]


@pytest.mark.parametrize("images", [GREY, COLOR])
def test_generated_pictures_are_uint8_arrays(images):
    """What was fitted on PIL images is given back as channels-last uint8."""
    X = [Image.fromarray(image) for image in images]
    gate = Gate().fit(X)
    assert_array_equal(from_batch(gate, gate.batch(X).numpy()), images)


def with_value(value, *shape):
    """Return zeros with one value in them."""
    X = np.zeros(shape, dtype=np.result_type(type(value), np.float64))
    X.flat[3] = value
    return X


@pytest.mark.parametrize(
    ("X", "error", "match"),
    [
        (with_value(np.nan, 4, 5), ValueError, "Input X contains NaN"),
        (with_value(np.nan, 4, 2, 2, 3), ValueError, "Input X contains NaN"),
        (with_value(np.inf, 4, 3, 3), ValueError, "Input X contains infinity"),
        (with_value(1j, 4, 3), ValueError, "Complex data not supported"),
        (with_value(1j, 4, 3, 3), ValueError, "Complex data not supported"),
        (csr_array(np.eye(4)), TypeError, "Sparse data was passed"),
        ([["a", "b"], ["c", "d"]], ValueError, "X has dtype <U1 .* numbers"),
        (np.full((2, 2, 2), "a"), ValueError, "X has dtype <U1"),
        (np.zeros((3, 2), dtype="datetime64[s]"), ValueError, "X has dtype datetime64"),
        (pd.DataFrame({"file": ["a.png", "b.png"]}), ValueError, r"alone, X\['file'\]"),
        (np.array([[1, {}], [2, 3]], dtype=object), TypeError, "must be a string or"),
        ({}, TypeError, "must be a string or"),
        (None, ValueError, "Expected 2D array, got scalar"),
        ([], ValueError, "X is empty. Pass at least 2"),
        ([1.0, 2.0], ValueError, "Expected 2D array, got 1D array instead"),
        (np.arange(5), ValueError, "Expected 2D array, got 1D array instead"),
        (np.empty((0, 4)), ValueError, "0 sample"),
        (np.empty((0, 4, 4)), ValueError, "0 sample"),
        (np.empty((4, 0)), ValueError, "0 feature"),
        (np.empty((4, 3, 0)), ValueError, "0 feature"),
        (np.zeros((1, 4)), ValueError, "1 sample.*minimum of 2"),
        (COLOR[:1], ValueError, "1 sample.*minimum of 2"),
        ([[1, 2], [3]], ValueError, r"ragged.*X\[0\] is of length 2 and X\[1\] is of"),
        ([[1, 2], 3], ValueError, r"ragged.*X\[1\] is a single value"),
        ([[[1, 2], [3]], [[1, 2], [3]]], ValueError, "ragged list"),
        ([GREY[0], GREY[0], GREY[0, 1:]], ValueError, r"X\[2\] is \(5, 7\).*resized"),
        ([COLOR[0], GREY[0]], ValueError, r"\(6, 7, 3\) and X\[1\] is \(6, 7\)"),
        (np.zeros((5, 3, 32, 32)), ValueError, r"first.*X.transpose\(0, 2, 3, 1\)"),
        (np.zeros((5, 1, 28, 28)), ValueError, r"first.*X.transpose\(0, 2, 3, 1\)"),
        (torch.zeros(5, 3, 32, 32), ValueError, r"X.permute\(0, 2, 3, 1\)"),
        (np.zeros((5, 8, 8, 2)), ValueError, "has 2 channels.*1, 3 or 4"),
        (np.zeros((5, 8, 8, 5)), ValueError, "has 5 channels.*1, 3 or 4"),
        (np.zeros((5, 2, 8, 8)), ValueError, "has 8 channels"),
        (np.zeros((2, 2, 8, 8, 3)), ValueError, r"5 dimensions.*\(n, h, w, c\)"),
        (np.zeros((8, 9, 3)), ValueError, r"X\[np.newaxis\].*X\[..., np.newaxis\]"),
        (np.zeros((8, 9, 4)), ValueError, r"X\[np.newaxis\].*8 grey images of width 4"),
    ],
)
def test_bad_arrays_are_refused(X, error, match):
    """The message says what was found and what to do; nothing is fitted."""
    gate = Gate()
    with pytest.raises(error, match=match):
        gate.fit(X)
    assert not vars(gate).keys() - {"image_shape", "data_range"}


@pytest.mark.parametrize(
    "image_shape",
    [8, (8,), (8, 8, 3, 1), (0, 8), (8, -1, 3), (8.0, 8), "ab", (True, 8), {}, ()],
)
def test_malformed_image_shape_raises(image_shape):
    """image_shape is two or three positive integers."""
    match = re.escape(f"image_shape={image_shape!r}")
    with pytest.raises(ValueError, match=f"{match}.*positive integers"):
        Gate(image_shape=image_shape).fit(FLAT)


@pytest.mark.parametrize("image_shape", [(2, 1, 2), (3, 8, 8)])
def test_image_shape_of_other_channels_raises(image_shape):
    """image_shape has 1, 3 or 4 channels, last."""
    with pytest.raises(ValueError, match="channels come last"):
        Gate(image_shape=image_shape).fit(FLAT)


@pytest.mark.parametrize(
    ("X", "image_shape", "match"),
    [
        (FLAT, (2, 3), r"image_shape=\(2, 3\) means 6 values.*4 features"),
        (COLOR, (6, 7), r"image_shape=\(6, 7\) does not match .*\(6, 7, 3\)"),
        (COLOR, (7, 6, 3), r"does not match .*\(6, 7, 3\)"),
        (GREY, (6, 7, 3), r"does not match .*\(6, 7, 1\)"),
        (COLOR[0], (6, 7, 3), r"single image.*X\[np.newaxis\]"),
        (COLOR.transpose(0, 3, 1, 2), (6, 7, 3), "transpose"),
    ],
)
def test_image_shape_that_does_not_match_raises(X, image_shape, match):
    """image_shape is held against X, flat or not."""
    with pytest.raises(ValueError, match=match):
        Gate(image_shape=image_shape).fit(X)


@pytest.mark.parametrize(
    ("fitted", "X", "match"),
    [
        (FLAT, COLOR, r"images of shape \(5, 6, 7, 3\).*fitted on flat rows"),
        (FLAT, [Image.new("L", (2, 2))], r"pictures.*Pass an array of shape \(n, 4\)"),
        (FLAT, FLAT[:, :3], "X has 3 features, but Gate is expecting 4 features"),
        (COLOR, FLAT, "X has 4 features, but Gate is expecting 126 features"),
        (COLOR, COLOR[:, 1:], r"\(5, 7, 3\).*Gate was fitted on .*\(6, 7, 3\)"),
        (COLOR, GREY, r"\(6, 7, 1\).*Gate was fitted on .*\(6, 7, 3\)"),
        (COLOR, COLOR[0], r"single image.*X\[np.newaxis\]"),
        (COLOR, COLOR.transpose(0, 3, 1, 2), "transpose"),
        (COLOR, COLOR[0].transpose(2, 0, 1), r"single image.*channels last"),
        (GREY, GREY[0], r"\(6, 7\) looks like a single image.*X\[np.newaxis\]"),
        (GREY, GREY[:, :, 1:], r"\(6, 6, 1\).*fitted on .*\(6, 7, 1\)"),
    ],
)
def test_other_data_than_in_fit_raises(fitted, X, match):
    """What differs from the data of fit is refused, not guessed at."""
    gate = Gate().fit(fitted)
    with pytest.raises(ValueError, match=match):
        gate.batch(X)


@pytest.mark.parametrize("X", [GREY[:1], pd.DataFrame({"a": [1, 2], 3: [4, 5]})])
def test_failed_fit_leaves_the_last_one(X):
    """An estimator that was fitted stays so when a later fit is refused."""
    gate = Gate().fit(COLOR)
    before = dict(vars(gate))
    with pytest.raises((ValueError, TypeError)):
        gate.fit(X)
    assert vars(gate) == before
