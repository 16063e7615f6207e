"""Images of a Hugging Face Dataset, known by what it can do."""

import hashlib

import numpy as np

from sklgan._decoding import EncodedImage, ImageDecodeError
from sklgan._sequences import ImageSequence
from sklgan.datasets._columns import as_labels, check_column, choose_column

# So many images, evenly spaced, tell a data set from others.
_SAMPLED = 16


class HuggingFaceImages(ImageSequence):
    """Images of a Hugging Face ``Dataset``, decoded when they are needed.

    The package ``datasets`` is not needed: any object will do with ``column_names``,
    ``len``, ``dataset[int]`` and ``dataset[list of int]``, which give a row and a dict
    of columns. Images are PIL images, or dicts of ``bytes`` and ``path``, as
    ``Image(decode=False)`` gives them.

    Parameters
    ----------
    dataset : datasets.Dataset
        Not an ``IterableDataset``, and not a ``DatasetDict``: choose a split.
    image_column : str, default=None
        None takes the only column whose first row is an image.
    label_column : str, default=None
        Column of the labels; None for none.
    image_shape : tuple of int, default=None
        ``(h, w)`` or ``(h, w, c)`` to which each image is scaled and cropped. None
        takes the size that all have in common; it looks at each image once.
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
    ParquetImages : For the files of such a data set, without the package.
    """

    def __init__(
        self,
        dataset,
        *,
        image_column=None,
        label_column=None,
        image_shape=None,
        on_error="raise",
        n_jobs=None,
    ):
        _check_dataset(dataset)
        self.dataset = dataset
        self._column = _find_column(dataset, image_column)
        y = None
        if label_column is not None:
            check_column(label_column, dataset.column_names, "label_column")
            y = as_labels(list(dataset[label_column]))
        super().__init__(len(dataset), image_shape, y, on_error, n_jobs)

    def _pictures(self, rows):
        try:
            values = self.dataset[[int(row) for row in rows]][self._column]
        except Exception:  # whatever a decoder raises; which row it was, one by one
            return [self._picture(int(row)) for row in rows]
        return [_to_picture(*pair) for pair in zip(values, rows, strict=True)]

    def _picture(self, row):
        """Return one picture, or why it cannot be had."""
        try:
            return _to_picture(self.dataset[row][self._column], row)
        except Exception as error:
            return ImageDecodeError(
                f"Row {row} of the data set cannot be decoded: {error}. Correct it or "
                "leave it out."
            )

    def _source(self):
        digest = hashlib.sha256()
        sampled = np.linspace(0, len(self._rows) - 1, _SAMPLED).astype(int)
        for image in self[np.unique(sampled)].decode():
            digest.update(image.data)
        fingerprint = getattr(self.dataset, "_fingerprint", None)
        return f"{len(self.dataset)} {self._column} {fingerprint} {digest.hexdigest()}"


def _check_dataset(dataset):
    """Raise TypeError or ValueError if an object is not like a Dataset."""
    needed = ("column_names", "__getitem__", "__len__")
    if isinstance(dataset, dict) or not all(hasattr(dataset, name) for name in needed):
        raise TypeError(
            f"dataset is {type(dataset).__name__}; a Hugging Face Dataset is needed, "
            "with rows that can be indexed, such as load_dataset(..., split='train')."
        )
    if len(dataset) == 0:
        raise ValueError("dataset has no rows.")


def _find_column(dataset, image_column):
    """Return the column of images: the one named, or the only one."""
    if image_column is not None:
        check_column(image_column, dataset.column_names, "image_column")
        return image_column
    first = dataset[0]
    candidates = [name for name in dataset.column_names if _is_image(first[name])]
    found = {name: type(first[name]).__name__ for name in dataset.column_names}
    return choose_column(candidates, found, "dataset")


def _is_image(value):
    """Tell whether a value is a PIL image or an encoded one."""
    encoded = isinstance(value, dict) and "bytes" in value
    return encoded or (hasattr(value, "convert") and hasattr(value, "getexif"))


def _to_picture(value, row):
    """Return a value of the column as a picture to decode."""
    if isinstance(value, dict):
        name = value.get("path") or "an encoded image"
        if value.get("bytes") is None and value.get("path"):
            return value["path"]
        return EncodedImage(value.get("bytes") or b"", f"Row {row} ({name})")
    if _is_image(value):
        return value
    return ImageDecodeError(
        f"Row {row} of the data set holds {type(value).__name__}, which is no image. "
        "Correct it or leave it out."
    )
