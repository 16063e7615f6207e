"""Encoded images in Parquet files, read a row group at a time."""

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from pathlib import Path

import numpy as np

from sklgan._decoding import EncodedImage, ImageDecodeError
from sklgan._sequences import ImageSequence
from sklgan.datasets._columns import as_labels, check_column, choose_column

# Encoded bytes of row groups that stay in memory.
_KEPT_BYTES = 2**28


class ParquetImages(ImageSequence):
    """Encoded images of one or several Parquet files, decoded when they are needed.

    The column of images is a struct of ``bytes`` and ``path``, as Hugging Face
    ``datasets`` writes it, or plain binary. Row groups are read when one of their rows
    is needed, and the last 256 MB of them are kept: training draws rows at random, so
    where the files are larger, ``cache`` them. Needs pyarrow.

    Parameters
    ----------
    path : path-like or list of path-like
        A file, several in the order of their rows, or a folder, whose files
        ``*.parquet`` are taken in the order of their names.
    image_column : str, default=None
        None takes the only column of images.
    label_column : str, default=None
        Column of the labels, numbers or strings; None for none.
    image_shape : tuple of int, default=None
        ``(h, w)`` or ``(h, w, c)`` to which each image is scaled and cropped. None
        takes the size that all have in common; it reads each image once.
    on_error : {"raise", "skip"}, default="raise"
        Whether images that cannot be decoded are an error, or left out with a warning,
        for which each is decoded once.
    n_jobs : int, default=None
        Processes that decode, -1 for as many as there are CPUs. None decodes in
        threads, as many as CPUs, which hold each other up: several of them are not
        much faster than one where images are small. A process takes some 250 MB and
        seconds to begin. In workers of a search, threads decode.

    Attributes
    ----------
    y : ndarray of shape (n,) or None
        The values of the label column, -1 where there is none.
    classes : ndarray of shape (n_classes,) or None
        The labels that there are.
    n_skipped : int
        Number of images left out by ``on_error="skip"``.

    See Also
    --------
    ImageSequence.cache : Decode once instead of at each use.
    """

    def __init__(
        self,
        path,
        *,
        image_column=None,
        label_column=None,
        image_shape=None,
        on_error="raise",
        n_jobs=None,
    ):
        self._groups = _RowGroups(_list_files(path), image_column)
        if len(self._groups) == 0:
            raise ValueError(f"{self._groups.files[0]} has no rows.")
        y = None
        if label_column is not None:
            check_column(label_column, self._groups.columns, "label_column")
            y = as_labels(self._groups.read_labels(label_column))
        super().__init__(len(self._groups), image_shape, y, on_error, n_jobs)

    def _pictures(self, rows):
        # In the order of the file, so that no row group is read twice.
        pictures = [None] * len(rows)
        for place in np.argsort(rows):
            pictures[place] = self._groups.picture(int(rows[place]))
        return pictures

    def _source(self):
        facts = [(str(file), *_facts(file)) for file in self._groups.files]
        return f"{facts} {self._groups.column}"


class _RowGroups:
    """The row groups of Parquet files, of which the last that were used are kept.

    Slices of a sequence share it; a pickle takes the names of the files along, not what
    was read.
    """

    def __init__(self, files, image_column):
        self.files = files
        self.columns, self.column = _find_column(files, image_column)
        counts = [
            (number, group, n_rows)
            for number, file in enumerate(files)
            for group, n_rows in enumerate(_count_rows(file))
        ]
        self.places = [(number, group) for number, group, _ in counts]
        self.bounds = np.cumsum([0, *(n_rows for _, _, n_rows in counts)]).tolist()
        # The first row of each file that has any.
        self.starts = {
            number: start
            for (number, group), start in zip(self.places, self.bounds, strict=False)
            if group == 0
        }
        self._begin()

    def _begin(self):
        self.kept, self.n_bytes, self.lock = OrderedDict(), 0, threading.Lock()

    def __len__(self):
        return self.bounds[-1]

    def __getstate__(self):
        state = vars(self).copy()
        del state["kept"], state["lock"]
        return state

    def __setstate__(self, state):
        vars(self).update(state)
        self._begin()

    def picture(self, row):
        """Return one encoded image, or the path that stands in its place."""
        group = bisect_right(self.bounds, row) - 1
        number = self.places[group][0]
        file = self.files[number]
        value = self._read(group)[row - self.bounds[group]].as_py()
        data, path = value, None
        if isinstance(value, dict):
            data, path = value.get("bytes"), value.get("path")
        if data is None and path:
            return str(file.parent / path)
        name = f"Row {row - self.starts[number]} of {file}"
        name += f" ({path})" if path else ""
        if data is None:
            return ImageDecodeError(
                f"{name} has no image. Fill it, or leave the row out."
            )
        return EncodedImage(data, name)

    def _read(self, group):
        """Return the column of images of a row group, an Arrow array."""
        with self.lock:  # a Parquet file is read by one thread at a time
            if group not in self.kept:
                number, place = self.places[group]
                self.kept[group] = _read_group(self.files[number], place, self.column)
                self.n_bytes += self.kept[group].nbytes
            self.kept.move_to_end(group)
            while self.n_bytes > _KEPT_BYTES and len(self.kept) > 1:
                self.n_bytes -= self.kept.popitem(last=False)[1].nbytes
            return self.kept[group]

    def read_labels(self, column):
        """Return a column of all files as a list."""
        values = []
        for file in self.files:
            with _open(file) as opened:
                values += opened.read([column]).column(column).to_pylist()
        return values


def _list_files(path):
    """Return the Parquet files that a path, a folder or several paths name."""
    is_one = isinstance(path, (str, os.PathLike))
    files = [
        Path(item).expanduser().absolute() for item in ([path] if is_one else path)
    ]
    if is_one and files[0].is_dir():
        folder, files = files[0], sorted(files[0].glob("*.parquet"))
        if not files:
            raise ValueError(f"{folder} holds no files *.parquet.")
    if not files:
        raise ValueError("path is an empty list; name one Parquet file at least.")
    return files


def _open(file):
    """Open a Parquet file, or say what is wrong with it."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError(
            "ParquetImages needs the package pyarrow: pip install 'sklgan[data]'."
        ) from error
    try:
        return ParquetFile(file)
    except FileNotFoundError as error:
        raise ValueError(f"{file} cannot be read: there is no such file.") from error
    except (OSError, ArrowException) as error:
        raise ValueError(
            f"{file} is no whole Parquet file ({error}). Get it anew, or leave it out."
        ) from error


def _read_group(file, group, column):
    """Return the column of one row group, an Arrow array."""
    from pyarrow import ArrowException

    with _open(file) as opened:
        try:
            table = opened.read_row_group(group, [column])
        except (OSError, ArrowException) as error:
            raise ValueError(
                f"Row group {group} of {file} cannot be read ({error}). Get the file "
                "anew, or leave it out."
            ) from error
    return table.column(column).combine_chunks()


def _count_rows(file):
    """Return the number of rows of each row group of a file."""
    with _open(file) as opened:
        metadata = opened.metadata
    return [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]


def _find_column(files, image_column):
    """Return the names of all columns, and that of the images, as in all files."""
    columns = None
    for file in files:
        with _open(file) as opened:
            schema = opened.schema_arrow
        if columns is None:
            columns = schema.names
            column = _choose_column(file, schema, image_column)
        elif column not in schema.names or not _is_image(schema.field(column).type):
            raise ValueError(
                f"{file} has no column {column!r} of images, unlike {files[0]}. Give "
                "files of one table."
            )
    return columns, column


def _choose_column(file, schema, image_column):
    """Return the column of images of a file: the one named, or the only one."""
    if image_column is not None:
        check_column(image_column, schema.names, "image_column")
        kind = schema.field(image_column).type
        if not _is_image(kind):
            raise ValueError(
                f"image_column={image_column!r} of {file} holds {kind}; images are "
                "encoded files: bytes, or a struct of bytes and path."
            )
        return image_column
    candidates = [field.name for field in schema if _is_image(field.type)]
    found = {field.name: str(field.type) for field in schema}
    return choose_column(candidates, found, str(file))


def _is_image(kind):
    """Tell whether an Arrow type may be that of encoded images."""
    from pyarrow import types

    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _is_image(kind.field(index).type)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _facts(file):
    """Return the size and the time of the last change of a file."""
    status = os.stat(file)
    return status.st_size, status.st_mtime_ns
