"""Nearest images, in pixels or in features, without a matrix of all distances."""

from numbers import Integral

import numpy as np
import torch
from sklearn.utils import gen_batches

from sklgan._features import pooled_features, pooled_rows
from sklgan._images import check_images
from sklgan._inference import check_gan, device_of, run_discriminator
from sklgan._placement import read_batches, read_rows
from sklgan._tensors import as_tensor, device_or_cpu

SPACES = ("pixels", "features")

# Rows and queries whose distances are held at a time.
_ROWS, _QUERIES = 128, 512

# Side of the grid to which activations are pooled, as in the DCGAN paper.
_SIDE = 4

# Squared distances below this fraction of the squared norms are rounding.
_EQUAL = 1e-13

# So many rows decide how a layer is scaled.
_SCALED_BY = 256


def nearest_samples(estimator, images, X, *, n_neighbors=5, space="pixels"):
    """Find the rows of X that are nearest to given images.

    Distances are computed block by block: what is held beside the images does not grow
    with X, which may be a sequence of images on disk.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted; it decides the scale of values and the features.
    images : array-like or sequence of paths or of PIL images
        The images, as in ``fit``; often ``estimator.sample(...)``.
    X : array-like, ImageSequence, or sequence of paths or of PIL images
        Where to look for their neighbours, as in ``fit``; often what ``fit`` was given.
    n_neighbors : int, default=5
        Number of neighbours of each image, at most ``len(X)``.
    space : {"pixels", "features"}, default="pixels"
        Where distances are Euclidean: ``"pixels"`` takes values scaled to [-1, 1]
        (standardised columns for flat X), ``"features"`` the activations of all layers
        of the discriminator, max-pooled to 4 x 4, each layer scaled by its spread over
        X so that all weigh the same.

    Returns
    -------
    distances : ndarray of shape (n_images, n_neighbors), float64
        In ascending order.
    indices : ndarray of shape (n_images, n_neighbors), int64
        Rows of X.

    See Also
    --------
    memorization_report : Whether samples are closer to X than they should be.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import nearest_samples
    >>> X = load_digits().images[:200]
    >>> gan = DCGANFeatureExtractor(n_filters=8, max_epochs=1, random_state=0).fit(X)
    >>> distances, indices = nearest_samples(gan, X[[7, 3]], X, n_neighbors=2)
    >>> indices[:, 0].tolist(), distances[:, 0].tolist()
    ([7, 3], [0.0, 0.0])
    """
    check_gan(estimator)
    check_space(space)
    queries, X = (checked_rows(estimator, rows) for rows in (images, X))
    is_count = isinstance(n_neighbors, Integral) and not isinstance(n_neighbors, bool)
    if not is_count or not 1 <= n_neighbors <= len(X):
        raise ValueError(
            f"n_neighbors={n_neighbors!r} should be an int from 1 to the number of "
            f"rows of X, {len(X)}."
        )
    visit = visitor(estimator, space, X)
    return nearest(embed(visit, queries), X, visit, n_neighbors)


def check_space(space, known=SPACES):
    """Raise ValueError unless there is such a space."""
    if space not in known:
        raise ValueError(f"space={space!r} should be one of {', '.join(known)}.")


def checked_rows(estimator, X):
    """Return X as rows that are in the memory of the CPU, or on disk."""
    rows = check_images(estimator, X, reset=False)
    return rows.cpu().numpy() if torch.is_tensor(rows) else rows


def visitor(estimator, space, X):
    """Return ``visit(rows, write)``, which brings rows into a space batch by batch.

    ``write(place, points)`` is given a slice and the points of these rows, a tensor
    (b, d) on the device of the networks. Rows of X decide how layers are scaled.
    """
    if space == "features":
        device = device_of(estimator.discriminator_)
    else:  # for which a checkpoint of others need not have a discriminator
        device = device_or_cpu(estimator.device)
    to_batch = estimator._make_to_batch(device)

    def visit_pixels(rows, write):
        for place, part in read_batches(rows, _ROWS):
            write(place, to_batch(as_tensor(part).to(device)).flatten(1))

    if space == "pixels":
        return visit_pixels
    some = read_rows(X, np.linspace(0, len(X) - 1, min(len(X), _SCALED_BY)).astype(int))
    layers = pooled_features(estimator.discriminator_, some, to_batch, side=_SIDE)
    spreads = [float(np.sqrt(layer.var(axis=0, dtype=float).sum())) for layer in layers]

    def visit_features(rows, write):
        def write_points(place, features, logits):
            layers = [
                pooled_rows(feature, _SIDE) / (spread or 1.0)
                for feature, spread in zip(features, spreads, strict=True)
            ]
            write(place, torch.cat(layers, dim=1))

        run_discriminator(
            estimator.discriminator_, rows, to_batch, write_points, pad=estimator._pads
        )

    return visit_features


def embed(visit, rows):
    """Return the points of all rows, a tensor (n_rows, d) on the device."""
    parts = []
    visit(rows, lambda place, points: parts.append(points))
    return torch.cat(parts)


def nearest(queries, rows, visit, n_neighbors):
    """Return distances and indices of the rows that are nearest to each query.

    Parameters
    ----------
    queries : Tensor of shape (n_queries, d)
        Points.
    rows : ndarray or ImageSequence of shape (n_rows, n_features)
        At least ``n_neighbors``.
    visit : callable
        Brings the rows into the space of the queries; see `visitor`.
    n_neighbors : int
        Number of neighbours.

    Returns
    -------
    distances, indices : ndarray of shape (n_queries, n_neighbors)
        In ascending order of distance.
    """
    shape = len(queries), n_neighbors
    best = torch.full(shape, torch.inf, dtype=torch.float64, device=queries.device)
    indices = torch.full(shape, -1, device=queries.device)

    def write(place, points):
        points = points.double()
        numbers = torch.arange(place.start, place.stop, device=points.device)
        for block in gen_batches(len(queries), _QUERIES):
            distances = torch.cat([best[block], _distances(queries[block], points)], 1)
            found = numbers.expand(len(distances), -1)
            found = torch.cat([indices[block], found], dim=1)
            values, order = distances.topk(n_neighbors, largest=False)
            best[block], indices[block] = values, found.gather(1, order)

    visit(rows, write)
    return best.cpu().numpy(), indices.cpu().numpy()


def _distances(queries, points):
    """Return Euclidean distances; 0 where query and point are equal but for rounding.

    In float64: float32 would lose short distances between long vectors, and those
    are what copies have.
    """
    queries = queries.double()
    norms = queries.square().sum(1, keepdim=True) + points.square().sum(1)
    squares = torch.addmm(norms, queries, points.T, alpha=-2)
    return squares.where(squares > _EQUAL * norms, 0.0).sqrt()
