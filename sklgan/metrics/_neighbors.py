"""Figures of whether rows lie within the balls of nearest neighbours of others."""

import numpy as np
from sklearn.utils import gen_batches

from sklgan.metrics._checks import check_count, check_enough, check_features

# Distances, and differences of pairs of rows, that are held at a time.
_HELD_VALUES = 2**22

# So many more than k of those that seem near are looked at first.
_SPARE_NEIGHBORS = 8


def precision_recall(X_real, X_fake, *, n_neighbors=3):
    """Return how much of what is generated is real, and of what is real generated.

    Around each row of a set lies a ball that reaches to its k-th nearest other row.
    Precision is the part of the generated rows in the ball of at least one real row:
    how good images are. Recall is the part of the real rows in the ball of at least one
    generated row: how much of the real variety they have.

    Parameters
    ----------
    X_real : array-like of shape (n_samples_real, n_features)
        Features of real images.
    X_fake : array-like of shape (n_samples_fake, n_features)
        Features of generated images. Take as many as there are real ones: with more
        rows of a set its balls are smaller.
    n_neighbors : int, default=3
        The neighbour that a ball reaches to, k; 3 in the paper.

    Returns
    -------
    precision : float
        Between 0 and 1.
    recall : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the numbers of features differ, or a set has fewer rows than
        ``n_neighbors + 1``.

    See Also
    --------
    density_coverage : The same questions, less moved by a single outlier.

    Notes
    -----
    Balls are closed: a row as far away as the neighbour is within. Distances are those
    of float64, whatever is next to a row, so that a row and its duplicate are equally
    far from a third. Memory grows with the number of rows, not with its square.

    Both are below 1 for two draws from one distribution: compare with what one half of
    the real rows has against the other.

    References
    ----------
    Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative
    Models", 2019, section 2 (arXiv:1904.06991).

    Examples
    --------
    >>> from sklgan.metrics import precision_recall
    >>> X_real = [[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]
    >>> X_fake = [[0.5], [1.0], [1.5], [5.0]]
    >>> precision_recall(X_real, X_fake, n_neighbors=1)
    (0.75, 0.5)
    """
    check_count("n_neighbors", n_neighbors)
    X_real, X_fake = check_features(X_real=X_real, X_fake=X_fake)
    purpose = f"n_neighbors={n_neighbors}"
    check_enough(n_neighbors + 1, purpose, X_real=X_real, X_fake=X_fake)
    real_radii = _squared_radii(X_real, n_neighbors)
    fake_radii = _squared_radii(X_fake, n_neighbors)
    n_good, covered = 0, np.zeros(len(X_real), dtype=bool)
    for rows, distances in _blocks(X_fake, X_real):
        n_good += distances.within(real_radii).any(axis=1).sum()
        covered |= distances.within(fake_radii[rows, None]).any(axis=0)
    return float(n_good / len(X_fake)), float(covered.mean())


def density_coverage(X_real, X_fake, *, n_neighbors=5):
    """Return how densely real images lie around fakes, and how many have one near.

    Around each real row lies a ball that reaches to its k-th nearest other real row.
    Density is the mean number of balls that a generated row lies in, divided by k: how
    good images are. Coverage is the part of the balls in which a generated row lies:
    how much of the real variety they have. One outlier, whose ball is large, moves
    these less than precision and recall, and generated rows have no balls.

    Parameters
    ----------
    X_real : array-like of shape (n_samples_real, n_features)
        Features of real images.
    X_fake : array-like of shape (n_samples_fake, n_features)
        Features of generated images. Take as many as there are real ones.
    n_neighbors : int, default=5
        The neighbour that a ball reaches to, k; 5 in the paper.

    Returns
    -------
    density : float
        At least 0, and above 1 where fakes crowd where real images are dense: it is no
        part of anything. 1 on average for two draws from one distribution.
    coverage : float
        Between 0 and 1. For two draws of n rows each from one distribution it is on
        average 1 - (n - 1) ... (n - k) / ((2n - 1) ... (2n - k)): 0.97 for k = 5.

    Raises
    ------
    ValueError
        If the numbers of features differ, or X_real has fewer rows than
        ``n_neighbors + 1``.

    See Also
    --------
    precision_recall : The older figures.

    Notes
    -----
    As in :func:`precision_recall`, balls are closed, and memory grows with the number
    of rows.

    References
    ----------
    Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", 2020,
    sections 3 and 4 (arXiv:2002.09797).

    Examples
    --------
    >>> from sklgan.metrics import density_coverage
    >>> X_real = [[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]
    >>> X_fake = [[0.5], [1.0], [1.5], [5.0]]
    >>> density_coverage(X_real, X_fake, n_neighbors=1)
    (1.75, 0.5)
    """
    check_count("n_neighbors", n_neighbors)
    X_real, X_fake = check_features(X_real=X_real, X_fake=X_fake)
    check_enough(n_neighbors + 1, f"n_neighbors={n_neighbors}", X_real=X_real)
    radii = _squared_radii(X_real, n_neighbors)
    n_inside, covered = 0, np.zeros(len(X_real), dtype=bool)
    for _, distances in _blocks(X_fake, X_real):
        inside = distances.within(radii)
        n_inside += inside.sum()
        covered |= inside.any(axis=0)
    return float(n_inside / (n_neighbors * len(X_fake))), float(covered.mean())


def _squared_radii(X, n_neighbors):
    """Return the squared distance of each row to its k-th nearest other, (n,)."""
    radii = np.empty(len(X))
    for rows, distances in _blocks(X, X):
        own = np.arange(len(distances.X))
        distances.lower[own, own + rows.start] = np.inf  # not its own neighbour
        radii[rows] = _kth_smallest(distances, n_neighbors)
    return radii


def _kth_smallest(distances, k):
    """Return the k-th smallest of the distances of each row but to itself."""
    lower, X, Y = distances.lower, distances.X, distances.Y
    kth, todo, n_near = np.empty(len(X)), np.arange(len(X)), k + _SPARE_NEIGHBORS
    while len(todo):
        n_near = min(n_near, len(Y) - 1)
        near = np.argpartition(lower[todo], n_near - 1)[:, :n_near]
        exact = _squared_differences(X, np.repeat(todo, n_near), Y, near.ravel())
        kth[todo] = np.partition(exact.reshape(near.shape), k - 1)[:, k - 1]
        if n_near == len(Y) - 1:
            break
        # Whether one that was not looked at may be nearer.
        farthest = np.take_along_axis(lower[todo], near, axis=1).max(axis=1)
        todo, n_near = todo[kth[todo] > distances.unit * farthest], 8 * n_near
    return kth


class _Distances:
    """Bounds between which the squared distances of some rows to all others lie.

    Products of matrices in float32 are fast, but their rounding depends on a row's
    place in the block and is as large as the rows are long. They decide where they can;
    the rest, above all ties, is computed again from differences in float64.
    """

    def __init__(self, X, Y, lower, upper, unit):
        self.X, self.Y = X, Y
        self.lower, self.upper, self.unit = lower, upper, unit

    def within(self, bounds):
        """Tell which of the distances are at most as large as the bounds."""
        scaled = (bounds / self.unit).astype(np.float32)
        inside = self.upper <= scaled
        i, j = np.nonzero(inside != (self.lower <= scaled))
        exact = _squared_differences(self.X, i, self.Y, j)
        inside[i, j] = exact <= np.broadcast_to(bounds, inside.shape)[i, j]
        return inside


def _blocks(X, Y):
    """Yield slices of the rows of X, and their distances to all rows of Y."""
    # Centred rows are short and round less; scaled ones do not overflow in float32.
    center = Y.mean(axis=0)
    scale = max(np.abs(X - center).max(), np.abs(Y - center).max()) or 1.0
    others = ((Y - center) / scale).astype(np.float32)
    lengths = (others**2).sum(axis=1)
    # Twice the bound of the rounding errors of a scalar product, and what underflows.
    info = np.finfo(np.float32)
    epsilon = info.dtype.type((X.shape[1] + 8) * info.eps)
    n_rows = max(1, min(1024, _HELD_VALUES // len(Y)))
    for rows in gen_batches(len(X), n_rows):
        block = ((X[rows] - center) / scale).astype(np.float32)
        both = (block**2).sum(axis=1)[:, None] + lengths
        squared = block @ others.T
        squared *= -2
        squared += both
        both *= epsilon
        both += X.shape[1] * info.tiny
        upper = squared + both
        lower = np.maximum(squared - both, 0, out=squared)
        yield rows, _Distances(X[rows], Y, lower, upper, scale**2)


def _squared_differences(X, i, Y, j):
    """Return the squared distance of row i[n] of X to row j[n] of Y for each n.

    The same for a pair and for its mirror, and whatever else is computed beside it.
    """
    result = np.empty(len(i))
    if len(i) == 0:
        return result
    for part in gen_batches(len(i), max(1, _HELD_VALUES // X.shape[1])):
        result[part] = ((X[i[part]] - Y[j[part]]) ** 2).sum(axis=1)
    return result
