"""What all figures of two sets of features ask of them."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_array

# The cubes of a kernel stay finite, added up over more pairs than fit in memory.
_LARGEST = 1e45


def check_features(**arrays):
    """Return two arrays of features, by the names of their parameters, in float64.

    Raises
    ------
    ValueError
        If one is no finite matrix, its largest value is beyond 1e45 or, other than 0,
        within 1e-45, or their numbers of columns differ.
    """
    first, second = arrays
    X, Y = (
        _check_size(name, check_array(array, dtype=np.float64, input_name=name))
        for name, array in arrays.items()
    )
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"{first} has {X.shape[1]} features and {second} has {Y.shape[1]}; compare "
            "features of the same transformer."
        )
    return X, Y


def _check_size(name, array):
    """Return an array unless its values are too large or too small to compare."""
    largest = max(array.max(), -array.min())
    if largest > _LARGEST or 0 < largest < 1 / _LARGEST:
        raise ValueError(
            f"{name} holds values up to {largest:.3g}, whose powers float64 cannot "
            "hold; divide both arrays by one number first."
        )
    return array


def check_enough(n_needed, purpose, remedy="", **arrays):
    """Refuse arrays, by the names of their parameters, with too few rows."""
    for name, array in arrays.items():
        if len(array) < n_needed:
            raise ValueError(
                f"{name} has {len(array)} row(s) of {array.shape[1]} feature(s), but a "
                f"minimum of {n_needed} is required for {purpose}.{remedy}"
            )


def check_count(name, value):
    """Refuse a parameter that is no int of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r} should be an int of at least 1.")


def random_parts(X, n_parts, rng):
    """Return the rows of X in disjoint random parts of about equal size."""
    return [X[rows] for rows in np.array_split(rng.permutation(len(X)), n_parts)]
