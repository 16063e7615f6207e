"""What a user's X is: pictures, as paths or PIL images, or something else."""

import os

from PIL import Image

# How to list a folder's files, for messages.
GLOB = 'sorted(Path(folder).glob("*.png"))'


def list_pictures(X):
    """Tell whether X is a sequence of pictures, and list them.

    Parameters
    ----------
    X : object
        What the user passed.

    Returns
    -------
    pictures : list of (str, path-like or PIL image) or None
        None where X is something else, such as an array of numbers.

    Raises
    ------
    TypeError or ValueError
        If X is one picture instead of a sequence, mixes pictures and others, or holds
        files' bytes, open files, or columns of text in a data frame.
    """
    _refuse_text(X)
    if isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(
            f"X is a single path, {str(X)!r}. Pass a list of paths, "
            f"such as [{str(X)!r}] or {GLOB}."
        )
    if isinstance(X, Image.Image):
        raise TypeError(
            f"X is a single PIL image of size {X.size}. Pass a list of them: [image]."
        )
    first = _first_item(X)
    if isinstance(first, (bytes, bytearray)) or hasattr(first, "read"):
        file = "item" if hasattr(first, "read") else "io.BytesIO(item)"
        raise TypeError(
            f"X is a sequence of {type(first).__name__}. Open encoded images first: "
            f"[Image.open({file}) for item in X]."
        )
    for kind, name in (((str, os.PathLike), "path"), (Image.Image, "PIL image")):
        if isinstance(first, kind):
            pictures = list(X)
            for index, item in enumerate(pictures):
                if not isinstance(item, kind):
                    raise TypeError(
                        f"X is a list of {name}s, but X[{index}] is "
                        f"{type(item).__name__} ({item!r:.80}). Remove it, or make "
                        f"every item a {name}."
                    )
            return pictures
    return None


def _refuse_text(X):
    """Raise an error if X is a data frame whose first row holds a text, or a path."""
    is_frame = all(hasattr(X, name) for name in ("columns", "head", "to_numpy"))
    # By position, which a slice of rows is not under all indices of pandas.
    for row in X.head(1).to_numpy() if is_frame else []:
        for name, value in zip(X.columns, row, strict=True):
            if _is_text(value):
                raise ValueError(
                    f"X is a data frame with {value!r:.80} in its column {name!r}, but "
                    "numbers are needed. Pass paths of images as a column alone, "
                    f"X[{name!r}]; leave other columns of text out, or encode them."
                )


def _is_text(value):
    """Tell whether a value of a data frame is a path, or text that is no number."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return True
    return isinstance(value, os.PathLike)


def _first_item(X):
    """Return the first item of a list, tuple or one-dimensional column of objects."""
    if isinstance(X, (list, tuple)):
        return X[0] if X else None
    shape = getattr(X, "shape", None)
    if not isinstance(shape, tuple) or len(shape) != 1 or shape[0] == 0:
        return None
    kind = getattr(getattr(X, "dtype", None), "kind", "O")
    return next(iter(X)) if kind in "OSU" else None
