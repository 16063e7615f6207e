"""Which values mean black and white, and warnings of images that do not fit them."""

import warnings
from numbers import Real

import numpy as np

from sklgan._namespaces import numpy_dtype

# Values this far outside the range, as a fraction of its span, are worth a warning.
_TOLERANCE = 0.05

# uint8 images that use less of 0 to 255 may be meant on another scale; so many of them
# are looked at.
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
    some = rows[:: max(1, len(rows) // _SEEN)]
    low, high = int(some.min()), int(some.max())
    if 0 < high - low < _NARROW_SPAN:
        warnings.warn(
            f"X is of dtype uint8 with values from {low} to {high}, while "
            "data_range='auto' takes 0 for black and 255 for white. Set "
            f"data_range=({low}, {high}) if these are black and white, or "
            "data_range=(0, 255) if the images are faint.",
            UserWarning,
            stacklevel=8,
        )


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
            stacklevel=5,
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
            stacklevel=5,
        )
