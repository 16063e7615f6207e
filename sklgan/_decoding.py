"""Pictures to arrays: paths and PIL images become one uint8 array."""

import os
import struct
import warnings
import zlib
from contextlib import contextmanager, nullcontext
from io import BytesIO
from numbers import Integral
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from sklearn.utils import gen_batches

from sklgan._listing import GLOB

CHANNELS = (1, 3, 4)
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


class ImageDecodeError(ValueError):
    """A picture that cannot be decoded; the message names it."""


class EncodedImage(NamedTuple):
    """An image file that is no file: its bytes, and what to call it in messages."""

    data: bytes
    name: str


def check_image_shape(image_shape):
    """Return the parameter image_shape as (h, w, c) of plain integers, or None.

    Raises
    ------
    ValueError
        If it is no shape of an image.
    """
    if image_shape is None:
        return None
    sizes = tuple(image_shape) if np.iterable(image_shape) else ()
    is_integer = [isinstance(s, Integral) and not isinstance(s, bool) for s in sizes]
    if len(sizes) not in (2, 3) or not all(is_integer) or min(sizes) < 1:
        raise ValueError(
            f"image_shape={image_shape!r} is not a shape. Pass two or three positive "
            "integers, (h, w) for grey images or (h, w, c), or None."
        )
    sizes = tuple(int(size) for size in sizes)
    if len(sizes) == 2:
        return (*sizes, 1)
    if sizes[2] not in CHANNELS:
        raise ValueError(
            f"image_shape={image_shape!r} has {sizes[2]} channels. The channels come "
            "last, (h, w, c), and c is 1, 3 or 4."
        )
    return sizes


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
        shape = common_shape(headers) if image_shape is None else image_shape
        layout = shape[:2] if shape[2] == 1 else shape
        images = np.empty((len(pictures), *layout), dtype=np.uint8)

        def decode(picture, index):
            images[index] = _decode(picture, index, shape, image_shape is not None)

        _over_pictures(decode, pictures)
    return images


@contextmanager
def quiet_pillow():
    """Hush Pillow's warnings within the context, but make a suspected bomb an error.

    Filters belong to the whole process: threads that decode must not set them, their
    parent has to. Other packages' warnings stay as they are.
    """
    Image.init()  # here, because it is not thread-safe
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def pillow_limits():
    """Return what the user allows Pillow: pixels of an image, and files cut short."""
    return Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES


def set_pillow_limits(limits):
    """Allow Pillow, in another process, what it is allowed in the user's."""
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limits


def inspect_pictures(pictures, rows, *, load):
    """Look at pictures, in this thread, and decode them only if told to.

    Parameters
    ----------
    pictures : list of (str, path-like, EncodedImage, PIL image or ImageDecodeError)
        The pictures, or why there is none.
    rows : sequence of int
        Their numbers, for messages.
    load : bool
        Whether to decode them, which finds out what is damaged behind its header.

    Returns
    -------
    headers : list of (tuple or ImageDecodeError)
        The name, (h, w) and mode of each, or why it cannot be decoded.
    """
    headers = []
    for picture, row in zip(pictures, rows, strict=True):
        try:
            _raise_if_error(picture)
            header = _read_header(picture, row)
            if load:
                _decode(picture, row, (*header[1], 3), fit=False)
            headers.append(header)
        except ImageDecodeError as error:
            headers.append(error)
    return headers


def decode_rows(pictures, rows, image_shape, *, fit, out=None):
    """Decode pictures, in this thread, into one array (b, h, w, c).

    Parameters
    ----------
    pictures, rows
        As for ``inspect_pictures``.
    image_shape : tuple of (h, w, c)
        The shape to give to each.
    fit : bool
        Whether other sizes are scaled and cropped; they are an error otherwise.
    out : ndarray of shape (b, h, w, c), dtype uint8, default=None
        Where to decode to, instead of a new array.
    """
    new = (len(pictures), *image_shape)
    images = np.empty(new, dtype=np.uint8) if out is None else out
    for image, picture, row in zip(images, pictures, rows, strict=True):
        _raise_if_error(picture)
        image[...] = _decode(picture, row, image_shape, fit).reshape(image_shape)
    return images


def _raise_if_error(picture):
    """Raise what stands in the place of a picture that could not be had."""
    if isinstance(picture, ImageDecodeError):
        raise picture


def _over_pictures(function, pictures):
    """List function(picture, index) over pictures, in threads where they are files."""

    def over_chunk(chunk):
        return [function(pictures[i], i) for i in range(chunk.start, chunk.stop)]

    # PIL images are not safe to decode in two threads, and X may hold one twice.
    n_jobs = 1 if isinstance(pictures[0], Image.Image) else effective_n_jobs(-1)
    size = max(1, min(_CHUNK, len(pictures) // n_jobs))
    batches = list(gen_batches(len(pictures), size))
    # Threads, whatever joblib backend the user chose: all write into one array.
    chunks = Parallel(n_jobs=min(n_jobs, len(batches)), require="sharedmem")(
        delayed(over_chunk)(batch) for batch in batches
    )
    return [result for chunk in chunks for result in chunk]


def _name(picture, index):
    """Name a picture for a message."""
    if isinstance(picture, Image.Image):
        return f"X[{index}] (a PIL image)"
    if isinstance(picture, EncodedImage):
        return picture.name
    return repr(os.fspath(picture))


def _refusal(picture, index, error):
    """Return the error that names a picture and why it cannot be decoded."""
    if isinstance(error, FileNotFoundError):
        reason = "there is no such file"
    elif isinstance(error, IsADirectoryError):
        reason = f"it is a folder, whose files are listed by {GLOB}"
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
    return ImageDecodeError(
        f"{_name(picture, index)} cannot be decoded: {reason}. Correct it or remove it "
        "from X."
    )


def _open(picture):
    """Return a context that gives the PIL image of a picture."""
    if isinstance(picture, Image.Image):
        return nullcontext(picture)
    encoded = isinstance(picture, EncodedImage)
    return Image.open(BytesIO(picture.data) if encoded else picture)


def _read_header(picture, index):
    """Return name, (h, w) and mode, L, RGB or RGBA, of a picture not yet decoded."""
    try:
        with _open(picture) as image:
            size, mode = _upright_size(image), image.mode
            has_alpha = image.has_transparency_data
    except _DECODE_ERRORS as error:
        raise _refusal(picture, index, error) from error
    _check_depth(mode, picture, index)
    kind = "L" if mode in ("1", "L") else "RGB"
    return _name(picture, index), size, "RGBA" if has_alpha else kind


def _check_depth(mode, picture, index):
    """Refuse a mode of which uint8 would lose something."""
    if mode[0] == "F" or mode == "I" or mode.startswith("I;"):
        raise ValueError(
            f"{_name(picture, index)} has more than 8 bits a pixel (mode {mode!r}), "
            "which would be lost. Pass such images as an array of numbers: "
            "np.stack([np.asarray(Image.open(path)) for path in paths])."
        )


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


def common_shape(headers):
    """Return the (h, w, c) of pictures with these (name, (h, w), mode).

    Raises
    ------
    ValueError
        If sizes differ.
    """
    first, size, _ = headers[0]
    for name, other, _ in headers:
        if other != size:
            raise _mixed_sizes((first, size), (name, other))
    modes = {mode for _, _, mode in headers}
    if "RGBA" in modes:
        return *size, 4
    return *size, 1 if modes == {"L"} else 3


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
            depth = opened.mode
            image = _to_mode(opened, _MODES[channels])
            if fit and image.size != (width, height):
                image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
            pixels = np.asarray(image)
    except _DECODE_ERRORS as error:
        raise _refusal(picture, index, error) from error
    _check_depth(depth, picture, index)
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
