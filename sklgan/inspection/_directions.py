"""Directions of the latent space that mean something."""

import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.utils import Bunch, check_random_state
from torch import nn

from sklgan._inference import check_gan, device_of
from sklgan._labels import find_labels
from sklgan._tensors import torch_seed
from sklgan.inspection._checks import check_count, check_latents

_METHODS = ("auto", "sefa", "mean_difference", "logistic")

# Layers that multiply their input by a matrix.
_LINEAR = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def directions(
    estimator,
    Z=None,
    labels=None,
    *,
    method="auto",
    n_samples=1000,
    random_state=None,
):
    """Find directions of the latent space along which images change.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted.
    Z : array-like of shape (n_samples, latent_dim), default=None
        Latent vectors whose images are labelled. None draws ``n_samples`` from
        N(0, 1).
    labels : array-like of shape (n_samples,), classifier or callable, default=None
        What the image of each row of Z shows, a whole number or a string; -1 for rows
        to leave out. Or what tells it of ``estimator.generate(Z)``: a fitted
        classifier of images or of flattened images, or a function. None takes
        ``predict`` of the estimator itself, where a method that needs labels is
        chosen.
    method : {"auto", "sefa", "mean_difference", "logistic"}, default="auto"
        ``"sefa"`` needs no labels: it finds what moves the generator's first layer
        most. ``"mean_difference"`` goes from the mean of the latent vectors of other
        classes to that of the class; ``"logistic"`` takes the coefficients of a
        logistic regression of the labels on Z, which keeps classes apart that
        overlap in other directions. ``"auto"`` takes ``"mean_difference"`` if Z or
        labels are given, else ``"sefa"``.
    n_samples : int, default=1000
        Latent vectors to draw and have labelled, where Z is not given.
    random_state : int, RandomState instance or None, default=None
        Decides these. None takes the estimator's ``random_state``.

    Returns
    -------
    result : :class:`~sklearn.utils.Bunch`
        With the attributes:

        vectors : ndarray of shape (n_directions, latent_dim), float64
            Rows of length 1. With labels one for each class, or, for two classes, one
            from ``classes[0]`` to ``classes[1]``. Without labels ``latent_dim``
            orthogonal ones, those that move the layer most first; the entry of largest
            magnitude in each is positive.
        eigenvalues : ndarray of shape (latent_dim,), float64
            Only of ``"sefa"``: the squared length by which the first layer's output
            changes for a step of 1.
        classes : ndarray of shape (n_classes,)
            Only with labels: the classes found, sorted.
        Z : ndarray of shape (n_samples, latent_dim)
            Only with labels: the latent vectors that were labelled.
        labels : ndarray of shape (n_samples,)
            Only with labels: their labels; exemplars for :func:`vector_arithmetic` are
            ``Z[labels == c][:3]``.

    See Also
    --------
    traverse : The images along a direction.

    References
    ----------
    Shen and Zhou, "Closed-Form Factorization of Latent Semantics in GANs", 2021,
    section 3.2 (arXiv:2007.06600): eigenvectors of A^T A, A being the matrix of the
    generator's first layer.

    Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks", 2015, section 6.3.2
    (arXiv:1511.06434), which makes a "turn" vector from means.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import directions
    >>> digits = load_digits()
    >>> gan = DCGANFeatureExtractor(5, n_filters=4, max_epochs=1, random_state=0)
    >>> gan = gan.fit(digits.images[:100])
    >>> directions(gan).vectors.shape
    (5, 5)
    >>> def is_left(images):
    ...     return images[..., :4].sum(axis=(1, 2)) > images[..., 4:].sum(axis=(1, 2))
    >>> found = directions(gan, labels=is_left)
    >>> found.classes, found.vectors.shape
    (array([False,  True]), (1, 5))
    >>> directions(gan, found.Z, found.labels, method="logistic").vectors.shape
    (1, 5)
    """
    check_gan(estimator)
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is not known; use one of {_METHODS}.")
    if method == "auto":
        method = "sefa" if Z is None and labels is None else "mean_difference"
    if method == "sefa":
        if Z is not None or labels is not None:
            raise ValueError(
                "method='sefa' uses neither Z nor labels; leave both out, or use "
                "'mean_difference' or 'logistic'."
            )
        vectors, eigenvalues = _principal_directions(_first_matrix(estimator))
        return Bunch(vectors=vectors, eigenvalues=eigenvalues)
    if labels is None and not hasattr(estimator, "predict"):
        raise ValueError(
            f"method={method!r} needs labels, and {type(estimator).__name__} predicts "
            "none; pass labels of Z, or a classifier of its images."
        )
    labels = estimator if labels is None else labels
    Z = _choose_latents(estimator, Z, labels, n_samples, random_state)
    labels, rows = _labels_of(estimator, Z, labels)
    differences = _mean_differences if method == "mean_difference" else _coefficients
    classes, vectors = differences(Z[rows].astype(float), labels[rows])
    return Bunch(vectors=_normalized(vectors), classes=classes, Z=Z, labels=labels)


def _choose_latents(estimator, Z, labels, n_samples, random_state):
    """Return the latent vectors that have labels, or are to get some."""
    if Z is not None:
        return check_latents(estimator, Z)
    if not hasattr(labels, "predict") and not callable(labels):
        raise ValueError(
            "labels are given, but not the latent vectors Z that they belong to; pass "
            "Z too, or a classifier of images as labels."
        )
    check_count("n_samples", n_samples, 2)
    rng = check_random_state(
        estimator.random_state if random_state is None else random_state
    )
    return rng.standard_normal((n_samples, estimator._architecture["latent_dim"]))


def _labels_of(estimator, Z, labels):
    """Return the labels of the images of Z, and the rows that have one."""
    if hasattr(labels, "predict"):
        images = estimator.generate(Z)
        rows = images.reshape(len(Z), -1)
        # Most classifiers take rows only, and a pipeline may have been given images.
        takes_rows = getattr(labels, "n_features_in_", None) == rows.shape[1]
        with warnings.catch_warnings():
            # Columns of a data frame that it was fitted on are in the same order here.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            labels = labels.predict(rows if takes_rows else images)
    elif callable(labels):
        labels = labels(estimator.generate(Z))
    labels, rows = find_labels(labels, "directions", allow_strings=True)
    if len(labels) != len(Z):
        raise ValueError(f"There are {len(labels)} labels for {len(Z)} rows of Z.")
    classes = np.unique(labels[rows])
    if len(classes) < 2:
        raise ValueError(
            f"All {len(rows)} labelled images are of class {classes.tolist()[0]!r}, "
            "and a direction needs two; label more samples, or look whether the "
            "generator draws anything else."
        )
    return labels, rows


def _mean_differences(Z, y):
    """Return the classes, and the mean of each less the mean of all others."""
    classes = np.unique(y)
    vectors = [Z[y == c].mean(axis=0) - Z[y != c].mean(axis=0) for c in classes]
    return classes, np.array(vectors[1:] if len(classes) == 2 else vectors)


def _coefficients(Z, y):
    """Return the classes, and the coefficients of a linear classifier."""
    model = LogisticRegression(max_iter=1000).fit(Z, y)
    return model.classes_, model.coef_


def _normalized(vectors):
    """Return rows at length 1, if all have a direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError(
            "The labels tell nothing of Z: the latent vectors of two classes have the "
            "same mean. Label more samples."
        )
    return vectors / lengths


def _first_matrix(estimator):
    """Return what the generator's first layer makes of each latent variable, (d, m)."""
    generator = estimator.generator_
    latent_dim = estimator._architecture["latent_dim"]
    device = device_of(generator)
    called = []

    def remember(module, args):
        called.append((module, args[0].shape[1:]))

    layers = [m for m in generator.modules() if isinstance(m, _LINEAR)]
    hooks = [layer.register_forward_pre_hook(remember) for layer in layers]
    # A generator of the user's may draw noise of its own.
    with torch.inference_mode(), torch_seed(0, device):
        try:
            generator(torch.zeros(2, latent_dim, device=device))
        finally:
            for hook in hooks:
                hook.remove()
        if not called or called[0][1].numel() != latent_dim:
            raise ValueError(
                f"The first layer of {type(generator).__name__} is no linear layer or "
                f"convolution of the {latent_dim} latent variables, which "
                "method='sefa' needs; use labels and 'mean_difference'."
            )
        layer, shape = called[0]
        units = torch.eye(latent_dim, device=device).reshape(-1, *shape)
        changes = layer(units) - layer(torch.zeros_like(units[:1]))
    return changes.flatten(1).cpu().numpy().astype(float)


def _principal_directions(changes):
    """Return eigenvectors of ``changes @ changes.T``, largest eigenvalue first."""
    eigenvalues, vectors = np.linalg.eigh(changes @ changes.T)
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1].T
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.sign(vectors[np.arange(len(vectors)), largest])
    # Rounding may leave those of a singular matrix a little below 0.
    return vectors * signs[:, None], np.maximum(eigenvalues, 0)
