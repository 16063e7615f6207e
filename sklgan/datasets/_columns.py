"""Columns of tables: which holds the images, and what labels are."""

import numpy as np


def as_labels(values):
    """Return labels as an array; None becomes -1, and strings are objects."""
    values = [-1 if value is None else value for value in values]
    strings = any(isinstance(value, str) for value in values)
    return np.array(values, dtype=object if strings else None)


def check_column(column, columns, name):
    """Raise ValueError if a column is not among those that there are."""
    if column not in columns:
        raise ValueError(
            f"{name}={column!r} is not among the columns: {', '.join(columns)}."
        )


def choose_column(candidates, found, where):
    """Return the only candidate for the column of images.

    Parameters
    ----------
    candidates : list of str
        Columns that hold images.
    found : dict of str to str
        All columns, and what each holds, for messages.
    where : str
        What was looked at, for messages.
    """
    if len(candidates) == 1:
        return candidates[0]
    columns = ", ".join(f"{name} ({kind})" for name, kind in found.items())
    if candidates:
        raise ValueError(
            f"{where} has several columns of images: {', '.join(candidates)}. Name one "
            "as image_column."
        )
    raise ValueError(
        f"{where} has no column of images; its columns are {columns}. Images are "
        "encoded files: bytes, or a struct of bytes and path."
    )
