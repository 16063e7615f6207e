"""Walks in the latent space: paths, lines, and arithmetic on concepts."""

from numbers import Real

import numpy as np
from sklearn.utils import check_random_state

from sklgan.inspection._checks import check_count, check_latents

# Below this angle, in radians, an arc is a line to all digits of float64; this near to
# pi its direction is decided by rounding.
_SMALLEST_ANGLE = 1e-6


def interpolate(
    estimator, Z, n_steps=10, *, method="spherical", closed=False, return_latents=False
):
    """Generate the images on a path through key points of the latent space.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted.
    Z : array-like of shape (n_key_points, latent_dim)
        At least two key points, in the order of the path; no two neighbours alike.
    n_steps : int, default=10
        Steps from a key point to the next. 1 gives the key points alone.
    method : {"spherical", "linear"}, default="spherical"
        ``"spherical"`` follows the arc between two vectors (slerp): their direction
        turns evenly, and their length goes evenly from one to the other. ``"linear"``
        takes the straight line, whose middle is nearer to the origin than the latent
        vectors of training ever were.
    closed : bool, default=False
        Whether the path goes on from the last key point to the first. The first is
        not repeated at the end, so that a film of the images loops without a stop.
    return_latents : bool, default=False
        Whether to return the path's latent vectors too.

    Returns
    -------
    images : ndarray of shape (n_images, ...)
        In the layout, dtype and range of the X given to ``fit``. Key point ``k`` is
        image ``k * n_steps``. There are ``(n_key_points - 1) * n_steps + 1`` images,
        or ``n_key_points * n_steps`` if ``closed``.
    latents : ndarray of shape (n_images, latent_dim), float32 or float64
        Only with ``return_latents``: what ``generate`` makes the images of, the key
        points exactly as they were given.

    See Also
    --------
    InterpolationDisplay : The path as a strip or a film.
    traverse : A straight line through one latent vector.

    References
    ----------
    White, "Sampling Generative Networks", 2016, section 2.1 (arXiv:1609.04468), for
    spherical interpolation.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import interpolate
    >>> gan = DCGANFeatureExtractor(5, n_filters=4, max_epochs=1, random_state=0)
    >>> gan = gan.fit(load_digits().images[:100])
    >>> Z = [[1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 0, 0, 3]]
    >>> interpolate(gan, Z, n_steps=4).shape
    (9, 8, 8)
    >>> images, path = interpolate(gan, Z, n_steps=4, closed=True, return_latents=True)
    >>> path.shape
    (12, 5)
    """
    Z = check_latents(estimator, Z)
    check_count("n_steps", n_steps, 1)
    if method not in ("spherical", "linear"):
        raise ValueError(
            f"method={method!r} is not known; use 'spherical' or 'linear'."
        )
    _check_key_points(Z, closed, method)
    path = _path(Z, n_steps, closed, _arc if method == "spherical" else _line)
    images = estimator.generate(path)
    return (images, path) if return_latents else images


def traverse(
    estimator,
    z,
    *,
    dimensions=None,
    directions=None,
    delta=3.0,
    n_steps=10,
    return_latents=False,
):
    """Generate the images on straight lines through a latent vector.

    What changes along a row is what that dimension or direction stands for.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted.
    z : array-like of shape (latent_dim,)
        The middle of each line.
    dimensions : int or array-like of int, default=None
        Latent variables to change, counted from 0, each on its own.
    directions : array-like of shape (n_directions, latent_dim) or (latent_dim,), \
default=None
        What to follow instead of single dimensions, such as the ``vectors`` of
        :func:`directions`. Their length does not matter.
    delta : float, default=3.0
        Distance from ``z`` to either end. Latent variables have a standard deviation
        of 1: beyond 3 lies what the generator never saw.
    n_steps : int, default=10
        Images a line, at equal distances, both ends included. An odd number has ``z``
        itself in the middle.
    return_latents : bool, default=False
        Whether to return the lines' latent vectors too.

    Returns
    -------
    images : ndarray of shape (n_directions, n_steps, ...)
        In the layout, dtype and range of the X given to ``fit``; from ``-delta`` to
        ``delta``.
    latents : ndarray of shape (n_directions, n_steps, latent_dim), float32 or float64
        Only with ``return_latents``: what ``generate`` makes the images of.

    See Also
    --------
    TraversalDisplay : The lines as rows of pictures, or a film.
    directions : Directions with a meaning.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import directions, traverse
    >>> gan = DCGANFeatureExtractor(5, n_filters=4, max_epochs=1, random_state=0)
    >>> gan = gan.fit(load_digits().images[:100])
    >>> z = [0.5, -1, 0, 0, 2]
    >>> traverse(gan, z, dimensions=[0, 3]).shape
    (2, 10, 8, 8)
    >>> traverse(gan, z, directions=directions(gan).vectors[:3], n_steps=7).shape
    (3, 7, 8, 8)
    """
    z = _check_vector(estimator, z)
    check_count("n_steps", n_steps, 2)
    if not isinstance(delta, Real) or not 0 < delta < np.inf:
        raise ValueError(f"delta={delta!r} should be a finite number above 0.")
    if (dimensions is None) == (directions is None):
        raise ValueError(
            "traverse needs either dimensions or directions, and not both: for example "
            "dimensions=[0, 1]."
        )
    if directions is None:
        units = _units_of_dimensions(dimensions, len(z))
    else:
        units = _units_of_directions(estimator, directions)
    offsets = np.linspace(-delta, delta, n_steps)
    lines = z + offsets[:, None] * units[:, None, :].astype(float)
    lines = lines.astype(z.dtype)
    images = estimator.generate(lines.reshape(-1, len(z)))
    images = images.reshape(*lines.shape[:2], *images.shape[1:])
    return (images, lines) if return_latents else images


def vector_arithmetic(
    estimator,
    positive,
    negative,
    base,
    *,
    n_neighbors=8,
    radius=0.25,
    random_state=None,
    return_latents=False,
):
    """Generate what ``positive - negative + base`` stands for, and what is around it.

    Each concept is the mean of the latent vectors of some exemplars: smiling women,
    less women with a neutral face, plus men with a neutral face, give smiling men.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted.
    positive, negative, base : array-like of shape (n_exemplars, latent_dim)
        Latent vectors whose images show the concept; a single vector will do. The
        paper takes three: single ones gave unstable results.
    n_neighbors : int, default=8
        Images around the result; with 8 and the result there are 3 x 3. 0 gives the
        result alone.
    radius : float, default=0.25
        Neighbours are the result plus uniform noise between ``-radius`` and
        ``radius`` in each dimension.
    random_state : int, RandomState instance or None, default=None
        Decides the noise. None takes the estimator's ``random_state``.
    return_latents : bool, default=False
        Whether to return the latent vectors too.

    Returns
    -------
    images : ndarray of shape (n_neighbors + 1, ...)
        In the layout, dtype and range of the X given to ``fit``; the result in the
        middle, at index ``n_neighbors // 2``.
    latents : ndarray of shape (n_neighbors + 1, latent_dim), float64
        Only with ``return_latents``: what ``generate`` makes the images of.

    Notes
    -----
    The sum of three means of three vectors from N(0, 1) is as long as one such
    vector. With more exemplars the result lies nearer to the origin than what the
    generator was trained on, with fewer farther from it.

    References
    ----------
    Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks", 2015, section 6.3.2
    (arXiv:1511.06434).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import vector_arithmetic
    >>> gan = DCGANFeatureExtractor(5, n_filters=4, max_epochs=1, random_state=0)
    >>> gan = gan.fit(load_digits().images[:100])
    >>> Z = np.random.default_rng(0).standard_normal((9, 5))
    >>> images, latents = vector_arithmetic(
    ...     gan, Z[:3], Z[3:6], Z[6:], return_latents=True
    ... )
    >>> images.shape
    (9, 8, 8)
    >>> bool(np.allclose(latents[4], (Z[:3] - Z[3:6] + Z[6:]).mean(axis=0)))
    True
    """
    positive, negative, base = (
        check_latents(estimator, _as_rows(Z), name).mean(axis=0, dtype=float)
        for name, Z in (("positive", positive), ("negative", negative), ("base", base))
    )
    check_count("n_neighbors", n_neighbors, 0)
    if not isinstance(radius, Real) or not 0 <= radius < np.inf:
        raise ValueError(f"radius={radius!r} should be a finite number, 0 or more.")
    rng = check_random_state(
        estimator.random_state if random_state is None else random_state
    )
    result = positive - negative + base
    noise = rng.uniform(-radius, radius, size=(n_neighbors, len(result)))
    noise = np.insert(noise, n_neighbors // 2, 0, axis=0)
    latents = result + noise
    images = estimator.generate(latents)
    return (images, latents) if return_latents else images


def _as_rows(Z):
    """Return a single latent vector as a row, all else as it is."""
    return np.reshape(Z, (1, -1)) if np.ndim(Z) == 1 else Z


def _check_vector(estimator, z):
    """Return a single latent vector, (latent_dim,)."""
    Z = check_latents(estimator, _as_rows(z), "z")
    if len(Z) > 1:
        raise ValueError(
            f"z holds {len(Z)} latent vectors, but lines go through one; pass z[0]."
        )
    return Z[0]


def _check_key_points(Z, closed, method):
    """Refuse key points between which there is no path, or not only one."""
    if len(Z) < 2:
        raise ValueError(f"Z holds {len(Z)} key point; a path needs at least 2.")
    pairs = [(k, k + 1) for k in range(len(Z) - 1)]
    pairs += [(len(Z) - 1, 0)] if closed else []
    for a, b in pairs:
        if np.array_equal(Z[a], Z[b]):
            why = "; closed=True returns to Z[0] by itself" if b == 0 else ""
            raise ValueError(
                f"Z[{a}] and Z[{b}] are identical, and there is no path between "
                f"them{why}. Leave one out."
            )
    if method == "linear":
        return
    for k, z in enumerate(Z):
        if not z.any():
            raise ValueError(
                f"Z[{k}] is the zero vector, which has no direction; use "
                "method='linear', or leave it out."
            )
    for a, b in pairs:
        if _angle(Z[a], Z[b]) > np.pi - _SMALLEST_ANGLE:
            raise ValueError(
                f"Z[{a}] and Z[{b}] point in opposite directions, and which of the "
                "arcs between them is meant cannot be told; use method='linear', or "
                "put a key point between them."
            )


def _path(Z, n_steps, closed, blend):
    """Return the latent vectors from each key point to the next, (n_images, d)."""
    starts, ends = (Z, np.roll(Z, -1, axis=0)) if closed else (Z[:-1], Z[1:])
    t = (np.arange(n_steps) / n_steps)[:, None]
    pieces = [
        blend(a, b, t)
        for a, b in zip(starts.astype(float), ends.astype(float), strict=True)
    ]
    path = np.concatenate(pieces).astype(Z.dtype)
    path[::n_steps] = starts
    return path if closed else np.concatenate([path, Z[-1:]])


def _line(a, b, t):
    """Return the points ``t`` (n, 1) of the straight line from a to b."""
    return (1 - t) * a + t * b


def _arc(a, b, t):
    """Return the points ``t`` (n, 1) of the arc from a to b, lengths between theirs."""
    angle = max(_angle(a, b), _SMALLEST_ANGLE)
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    directions = np.sin((1 - t) * angle) * a / lengths[0]
    directions += np.sin(t * angle) * b / lengths[1]
    # The usual formula, of a and b themselves, would bulge where lengths differ.
    return _line(*lengths, t) * directions / np.sin(angle)


def _angle(a, b):
    """Return the angle between two vectors, exact near 0 and near pi too."""
    a, b = (v / np.linalg.norm(v) for v in (a.astype(float), b.astype(float)))
    return 2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))


def _units_of_dimensions(dimensions, latent_dim):
    """Return a row of the identity for each latent variable."""
    dimensions = np.atleast_1d(dimensions)
    if dimensions.ndim > 1 or dimensions.size == 0 or dimensions.dtype.kind not in "iu":
        raise ValueError(
            f"dimensions={dimensions.tolist()!r} should be an int or a list of int."
        )
    for dimension in dimensions.tolist():
        if not 0 <= dimension < latent_dim:
            raise ValueError(
                f"dimensions names {dimension}, but the generator has latent variables "
                f"0 to {latent_dim - 1}."
            )
    return np.eye(latent_dim)[dimensions]


def _units_of_directions(estimator, directions):
    """Return directions at length 1."""
    directions = check_latents(estimator, _as_rows(directions), "directions")
    directions = directions.astype(float)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    if not lengths.all():
        row = np.flatnonzero(lengths == 0)[0]
        raise ValueError(f"directions[{row}] is the zero vector; leave it out.")
    return directions / lengths
