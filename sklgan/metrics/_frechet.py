"""The Frechet distance of two sets of features."""

import numpy as np
from scipy.linalg import svdvals
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from sklgan.metrics._checks import (
    check_count,
    check_enough,
    check_features,
    random_parts,
)

# Threads wait for each other while a matrix this narrow is factored: on cores that are
# busy with other things it took six times as long.
_NARROW = 1024


def frechet_distance(X, Y, *, n_subsets=10, correct_bias=False, random_state=None):
    """Return the Frechet distance of two sets of features, and its standard error.

    It is the squared 2-Wasserstein distance of the normal distributions with the means
    m and covariances C (divided by n - 1) of X and Y::

        |m_X - m_Y|^2 + tr(C_X + C_Y - 2 (C_X^(1/2) C_Y C_X^(1/2))^(1/2))

    It sees nothing but means and covariances, and depends on the features and their
    scale: compare figures of the same features only. On those of an Inception network
    it is the Frechet Inception distance (FID).

    It is biased: too large, the more so the fewer rows there are. For equal normal
    distributions of d independent features of variance 1 the excess is about
    d (d + 5) / 4 x (1 / n_samples_X + 1 / n_samples_Y). Distances of different numbers
    of rows cannot be compared, and equal numbers help only where the excess of two
    generators is the same. ``correct_bias`` takes most of it away;
    :func:`kernel_distance` has none.

    Parameters
    ----------
    X : array-like of shape (n_samples_X, n_features)
        Features of one set of rows, such as real images.
    Y : array-like of shape (n_samples_Y, n_features)
        Features of the other, such as generated images; the number may differ.
    n_subsets : int, default=10
        Disjoint random parts of the rows; the standard error comes from the distances
        that are left without one of them (jackknife). It is NaN where these have fewer
        than ``n_features + 1`` rows. 1 leaves it out, and takes a tenth of the time.
    correct_bias : bool, default=False
        Whether to extrapolate to many rows, from all rows and from all but a part,
        as the jackknife does. The distance of like distributions is then 0 on average,
        and below 0 by chance. False gives what others report as Frechet distance.
    random_state : int, RandomState instance or None, default=None
        Decides the parts: the standard error, and the correction, not the distance.

    Returns
    -------
    distance : float
        In squared units of the features.
    standard_error : float
        Of the distance with or without correction; too large where the distributions
        agree.

    Raises
    ------
    ValueError
        If the numbers of features differ, or X or Y has fewer rows than
        ``n_features + 1``, for then the covariances cannot be told apart; with
        ``correct_bias`` it takes a part more, and 2 parts or more.

    See Also
    --------
    kernel_distance : Without bias, and with fewer rows.

    Notes
    -----
    The trace of the matrix root is the sum of the singular values of A B', where
    A' A = C_X and B' B = C_Y: real and not negative whatever the rank, and exact to
    rounding where an eigenvalue is 0. A and B are triangular factors of the centred
    rows; no covariance is ever formed.

    References
    ----------
    Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local
    Nash Equilibrium", 2017, section 2 (arXiv:1706.08500); Chong and Forsyth,
    "Effectively Unbiased FID and Inception Score and Where to Find Them", 2020,
    section 3 (arXiv:1911.07023).

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.metrics import frechet_distance
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> distance, _ = frechet_distance(X, 2 * X + [1, 0, 0])
    >>> spread = X.var(axis=0, ddof=1).sum()
    >>> bool(np.isclose(distance, ((X.mean(axis=0) + [1, 0, 0]) ** 2).sum() + spread))
    True
    """
    X, Y = check_features(X=X, Y=Y)
    check_count("n_subsets", n_subsets)
    if correct_bias and n_subsets == 1:
        raise ValueError(
            "n_subsets=1 leaves no rows to tell the bias by; give 2 or more, or "
            "correct_bias=False."
        )
    n_needed = X.shape[1] + 1
    check_enough(n_needed, "the Frechet distance (n_features + 1)", _REMEDY, X=X, Y=Y)
    rng = check_random_state(random_state)
    threads = 1 if X.shape[1] <= _NARROW else None
    with threadpool_limits(threads, user_api="blas"):
        return _estimate(X, Y, n_subsets, correct_bias, rng)


def _estimate(X, Y, n_subsets, correct_bias, rng):
    """Return distance and standard error of features that are known to be enough."""
    n_needed = X.shape[1] + 1
    distance = _distance(_moments(X), _moments(Y))
    n_parts = min(n_subsets, len(X), len(Y))
    # The largest part is left out of the shorter array.
    n_left = min(len(array) - -(-len(array) // n_parts) for array in (X, Y))
    if n_left < n_needed:
        if correct_bias:
            raise ValueError(
                f"X has {len(X)} rows and Y {len(Y)}, which without one of {n_parts} "
                f"parts leaves {n_left}; correct_bias needs {n_needed} (n_features + "
                f"1) then, so {n_needed + -(-n_needed // (n_subsets - 1))} rows of "
                f"each.{_REMEDY}"
            )
        return distance, np.nan
    left = _jackknife(X, Y, n_parts, rng)
    if correct_bias:
        distance = n_parts * distance - (n_parts - 1) * left.mean()
    error = np.sqrt((n_parts - 1) * left.var())
    return float(distance), float(error)


_REMEDY = (
    " Give more rows, or fewer features: those of PCA(n_components=...), fitted on "
    "real rows and used for both."
)


def _jackknife(X, Y, n_parts, rng):
    """Return the distances without one part of X and of Y each, (n_parts,)."""
    moments = [
        [_moments(part) for part in random_parts(array, n_parts, rng)]
        for array in (X, Y)
    ]
    distances = []
    for i in range(n_parts):
        kept = (_merged(parts[:i] + parts[i + 1 :]) for parts in moments)
        distances.append(_distance(*kept))
    return np.array(distances)


def _moments(rows):
    """Return number, mean, and triangular factor of the centred cross products."""
    mean = rows.mean(axis=0)
    return len(rows), mean, np.linalg.qr(rows - mean, mode="r")


def _merged(parts):
    """Return the same for the rows of all parts together."""
    numbers, means, factors = zip(*parts, strict=True)
    mean = np.average(means, axis=0, weights=numbers)
    between = (np.array(means) - mean) * np.sqrt(numbers)[:, None]
    return sum(numbers), mean, np.linalg.qr(np.vstack([*factors, between]), mode="r")


def _distance(moments_X, moments_Y):
    """Return the Frechet distance, given number, mean and factor of each."""
    n, mean_X, factor_X = moments_X
    m, mean_Y, factor_Y = moments_Y
    A, B = factor_X / np.sqrt(n - 1), factor_Y / np.sqrt(m - 1)
    root = svdvals(A @ B.T).sum()
    distance = ((mean_X - mean_Y) ** 2).sum() + (A**2).sum() + (B**2).sum() - 2 * root
    return max(float(distance), 0.0)  # not -1e-16
