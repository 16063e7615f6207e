"""Pictures to arrays: paths and PIL images become one uint8 array."""

import os
import struct
import warnings
import zlib
from contextlib import nullcontext

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from PIL import Image, ImageOps, UnidentifiedImageError
from sklearn.utils import gen_batches

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

# What Pillow's decoders are known to raise on damaged or hostile files.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)

# Files handed to a thread at a time: joblib's cost of a task is then negligible.
_CHUNK = 32

_PNG_EXIF = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
_WIDTH_TAG, _HEIGHT_TAG, _ORIENTATION_TAG = 0x0100, 0x0101, 0x0112
_QUARTER_TURNS = {5, 6, 7, 8}
_GLOB = 'sorted(Path(folder).glob("*.png"))'


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
    TypeError
        If X is one picture instead of a sequence, or mixes pictures and others.
    """
    if isinstance(X, (str, bytes, os.PathLike)):
        raise TypeError(
            f"X is a single path, {str(X)!r}. Pass a list of paths, "
            f"such as [{str(X)!r}] or {_GLOB}."
        )
    if _is_image(X):
        raise TypeError(
            f"X is a single PIL image of size {X.size}. Pass a list of them: [image]."
        )
    first = _first_item(X)
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


def decode_pictures(pictures, image_shape=None):
    """Decode paths or PIL images into one array.

    The EXIF orientation is applied. Of an animation, the first frame is taken.

    Parameters
    ----------
    pictures : list of (str, path-like or PIL image)
        At least one picture, all of one kind.
    image_shape : tuple of (h, w, c) or None, default=None
        The shape to give to every image: pictures of another size are scaled and
        cropped at the centre to fit. None takes the size that all have in common,
        one channel if all are grey, four if any has transparency, else three.

    Returns
    -------
    images : ndarray of shape (n_samples, h, w, c), dtype uint8
        The images, without the last axis where ``c`` is 1.

    Raises
    ------
    ValueError
        If a picture cannot be decoded, if it has more than 8 bits a channel, or if
        sizes differ and ``image_shape`` is None.
    """
    Image.init()  # here, because it is not thread-safe
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        headers = _over_pictures(_read_header, pictures)
        shape = _common_shape(pictures, headers) if image_shape is None else image_shape
        layout = shape[:2] if shape[2] == 1 else shape
        images = np.empty((len(pictures), *layout), dtype=np.uint8)

        def decode(picture, index):
            images[index] = _decode(picture, index, shape, image_shape is not None)

        _over_pictures(decode, pictures)
    return images


def _is_image(picture):
    """Tell whether picture is a PIL image."""
    return isinstance(picture, Image.Image)


def _first_item(X):
    """Return the first item of a list, tuple or one-dimensional column of objects."""
    if isinstance(X, (list, tuple)):
        return X[0] if X else None
    shape = getattr(X, "shape", None)
    if not isinstance(shape, tuple) or len(shape) != 1 or shape[0] == 0:
        return None
    kind = getattr(getattr(X, "dtype", None), "kind", "O")
    return next(iter(X)) if kind in "OU" else None


def _over_pictures(function, pictures):
    """List function(picture, index) over pictures, in threads where they are files."""

    def over_chunk(chunk):
        return [function(pictures[i], i) for i in range(chunk.start, chunk.stop)]

    # PIL images are not safe to decode in two threads, and X may hold one twice.
    n_jobs = 1 if _is_image(pictures[0]) else effective_n_jobs(-1)
    size = max(1, min(_CHUNK, len(pictures) // n_jobs))
    batches = list(gen_batches(len(pictures), size))
    # Threads, whatever joblib backend the user chose: all write into one array.
    chunks = Parallel(n_jobs=min(n_jobs, len(batches)), require="sharedmem")(
        delayed(over_chunk)(batch) for batch in batches
    )
    return [result for chunk in chunks for result in chunk]


def _name(picture, index):
    """Name a picture for a message."""
    if _is_image(picture):
        return f"X[{index}] (a PIL image)"
    return repr(os.fspath(picture))


def _refusal(picture, index, error):
    """Return the ValueError that names a picture and why it cannot be decoded."""
    if isinstance(error, FileNotFoundError):
        reason = "there is no such file"
    elif isinstance(error, IsADirectoryError):
        reason = f"it is a folder, whose files are listed by {_GLOB}"
    elif isinstance(error, UnidentifiedImageError):
        reason = "it is not an image in a format that Pillow reads"
    elif isinstance(
        error, (Image.DecompressionBombError, Image.DecompressionBombWarning)
    ):
        reason = (
            f"it may be a decompression bomb ({error}); if you trust it, raise "
            "PIL.Image.MAX_IMAGE_PIXELS"
        )
    elif isinstance(error, OSError) and error.strerror:
        reason = error.strerror
    else:
        reason = f"it is damaged or of an unsupported kind ({error})"
    return ValueError(
        f"{_name(picture, index)} cannot be decoded: {reason}. Correct it or remove it "
        "from X."
    )


def _open(picture):
    """Return a context that gives the PIL image of a picture."""
    return nullcontext(picture) if _is_image(picture) else Image.open(picture)


def _read_header(picture, index):
    """Return the (h, w) and the mode, L, RGB or RGBA, of a picture not yet decoded."""
    try:
        with _open(picture) as image:
            size, mode = _upright_size(image), image.mode
            has_alpha = image.has_transparency_data
    except _DECODE_ERRORS as error:
        raise _refusal(picture, index, error) from error
    if mode[0] == "F" or mode == "I" or mode.startswith("I;"):
        raise ValueError(
            f"{_name(picture, index)} has more than 8 bits a pixel (mode {mode!r}), "
            "which would be lost. Pass such images as an array of numbers: "
            "np.stack([np.asarray(Image.open(path)) for path in paths])."
        )
    if has_alpha:
        return size, "RGBA"
    return size, "L" if mode in ("1", "L") else "RGB"


def _orientation(image):
    """Return the EXIF orientation of an image, 1 to 8, without decoding its pixels."""
    # Pillow decodes a whole PNG to look for EXIF behind the pixels, and turns a TIFF
    # by itself while it decodes it.
    if image.format == "TIFF" or (
        image.format == "PNG" and not _PNG_EXIF & image.info.keys()
    ):
        return 1
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except _DECODE_ERRORS:
        return 1  # damaged metadata are no reason to refuse good pixels


def _upright_size(image):
    """Return (h, w) as they are once the EXIF orientation is applied."""
    if image.format == "TIFF" and image.tag_v2.get(_ORIENTATION_TAG) in _QUARTER_TURNS:
        # Not decoded yet; its size is already turned, or not, by Pillow's version.
        return image.tag_v2[_WIDTH_TAG], image.tag_v2[_HEIGHT_TAG]
    width, height = image.size
    if _orientation(image) in _QUARTER_TURNS:
        return width, height
    return height, width


def _common_shape(pictures, headers):
    """Return the (h, w, c) of all pictures, from their headers."""
    (height, width), _ = headers[0]
    for index, (size, _) in enumerate(headers):
        if size != (height, width):
            raise _mixed_sizes(
                (_name(pictures[0], 0), (height, width)),
                (_name(pictures[index], index), size),
            )
    modes = {mode for _, mode in headers}
    if "RGBA" in modes:
        return height, width, 4
    return height, width, 1 if modes == {"L"} else 3


def _mixed_sizes(*found):
    """Return the ValueError for two (name, (h, w)) that differ in size."""
    (name, size), (other, other_size) = found
    return ValueError(
        f"The images of X have different sizes: {name} is {size[0]} x {size[1]} and "
        f"{other} is {other_size[0]} x {other_size[1]} (height x width). Set "
        "image_shape=(h, w, c) to have them scaled and cropped, or resize them first."
    )


def _decode(picture, index, image_shape, fit):
    """Return one picture as a uint8 array of image_shape, (h, w) where c is 1."""
    height, width, channels = image_shape
    try:
        with _open(picture) as opened:
            image = _to_mode(opened, _MODES[channels])
            if fit and image.size != (width, height):
                image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
            pixels = np.asarray(image)
    except _DECODE_ERRORS as error:
        raise _refusal(picture, index, error) from error
    if pixels.shape[:2] != (height, width):  # the header promised another size
        raise _mixed_sizes(
            ("the header of the first file", (height, width)),
            (_name(picture, index), pixels.shape[:2]),
        )
    return pixels


def _to_mode(image, mode):
    """Return a decoded, upright image of the mode; leave the caller's as it is."""
    image.load()
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in ("La", "RGBa"):  # premultiplied: only the plain form converts
        image = image.convert(image.mode.upper())
    return image if image.mode == mode else image.convert(mode)
