"""mask_labels: so many labels of each class, the others hidden; and -1 as a class."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.dummy import DummyClassifier
from test_model_selection import FEW_NAMES, LABELED, NAMES, Y

from sklgan.model_selection import (
    LabeledOnly,
    SemiSupervisedKFold,
    SemiSupervisedShuffleSplit,
    mask_labels,
)


@pytest.mark.parametrize("n_per_class", [1, 5, 50])
def test_mask_keeps_so_many_labels(n_per_class):
    """The others become -1; fewer labels are a part of more; y stays as it is."""
    given = Y.copy()
    masked = mask_labels(given, n_per_class, random_state=0)
    kept = masked != -1
    assert_array_equal(given, Y)
    assert_array_equal(masked[kept], Y[kept])
    assert_array_equal(np.bincount(masked[kept]), [n_per_class] * 3)
    assert (kept[LABELED] if n_per_class > 12 else LABELED[kept]).all()
    other = mask_labels(Y, n_per_class, random_state=1)
    assert (other != masked).any() == (n_per_class < 50)


@pytest.mark.parametrize("dtype", ["int8", "int64", "float32", "uint8", "uint64", bool])
def test_mask_can_hold_minus_one(dtype):
    """Unsigned integers and booleans become int64, the rest keeps its dtype."""
    y = (Y == 0).astype(dtype)
    masked = mask_labels(y, 2, random_state=0)
    assert masked.dtype == (dtype if np.dtype(dtype).kind in "if" else np.int64)
    assert_array_equal(np.unique(masked, return_counts=True), [[-1, 0, 1], [146, 2, 2]])


def test_mask_of_strings_holds_the_integer():
    """So that scikit-learn's semi-supervised classifiers take it."""
    for y in (NAMES, NAMES.tolist(), pd.Series(NAMES), FEW_NAMES):
        masked = mask_labels(y, 2, random_state=0)
        assert masked.dtype == object
        assert [value for value in masked if not isinstance(value, str)] == [-1] * 144
        # What was unlabelled before still is.
        assert all(masked[np.asarray(y, dtype=object) == -1] == -1)


@pytest.mark.parametrize(
    "call",
    [
        lambda y: LabeledOnly(DummyClassifier()).fit(y[:, None], y),
        lambda y: list(SemiSupervisedKFold(2).split(y, y)),
        lambda y: next(SemiSupervisedShuffleSplit(test_size=1).split(y, y)),
        lambda y: mask_labels(y, 2),
    ],
)
def test_classes_minus_one_and_one_are_warned_of(call):
    """They look like one class and no labels, and every score would be 1."""
    with pytest.warns(UserWarning, match="one class, 1, and -1, which means") as caught:
        call(np.array([1, -1, 1, -1, 1]))
    assert caught[0].filename == __file__
    call(np.array([1, 1, 1, 1, 1]))  # one class and no -1 is no cause to warn
