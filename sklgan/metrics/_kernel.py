"""The kernel distance of two sets of features."""

import numpy as np
from sklearn.utils import check_random_state, gen_batches

from sklgan.metrics._checks import (
    check_count,
    check_enough,
    check_features,
    random_parts,
)

# Rows of a kernel matrix that are held at a time.
_KERNEL_ROWS = 256


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
        Of the distance. Where the distributions agree it is too large on average with
        the default number of parts; with 2 or 3 it says little.

    Raises
    ------
    ValueError
        If the numbers of features differ, X or Y has less than 2 rows, or ``n_subsets``
        is no int of at least 1.

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
    check_count("n_subsets", n_subsets)
    X, Y = check_features(X=X, Y=Y)
    check_enough(2, "the kernel distance", X=X, Y=Y)
    rng = check_random_state(random_state)
    n_subsets = min(n_subsets, len(X) // 2, len(Y) // 2)
    if n_subsets < 2:
        return _unbiased_mmd(X, Y), np.nan
    parts = zip(*(random_parts(A, n_subsets, rng) for A in (X, Y)), strict=True)
    distances = np.array([_unbiased_mmd(*pair) for pair in parts])
    # Those of large features are too large to be squared.
    scale = np.abs(distances).max() or 1.0
    error = scale * np.std(distances / scale, ddof=1) / np.sqrt(n_subsets)
    return _unbiased_mmd(X, Y), float(error)


def _unbiased_mmd(X, Y):
    """Return the squared discrepancy; pairs of a row with itself are left out.

    With x = c + u and y = c + v, where c is the mean of all rows, the kernel is
    (s + t)^3 = s^3 + 3 s^2 (c . u + c . v) / d + 3 s^2 u . v / d + t^2 (3 s + t),
    s = c . c / d + 1 and t = (c . u + c . v + u . v) / d. Its first two terms are sums
    of functions of one row each, which the estimate is blind to. They are left out:
    where rows lie far from 0 and near each other, they are the far larger part, and
    would leave nothing of the rest but its rounding. The third adds up without any
    pairs.
    """
    centre = (X.sum(axis=0) + Y.sum(axis=0)) / (len(X) + len(Y))
    s = centre @ centre / len(centre) + 1
    U, V = X - centre, Y - centre
    third = _mean_product(U) + _mean_product(V) - 2 * U.mean(axis=0) @ V.mean(axis=0)
    p, q = (A @ centre / len(centre) for A in (U, V))
    between = sum(
        _last_term(U[block], V, p[block], q, s).sum()
        for block in gen_batches(len(U), _KERNEL_ROWS)
    )
    last = _mean_within(U, p, s) + _mean_within(V, q, s)
    last -= 2 * between / (len(U) * len(V))
    return float(3 * s**2 * third / len(centre) + last)


def _mean_product(U):
    """Return the mean of u . u' over all pairs of different rows."""
    total = U.sum(axis=0)
    return (total @ total - np.vdot(U, U)) / (len(U) * (len(U) - 1))


def _mean_within(U, p, s):
    """Return the mean of the last term over all pairs of different rows."""
    total = 0.0
    for block in gen_batches(len(U), _KERNEL_ROWS):
        # The kernel is symmetric: pairs with rows above the block are done already.
        below = slice(block.start, None)
        kernel = _last_term(U[block], U[below], p[block], p[below], s)
        square = kernel[:, : len(kernel)]
        total += 2 * kernel.sum() - square.sum() - np.trace(square)
    return total / (len(U) * (len(U) - 1))


def _last_term(U, V, p, q, s):
    """Return t^2 (3 s + t) for all pairs; p and q are c . u / d and c . v / d."""
    t = (U / U.shape[1]) @ V.T
    t += p[:, None]
    t += q
    # NumPy's power takes ten times as long.
    kernel = t * t
    t += 3 * s
    kernel *= t
    return kernel
