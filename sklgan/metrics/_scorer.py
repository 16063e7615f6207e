"""Figures of quality as scorers, for searches over what a GAN is made of."""

from functools import partial

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sklgan._features import fixed_space
from sklgan._images import check_images, to_batch
from sklgan._placement import read_rows
from sklgan._tensors import as_tensor
from sklgan.metrics._checks import check_count
from sklgan.metrics._frechet import frechet_distance
from sklgan.metrics._kernel import kernel_distance
from sklgan.metrics._neighbors import density_coverage, precision_recall
from sklgan.networks._build import network_builders

# Of features of held-out and of generated images; greater is better.
_SCORES = {
    "kernel_distance": lambda X, Y: -kernel_distance(X, Y, n_subsets=1)[0],
    "frechet_distance": lambda X, Y: -frechet_distance(X, Y, n_subsets=1)[0],
    "precision": lambda X, Y: precision_recall(X, Y)[0],
    "recall": lambda X, Y: precision_recall(X, Y)[1],
    "density": lambda X, Y: density_coverage(X, Y)[0],
    "coverage": lambda X, Y: density_coverage(X, Y)[1],
}


def sample_quality_scorer(
    metric="kernel_distance", *, features=None, n_samples=None, random_state=0
):
    """Make a scorer that compares samples of a GAN with held-out images.

    It goes wherever a scorer goes: the parameter ``scoring`` of
    :class:`~sklearn.model_selection.GridSearchCV`,
    :func:`~sklearn.model_selection.cross_validate` and their like. Classes do not
    matter, so y may hold -1 or be left out.

    Parameters
    ----------
    metric : {"kernel_distance", "frechet_distance", "precision", "recall", \
"density", "coverage"}, default="kernel_distance"
        The figure of :mod:`sklgan.metrics`; distances are negated, so that greater is
        better. ``"frechet_distance"`` needs more held-out images than features.
        Precision and density alone are best for a generator that draws one good image.
    features : transformer, default=None
        Its ``transform`` gives the features, of images as flattened rows
        (n_samples, n_features), channels last, in the range of X; GAN estimators of
        this library that are fitted on images take these too. Unless it is fitted, a
        copy is fitted on the held-out images each time. None takes the activations of
        a network that is not trained, the same for all estimators, scaled by the
        held-out images.
    n_samples : int, default=None
        Samples to draw; None for as many as there are held-out images.
    random_state : int, RandomState instance or None, default=0
        Decides the latent vectors: with an int they are the same in each cell, and the
        score of an estimator never changes. None takes the estimator's own.

    Returns
    -------
    scorer : callable
        Called as ``scorer(estimator, X, y=None)`` with a fitted GAN estimator, or a
        pipeline whose last step is one, returns a float. It can be pickled if
        ``features`` can.

    Raises
    ------
    ValueError
        If the metric is unknown or ``n_samples`` is no number of samples; when called,
        if there are too few held-out images for the metric.
    TypeError
        When called, if the estimator cannot draw samples.

    See Also
    --------
    sklgan.KeepBest : The best epoch of one training, by the kernel distance.

    Notes
    -----
    Scores can be compared in one space of features only. With the default, and with
    ``features`` that are not fitted, the space is that of the held-out images: the same
    for all cells of a search and one fold; their order is that of the mean over folds.
    A score of other images, or of other features, is another figure. In a pipeline the
    space is that of what the steps before the GAN make of X, so do not search over
    these.

    The search finds what is best for these images in this space. Report a final figure
    on images that neither training nor search has seen; a generator that memorises
    its training images may be best of all.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.metrics import sample_quality_scorer
    >>> X = load_digits().images[:150]
    >>> gan = DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0)
    >>> search = GridSearchCV(
    ...     gan, {"latent_dim": [2, 20]}, scoring=sample_quality_scorer(), cv=2
    ... )
    >>> search.fit(X).cv_results_["mean_test_score"].shape
    (2,)
    """
    return _SampleQualityScorer(metric, features, n_samples, random_state)


class _SampleQualityScorer:
    """The scorer that `sample_quality_scorer` returns."""

    def __init__(self, metric, features, n_samples, random_state):
        if metric not in _SCORES:
            raise ValueError(f"metric={metric!r} is none of {sorted(_SCORES)}.")
        if n_samples is not None:
            check_count("n_samples", n_samples)
        if features is not None and (
            isinstance(features, type) or not hasattr(features, "transform")
        ):
            raise TypeError(
                f"features={features!r} is no transformer; give an object with a "
                "transform, such as PCA(n_components=50), or None."
            )
        self.metric = metric
        self.features = features
        self.n_samples = n_samples
        self.random_state = random_state

    def __repr__(self):
        return f"sample_quality_scorer({self.metric!r}, features={self.features!r})"

    def __call__(self, estimator, X, y=None):
        gan, X = _generator_and_images(estimator, X)
        real = _rows(gan, X)
        samples = gan.sample(self.n_samples or len(real), self.random_state)
        return float(
            _SCORES[self.metric](*self._describe(gan, real, _rows(gan, samples)))
        )

    def _describe(self, gan, real, samples):
        """Return the features of real rows and of samples."""
        if self.features is None:
            transform = _untrained_space(real, gan.image_shape_)
            return transform(real), transform(samples)
        transformer = self.features
        if not _is_fitted(transformer):
            transformer = clone(transformer).fit(real)
        return transformer.transform(real), transformer.transform(samples)


def _is_fitted(transformer):
    """Tell whether a transformer is fitted, a pipeline by its steps that have state."""
    try:
        check_is_fitted(transformer)
    except NotFittedError:
        return False
    if not isinstance(transformer, Pipeline):
        return True
    # It has answered for its last step alone, which may have no state. Steps of the
    # user's may have none without saying so: fit would have fitted all the others.
    steps = [step for _, step in transformer.steps if hasattr(step, "transform")]
    steps = [step for step in steps if get_tags(step).requires_fit]
    return not steps or any(_is_fitted(step) for step in steps)


def _generator_and_images(estimator, X):
    """Return the GAN that an estimator is or ends with, and X as that sees it."""
    gan = estimator
    if isinstance(gan, Pipeline):
        X = gan[:-1].transform(X) if len(gan) > 1 else X
        gan = gan[-1]
    if not (hasattr(gan, "sample") and hasattr(gan, "generate")):
        raise TypeError(
            f"{type(gan).__name__} cannot draw samples; score a GAN estimator of "
            "sklgan, or a pipeline whose last step is one."
        )
    check_is_fitted(gan)
    return gan, X


def _rows(gan, X):
    """Return images in any form as flattened rows in memory, in their own range."""
    rows = read_rows(check_images(gan, X, reset=False), slice(None))
    return as_tensor(rows).cpu().numpy()


def _untrained_space(rows, image_shape):
    """Return the function from rows to features of a network as first drawn.

    Nothing of it depends on the estimator that is scored but the shape of its images.
    """
    if image_shape is None:
        network, shape = "mlp", rows.shape[1:]
        center = rows.mean(axis=0, dtype=float)
        half_range = rows.std(axis=0, dtype=float)
        half_range[half_range == 0] = 1.0
    else:
        network, shape = "dcgan", (image_shape[2], *image_shape[:2])
        low, high = float(rows.min()), float(rows.max())
        center = np.array((low + high) / 2)
        half_range = np.array((high - low) / 2 or 1.0)
    _, build = network_builders(network, latent_dim=1, shape=shape, n_filters=32)
    convert = partial(
        to_batch,
        center=as_tensor(center),
        half_range=as_tensor(half_range),
        image_shape=image_shape,
    )
    _, transform = fixed_space(build, rows, convert)
    return partial(transform, to_batch=convert)
