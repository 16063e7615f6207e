"""The gate for data: every input becomes one checked array, and one array every output.

Channels last outside, ``(n, c, h, w)`` in [-1, 1] inside, and nowhere else a
conversion between the two.
"""

from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, gen_batches
from sklearn.utils.validation import validate_data

from sklgan._decoding import CHANNELS, check_image_shape, decode_pictures
from sklgan._listing import list_pictures
from sklgan._mapping import find_mapping
from sklgan._namespaces import is_dispatched, moments, numpy_dtype, to_tensor
from sklgan._sequences import ImageSequence
from sklgan._value_range import choose_range, warn_if_outside

# The first is what all other dtypes are converted to.
_CHECKS = {"dtype": [np.float32, np.uint8, np.float64], "order": "C"}
_TENSOR_CHECKS = {"dtype": [torch.float32, torch.uint8, torch.float64]}

# Rows at a time: StandardScaler makes a float64 copy of what it is given.
_SCALER_BATCH = 4096

# Of images that are not decoded yet, so many are looked at; all are checked in use.
_SEEN = 64


def check_images(estimator, X, *, reset):
    """Check the X given to an estimator and return it as rows.

    Parameters
    ----------
    estimator : estimator instance
        Its parameters ``image_shape`` and ``data_range`` are read, and with ``reset``
        its fitted attributes ``n_features_in_``, ``feature_names_in_`` (data frames),
        ``image_shape_`` and ``data_range_`` are set, once all is known to be good.
    X : array-like, ImageSequence, or sequence of paths or of PIL images
        Flat ``(n, d)``, grey ``(n, h, w)`` or colour images ``(n, h, w, c)``.
    reset : bool
        True in ``fit``; False to hold X against what ``fit`` saw.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features), dtype uint8, float32 or float64
        C-contiguous, and the memory of X itself where that needs no conversion. A
        tensor on its device, where X is one and array API dispatch is on; an
        ImageSequence of two dimensions where X is an ImageSequence.

    Raises
    ------
    ValueError
        If X, ``image_shape`` or ``data_range`` is malformed, or they do not match.
    TypeError
        If X is sparse, a single path or image, or holds what is not a number.
    """
    X, ndim, image_shape = _as_rows(estimator, X, reset)
    lazy = X if isinstance(X, ImageSequence) else None
    checks = _TENSOR_CHECKS if torch.is_tensor(X) else _CHECKS
    if lazy is not None:
        X = X.decode(slice(_SEEN))
    if not reset:
        rows = validate_data(estimator, X, reset=False, **checks)
        if image_shape is not None:
            warn_if_outside(rows, estimator.data_range_, _dtype_of(X, rows))
        return rows if lazy is None else lazy
    # The attributes of an earlier fit stay untouched until nothing can fail any more.
    rows = check_array(
        X, ensure_min_samples=2, estimator=estimator, input_name="X", **checks
    )
    dtype = _dtype_of(X, rows)
    data_range = None
    if image_shape is not None:
        _check_n_values(estimator, rows, image_shape)
        data_range = choose_range(estimator.data_range, rows)
        if not isinstance(estimator.data_range, str):
            warn_if_outside(rows, data_range, dtype)
    rows = rows if lazy is None else lazy
    scale = _learn_scale(rows, data_range)
    validate_data(estimator, X, reset=True, skip_check_array=True)
    estimator.image_shape_ = image_shape
    estimator.data_range_ = data_range
    estimator._input_layout = {"ndim": ndim, "dtype": dtype.name}
    estimator._scale = scale
    return rows


def to_batch(rows, center, half_range, image_shape):
    """Turn checked rows into what the networks see.

    Parameters
    ----------
    rows : Tensor of shape (b, d)
        Some rows of what `check_images` returned, on any device.
    center, half_range : Tensor of shape () or (d,)
        The fitted ``_scale``, on the same device.
    image_shape : tuple of (h, w, c) or None
        The fitted ``image_shape_``.

    Returns
    -------
    batch : Tensor of shape (b, c, h, w) or (b, d), dtype float32
        Images in [-1, 1] in channels-last memory; rows of flat X standardised.
    """
    # A division, not a product with the inverse: the ends of the range are then
    # exactly -1 and 1. In place, except on rows that are the caller's.
    if rows.is_floating_point():
        batch = torch.sub(rows, center)
    else:
        batch = rows.to(center.dtype).sub_(center)
    batch = batch.div_(half_range).float()
    if image_shape is None:
        return batch
    height, width, channels = image_shape
    return batch.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


def from_batch(estimator, batch):
    """Turn what a generator made into the layout, dtype and range of the fitted X.

    Parameters
    ----------
    estimator : estimator instance
        Fitted through `check_images`.
    batch : ndarray of shape (b, c, h, w) or (b, d), dtype float32
        Images in [-1, 1], or rows of standardised flat data.

    Returns
    -------
    X : ndarray of shape (b, h, w), (b, h, w, c) or (b, d)
        Images clipped to ``data_range_``; rows of flat data in their own units.
    """
    dtype = np.dtype(estimator._input_layout["dtype"])
    # float32 cannot hold every integer that a 32-bit image can.
    exact = np.float32 if dtype in (np.float16, np.float32) else np.float64
    low, high = -np.inf, np.inf
    if estimator.image_shape_ is not None:
        low, high = estimator.data_range_
        batch = batch.transpose(0, 2, 3, 1)
    X = np.array(batch, dtype=exact, order="C")
    center, half_range = estimator._scale
    X *= half_range.astype(exact)
    X += center.astype(exact)
    if dtype.kind == "b":
        X = X >= 0.5
    elif dtype.kind in "iu":
        info = np.iinfo(dtype)
        # Not info.max: the largest int64 is no float64, and the next one overflows.
        highest = np.nextafter(float(info.max), 0)
        np.clip(X, max(np.ceil(low), info.min), min(np.floor(high), highest), out=X)
        X = np.rint(X, out=X).astype(dtype)
    else:
        X = np.clip(X, low, high, out=X).astype(dtype, copy=False)
    ndim = estimator._input_layout["ndim"]
    if ndim == 3:
        return X[..., 0]
    return X.reshape(len(X), -1) if ndim == 2 else X


def _as_rows(estimator, X, reset):
    """Return X in two dimensions, the number it had, and its (h, w, c) or None."""
    if reset:
        image_shape = check_image_shape(estimator.image_shape)
    else:
        image_shape = estimator.image_shape_
    pictures = list_pictures(X)
    if pictures is None:
        X = _as_array(X)
        if isinstance(X, np.ndarray):
            find_mapping(X)  # for its error: to touch what was cut off would kill
        ndim = len(X.shape)
        if not reset and image_shape is not None and not issparse(X):
            _refuse_single(X.shape, image_shape)
        if ndim < 3 or issparse(X):
            return X, ndim, image_shape
        image_shape = _match_shape(estimator, X, image_shape, reset)
    else:
        if not reset and image_shape is None:
            raise _fitted_on_flat(estimator, "pictures")
        X = decode_pictures(pictures, image_shape)
        ndim = X.ndim
        image_shape = (*X.shape[1:], 1)[:3]
    return X.reshape(len(X), prod(image_shape)), ndim, image_shape


def _as_array(X):
    """Return X as an ndarray, or as it is if that is for scikit-learn to judge."""
    if isinstance(X, Iterator):
        raise TypeError(
            f"X is a {type(X).__name__}, which can be read only once. Pass list(X)."
        )
    if issparse(X) or hasattr(X, "columns") or isinstance(X, ImageSequence):
        return X
    if is_dispatched(X):
        X = to_tensor(X).contiguous()
        if X.is_complex():
            raise ValueError(f"Complex data not supported: X has dtype {X.dtype}.")
        return X
    if hasattr(X, "features") and hasattr(X, "column_names"):
        raise TypeError(
            f"X is a {type(X).__name__} of Hugging Face's. Pass "
            "sklgan.datasets.HuggingFaceImages(X)."
        )
    if isinstance(X, (list, tuple)):
        X = [_from_torch(item) for item in X]
    X = _from_torch(X)
    if not isinstance(X, np.ndarray):
        X = _stack(X)
    if X.dtype == object and X.ndim == 1 and len(X) and np.ndim(X[0]) > 0:
        X = _stack(list(X))
    if X.size == 0 and X.ndim == 1:
        raise ValueError("X is empty. Pass at least 2 samples.")
    if X.dtype.kind not in "biufcO":
        raise ValueError(
            f"X has dtype {X.dtype} and {X.ndim} dimensions, but numbers are needed. "
            "Convert it with X.astype(float), or pass the paths of images as a "
            "one-dimensional list."
        )
    return X


def _from_torch(X):
    """Return a torch tensor, perhaps with gradients or on a GPU, as an ndarray."""
    if not hasattr(X, "detach"):
        return X
    X = X.detach().cpu()
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy()  # NumPy lacks it


def _stack(items):
    """Return np.asarray(items), or say which two items differ in shape."""
    try:
        return np.asarray(items)
    except ValueError as error:
        if not isinstance(items, (list, tuple)):
            raise
        shapes = [getattr(item, "shape", None) or _length(item) for item in items]
        other = next((i for i, s in enumerate(shapes) if s != shapes[0]), None)
        found = "items that differ in shape"
        if other is not None:
            found += f": X[0] is {shapes[0]} and X[{other}] is {shapes[other]}"
        raise ValueError(
            f"X is a ragged list with {found}. Give all the same shape; images of "
            "different sizes have to be resized first."
        ) from error


def _length(item):
    """Describe the length of an item of a list."""
    return f"of length {len(item)}" if hasattr(item, "__len__") else "a single value"


def _match_shape(estimator, X, image_shape, reset):
    """Return the (h, w, c) of an array of images, if it is the expected one."""
    if not reset and image_shape is None:
        raise _fitted_on_flat(estimator, f"images of shape {X.shape}")
    if X.shape == image_shape:
        raise ValueError(_single_image(X))
    if X.ndim == 3 and image_shape is not None and X.shape[1:] == image_shape[:2]:
        found = (*X.shape[1:], 1)
    else:
        found = _image_shape(X)
    if image_shape is None or found == image_shape:
        return found
    if reset:
        raise ValueError(
            f"image_shape={estimator.image_shape!r} does not match X of shape "
            f"{X.shape}, whose images are {found} (h, w, c). Leave image_shape=None, "
            "or resize the images."
        )
    raise ValueError(
        f"X holds images of shape {found} (h, w, c), but {type(estimator).__name__} "
        f"was fitted on images of shape {image_shape}. Convert them first."
    )


def _image_shape(X):
    """Return the (h, w, c) of an array of three or more dimensions."""
    shape = X.shape
    if X.ndim > 4:
        raise ValueError(
            f"X has {X.ndim} dimensions, shape {shape}. Pass images as (n, h, w) or "
            "(n, h, w, c)."
        )
    if X.ndim == 3:
        if shape[2] in (3, 4) and shape[1] > 4:
            raise ValueError(_single_image(X))
        return (*shape[1:], 1)
    if shape[3] in CHANNELS:
        return shape[1:]
    if shape[1] in CHANNELS:
        raise ValueError(
            f"X of shape {shape} seems to have its channels first. Pass them last: "
            "X.transpose(0, 2, 3, 1) (for a tensor, X.permute(0, 2, 3, 1))."
        )
    raise ValueError(
        f"X of shape {shape} has {shape[3]} channels on its last axis, but images have "
        "1, 3 or 4. Choose some, such as X[..., :1], or pass X.reshape(len(X), -1) as "
        "flat data."
    )


def _refuse_single(shape, image_shape):
    """Refuse what has the shape of one image of those that fit saw."""
    height, width, channels = image_shape
    # With a height of 1 it is a flattened image, which is as good.
    if channels == 1 and height > 1 and shape == (height, width):
        remedy = "X[np.newaxis]"
    elif channels > 1 and shape == (channels, height, width):
        remedy = "X.transpose(1, 2, 0)[np.newaxis], its channels last"
    else:
        return
    raise ValueError(
        f"X of shape {tuple(shape)} looks like a single image. Pass {remedy}."
    )


def _single_image(X):
    """Return the message for what looks like one colour image."""
    return (
        f"X of shape {X.shape} looks like a single image. Pass X[np.newaxis] for one "
        f"image, or X[..., np.newaxis] if these are {X.shape[0]} grey images of width "
        f"{X.shape[2]}."
    )


def _fitted_on_flat(estimator, found):
    """Return the ValueError for images where fit saw flat rows."""
    return ValueError(
        f"X holds {found}, but {type(estimator).__name__} was fitted on flat rows. "
        f"Pass an array of shape (n, {estimator.n_features_in_}), or fit on images."
    )


def _dtype_of(X, rows):
    """Return the numeric dtype that the user's X had, else that of its checked rows."""
    if torch.is_tensor(X):
        return numpy_dtype(X)
    try:
        dtypes = getattr(X, "dtypes", None)
        dtype = X.dtype if dtypes is None else np.result_type(*dtypes)
    except TypeError:  # columns of dtypes that NumPy does not know
        return rows.dtype
    return dtype if dtype.kind in "biuf" else rows.dtype


def _check_n_values(estimator, rows, image_shape):
    """Raise ValueError if rows cannot be flattened images of image_shape."""
    if rows.shape[1] != prod(image_shape):
        raise ValueError(
            f"image_shape={estimator.image_shape!r} means {prod(image_shape)} values "
            f"an image, but X has {rows.shape[1]} features. Correct image_shape, or "
            "leave it None for flat data."
        )


def _learn_scale(rows, data_range):
    """Return the center and the half range that network values are counted in."""
    dtype = np.float64 if numpy_dtype(rows) == np.float64 else np.float32
    if data_range is not None:
        low, high = data_range
        # Halved first: the span of a range of large floats may overflow.
        center, half_range = low / 2 + high / 2, high / 2 - low / 2
    elif torch.is_tensor(rows):
        center, half_range = moments(rows)
    else:
        scaler = StandardScaler()
        for batch in gen_batches(len(rows), _SCALER_BATCH):
            scaler.partial_fit(rows[batch])
        center, half_range = scaler.mean_, scaler.scale_
    return np.asarray(center, dtype=dtype), np.asarray(half_range, dtype=dtype)
