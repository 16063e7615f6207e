"""Features and filters of a discriminator by name, and where on an image they look."""

import copy
import re
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import adaptive_max_pool2d

from sklgan._display import check_has_pictures
from sklgan._inference import check_gan, device_of

_NAME = re.compile(r"conv(\d+)_ch(\d+)(?:_r(\d+)_c(\d+))?|dense(\d+)_u(\d+)")

# Of an estimator that has no pool_size of its own; DCGANFeatureExtractor's default.
_POOL_SIZE = 4


class Feature(NamedTuple):
    """A filter of the discriminator, or one cell of its pooled map."""

    layer: int  # counted from 1
    channel: int
    grid: tuple = (1, 1)  # rows and columns of the pooled map
    cell: int = 0  # of these, in reading order

    @property
    def name(self):
        """What ``get_feature_names_out`` calls it; a filter without row and column."""
        if self.grid is None:
            return f"dense{self.layer}_u{self.channel:03d}"
        name = f"conv{self.layer}_ch{self.channel:03d}"
        if self.grid == (1, 1):
            return name
        row, column = divmod(self.cell, self.grid[1])
        return f"{name}_r{row}_c{column}"


def activation_shapes(estimator):
    """Return the shape (c, h, w) or (units,) of each layer of the discriminator."""
    network, shape = estimator.discriminator_, estimator._architecture["shape"]
    blank = torch.zeros(1, *shape, device=device_of(network))
    with torch.inference_mode():
        activations, _ = network(blank)
    return [tuple(activation.shape[1:]) for activation in activations]


def parse_features(estimator, features):
    """Return what names and pairs mean, as a list of Feature.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted.
    features : str, tuple (layer, channel), or list of these
        Names as in ``get_feature_names_out``, or filters: layer counted from 1,
        channel from 0.

    Raises
    ------
    ValueError
        If there is no such feature.
    TypeError
        If it is neither name nor pair.
    """
    check_gan(estimator)
    single = isinstance(features, str) or (
        isinstance(features, tuple) and all(isinstance(n, Integral) for n in features)
    )
    if not single and not np.iterable(features):
        raise TypeError(
            f"features={features!r} should be a name, a pair (layer, channel), or a "
            "list of these."
        )
    features = [features] if single else list(features)
    if not features:
        raise ValueError(
            "No feature was chosen; pass names, or pairs (layer, channel)."
        )
    shapes = activation_shapes(estimator)
    grids = _grids(estimator, shapes)
    return [_parse(feature, shapes, grids) for feature in features]


def _grids(estimator, shapes):
    """Return rows and columns of each layer's pooled map.

    Those of features are as fitted: the parameter ``pool_size`` may be another since.
    """
    pool_size = getattr(estimator, "pool_size", _POOL_SIZE)
    grids = [tuple(min(side, pool_size) for side in shape[1:]) for shape in shapes]
    fitted = vars(estimator).get("_feature_shapes", [])
    for layer, shape in zip(getattr(estimator, "layers_", []), fitted, strict=True):
        grids[layer - 1] = shape[1:]
    return grids


def _parse(feature, shapes, grids):
    """Return what one name or pair means."""
    if not isinstance(feature, str):
        return _parse_filter(feature, shapes)
    match = _NAME.fullmatch(feature)
    if match is None:
        raise ValueError(
            f"{feature!r} names no feature; names are those of get_feature_names_out, "
            "such as 'conv2_ch017_r3_c0', 'conv2_ch017' or 'dense1_u003'."
        )
    conv, channel, row, column, dense, unit = (
        None if part is None else int(part) for part in match.groups()
    )
    layer, channel = (conv, channel) if dense is None else (dense, unit)
    parsed = _parse_filter((layer, channel), shapes, feature)
    if (parsed.grid is None) != (conv is None):
        kind = "fully connected" if parsed.grid is None else "convolutional"
        raise ValueError(f"{feature!r}: layer {layer} is {kind}.")
    if row is None:
        return parsed
    grid = grids[layer - 1]
    if row >= grid[0] or column >= grid[1]:
        raise ValueError(
            f"{feature!r} is not on the pooled map of layer {layer}, which has "
            f"{grid[0]} rows and {grid[1]} columns, counted from 0."
        )
    return Feature(layer, channel, grid, row * grid[1] + column)


def _parse_filter(pair, shapes, name=None):
    """Return the filter that is meant by a layer and a channel."""
    try:
        layer, channel = pair
    except (TypeError, ValueError):
        layer = channel = None
    if not all(
        isinstance(n, Integral) and not isinstance(n, bool) for n in (layer, channel)
    ):
        raise TypeError(
            f"{pair!r} is neither a feature's name nor a filter (layer, channel), two "
            "ints."
        )
    named = repr(name or (int(layer), int(channel)))
    if not 1 <= layer <= len(shapes):
        raise ValueError(
            f"{named} is in layer {layer}, but the discriminator has layers 1 to "
            f"{len(shapes)}."
        )
    shape = shapes[layer - 1]
    if not 0 <= channel < shape[0]:
        raise ValueError(
            f"{named}: layer {layer} has {shape[0]} filters, counted from 0; there is "
            f"no {channel}."
        )
    return Feature(int(layer), int(channel), (1, 1) if len(shape) == 3 else None)


def peaks(activations, feature):
    """Return a feature's value in each image, and where on the map it is found.

    Parameters
    ----------
    activations : list of Tensor of shape (n, c, h, w) or (n, units)
        The discriminator's.
    feature : Feature
        Whose value is the maximum over its cell, or over the whole map.

    Returns
    -------
    values : Tensor of shape (n,)
        Differentiable, through the strongest position alone.
    positions : Tensor of shape (n,), int64
        In the map, in reading order; 0 for fully connected layers.
    """
    activation = activations[feature.layer - 1][:, feature.channel]
    if feature.grid is None:
        return activation, activation.new_zeros(len(activation), dtype=torch.int64)
    values, positions = adaptive_max_pool2d(
        activation[:, None], feature.grid, return_indices=True
    )
    row, column = divmod(feature.cell, feature.grid[1])
    return values[:, 0, row, column], positions[:, 0, row, column]


def receptive_fields(estimator, layer):
    """Return the part of the image that each position of a layer's map depends on.

    It is computed and not derived from kernels and strides, so that it holds for
    networks of your own: NaN in a row or column of pixels spreads to just those
    positions that it can have an influence on.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted on images.
    layer : int
        Of the discriminator, counted from 1.

    Returns
    -------
    boxes : ndarray of shape (rows, columns, 4), int64
        ``(top, left, bottom, right)`` in pixels, ``image[top:bottom, left:right]``,
        within the image. A fully connected layer has one position, (1, 1, 4).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import receptive_fields
    >>> X = load_digits().images[:50]
    >>> gan = DCGANFeatureExtractor(n_filters=4, max_epochs=0).fit(X)
    >>> boxes = receptive_fields(gan, layer=1)
    >>> boxes.shape
    (4, 4, 4)
    >>> boxes[1, 1].tolist()
    [1, 1, 5, 5]
    """
    check_has_pictures(estimator)
    parsed = _parse_filter((layer, 0), activation_shapes(estimator))
    # In float64 on the CPU a convolution is a plain sum: fast algorithms for float32
    # mix neighbouring positions on the way, and NaN would spread.
    network = copy.deepcopy(estimator.discriminator_).cpu().double()
    shape = estimator._architecture["shape"]
    spans = [_spans(network, shape, parsed.layer, axis) for axis in (1, 2)]
    (top, bottom), (left, right) = spans
    boxes = np.empty((len(top), len(left), 4), dtype=np.int64)
    boxes[..., 0], boxes[..., 2] = top[:, None], bottom[:, None]
    boxes[..., 1], boxes[..., 3] = left[None], right[None]
    return boxes


def _spans(network, shape, layer, axis):
    """Return first and last + 1 pixel of an axis that matter to each map position."""
    side = shape[axis]
    images = torch.zeros(side, *shape, dtype=torch.float64)
    # Image k has NaN in its k-th row or column.
    images.movedim(axis + 1, 1)[torch.arange(side), torch.arange(side)] = torch.nan
    reached = []
    with torch.inference_mode():
        for part in images.split(64):
            activations, _ = network(part)
            reached.append(activations[layer - 1].isnan())
    reached = torch.cat(reached)
    reached = reached[..., None, None] if reached.ndim == 2 else reached
    reached = reached.any(dim=1).any(dim=3 - axis).numpy()
    first = reached.argmax(axis=0)
    return first, side - reached[::-1].argmax(axis=0)
