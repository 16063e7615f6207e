"""Rows that are labelled, taken or counted; hiding labels."""

from numbers import Integral

import numpy as np
from sklearn.utils import (
    _safe_indexing,
    check_random_state,
    indexable,
)
from sklearn.utils._param_validation import Interval, validate_params
from sklearn.utils.validation import _check_method_params

from sklgan._labels import UNLABELED, find_labels, warn_of_one_class


def check_class_counts(labels, n_needed, caller, remedy):
    """Raise an error unless each class has enough rows.

    Parameters
    ----------
    labels : ndarray of shape (n_labeled,)
        The classes of the labelled rows.
    n_needed : int
        Rows that each class must have.
    caller : str
        Who asks, for the message.
    remedy : str
        What to do, for the message.

    Raises
    ------
    ValueError
        If a class has fewer rows; names the rarest.
    """
    classes, counts = np.unique(labels, return_counts=True)
    rarest = counts.argmin()
    if counts[rarest] < n_needed:
        raise ValueError(
            f"{caller} needs {n_needed} labelled rows of each class, and class "
            f"{classes.tolist()[rarest]!r} has {counts[rarest]}. {remedy}"
        )


def take_labeled(X, y, rows, params):
    """Return the labelled rows of X, of y, and of parameters that go by rows.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame or sequence of length n_samples
        What has a row for each element of y.
    y : ndarray of shape (n_samples,)
        As `find_labels` returns it.
    rows : ndarray of shape (n_labeled,)
        As `find_labels` returns it.
    params : dict
        Those of length n_samples, such as ``sample_weight``, are cut like X.

    Returns
    -------
    X, y, params
        As given, with n_labeled rows. Nothing is copied where all are labelled.
    """
    indexed, _ = indexable(X, y)
    if len(rows) == len(y):
        return X, y, params
    params = _check_method_params(X, params, indices=rows)
    return _safe_indexing(indexed, rows), y[rows], params


@validate_params(
    {
        "y": ["array-like"],
        "n_per_class": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def mask_labels(y, n_per_class, random_state=None):
    """Hide all labels but a few of each class.

    For learning curves over the number of labels: mask the labels of the training
    rows, fit on all of these rows, and score on rows that were held out.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Classes, whole numbers or strings. Rows that have the integer -1 are unlabelled
        already and stay so.

    n_per_class : int
        Rows of each class that keep their label, at least 1.

    random_state : int, RandomState instance or None, default=None
        Decides which rows these are. With the same integer, the rows that keep their
        label are among those that keep it for a larger `n_per_class`.

    Returns
    -------
    y_masked : ndarray of shape (n_samples,)
        A copy of y with -1 in all other rows. Strings become dtype object, with the
        integer -1; booleans and unsigned integers, which cannot hold -1, become int64;
        other dtypes are kept.

    Raises
    ------
    ValueError
        If a class has fewer than `n_per_class` labelled rows, or y holds no classes.

    Examples
    --------
    >>> from sklgan.model_selection import mask_labels
    >>> mask_labels([0, 1, 0, 1, 0, 1], n_per_class=1, random_state=0)
    array([-1, -1, -1, -1,  0,  1])
    >>> mask_labels(["a", "b", "a", "b"], n_per_class=1, random_state=0)
    array([-1, 'b', 'a', -1], dtype=object)
    """
    y, rows = find_labels(y, "mask_labels", allow_strings=True)
    labels = y[rows]
    warn_of_one_class("y", np.unique(labels), len(y) - len(rows), stacklevel=4)
    check_class_counts(
        labels,
        n_per_class,
        f"mask_labels with n_per_class={n_per_class}",
        "Lower n_per_class, or leave that class out: give its rows the label -1.",
    )
    rng = check_random_state(random_state)
    # Whole permutations, so that what is drawn does not depend on n_per_class.
    kept = np.concatenate(
        [
            rng.permutation(rows[labels == label])[:n_per_class]
            for label in np.unique(labels)
        ]
    )
    dtype = np.int64 if y.dtype.kind in ("b", "u") else y.dtype
    masked = np.full(len(y), UNLABELED, dtype=dtype)
    masked[kept] = y[kept]
    return masked
