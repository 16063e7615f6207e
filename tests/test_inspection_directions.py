"""Directions of the latent space that mean something."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from sklgan import DCGANFeatureExtractor, SemiSupervisedGANClassifier
from sklgan.inspection import directions, traverse
from sklgan.networks import DCGANDiscriminator

D = 6  # latent variables


def make_gan(estimator=DCGANFeatureExtractor, **kwargs):
    """Return an estimator that is trained in a moment."""
    options = {"latent_dim": D, "n_filters": 4, "max_epochs": 1, "random_state": 0}
    return estimator(**({"batch_size": 50, "device": "cpu"} | options | kwargs))


@pytest.fixture(scope="module")
def grey(digits):
    """Return an estimator fitted on grey images in [0, 16]."""
    return make_gan().fit(digits[0])


@pytest.fixture(scope="module")
def coloured(two_colours):
    """Return an estimator whose generator draws in colour, uint8."""
    return make_gan(learning_rate=0.01, ema_decay=0.0, max_epochs=3).fit(two_colours[0])


class Generator(torch.nn.Module):
    """Has its first layer registered last."""

    def __init__(self, latent_dim, out_shape):
        super().__init__()
        self.out_shape = out_shape
        self.last = torch.nn.Linear(9, int(np.prod(out_shape)))
        self.first = torch.nn.Linear(latent_dim, 9)

    def forward(self, z):
        hidden = torch.relu(self.first(z))
        return torch.tanh(self.last(hidden)).unflatten(1, self.out_shape)


def matrix_of(gan):
    """Return A of the generator's first layer, z -> A z, written out by hand."""
    first = gan.generator_.layers[0]
    weight = (first[0] if gan.network == "dcgan" else first).weight.detach().double()
    return weight.flatten(1).T if gan.network == "dcgan" else weight


@pytest.mark.parametrize("network", ["mlp", "dcgan"])
def test_closed_form_directions_are_eigenvectors(digits, network):
    """Of A^T A, those first along which the first layer moves most."""
    gan = make_gan(network=network).fit(digits[0])
    found = directions(gan)
    A = matrix_of(gan).numpy()
    assert_allclose(found.vectors @ found.vectors.T, np.eye(D), atol=1e-6)
    assert (np.diff(found.eigenvalues) <= 0).all()
    lengths = np.linalg.norm(A @ found.vectors.T, axis=0)
    assert_allclose(lengths**2, found.eigenvalues, rtol=1e-4)
    largest = np.abs(found.vectors).argmax(axis=1)
    assert (found.vectors[np.arange(D), largest] > 0).all()
    assert_array_equal(directions(gan).vectors, found.vectors)


def test_first_layer_is_the_one_that_runs_first(digits):
    """In networks of the user's the order of registration says nothing."""
    gan = make_gan(network=(Generator, DCGANDiscriminator)).fit(digits[0])
    A = gan.generator_.first.weight.detach().double().numpy()
    assert_allclose(
        directions(gan).eigenvalues, np.linalg.svd(A)[1] ** 2, rtol=1e-4, atol=1e-7
    )


class Scaled(Generator):
    """Widens the latent variables before the first layer."""

    def __init__(self, latent_dim, out_shape):
        super().__init__(2 * latent_dim, out_shape)

    def forward(self, z):
        return super().forward(torch.cat([z, z], dim=1))


def test_first_layer_of_something_else_is_refused(digits):
    """Where no layer takes the latent variables as they are, labels are needed."""
    gan = make_gan(network=(Scaled, DCGANDiscriminator)).fit(digits[0])
    with pytest.raises(ValueError, match="first layer of Scaled .*'mean_difference'"):
        directions(gan)


@pytest.mark.parametrize("method", ["mean_difference", "logistic"])
def test_directions_from_labels_point_to_the_class(grey, method):
    """Labels that depend on one direction alone give that direction back."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((2000, D))
    truth = np.array([3, 0, 4, 0, 0, 0]) / 5
    found = directions(grey, Z, (Z @ truth > 0).astype(int), method=method)
    assert_array_equal(found.classes, [0, 1])
    assert found.vectors.shape == (1, D)
    assert_allclose(np.linalg.norm(found.vectors, axis=1), 1)
    assert found.vectors[0] @ truth > 0.99


def test_there_is_a_direction_for_each_of_several_classes(grey):
    """Classes may be strings; rows with -1 are left out."""
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((2000, D))
    names = np.array(["a", "b", "c"], dtype=object)
    labels = names[Z[:, :3].argmax(axis=1)]
    for method in ("auto", "logistic"):
        found = directions(grey, Z, labels, method=method)
        assert found.classes.tolist() == ["a", "b", "c"]
        assert (found.vectors[:, :3].argmax(axis=1) == [0, 1, 2]).all()
    mean = Z[labels == "b"].mean(0) - Z[labels != "b"].mean(0)
    found = directions(grey, Z, labels, method="mean_difference")
    assert_allclose(found.vectors[1], mean / np.linalg.norm(mean))
    spoilt = np.where(Z[:, 3] > 0, labels, -1)
    found, kept = directions(grey, Z, spoilt), Z[:, 3] > 0
    assert_allclose(found.vectors, directions(grey, Z[kept], labels[kept]).vectors)


def brightness(images):
    """Tell the brighter half of images."""
    means = images.reshape(len(images), -1).mean(axis=1)
    return means > np.median(means)


def test_following_a_direction_changes_what_its_labels_say(coloured, two_colours):
    """A function of images, and a classifier of rows, tell what the samples show."""
    found = directions(coloured, labels=brightness, n_samples=400)
    assert found.Z.shape == (400, D)
    assert_array_equal(found.labels, brightness(coloured.generate(found.Z)))
    images = traverse(coloured, np.zeros(D), directions=found.vectors)
    means = images.mean(axis=(0, 2, 3, 4))
    assert means[-1] > means[0] + 1
    rows = coloured.generate(found.Z).reshape(400, -1)
    classifier = NearestCentroid().fit(rows, found.labels)
    by_rows = directions(coloured, found.Z, classifier)
    assert by_rows.vectors[0] @ found.vectors[0] > 0.9
    assert_array_equal(directions(coloured, labels=classifier).Z[:400], found.Z)


def test_classifier_labels_its_own_samples(digits):
    """Without labels its ``predict`` tells, and the direction leads to the class."""
    gan = make_gan(
        SemiSupervisedGANClassifier,
        n_filters=8,
        max_epochs=10,
        learning_rate=5e-3,
        ema_decay=0.0,
    ).fit(*digits)
    found = directions(gan, method="mean_difference", n_samples=300)
    assert_array_equal(found.labels, gan.predict(gan.generate(found.Z)))
    assert_array_equal(found.classes, np.unique(found.labels))
    assert_array_equal(directions(gan, found.Z, gan).vectors, found.vectors)
    often = np.bincount(found.labels).argmax()
    step = 3 * found.vectors[found.classes == often]
    before, after = (
        (gan.predict(gan.generate(found.Z + move)) == often).mean()
        for move in (-step, step)
    )
    assert after > before + 0.3


def test_classifier_may_have_been_fitted_on_a_data_frame(digits):
    """What the generator draws has no columns' names, and there is no warning."""
    gan = make_gan(image_shape=(8, 8)).fit(digits[0].reshape(len(digits[0]), -1))
    rows = gan.sample(100)
    y = brightness(rows)
    found, expected = (
        directions(gan, labels=KNeighborsClassifier().fit(X, y), n_samples=100)
        for X in (pd.DataFrame(rows).add_prefix("pixel"), rows)
    )
    assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "pca"}, "'pca' is not known"),
        ({"method": "logistic"}, "DCGANFeatureExtractor predicts none"),
        ({"Z": np.eye(D)}, "needs labels"),
        ({"labels": np.arange(D) % 2}, "not the latent vectors Z"),
        ({"method": "sefa", "Z": np.eye(D)}, "uses neither Z nor labels"),
        ({"Z": np.eye(D), "labels": [0, 1]}, "2 labels for 6 rows of Z"),
        ({"Z": np.eye(D), "labels": [1] * D}, "All 6 labelled .* class 1"),
        ({"Z": np.eye(D), "labels": [-1] * D}, "without labels: all 6 values are -1"),
        ({"Z": np.eye(D), "labels": [0.5] * D}, "continuous"),
        ({"Z": np.eye(D - 1), "labels": [0, 1] * 3}, "Z has 5 columns"),
        ({"labels": brightness, "n_samples": 1}, "n_samples=1"),
        ({"labels": brightness, "n_samples": 9.5}, "n_samples=9.5"),
        (
            {"Z": np.tile(np.eye(D)[:3], (2, 1)), "labels": [0, 0, 0, 1, 1, 1]},
            "labels tell nothing of Z",
        ),
    ],
)
def test_directions_that_there_are_not(grey, options, message):
    """The message says what is missing."""
    with pytest.raises(ValueError, match=message):
        directions(grey, **options)
