"""The form of arrays of blobs, and what is no such array; see :mod:`sklgan.blobs`."""

from numbers import Integral

import numpy as np

GEOMETRY = ("x", "y", "size", "aspect", "angle")
_NAMES = (*GEOMETRY, "feature", "style", "background_feature", "background_style")


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


def blob_lengths(dtype):
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
    B = as_blob_array(B)
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

    Raises
    ------
    TypeError
        If the dtype is not one of blobs.
    ValueError
        If rows are not as long as it says.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.blobs import blob_dtype, blobs_from_matrix
    >>> blobs_from_matrix(np.zeros((5, 127)), blob_dtype(10, 4, 3)).shape
    (5,)
    """
    M, dtype = np.asarray(M, dtype=np.float32), np.dtype(dtype)
    if dtype.names != _NAMES or not _is_blob_dtype(dtype):
        raise TypeError(
            f"dtype={dtype} is not one of blobs; pass gan.blob_dtype_, or "
            "blob_dtype(n_blobs, feature_dim, style_dim)."
        )
    n_blobs, feature_dim, style_dim = blob_lengths(dtype)
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
    check_centers(check_values(B), range(B.dtype["x"].shape[0]))
    return B


def check_centers(B, blobs):
    """Refuse blobs, of these numbers, that are there and outside the image."""
    checked = np.isin(np.arange(B.dtype["x"].shape[0]), blobs) & (B["size"] > 0)
    for name in ("x", "y"):
        outside = (B[name] < 0) | (B[name] > 1)
        remedy = "lies outside the image, 0 to 1; remove the blob, or move it back"
        _refuse(outside & checked, B[name], name, remedy)


def check_values(B):
    """Refuse what :func:`check_blobs` does but for centres, which an edit may mend."""
    B = as_blob_array(B)
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


def as_blob_array(B):
    """Return an array of blobs as it is, or raise TypeError."""
    names = getattr(getattr(B, "dtype", None), "names", None)
    if names != _NAMES or np.ndim(B) != 1:
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
