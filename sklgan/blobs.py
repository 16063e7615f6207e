"""Arrays of blobs: their form, and how they are edited.

:class:`sklgan.BlobGAN` finds such arrays in images and paints images of them. An array
has one row an image and these fields, float32, for k blobs from the rearmost to the
foremost:

``x``, ``y`` : (k,)
    Centres, in parts of the image's width and height: (0, 0) is the upper left corner,
    (1, 1) the lower right one.
``size`` : (k,)
    At least 0, where a blob is not there; from 1 on, about in proportion to its area:
    the half-opaque ellipse then has 6 % of the square of the longer side for each unit.
``aspect`` : (k,)
    Length over breadth of the ellipse, positive; the models find 1 to 3.
``angle`` : (k,)
    Of the length, in radians, from the x axis towards the y axis, which points down;
    the models find -pi/2 to pi/2, and angles that differ by pi mean the same.
``feature``, ``style`` : (k, feature_dim) and (k, style_dim)
    What a blob is, and what it looks like, in a model's own terms.
``background_feature``, ``background_style`` : (feature_dim,) and (style_dim,)
    The same of what is behind all blobs.
"""

from numbers import Integral

import numpy as np

__all__ = [
    "blob_dtype",
    "blobs_from_matrix",
    "blobs_to_matrix",
    "check_blobs",
    "compose",
    "edit",
]

GEOMETRY = ("x", "y", "size", "aspect", "angle")


def blob_dtype(n_blobs, feature_dim, style_dim):
    """Return the dtype of an array of blobs.

    Parameters
    ----------
    n_blobs : int
        Blobs an image, at least 1.
    feature_dim, style_dim : int
        Lengths of the vectors of a blob, at least 1.

    Returns
    -------
    dtype : numpy.dtype
        Structured; one value is one image.

    Raises
    ------
    ValueError
        If one of them is not such a number.

    Examples
    --------
    >>> from sklgan.blobs import blob_dtype
    >>> blob_dtype(10, 32, 32)["feature"].shape
    (10, 32)
    """
    counts = {"n_blobs": n_blobs, "feature_dim": feature_dim, "style_dim": style_dim}
    for name, count in counts.items():
        if not isinstance(count, Integral) or count < 1:
            raise ValueError(f"{name}={count!r} should be an int of at least 1.")
    return np.dtype(
        [
            *((name, np.float32, (n_blobs,)) for name in GEOMETRY),
            ("feature", np.float32, (n_blobs, feature_dim)),
            ("style", np.float32, (n_blobs, style_dim)),
            ("background_feature", np.float32, (feature_dim,)),
            ("background_style", np.float32, (style_dim,)),
        ]
    )


def _lengths(dtype):
    """Return (n_blobs, feature_dim, style_dim) of a dtype of blobs."""
    return (*dtype["feature"].shape, dtype["style"].shape[1])


def blobs_to_matrix(B):
    """Flatten an array of blobs, as :meth:`sklgan.BlobGAN.transform` returns it.

    Parameters
    ----------
    B : ndarray of shape (n_samples,), structured
        Blobs.

    Returns
    -------
    M : ndarray of shape (n_samples, n_features_out), float32
        Blob by blob x, y, size, aspect, angle, feature and style, then the background's
        feature and style.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.blobs import blob_dtype, blobs_to_matrix
    >>> blobs_to_matrix(np.zeros(5, dtype=blob_dtype(10, 4, 3))).shape
    (5, 127)
    """
    B = _as_blobs(B)
    blobs = np.concatenate(
        [*(B[name][..., None] for name in GEOMETRY), B["feature"], B["style"]], axis=2
    )
    background = B["background_feature"], B["background_style"]
    return np.concatenate([blobs.reshape(len(B), -1), *background], axis=1)


def blobs_from_matrix(M, dtype):
    """Return the array of blobs that was flattened.

    Parameters
    ----------
    M : array-like of shape (n_samples, n_features_out)
        As :func:`blobs_to_matrix` returns it.
    dtype : numpy.dtype
        Of the blobs: ``gan.blob_dtype_``, or what :func:`blob_dtype` returns.

    Returns
    -------
    B : ndarray of shape (n_samples,), structured
        A copy.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.blobs import blob_dtype, blobs_from_matrix
    >>> blobs_from_matrix(np.zeros((5, 127)), blob_dtype(10, 4, 3)).shape
    (5,)
    """
    M = np.asarray(M, dtype=np.float32)
    n_blobs, feature_dim, style_dim = _lengths(dtype)
    each, last = 5 + feature_dim + style_dim, feature_dim + style_dim
    if M.ndim != 2 or M.shape[1] != n_blobs * each + last:
        raise ValueError(
            f"M has shape {M.shape}, but {n_blobs} blobs with features of "
            f"{feature_dim} and styles of {style_dim} values are rows of "
            f"{n_blobs * each + last}; pass what transform returned, or another dtype."
        )
    B = np.empty(len(M), dtype=dtype)
    blobs = M[:, : n_blobs * each].reshape(len(M), n_blobs, each)
    for column, name in enumerate(GEOMETRY):
        B[name] = blobs[..., column]
    B["feature"], B["style"] = blobs[..., 5:-style_dim], blobs[..., -style_dim:]
    background = M[:, n_blobs * each :]
    B["background_feature"] = background[:, :feature_dim]
    B["background_style"] = background[:, feature_dim:]
    return B


def check_blobs(B):
    """Refuse what is no array of blobs, or holds blobs that cannot be painted.

    Parameters
    ----------
    B : ndarray of shape (n_samples,), structured
        Blobs, any number of them an image.

    Returns
    -------
    B : ndarray of shape (n_samples,)
        The array itself.

    Raises
    ------
    TypeError
        If it is no structured array of blobs.
    ValueError
        If a value is NaN or infinite, a size negative, an aspect not positive, or a
        blob's centre outside the image; the message says which.
    """
    B = _check_values(B)
    for name in ("x", "y"):
        outside = (B[name] < 0) | (B[name] > 1)
        remedy = "lies outside the image, 0 to 1; remove the blob, or move it back"
        _refuse(outside & (B["size"] > 0), B[name], name, remedy)
    return B


def _check_values(B):
    """Refuse what :func:`check_blobs` does but for centres, which an edit may mend."""
    B = _as_blobs(B)
    for name in B.dtype.names:
        _refuse(~np.isfinite(B[name]), B[name], name, "is not finite")
    _refuse(B["size"] < 0, B["size"], "size", "is negative; 0 removes a blob")
    _refuse(B["aspect"] <= 0, B["aspect"], "aspect", "is not positive")
    return B


def _refuse(is_wrong, values, name, what):
    """Raise a ValueError that names the first value that is wrong, if any is."""
    if not is_wrong.any():
        return
    place = tuple(int(index) for index in np.argwhere(is_wrong)[0])
    blob = "" if name.startswith("background") else f" of blob {place[1]}"
    raise ValueError(f"{name}={values[place]}{blob} of image {place[0]} {what}.")


def _as_blobs(B):
    """Return an array of blobs as it is, or raise TypeError."""
    names = getattr(getattr(B, "dtype", None), "names", None)
    if names != blob_dtype(1, 1, 1).names or np.ndim(B) != 1:
        found = f"{type(B).__name__} of shape {np.shape(B)}" if names is None else ""
        raise TypeError(
            f"B should be an array of blobs of shape (n_samples,), got "
            f"{found or f'shape {np.shape(B)} with fields {names}'}; of one image pass "
            "B[:1], and of what transform returns blobs_from_matrix(M, "
            "gan.blob_dtype_)."
        )
    if not _is_blob_dtype(B.dtype):
        raise TypeError(
            f"B has fields of {B.dtype}, which are not those of blobs: float32, and of "
            "as many blobs each. Make arrays of blob_dtype(n_blobs, feature_dim, "
            "style_dim), or convert to it: B.astype(dtype)."
        )
    return B


def _is_blob_dtype(dtype):
    """Tell whether the fields of a dtype, which have the right names, fit together."""
    feature, style = dtype["feature"].shape, dtype["style"].shape
    if len(feature) != 2 or len(style) != 2 or 0 in (*feature, *style):
        return False
    whole = blob_dtype(*feature, style[1])
    return all(dtype[name] == whole[name] for name in whole.names)


def _blob_number(B, blob, name="blob"):
    """Return the index of a blob counted from 0; negative ones count from the last."""
    n_blobs = B.dtype["x"].shape[0]
    whole = isinstance(blob, Integral) and not isinstance(blob, bool)
    if not whole or not -n_blobs <= blob < n_blobs:
        raise ValueError(
            f"{name}={blob!r} is no blob of an array that has {n_blobs} an image; they "
            f"count from 0 to {n_blobs - 1}."
        )
    return int(blob) % n_blobs


def edit(
    B,
    blob,
    *,
    move=None,
    scale=None,
    rotate=None,
    remove=False,
    copy=False,
    feature_from=None,
    style_from=None,
):
    """Change a blob of each image.

    Parameters
    ----------
    B : ndarray of shape (n_samples,), structured
        Blobs; they stay as they are.
    blob : int
        Which blob, from 0; negative ones count from the last.
    move : pair of float, default=None
        ``(dx, dy)``, in parts of the image's width and height, to the right and down.
        One pair for all images, or a tuple of two arrays of shape (n_samples,).
    scale : float or array-like of shape (n_samples,), default=None
        Factor of the blob's length and breadth; its size grows with the square.
    rotate : float or array-like of shape (n_samples,), default=None
        Radians from the x axis towards the y axis, which is clockwise to the eye.
    remove : bool, default=False
        Whether the blob goes: its size becomes 0.
    copy : bool, default=False
        Whether the blob stays, and all else is done to a copy of it, which becomes the
        foremost blob: the array that is returned has one more.
    feature_from, style_from : int or array-like, default=None
        Another blob of the same image whose vector is taken over, or the vector itself,
        (feature_dim,) or (n_samples, feature_dim), such as ``other["style"][:, 3]``.

    Returns
    -------
    B : ndarray of shape (n_samples,), structured
        The blobs after the edit.

    Raises
    ------
    ValueError
        If there is no such blob, a vector has another length, an amount is no number, a
        flag no bool, or what comes out is refused by :func:`check_blobs`.

    References
    ----------
    Epstein et al. 2022, section 4.1 (arXiv:2205.02837).

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.blobs import blob_dtype, edit
    >>> B = np.zeros(2, dtype=blob_dtype(3, 4, 4))
    >>> B["x"], B["y"], B["size"], B["aspect"] = 0.5, 0.5, 1.0, 1.0
    >>> edit(B, 1, move=(0.25, 0.0))["x"][0].tolist()
    [0.5, 0.75, 0.5]
    >>> edit(B, 1, remove=True)["size"][0].tolist()
    [1.0, 0.0, 1.0]
    """
    _check_values(B)
    blob = _blob_number(B, blob)
    if not {type(remove), type(copy)} <= {bool, np.bool_}:
        raise ValueError(
            f"remove={remove!r} and copy={copy!r} should be True or False."
        )
    sources = {"feature": feature_from, "style": style_from}
    vectors = {
        name: _vector(B, name, source)
        for name, source in sources.items()
        if source is not None
    }
    new = B.copy()
    if copy:
        new, blob = _with_copy(B, blob), B.dtype["x"].shape[0]
    if move is not None:
        dx, dy = _pair(move)
        new["x"][:, blob] += _amounts(B, dx, "dx of move")
        new["y"][:, blob] += _amounts(B, dy, "dy of move")
    if scale is not None:
        factors = _amounts(B, scale, "scale")
        if not (factors > 0).all():
            raise ValueError(
                f"scale={scale!r} should be positive; remove=True removes a blob."
            )
        with np.errstate(over="ignore"):  # sizes that are infinite are refused below
            new["size"][:, blob] *= np.square(factors)
    if rotate is not None:
        turned = new["angle"][:, blob] + _amounts(B, rotate, "rotate")
        new["angle"][:, blob] = (turned + np.pi / 2) % np.pi - np.pi / 2
    for name, vector in vectors.items():
        new[name][:, blob] = vector
    if remove:
        new["size"][:, blob] = 0
    return check_blobs(new)


def _pair(move):
    """Return dx and dy."""
    is_pair = isinstance(move, (tuple, list)) or np.shape(move) == (2,)
    if not is_pair or len(move) != 2:
        raise ValueError(
            f"move={move!r} should be a pair, (dx, dy) or (steps[:, 0], steps[:, 1])."
        )
    return move


def _amounts(B, values, name):
    """Return a number for all images, or one for each, as an array."""
    try:
        amounts = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        amounts = None
    if amounts is None or amounts.shape not in ((), B.shape):
        raise ValueError(
            f"{name}={values!r} should be a number, or one for each of the {len(B)} "
            "images."
        )
    if not np.isfinite(amounts).all():
        raise ValueError(f"{name}={values!r} should be finite.")
    return amounts


def _vector(B, name, source):
    """Return the feature or style of another blob, or that which was given."""
    if np.ndim(source) == 0:
        return B[name][:, _blob_number(B, source, f"{name}_from")].copy()
    length = B.dtype[name].shape[1]
    try:
        vector = np.asarray(source, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name}_from={source!r} should be the number of a blob, or {length} "
            "numbers."
        ) from error
    if vector.shape not in ((length,), (len(B), length)):
        raise ValueError(
            f"{name}_from has shape {vector.shape}, but these blobs have a {name} of "
            f"{length} values; take it from blobs of the same model."
        )
    return vector


def _with_copy(B, blob):
    """Return the blobs, and a copy of one of them before all others."""
    return _joined(B, B, [blob])


def _joined(B, other, chosen):
    """Return blobs with the chosen ones of another array before them."""
    n_blobs, *lengths = _lengths(B.dtype)
    new = np.empty(len(B), dtype=blob_dtype(n_blobs + len(chosen), *lengths))
    for name in B.dtype.names:
        if name.startswith("background"):
            new[name] = B[name]
        else:
            new[name] = np.concatenate([B[name], other[name][:, chosen]], axis=1)
    return new


def compose(B, other, blobs=None):
    """Put blobs of other images before those of the first ones.

    Parameters
    ----------
    B : ndarray of shape (n_samples,), structured
        Whose background and blobs stay.
    other : ndarray of shape (n_samples,) or (1,), structured
        Blobs of the same model, image by image, or of one image for all.
    blobs : list of int, default=None
        Which blobs of the other images; None takes all.

    Returns
    -------
    B : ndarray of shape (n_samples,), structured
        So many more blobs an image.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.blobs import blob_dtype, compose
    >>> B = np.zeros(2, dtype=blob_dtype(3, 4, 4))
    >>> B["aspect"] = 1.0
    >>> compose(B, B[:1], [0, 2])["x"].shape
    (2, 5)
    """
    check_blobs(B)
    check_blobs(other)
    if _lengths(B.dtype)[1:] != _lengths(other.dtype)[1:]:
        raise ValueError(
            f"B has features and styles of {_lengths(B.dtype)[1:]} values and other of "
            f"{_lengths(other.dtype)[1:]}; compose blobs of one model."
        )
    if len(other) not in (1, len(B)):
        raise ValueError(
            f"B has {len(B)} images and other {len(other)}; give as many, or one."
        )
    n_blobs = other.dtype["x"].shape[0]
    chosen = range(n_blobs) if blobs is None else blobs
    if not np.iterable(chosen):
        raise ValueError(f"blobs={blobs!r} should be a list of ints, or None for all.")
    chosen = [_blob_number(other, blob, "blobs") for blob in chosen]
    return _joined(B, np.broadcast_to(other, B.shape), chosen)
