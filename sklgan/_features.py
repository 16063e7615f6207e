"""Pooled activations of a network, as features and for figures of quality.

Figures of different epochs can be compared in a space that does not move: that of a
network as it was initialised, scaled once by real rows. Random features tell images
apart well where networks trained on photographs see little (Naeem et al., "Reliable
Fidelity and Diversity Metrics for Generative Models", 2020, section 4.2,
arXiv:2002.09797).
"""

from numbers import Integral

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifierCV
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import adaptive_max_pool2d, max_pool2d

from sklgan._inference import run_discriminator
from sklgan._tensors import torch_seed


def pooled_features(network, rows, to_batch, side=4):
    """Return the activations of each layer, max-pooled to a small grid.

    Parameters
    ----------
    network : torch.nn.Module
        A discriminator, in evaluation mode.
    rows : ndarray of shape (n_samples, ...)
        Rows, or batches that a generator has made.
    to_batch : callable
        Some of them, as a tensor on the device, to what the network takes.
    side : int, default=4
        Of the grid at most.

    Returns
    -------
    features : list of ndarray of shape (n_samples, n_features), float32
        An array a layer.
    """
    parts = []

    def write(_, features, logits):
        parts.append([pooled_rows(feature, side).cpu().numpy() for feature in features])

    run_discriminator(network, rows, to_batch, write, pad=False)
    return [np.concatenate(layer) for layer in zip(*parts, strict=True)]


def pooled_rows(feature, side):
    """Return an activation (n, c, h, w) or (n, d) as pooled rows, float32."""
    if feature.ndim == 4:
        grid = [min(side, length) for length in feature.shape[2:]]
        feature = pool(feature, (feature.shape[1], *grid)).flatten(1)
    return feature.float()


def pool(activation, shape):
    """Max-pool an activation (n, c, h, w) to the grid of ``shape`` (c, rows, columns).

    Windows that divide the map evenly are left to the faster kernel.
    """
    if len(shape) == 1 or tuple(activation.shape[2:]) == shape[1:]:
        return activation
    sides, grid = activation.shape[2:], shape[1:]
    if all(side % cells == 0 for side, cells in zip(sides, grid, strict=True)):
        window = [side // cells for side, cells in zip(sides, grid, strict=True)]
        return max_pool2d(activation, window)
    return adaptive_max_pool2d(activation, grid)


def fixed_space(build, rows, to_batch):
    """Return rows in a space that does not move, and what brings others there.

    Parameters
    ----------
    build : callable
        Returns a new discriminator; what is drawn for it is the same in each call.
    rows : ndarray of shape (n_samples, n_features)
        Real rows. Each layer is centred at their mean, and scaled by one number, so
        that values that hardly ever change weigh little.
    to_batch : callable
        Some rows, as a tensor on the device, to what the network takes.

    Returns
    -------
    features : ndarray of shape (n_samples, n_features_out), float64
        Of the rows.
    transform : callable
        ``(images, to_batch) -> features``, of images as a generator makes them where
        ``to_batch`` is left out.
    """
    with torch_seed(0):
        network = build()
    network = network.to(to_batch.keywords["center"].device).eval()
    layers = pooled_features(network, rows, to_batch, side=2)
    means = [layer.mean(axis=0, dtype=float) for layer in layers]
    scales = [float(layer.std(axis=0, dtype=float).mean()) or 1.0 for layer in layers]

    def scaled(layers):
        parts = zip(layers, means, scales, strict=True)
        return np.hstack([(layer - mean) / scale for layer, mean, scale in parts])

    def transform(images, to_batch=lambda batch: batch):
        return scaled(pooled_features(network, images, to_batch, side=2))

    return scaled(layers), transform


def probe_accuracy(features, y):
    """Return the accuracy of a linear classifier on one half, fitted on the other.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        Classes, at least 2 rows of each.

    Returns
    -------
    accuracy : float
        The mean over the two halves; they are the same in each call.
    """
    probe = make_pipeline(StandardScaler(), RidgeClassifierCV(np.logspace(0, 4, 5)))
    halves = StratifiedKFold(2, shuffle=True, random_state=0)
    return float(cross_val_score(probe, features, y, cv=halves).mean())


def choose_layers(layers, build, shape):
    """Return the layers that a user has named, and the shapes of their activations.

    Parameters
    ----------
    layers : "all", "last" or sequence of int
        Counted from 1.
    build : callable
        Returns a new discriminator.
    shape : tuple of int
        ``(c, h, w)`` or ``(d,)`` of what it takes.

    Returns
    -------
    layers : list of int
    shapes : list of tuple of int
        ``(c, rows, columns)`` or ``(units,)``.

    Raises
    ------
    ValueError
        If there is no such layer, or one is named twice, or none is.
    """
    with torch_seed(0), torch.no_grad():
        activations, _ = build().eval()(torch.zeros(1, *shape))
    n_layers = len(activations)
    if isinstance(layers, str):
        if n_layers == 0:
            raise ValueError(
                f"layers={layers!r}, but the discriminator has no layers: its forward "
                "returns an empty list of features. Let it return activations, as "
                "sklgan.networks asks."
            )
        layers = range(1 if layers == "all" else n_layers, n_layers + 1)
    for layer in layers:
        known = isinstance(layer, Integral) and not isinstance(layer, bool)
        if not known or not 1 <= layer <= n_layers:
            raise ValueError(
                f"layers={layers!r} names layer {layer!r}, but the discriminator has "
                f"layers 1 to {n_layers}; name them by these numbers."
            )
    if len(set(layers)) < len(layers):
        raise ValueError(f"layers={layers!r} names a layer twice; name each once.")
    if len(layers) == 0:
        raise ValueError(f"layers={layers!r} names no layer; use 'all'.")
    layers = [int(layer) for layer in layers]
    return layers, [tuple(activations[layer - 1].shape[1:]) for layer in layers]


def feature_names(layers, shapes):
    """Return the names of pooled activations, as ``get_feature_names_out`` does.

    Parameters
    ----------
    layers : list of int
    shapes : list of tuple of int
        In which each enters the features, ``(c, rows, columns)`` or ``(units,)``.
    """
    names = []
    for layer, shape in zip(layers, shapes, strict=True):
        if len(shape) == 1:
            names += [f"dense{layer}_u{unit:03d}" for unit in range(shape[0])]
            continue
        names += [
            f"conv{layer}_ch{channel:03d}_r{row}_c{column}"
            for channel, row, column in np.ndindex(*shape)
        ]
    return np.asarray(names, dtype=object)


def check_out(out, shape):
    """Raise an error unless features of this shape can be written to an array."""
    if not isinstance(out, np.ndarray):
        raise TypeError(
            f"out is {type(out).__name__}; pass an ndarray or a memory map of shape "
            f"{shape} and dtype float32."
        )
    if out.shape != shape or out.dtype != np.float32:
        raise ValueError(
            f"out has shape {out.shape} and dtype {out.dtype}; the features have shape "
            f"{shape} and dtype float32. Make it so: np.empty({shape}, np.float32)."
        )
    if not out.flags.writeable or min(out.strides, default=0) < 0:
        raise ValueError(
            "out is read-only or reversed; pass an array that can be written to, such "
            "as a memory map opened with mode='r+'."
        )
