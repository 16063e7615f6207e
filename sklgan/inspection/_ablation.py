"""Which filters of the generator draw something, and images without them."""

from numbers import Integral

import numpy as np
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch, check_random_state
from torch.nn.functional import adaptive_avg_pool2d
from torch.overrides import TorchFunctionMode

from sklgan._display import check_has_pictures
from sklgan._images import from_batch
from sklgan._inference import device_of, for_each_batch, run_generator
from sklgan._tensors import as_tensor
from sklgan.inspection._checks import check_count, check_latents

_CONVOLUTIONS = {"conv2d", "conv_transpose2d"}

# Maps are kept for so many images at a time.
_BATCH = 128


class _HiddenMaps(TorchFunctionMode):
    """Show what convolutions that are called within take to a function.

    ``visit(layer, maps)`` may return other maps, to be used instead. What a convolution
    takes is a hidden layer, after normalisation and activation, whatever a generator is
    made of; a latent vector as a map of one position is none. Functions are watched
    and not modules, so that the network is left alone.
    """

    def __init__(self, visit):
        super().__init__()
        self.visit, self.layer = visit, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call the function; of a convolution, show the input first."""
        kwargs = dict(kwargs or {})
        if getattr(func, "__name__", None) in _CONVOLUTIONS:
            maps = args[0] if args else kwargs.pop("input")
            if maps.shape[-2:].numel() > 1:
                self.layer += 1
                changed = self.visit(self.layer, maps)
                maps = maps if changed is None else changed
            args = (maps, *args[1:])
        return func(*args, **kwargs)


class _Watched(torch.nn.Module):
    """A generator whose hidden maps are shown to a function."""

    def __init__(self, generator, visit):
        super().__init__()
        self.generator, self.visit = generator, visit

    def forward(self, z):
        """Return what the generator makes."""
        with _HiddenMaps(self.visit):
            return self.generator(z)


def object_filters(
    estimator,
    Z,
    *,
    masks=None,
    boxes=None,
    layer=None,
    n_filters=None,
    classifier=None,
    random_state=None,
):
    """Find the generator's filters that draw what is marked in samples.

    A logistic regression learns to tell, from the activations of a hidden layer at one
    position, whether that position is inside of what is marked. Filters with positive
    weights are taken to draw it; :func:`generate_without` draws without them.

    Examples are the positions of the layer's map at least half of which is marked (of
    something smaller than that, the one that holds most of it), and as many positions
    without a marked pixel, drawn at random from all samples.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted on images, with convolutions in its generator.
    Z : array-like of shape (n_samples, latent_dim)
        Latent vectors of the samples. The paper uses 150.
    masks : array-like of shape (n_samples, h, w), default=None
        True where the thing is in ``estimator.generate(Z)``.
    boxes : list of array-like of shape (n_boxes, 4), default=None
        Instead of masks, rectangles for each sample, ``(top, left, bottom, right)`` in
        pixels, ``image[top:bottom, left:right]``; an empty list where there is none.
    layer : int, default=None
        Hidden layer of the generator, counted from 1: what a convolution takes, after
        activation, where that is a map of more than one position. None takes the
        second highest, as the paper does, or the only one. A higher layer has a finer
        map of simpler parts.
    n_filters : int, default=None
        At most so many filters, those with the largest weights; None for all whose
        weight is positive, which is nearly always more than are needed.
    classifier : estimator, default=None
        A linear classifier with ``coef_``; it sees standardised activations. None takes
        ``LogisticRegression(max_iter=1000)``.
    random_state : int, RandomState instance or None, default=None
        Decides which positions outside are examples. None takes the estimator's
        ``random_state``.

    Returns
    -------
    found : :class:`~sklearn.utils.Bunch`
        With these attributes:

        filters : list of (layer, channel)
            The largest weight first; for :func:`generate_without`.
        weights : ndarray of shape (n_channels,), float64
            Of all filters of the layer.
        n_positive : int
            Examples inside.
        n_negative : int
            Examples outside.

    Raises
    ------
    ValueError
        If nothing or everything is marked, shapes do not match, or the generator has no
        such layer.

    References
    ----------
    Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks", 2015, section 6.3.1
    (arXiv:1511.06434): windows of bedrooms, 52 boxes in 150 samples.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import generate_without, object_filters
    >>> X = load_digits().images[:100]
    >>> gan = DCGANFeatureExtractor(n_filters=8, max_epochs=2, random_state=0).fit(X)
    >>> Z = np.random.default_rng(0).normal(size=(20, 100))
    >>> left_half = [[(0, 0, 8, 4)]] * 20
    >>> found = object_filters(gan, Z, boxes=left_half, n_filters=3, random_state=0)
    >>> found.n_positive, found.n_negative, found.weights.shape
    (160, 160, (8,))
    >>> generate_without(gan, Z, found.filters).shape
    (20, 8, 8)
    """
    Z = _check_latent(estimator, Z)
    if n_filters is not None:
        check_count("n_filters", n_filters, 1)
    masks = _check_marked(estimator, len(Z), masks, boxes)
    shapes = _map_shapes(estimator)
    layer = max(1, len(shapes) - 1) if layer is None else layer
    _check_layer(layer, shapes)
    rng = check_random_state(
        estimator.random_state if random_state is None else random_state
    )
    inside, outside = _choose_positions(masks, shapes[layer - 1][1:], rng)
    examples = _activations_at(
        estimator, Z, layer, np.concatenate([inside, outside]), shapes[layer - 1][0]
    )
    is_inside = np.repeat([True, False], [len(inside), len(outside)])
    classifier = clone(classifier or LogisticRegression(max_iter=1000))
    classifier.fit(StandardScaler().fit_transform(examples), is_inside)
    if not hasattr(classifier, "coef_"):
        raise TypeError(
            f"classifier={classifier!r} has no coef_; pass a linear classifier."
        )
    weights = np.ravel(classifier.coef_)
    order = np.argsort(-weights, kind="stable")
    return Bunch(
        filters=[(layer, int(k)) for k in order[:n_filters] if weights[k] > 0],
        weights=weights,
        n_positive=len(inside),
        n_negative=len(outside),
    )


def generate_without(estimator, Z, filters):
    """Map latent vectors to images, some filters of the generator switched off.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted on images, with convolutions in its generator; it is left as it is.
    Z : array-like of shape (n_samples, latent_dim)
        Latent vectors.
    filters : list of (layer, channel)
        As :func:`object_filters` returns them; they are 0 at all positions. An empty
        list gives the images of ``estimator.generate(Z)``.

    Returns
    -------
    X : ndarray of shape (n_samples, ...)
        In the layout, dtype and range of the X given to ``fit``.

    Raises
    ------
    ValueError
        If the generator has no such layer or filter.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import generate_without
    >>> X = load_digits().images[:100]
    >>> gan = DCGANFeatureExtractor(n_filters=8, max_epochs=2, random_state=0).fit(X)
    >>> Z = np.random.default_rng(0).normal(size=(5, 100))
    >>> generate_without(gan, Z, [(1, 0), (1, 3)]).shape
    (5, 8, 8)
    """
    Z = _check_latent(estimator, Z)
    dropped = _check_filters(filters, _map_shapes(estimator))

    def drop(layer, maps):
        if layer in dropped:
            maps = maps.clone()
            maps[:, dropped[layer]] = 0
        return maps

    watched = _Watched(estimator.generator_, drop)
    images = run_generator(watched, Z, pad=estimator._pads)
    return from_batch(estimator, images)


def _check_latent(estimator, Z):
    """Return Z as float32, if it is for a generator of images."""
    check_has_pictures(estimator)
    return check_latents(estimator, Z).astype(np.float32, copy=False)


def _check_marked(estimator, n_samples, masks, boxes):
    """Return what is marked as a bool array (n_samples, h, w)."""
    if (masks is None) == (boxes is None):
        raise ValueError("Pass either masks or boxes, to say where the thing is.")
    height, width, _ = estimator.image_shape_
    shape = n_samples, height, width
    if masks is not None:
        masks = np.asarray(masks)
        if masks.shape != shape or not np.isin(masks, (0, 1)).all():
            raise ValueError(
                f"masks of shape {masks.shape} and dtype {masks.dtype} should be True "
                f"or False for each pixel of each sample, shape {shape}."
            )
        return masks.astype(bool)
    if len(boxes) != n_samples:
        raise ValueError(
            f"boxes are for {len(boxes)} samples, but Z has {n_samples} rows; give a "
            "list of boxes for each, empty where there is none."
        )
    masks = np.zeros(shape, dtype=bool)
    for mask, rectangles in zip(masks, boxes, strict=True):
        for top, left, bottom, right in _check_boxes(rectangles, height, width):
            mask[top:bottom, left:right] = True
    return masks


def _check_boxes(rectangles, height, width):
    """Return the boxes of a sample as ints, (n_boxes, 4)."""
    boxes = np.asarray(rectangles)
    if boxes.size % 4 or boxes.dtype.kind not in "iuf":
        raise ValueError(
            f"The boxes of a sample are {rectangles!r}; they should be a list of (top, "
            "left, bottom, right), empty where there is none."
        )
    for box in boxes.reshape(-1, 4):
        top, left, bottom, right = box
        is_within = 0 <= top < bottom <= height and 0 <= left < right <= width
        if not is_within or (box != np.rint(box)).any():
            raise ValueError(
                f"The box {tuple(box.tolist())} is not a (top, left, bottom, right) of "
                f"whole pixels within images of {height} rows and {width} columns."
            )
    return boxes.reshape(-1, 4).astype(int)


def _map_shapes(estimator):
    """Return the shape (c, h, w) of each hidden map of the generator."""
    shapes = []

    def visit(layer, maps):
        shapes.append(tuple(maps.shape[1:]))

    generator = estimator.generator_
    latent_dim = estimator._architecture["latent_dim"]
    z = torch.zeros(1, latent_dim, device=device_of(generator))
    with torch.inference_mode():
        _Watched(generator, visit)(z)
    if not shapes:
        raise ValueError(
            "The generator has no hidden maps whose filters could be found or switched "
            "off: it has no 2-D convolution that takes a map of more than one position."
            " Fit with network='dcgan' or 'dcgan-deep'."
        )
    return shapes


def _check_layer(layer, shapes):
    """Raise an error unless the generator has a layer of this number."""
    is_int = isinstance(layer, Integral) and not isinstance(layer, bool)
    if not is_int or not 1 <= layer <= len(shapes):
        raise ValueError(
            f"layer={layer!r}, but the generator has hidden layers 1 to {len(shapes)}."
        )


def _check_filters(filters, shapes):
    """Return the channels to drop by layer."""
    dropped = {}
    for pair in filters:
        try:
            layer, channel = pair
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{pair!r} is no filter of the generator; pass a list of (layer, "
                "channel), as object_filters returns it."
            ) from error
        _check_layer(layer, shapes)
        n_channels = shapes[layer - 1][0]
        if not isinstance(channel, Integral) or not 0 <= channel < n_channels:
            raise ValueError(
                f"The filter {pair!r} does not exist: hidden layer {layer} has "
                f"{n_channels} filters, counted from 0."
            )
        dropped.setdefault(int(layer), []).append(int(channel))
    return dropped


def _choose_positions(masks, map_shape, rng):
    """Return (sample, row, column) of positions inside and outside, (k, 3) each."""
    covered = adaptive_avg_pool2d(as_tensor(masks.astype(np.float32)), map_shape)
    covered = covered.numpy()
    most = covered.max(axis=(1, 2), keepdims=True)
    inside = np.argwhere((covered > 0) & (covered >= np.minimum(0.5, most)))
    outside = np.argwhere(covered == 0)
    if len(inside) == 0 or len(outside) == 0:
        found = "Nothing" if len(inside) == 0 else "Everything"
        raise ValueError(
            f"{found} is marked in the samples: examples are needed inside and outside "
            f"(the layer's map has {map_shape[0]} rows and {map_shape[1]} columns)."
        )
    n_outside = min(len(inside), len(outside))
    chosen = rng.choice(len(outside), n_outside, replace=False)
    return inside, outside[np.sort(chosen)]


def _activations_at(estimator, Z, layer, positions, n_channels):
    """Return a layer's activations at positions, (n_positions, n_channels)."""
    examples = np.empty((len(positions), n_channels))
    generator = estimator.generator_
    device = device_of(generator)
    samples = positions[:, 0]

    def run(rows, batch_size):
        chosen = np.flatnonzero((samples >= rows.start) & (samples < rows.stop))
        sample, row, column = (positions[chosen] - [rows.start, 0, 0]).T

        def visit(number, maps):
            if number == layer:
                examples[chosen] = maps.cpu().numpy()[sample, :, row, column]

        _Watched(generator, visit)(as_tensor(Z[rows]).to(device))

    with torch.inference_mode():
        for_each_batch(len(Z), run, _BATCH)
    return examples
