"""What all figures of two sets of features ask of them."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_array


def check_features(**arrays):
    """Return two arrays of features, by the names of their parameters, in float64.

    Raises
    ------
    ValueError
        If one is no finite matrix, or their numbers of columns differ.
    """
    first, second = arrays
    X, Y = (
        check_array(array, dtype=np.float64, input_name=name)
        for name, array in arrays.items()
    )
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"{first} has {X.shape[1]} features and {second} has {Y.shape[1]}; compare "
            "features of the same transformer."
        )
    return X, Y


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
