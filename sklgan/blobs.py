"""Arrays of blobs: their form, and how they are edited.

:class:`sklgan.BlobGAN` finds such arrays in images and paints images of them. An array
has one row an image and these fields, float32, for k blobs from the rearmost to the
foremost:

``x``, ``y`` : (k,)
    Centres, in parts of the image's width and height: (0, 0) is the upper left corner,
    (1, 1) the lower right one.
``size`` : (k,)
    At least 0, where a blob is not there: its area, each place counting by its opacity,
    in units of 6.3 % of the square of the image's longer side. In its centre a blob has
    an opacity of 1 - exp(-size): 0.63 at a size of 1, 0.86 at 2.
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

from sklgan._blob_dtype import (
    blob_dtype,
    blob_lengths,
    blobs_from_matrix,
    blobs_to_matrix,
    check_blobs,
    check_centers,
    check_values,
)

__all__ = [
    "blob_dtype",
    "blobs_from_matrix",
    "blobs_to_matrix",
    "check_blobs",
    "compose",
    "edit",
]


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
        Factor of the blob's length and breadth; its size, the area, grows with the
        square. A blob that is not opaque, of a size below 2, becomes more or less so
        as well: what is made small fades.
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
        flag no bool, or the blob lies outside the image in the end. Other blobs may,
        until they are edited; models refuse to paint them.

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
    check_values(B)
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
        new["size"][:, blob] = _scaled(new["size"][:, blob], factors)
    if rotate is not None:
        turned = new["angle"][:, blob] + _amounts(B, rotate, "rotate")
        new["angle"][:, blob] = (turned + np.pi / 2) % np.pi - np.pi / 2
    for name, vector in vectors.items():
        new[name][:, blob] = vector
    if remove:
        new["size"][:, blob] = 0
    check_centers(check_values(new), [blob])
    return new


def _scaled(sizes, factors):
    """Return the sizes of blobs that become longer and broader by factors."""
    with np.errstate(over="ignore"):
        scaled = sizes * np.square(factors)
    lost = ~np.isfinite(scaled) | ((scaled == 0) & (sizes > 0))
    if lost.any():
        image = int(lost.argmax())
        raise ValueError(
            f"scale={np.broadcast_to(factors, lost.shape)[image]:g} makes of size="
            f"{sizes[image]:g} in image {image} one of {scaled[image]:g}; take a "
            "factor nearer to 1, or remove=True."
        )
    return scaled


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
        # Too large a number becomes infinite, which is refused below.
        with np.errstate(over="ignore"):
            amounts = np.asarray(values, dtype=np.float32)
    except (TypeError, ValueError):
        amounts = None
    if amounts is None or amounts.shape not in ((), B.shape):
        raise ValueError(
            f"{name}={values!r} should be a number, or one for each of the {len(B)} "
            "images."
        )
    if not np.isfinite(amounts).all():
        raise ValueError(f"{name}={values!r} should be finite in float32.")
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
    n_blobs, *lengths = blob_lengths(B.dtype)
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
    own, others = blob_lengths(B.dtype)[1:], blob_lengths(other.dtype)[1:]
    if own != others:
        raise ValueError(
            f"B has features and styles of {own} values and other of {others}; compose "
            "blobs of one model."
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
