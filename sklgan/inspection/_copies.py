"""Which samples are copies of training images, and whether that may be chance."""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.stats import fisher_exact

from sklgan._placement import read_rows
from sklgan.inspection._neighbors import embed, nearest

# The distance to the nearest image is counted in the mean distance to so many others.
_OTHERS = 10

# A sample is alone with its nearest image where its ratio of distances is below that of
# this fraction of real images, or below this part of their median: in some data sets
# many images have a near-duplicate, and these must not decide what a copy is.
_QUANTILE, _PART = 0.03, 0.5

_N_RESAMPLES = 2000
_LEVEL = 0.95


@dataclass(frozen=True)
class CopyFigures:
    """What was found in one space, pixels or features.

    Parameters
    ----------
    copied : float
        Fraction of the samples that are copies of training images beyond chance.
    interval : tuple of float
        Its 95 % confidence interval.
    p_value : float
        That this is chance: twice the lower of those of two exact tests; see
        :func:`memorization_report`.
    closeness : float
        Median distance of samples to the nearest training image, over that of held-out
        images. Below 1 does not mean copies: blurred images are close to everything.
    train_share : float
        Fraction of the samples whose nearest image is a training image, not a
        held-out one.
    expected_share : float
        The same of a generator that knows neither: the training images' part of both.
    is_copy : ndarray of shape (n_samples,), bool
        Which samples are copies of their nearest training image.
    ratios : ndarray of shape (n_samples,), float64
        Distance to the nearest training image over the mean distance to the ten images
        that come after the nearest of both sets.
    largest_ratio : float
        Up to which a sample is a copy.
    distances : ndarray of shape (n_samples, n_neighbors), float64
        To the nearest training images, as :func:`nearest_samples` returns them.
    indices : ndarray of shape (n_samples, n_neighbors), int64
        Which they are: rows of X_train.
    held_out_distances : ndarray of shape (n_held_out,), float64
        Of held-out images to the nearest training image.
    """

    copied: float
    interval: tuple
    p_value: float
    closeness: float
    train_share: float
    expected_share: float
    is_copy: np.ndarray = field(repr=False)
    ratios: np.ndarray = field(repr=False)
    largest_ratio: float
    distances: np.ndarray = field(repr=False)
    indices: np.ndarray = field(repr=False)
    held_out_distances: np.ndarray = field(repr=False)


def compare(visit, drawn, train, held_out, chosen, n_neighbors, rng):
    """Return the CopyFigures of one space.

    Parameters
    ----------
    visit : callable
        Brings rows into the space; see `visitor`.
    drawn, train, held_out : ndarray or ImageSequence of shape (n, n_features)
        Rows: of samples, training images and held-out images.
    chosen : ndarray of int
        Rows of ``held_out`` that are compared as samples are.
    n_neighbors : int
        Training images to keep of each sample.
    rng : numpy.random.Generator
        For the bootstrap.
    """
    n_train, n_held_out = len(train), len(held_out)
    queries = torch.cat(
        [embed(visit, drawn), embed(visit, read_rows(held_out, chosen))]
    )
    parts = slice(len(drawn)), slice(len(drawn), None)
    kept = min(max(n_neighbors, _OTHERS + 2), n_train)
    to_train = _split(nearest(queries, train, visit, kept), parts)
    to_held_out = _split(nearest(queries, held_out, visit, _OTHERS + 2), parts)
    to_held_out[1] = _without_self(*to_held_out[1], chosen)
    near, others, found = zip(
        *(_merge(*a, *b, n_train) for a, b in zip(to_train, to_held_out, strict=True)),
        strict=True,
    )
    ratios = [_ratio(a, b) for a, b in zip(near, others, strict=True)]
    largest = max(
        np.quantile(ratios[1], _QUANTILE, method="lower"), _PART * np.median(ratios[1])
    )
    alone = [ratio <= largest for ratio in ratios]
    copies = [a & (f < n_train) for a, f in zip(alone, found, strict=True)]
    by_chance = alone[0] & ~copies[0]
    sizes = n_train, n_held_out
    copied, interval = _copied(copies, by_chance, found[0], sizes, rng)
    nearest_distances = [distances[:, 0] for distances, _ in to_train]
    typical = float(np.median(nearest_distances[1]))
    return CopyFigures(
        copied=copied,
        interval=interval,
        p_value=_p_value(copies, by_chance, found[0], sizes),
        closeness=float(np.median(nearest_distances[0])) / (typical or 1.0),
        train_share=float((found[0] < n_train).mean()),
        expected_share=n_train / (n_train + n_held_out),
        is_copy=copies[0],
        ratios=_ratio(nearest_distances[0], others[0]),
        largest_ratio=float(largest),
        distances=to_train[0][0][:, :n_neighbors],
        indices=to_train[0][1][:, :n_neighbors],
        held_out_distances=nearest_distances[1],
    )


def _split(neighbors, parts):
    """Return (distances, indices) of some queries for each part of all queries."""
    return [tuple(array[part] for array in neighbors) for part in parts]


def _without_self(distances, indices, own):
    """Return neighbours without the row itself, or without the last if it is not there.

    It may not be there where more rows than were asked for are equal.
    """
    is_own = indices == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    shape = len(own), -1
    return distances[~is_own].reshape(shape), indices[~is_own].reshape(shape)


def _merge(distances, indices, held_out_distances, held_out_indices, n_train):
    """Return each query's distance to the nearest image of both sets, and which it is.

    Between the two comes the mean distance to the next ones. Images are counted
    through, those of the training set first.
    """
    distances = np.hstack([distances, held_out_distances])
    order = np.argsort(distances, axis=1, kind="stable")[:, : _OTHERS + 1]
    found = np.hstack([indices, n_train + held_out_indices])
    distances = np.take_along_axis(distances, order, axis=1)
    found = np.take_along_axis(found, order[:, :1], axis=1)[:, 0]
    return distances[:, 0], distances[:, 1:].mean(axis=1), found


def _ratio(near, others):
    """Return near / others, and 0 where both are 0."""
    return np.divide(near, others, out=np.zeros(len(near)), where=others > 0)


def _copied(copies, by_chance, found, sizes, rng):
    """Return the fraction of copies beyond chance, and its interval, by a bootstrap.

    Parameters are those of `_p_value`. Images found and held-out images are drawn.
    Where none or all are copies, a bootstrap knows no doubt; the exact binomial
    interval of that many images found does.
    """
    _, group = np.unique(found, return_inverse=True)
    sums = np.stack([np.bincount(group, part) for part in (copies[0], by_chance)], 1)
    counts = np.bincount(group)
    n_groups, n_real = len(counts), len(copies[1])
    shares = np.full(n_groups, 1 / n_groups)
    chance, weight = copies[1].mean(), sizes[0] / sizes[1]
    drawn = np.empty((_N_RESAMPLES, 2))
    for row in drawn:
        times = rng.multinomial(n_groups, shares)
        row[:] = times @ sums / (times @ counts)
    chances = rng.binomial(n_real, chance, size=_N_RESAMPLES) / n_real
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(_beyond_chance(*drawn.T, chances, weight), [tail, 1 - tail])
    doubt = tail ** (1 / n_groups)
    if copies[0].all():
        low = min(low, doubt)
    if not copies[0].any():
        high = max(high, 1 - doubt)
    copied = _beyond_chance(copies[0].mean(), by_chance.mean(), chance, weight)
    copied, low, high = (float(end) for end in np.clip([copied, low, high], 0, 1))
    return copied, (low, high)


def _beyond_chance(copies, by_chance, chance, weight):
    """Return the lower of two estimates of the fraction of true copies.

    Of the samples, ``copies`` are alone with a training image and ``by_chance`` with a
    held-out one, of which there are ``weight`` times fewer. Of held-out images,
    ``chance`` are alone with a training image, as would be those samples that are no
    copies: ``copies = copied + (1 - copied) * chance``.
    """
    chance = np.minimum(chance, 1 - 1e-12)
    return np.minimum(copies - weight * by_chance, (copies - chance) / (1 - chance))


def _p_value(copies, by_chance, found, sizes):
    """Return twice the lower p-value of the two tests.

    ``copies`` are those among samples and among held-out images, ``by_chance`` are the
    samples that are alone with a held-out image, ``sizes`` those of both sets.
    """
    images = [len(np.unique(found[which])) for which in (copies[0], by_chance)]
    _, group = np.unique(found, return_inverse=True)
    # An image that several samples found is copied by a part of them.
    parts = np.bincount(group, copies[0]) / np.bincount(group)
    counts = int(parts.sum()), int(copies[1].sum())
    p_values = [
        fisher_exact(
            [[n, total - n] for n, total in zip(*table, strict=True)],
            alternative="greater",
        ).pvalue
        for table in ((images, sizes), (counts, (len(parts), len(copies[1]))))
    ]
    return float(min(1.0, 2 * min(p_values)))
