"""Splitters that train on all unlabelled rows and test on none."""

import numpy as np
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.utils import _safe_indexing, check_random_state, indexable

from sklgan._labels import find_labels, warn_of_one_class
from sklgan.model_selection._labels import check_class_counts

_LABEL_MORE = (
    "label more of its rows, or leave the class out: give its rows the label -1."
)


class SemiSupervisedKFold(StratifiedKFold):
    """K folds over the labelled rows; the unlabelled ones are in every training set.

    :class:`sklearn.model_selection.StratifiedKFold` takes -1 for a class, so that each
    test set has unlabelled rows, on which nothing can be measured, and each training
    set lacks some that could have been learned from. Here the labelled rows are split
    as that class splits them, and all rows with the label -1 join every training set.
    Where all rows are labelled, the splits are those of that class.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2. Each class must have as many labelled rows.

    shuffle : bool, default=False
        Whether to shuffle the labelled rows of each class before they are split.

    random_state : int, RandomState instance or None, default=None
        Decides the order, if `shuffle` is True.

    See Also
    --------
    SemiSupervisedShuffleSplit : Draws test sets at random.
    labeled_scorer : Scores where other splitters leave unlabelled rows in test sets.

    Notes
    -----
    scikit-learn warns of a class with fewer rows than folds; here that is an error,
    because with few labels, the case this is made for, such a class is missing from
    some test sets and the score of these is of another task.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.model_selection import SemiSupervisedKFold
    >>> y = np.array([0, -1, 1, 0, -1, 1])
    >>> for train, test in SemiSupervisedKFold(n_splits=2).split(np.zeros(6), y):
    ...     print(train, test)
    [1 3 4 5] [0 2]
    [0 1 2 4] [3 5]
    """

    def split(self, X, y, groups=None):
        """Generate the indices of training and test rows.

        Parameters
        ----------
        X : array-like of length n_samples
            Only its length is used.
        y : array-like of shape (n_samples,)
            Classes, whole numbers or strings, and the integer -1 for unlabelled rows.
        groups : array-like of shape (n_samples,), default=None
            Ignored, with a warning.

        Yields
        ------
        train : ndarray
            Indices of the other folds' labelled rows and of all unlabelled ones, in
            increasing order.
        test : ndarray
            Indices of the fold's labelled rows, in increasing order.

        Raises
        ------
        ValueError
            If a class has fewer than `n_splits` labelled rows, or y holds no classes.
        """
        name = f"{type(self).__name__} with n_splits={self.n_splits}"
        n_samples, rows, labels, groups = _labeled_part(name, X, y, groups)
        remedy = _LABEL_MORE.capitalize()
        if np.unique(labels, return_counts=True)[1].min() > 1:
            remedy = f"Lower n_splits, {_LABEL_MORE}"
        check_class_counts(labels, self.n_splits, name, remedy)
        for _, fold in super().split(rows, labels, groups):
            test = rows[fold]
            yield np.delete(np.arange(n_samples), test), test


class SemiSupervisedShuffleSplit(StratifiedShuffleSplit):
    """Random test sets of labelled rows; the unlabelled ones are for training.

    The labelled rows are split as scikit-learn's
    :class:`~sklearn.model_selection.StratifiedShuffleSplit` splits them, and all rows
    with the label -1 join every training set.

    Parameters
    ----------
    n_splits : int, default=10
        Number of splits.

    test_size : float or int, default=None
        Part (float) or number (int) of the *labelled* rows to test on. None takes what
        `train_size` leaves, or 0.1 if that is None too.

    train_size : float or int, default=None
        Part (float) or number (int) of the *labelled* rows to train on, beside all
        unlabelled rows. None takes what `test_size` leaves.

    random_state : int, RandomState instance or None, default=None
        Decides which rows these are, and their order.

    See Also
    --------
    SemiSupervisedKFold : Tests each labelled row once.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.model_selection import SemiSupervisedShuffleSplit
    >>> y = np.array([0, -1, 1, 0, -1, 1])
    >>> cv = SemiSupervisedShuffleSplit(n_splits=1, test_size=0.5, random_state=0)
    >>> train, test = next(cv.split(np.zeros(6), y))
    >>> sorted(y[train].tolist()), sorted(y[test].tolist())
    ([-1, -1, 0, 1], [0, 1])
    """

    def split(self, X, y, groups=None):
        """Generate the indices of training and test rows.

        Parameters
        ----------
        X : array-like of length n_samples
            Only its length is used.
        y : array-like of shape (n_samples,)
            Classes, whole numbers or strings, and the integer -1 for unlabelled rows.
        groups : array-like of shape (n_samples,), default=None
            Ignored, with a warning.

        Yields
        ------
        train : ndarray
            Indices of some labelled rows and of all unlabelled ones, in random order.
        test : ndarray
            Indices of other labelled rows, in random order.

        Raises
        ------
        ValueError
            If a class has fewer than 2 labelled rows, if the sizes leave no room for
            all classes, or if y holds no classes.
        """
        name = type(self).__name__
        n_samples, rows, labels, groups = _labeled_part(name, X, y, groups)
        check_class_counts(labels, 2, name, _LABEL_MORE.capitalize())
        unlabeled = np.delete(np.arange(n_samples), rows)
        rng = check_random_state(self.random_state)
        try:
            for train, test in super().split(rows, labels, groups):
                train = rng.permutation(np.concatenate([rows[train], unlabeled]))
                yield train, rows[test]
        except ValueError as error:
            n_classes = len(np.unique(labels))
            raise ValueError(
                f"{str(error).rstrip('.')}. Sizes count labelled rows, of which there "
                f"are {len(rows)} in {n_classes} classes: the test and the training "
                f"set need {n_classes} at least, and both no more than {len(rows)}."
            ) from error


def _labeled_part(name, X, y, groups):
    """Return the length of X; indices, classes and groups of the labelled rows."""
    X, y, groups = indexable(X, y, groups)
    y, rows = find_labels(y, name)
    warn_of_one_class("y", np.unique(y[rows]), len(y) - len(rows), stacklevel=4)
    if groups is not None:
        groups = _safe_indexing(groups, rows)
    return len(y), rows, y[rows], groups
