"""Labels of which some are -1, which means that there is none."""

import warnings
from contextlib import suppress
from numbers import Real

import numpy as np
from sklearn.utils import (
    check_consistent_length,
    column_or_1d,
    compute_class_weight,
)

from sklgan._namespaces import to_host

UNLABELED = -1


def find_labels(
    y, caller, *, allow_strings=False, required=True, remedy="Label some rows."
):
    """Return y as an array, and the rows that are labelled.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Classes, whole numbers or strings; the integer -1 for unlabelled rows.
    caller : str
        Who asks, for messages.
    allow_strings : bool, default=False
        Whether y may be of string dtype, hence without unlabelled rows.
    required : bool, default=True
        Whether there has to be a label.
    remedy : str, default="Label some rows."
        What to do when there are no labels, for the message.

    Returns
    -------
    y : ndarray of shape (n_samples,)
        Numbers; or objects, which are strings and the integer -1.
    rows : ndarray of shape (n_labeled,)
        Indices of the labelled rows, in order, at least one where it is required.

    Raises
    ------
    ValueError
        If y holds something else, or no label.
    """
    if y is None:
        raise ValueError(f"{caller} requires y to be passed, but the target y is None.")
    y = column_or_1d(to_host(y), warn=True)
    if y.dtype.kind in "UST":
        if not allow_strings:
            raise ValueError(
                "y has dtype string, which cannot hold the integer -1. If the classes "
                f"are strings, {caller} needs dtype object, with -1 for unlabelled "
                "samples: y = np.array(y, dtype=object); y[unlabelled] = -1"
            )
        y = y.astype(object)
    y = _check_objects(y) if y.dtype == object else y
    if y.dtype != object:
        _check_numbers(y, caller)
    rows = np.flatnonzero(y != UNLABELED)
    if required and len(y) == 0:
        raise ValueError(f"{caller} was given an empty y; pass at least one label.")
    if required and len(rows) == 0:
        raise ValueError(
            f"{caller} was given y without labels: all {len(y)} values are -1. {remedy}"
        )
    return y, rows


def _check_objects(y):
    """Return y, objects, as numbers if it holds numbers only."""
    for value in y:
        # What is not equal to itself is NaN; None and pandas.NA are neither kind.
        if not isinstance(value, str | Real | np.bool_) or value != value:
            raise ValueError(
                f"y holds {value!r}, which is no class. Classes are whole numbers or "
                "strings; use the integer -1 for unlabelled samples."
            )
    is_string = np.array([isinstance(value, str) for value in y], dtype=bool)
    if not is_string.any():
        return np.array(y.tolist())
    numbers = y[~is_string]
    if (numbers != UNLABELED).any():
        number = numbers[numbers != UNLABELED][0]
        raise ValueError(
            f"y holds strings and the number {number}. Make all classes strings, or "
            "all numbers; only unlabelled samples have the integer -1 among strings."
        )
    if (y == str(UNLABELED)).any():
        raise ValueError(
            "y holds the string '-1', and unlabelled samples have the integer -1: "
            "y = np.array(y, dtype=object); y[y == '-1'] = -1"
        )
    return y


def _check_numbers(y, caller):
    """Raise an error unless y, no objects, holds whole numbers."""
    needs = (
        f"{caller} needs classes, whole numbers or strings, and -1 for unlabelled "
        "samples."
    )
    if y.dtype.kind not in "biuf":
        raise ValueError(f"Unknown label type: {y.dtype}. {needs}")
    if y.dtype.kind != "f":
        return
    if not np.isfinite(y).all():
        what = "NaN" if np.isnan(y).any() else "infinity"
        raise ValueError(f"Input y contains {what}. {needs}")
    fractional = y != np.floor(y)
    if fractional.any():
        value = y[fractional][0]
        raise ValueError(f"Unknown label type: continuous, y holds {value}. {needs}")


def encode_labels(y, caller, remedy):
    """Return the classes, and each row's class as a number from 0, -1 for none.

    Parameters
    ----------
    y, caller, remedy
        As for :func:`find_labels`.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Sorted, without -1.
    codes : ndarray of shape (n_samples,), int64
        Positions in ``classes``, or -1.
    """
    y, rows = find_labels(y, caller, remedy=remedy)
    classes, found = np.unique(y[rows], return_inverse=True)
    codes = np.full(len(y), UNLABELED, dtype=np.int64)
    codes[rows] = found
    warn_of_one_class("y", classes, len(y) - len(rows))
    return classes, codes


def warn_of_one_class(name, classes, n_unlabeled, *, stacklevel=5):
    """Warn where -1 may be meant as the second of two classes.

    The default ``stacklevel`` is that of a caller whose ``fit`` is wrapped once.
    """
    if len(classes) == 1 and n_unlabeled > 0:
        warnings.warn(
            f"{name} holds one class, {classes[0]!s}, and -1, which means unlabelled "
            "here. If -1 is a class of yours, give it another number.",
            UserWarning,
            stacklevel=stacklevel,
        )


def class_frequencies(class_weight, classes, counts):
    """Return how frequent classes are, and what a labelled row of each weighs.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        As scikit-learn's classifiers take it.
    classes : ndarray of shape (n_classes,)
        As ``encode_labels`` returns them.
    counts : ndarray of shape (n_classes,)
        Labelled rows of each class. Where one has none, each counts as one more: a
        class that has not come yet is rare, not impossible.

    Returns
    -------
    prior : ndarray of shape (n_classes,), float32
        Factors times counts, at a sum of 1.
    weights : ndarray of shape (n_classes,), float32
        The same at a mean of 1 over classes with labels: batches hold as many labelled
        rows of each, whatever their frequencies.

    Raises
    ------
    ValueError
        If a factor is not finite and above 0.
    """
    raised = counts + (counts == 0).any()
    factors = _class_factors(class_weight, classes, raised)
    prior = factors / factors.max() * raised
    # Next to impossible, but finite as a logarithm and as a divisor.
    prior = np.maximum(prior / prior.sum(), 1e-8)
    prior = (prior / prior.sum()).astype(np.float32)
    has_labels = counts > 0 if counts.any() else slice(None)
    return prior, prior / prior[has_labels].mean()


def _class_factors(class_weight, classes, counts):
    """Return the factor of each class, (n_classes,), float64; counts are above 0."""
    factors = compute_class_weight(
        class_weight, classes=classes, y=np.repeat(classes, counts)
    )
    bad = np.flatnonzero(~((factors > 0) & np.isfinite(factors)))
    if len(bad) > 0:
        raise ValueError(
            f"class_weight gives class {classes.tolist()[bad[0]]!r} the factor "
            f"{factors[bad[0]]}; use finite factors above 0."
        )
    return factors


def check_length(X, codes):
    """Refuse labels of another number than that of rows, before X is decoded."""
    # What has no rows to count is refused later, with the reason.
    if not isinstance(X, str):
        with suppress(TypeError):
            check_consistent_length(X, codes)


def check_labels(classifier, X, classes, codes):
    """Refuse labels that no fit can begin with, before the images are decoded."""
    check_length(X, codes)
    counts = np.bincount(codes[codes >= 0])
    class_frequencies(classifier.class_weight, classes, counts)
    continued = classifier.warm_start and hasattr(classifier, "generator_")
    if continued and not np.array_equal(classes, classifier.classes_):
        before = classifier.classes_.tolist()
        raise ValueError(
            f"warm_start=True goes on with the classes {before}, but y holds "
            f"{classes.tolist()}; set warm_start=False to begin anew."
        )
