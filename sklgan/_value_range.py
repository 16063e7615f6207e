"""Which values mean black and white, and warnings of images that do not fit them."""

import sys
import warnings
from numbers import Real

import numpy as np

from sklgan._namespaces import numpy_dtype

# Values this far outside the range, as a fraction of its span, are worth a warning.
_TOLERANCE = 0.05

# uint8 images that use less of 0 to 255 may be meant on another scale. So many are
# looked at before all are.
_NARROW_SPAN, _SEEN = 64, 64

# A model of a range this wide is not meant for values in [0, 1] or [-1, 1]. That of
# scikit-learn's digits is 16; within one around 0 such values are more common.
_WIDE_SPAN, _WIDE_SIGNED_SPAN = 10, 100


def choose_range(data_range, rows):
    """Return (low, high) as given, or the narrowest usual range that rows lie in."""
    if not (isinstance(data_range, str) and data_range == "auto"):
        return check_data_range(data_range)
    if numpy_dtype(rows) == np.uint8:
        _warn_if_narrow(rows)
        return 0.0, 255.0
    low, high = float(rows.min()), float(rows.max())
    if 0 <= low and high <= 1:
        return 0.0, 1.0
    if -1 <= low and high <= 1:
        return -1.0, 1.0
    if 0 <= low and 128 < high <= 255:
        return 0.0, 255.0
    return low, high if high > low else low + 1


def check_data_range(data_range):
    """Return the parameter data_range as a pair of floats."""
    pair = tuple(data_range) if np.iterable(data_range) else ()
    is_real = [isinstance(value, Real) and np.isfinite(value) for value in pair]
    if len(pair) != 2 or not all(is_real) or not pair[0] < pair[1]:
        raise ValueError(
            f"data_range={data_range!r} is not a range. Pass 'auto', or a pair of "
            "finite numbers (low, high) with low < high, such as (0, 255)."
        )
    return float(pair[0]), float(pair[1])


def _warn_if_narrow(rows):
    """Warn of uint8 images that are all but one grey on a scale from 0 to 255."""
    for some in (rows[:: max(1, len(rows) // _SEEN)], rows):
        low, high = int(some.min()), int(some.max())
        if not 0 < high - low < _NARROW_SPAN:
            return
    warnings.warn(
        f"X is of dtype uint8, and the values of {len(rows)} images, those looked at, "
        f"go from {low} to {high}, while data_range='auto' takes 0 for black and 255 "
        f"for white. Set data_range=({low}, {high}) if these are black and white, or "
        "data_range=(0, 255) if the images are faint.",
        UserWarning,
        stacklevel=_level_of_user(),
    )


def _level_of_user():
    """Return the stack level of the user's line, as the caller counts it.

    How far it is depends on the estimator, and on pipelines around it.
    """
    between = {"sklgan", "sklearn", "joblib", "contextlib"}
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] in between:
        frame, level = frame.f_back, level + 1
    return level


def warn_if_outside(rows, data_range, dtype):
    """Warn of values that data_range does not foresee; dtype is what X came in."""
    low, high = data_range
    if numpy_dtype(rows) == np.uint8 and (low, high) == (0, 255):
        return
    found_low, found_high = float(rows.min()), float(rows.max())
    margin = _TOLERANCE * (high - low)
    if found_low < low - margin or found_high > high + margin:
        warnings.warn(
            f"X has values from {found_low:.6g} to {found_high:.6g}, outside the range "
            f"of the model, [{low:.6g}, {high:.6g}]. Scale X as the data given to fit, "
            "or fit again with a data_range that covers both.",
            UserWarning,
            stacklevel=_level_of_user(),
        )
    elif (
        dtype is not None
        and dtype.kind == "f"
        and high - low >= (_WIDE_SPAN if low >= 0 else _WIDE_SIGNED_SPAN)
        and -1 <= found_low
        and 0 < found_high <= 1
    ):
        unit = "[0, 1]" if found_low >= 0 else "[-1, 1]"
        warnings.warn(
            f"X has values from {found_low:.6g} to {found_high:.6g} and looks scaled "
            f"to {unit}, while the model was fitted on [{low:.6g}, {high:.6g}]. Scale "
            "X as the data given to fit.",
            UserWarning,
            stacklevel=_level_of_user(),
        )
