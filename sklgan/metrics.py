"""Figures of quality, functions of arrays."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    gen_batches,
)

# Rows of a kernel matrix that are held at a time.
_KERNEL_ROWS = 1024


def cluster_accuracy(labels_true, labels_pred):
    """Return the accuracy of clusters under the best matching with classes.

    Each cluster stands for one class at most, each class for one cluster at most; the
    matching of the most rows is found by the Hungarian method. Labels are used for
    this figure alone: choose nothing by it.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Classes.
    labels_pred : array-like of shape (n_samples,)
        Clusters; their names do not matter, nor does their number.

    Returns
    -------
    accuracy : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the lengths differ, or there are no rows.

    References
    ----------
    Yang et al., "Image Clustering Using Local Discriminant Models and Global
    Integration", IEEE Transactions on Image Processing 19, 2010, section V.

    Examples
    --------
    >>> from sklgan.metrics import cluster_accuracy
    >>> cluster_accuracy([0, 0, 1, 1], [5, 5, 3, 5])
    0.75
    """
    check_consistent_length(labels_true, labels_pred)
    if len(labels_true) == 0:
        raise ValueError("labels_true and labels_pred are empty; give one row or more.")
    counts = contingency_matrix(labels_true, labels_pred)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / np.sum(counts))


def kernel_distance(X, Y, *, n_subsets=10, random_state=None):
    """Return the kernel distance of two sets of features, and its standard error.

    It is the unbiased estimate of the squared maximum mean discrepancy under the kernel
    k(x, y) = (x . y / n_features + 1)^3, over all pairs of rows: 0 on average, and
    below 0 by chance, for two draws from one distribution, larger the more they differ.
    It depends on the features and their scale: compare figures of the same features
    only. On those of an Inception network it is the kernel Inception distance (KID);
    the mean over subsets that its authors report has the same expectation.

    Parameters
    ----------
    X : array-like of shape (n_samples_X, n_features)
        Features of one set of rows, such as real images.
    Y : array-like of shape (n_samples_Y, n_features)
        Features of the other, such as generated images; the number may differ.
    n_subsets : int, default=10
        Disjoint random parts whose distances give the standard error; each needs 2 rows
        of X and of Y. With fewer rows there are fewer parts, with less than 4 of either
        the standard error is NaN.
    random_state : int, RandomState instance or None, default=None
        Decides the parts, and so the standard error alone.

    Returns
    -------
    distance : float
        In units of the kernel.
    standard_error : float
        Of the distance; too large, never too small, where the distributions agree.

    Raises
    ------
    ValueError
        If the numbers of features differ, or X or Y has less than 2 rows.

    References
    ----------
    Binkowski et al., "Demystifying MMD GANs", 2018, section 4 (arXiv:1801.01401);
    Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012, lemma 6.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.metrics import kernel_distance
    >>> X = np.random.default_rng(0).normal(size=(300, 5))
    >>> near, _ = kernel_distance(X[:150], X[150:], random_state=0)
    >>> far, error = kernel_distance(X[:150], X[150:] + 1, random_state=0)
    >>> near < error < far
    True
    """
    X, Y = (
        check_array(array, dtype=np.float64, ensure_min_samples=2, input_name=name)
        for name, array in (("X", X), ("Y", Y))
    )
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features and Y has {Y.shape[1]}; compare features of "
            "the same network."
        )
    n_subsets = min(n_subsets, len(X) // 2, len(Y) // 2)
    rng = check_random_state(random_state)
    parts = [
        np.array_split(rng.permutation(len(array)), max(n_subsets, 1))
        for array in (X, Y)
    ]
    distances = [_unbiased_mmd(X[x], Y[y]) for x, y in zip(*parts, strict=True)]
    error = np.nan
    if n_subsets > 1:
        error = np.std(distances, ddof=1) / np.sqrt(n_subsets)
    return _unbiased_mmd(X, Y), float(error)


def _unbiased_mmd(X, Y):
    """Return the squared discrepancy; pairs of a row with itself are left out."""
    n, m = len(X), len(Y)
    within_X = _kernel_sum(X, X) - _cubic(np.einsum("ij,ij->i", X, X), X).sum()
    within_Y = _kernel_sum(Y, Y) - _cubic(np.einsum("ij,ij->i", Y, Y), Y).sum()
    between = _kernel_sum(X, Y) / (n * m)
    return float(within_X / (n * (n - 1)) + within_Y / (m * (m - 1)) - 2 * between)


def _kernel_sum(X, Y):
    """Return the sum of the kernel over all pairs, a block of rows at a time."""
    blocks = gen_batches(len(X), _KERNEL_ROWS)
    return sum(_cubic(X[block] @ Y.T, X).sum() for block in blocks)


def _cubic(products, X):
    """Return KID's kernel, given scalar products of rows such as those of X."""
    return (products / X.shape[1] + 1) ** 3


__all__ = ["cluster_accuracy", "kernel_distance"]
