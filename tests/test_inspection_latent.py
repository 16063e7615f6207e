"""The latent space: paths, lines and arithmetic."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan.inspection import (
    InterpolationDisplay,
    TraversalDisplay,
    directions,
    interpolate,
    traverse,
    vector_arithmetic,
)
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


@pytest.fixture
def Z():
    """Return three key points."""
    return np.random.default_rng(0).standard_normal((3, D))


# Over all estimators and networks -----------------------------------------------------


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


ANY = {
    "mlp": make_gan(network="mlp"),
    "dcgan": make_gan(network="dcgan"),
    "dcgan-deep": make_gan(network="dcgan-deep"),
    "own networks": make_gan(network=(Generator, DCGANDiscriminator)),
    "classifier": make_gan(SemiSupervisedGANClassifier, network="cnn"),
    "clusterer": make_gan(CategoricalGANClusterer, n_clusters=2),
    "flattened": make_gan(image_shape=(8, 8, 3)),
    "flat": make_gan(),
}


@pytest.mark.parametrize("name", ANY)
def test_every_estimator_can_be_looked_into(name, two_colours, Z):
    """Images come as from ``generate``; nothing else is changed."""
    X, y = two_colours
    X = X.reshape(len(X), -1)[:, :12] if name == "flat" else X
    X = X.reshape(len(X), -1) if name == "flattened" else X
    gan = ANY[name].fit(X, y)
    numpys = check_random_state(None)
    before = torch.get_rng_state(), numpys.get_state()[1], gan.sample(2)
    found = directions(gan)
    for images, latents in (
        interpolate(gan, Z, 2, return_latents=True),
        traverse(gan, Z[0], dimensions=1, return_latents=True),
        traverse(gan, Z[0], directions=found.vectors, return_latents=True),
        vector_arithmetic(gan, *Z, return_latents=True),
    ):
        assert images.dtype == X.dtype
        assert images.shape == (*latents.shape[:-1], *X.shape[1:])
        again = gan.generate(latents.reshape(-1, D)).reshape(images.shape)
        assert_allclose(images, again, rtol=0, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert_array_equal(numpys.get_state()[1], before[1])
    assert_allclose(gan.sample(2), before[2], rtol=0, atol=1e-5)


def test_fitting_comes_first(Z):
    """The error is scikit-learn's."""
    gan = make_gan()
    for call in (
        lambda: interpolate(gan, Z),
        lambda: traverse(gan, Z[0], dimensions=0),
        lambda: vector_arithmetic(gan, *Z),
        lambda: directions(gan),
        lambda: InterpolationDisplay.from_estimator(gan, Z),
        lambda: TraversalDisplay.from_estimator(gan, Z[0], dimensions=0),
    ):
        with pytest.raises(NotFittedError):
            call()
    assert not plt.get_fignums()


# Paths --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spherical", "linear"])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_path_goes_through_its_key_points(grey, Z, method, closed, dtype):
    """They are in it as they were given, each once."""
    Z = Z.astype(dtype)
    images, path = interpolate(
        grey, Z, 4, method=method, closed=closed, return_latents=True
    )
    assert path.dtype == dtype
    assert len(images) == len(path) == (12 if closed else 9)
    assert_array_equal(path[::4], Z)
    assert_allclose(images[::4], grey.generate(Z), atol=1e-5)
    assert len(np.unique(path, axis=0)) == len(path)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert steps.max() < np.linalg.norm(np.diff(Z, axis=0), axis=1).max()


def test_spherical_path_keeps_between_the_lengths_of_its_ends(grey):
    """However wide the angle, no point is farther out or in than both key points."""
    wide = np.deg2rad(175)
    Z = np.zeros((2, grey.latent_dim))
    Z[0, 0], Z[1, :2] = 1, (3 * np.cos(wide), 3 * np.sin(wide))
    _, path = interpolate(grey, Z, n_steps=8, return_latents=True)
    lengths = np.linalg.norm(path, axis=1)
    assert_allclose(lengths, np.linspace(1, 3, 9))
    turns = (path[:-1] * path[1:]).sum(1) / (lengths[:-1] * lengths[1:])
    assert_allclose(np.arccos(turns), wide / 8)


def test_spherical_path_is_an_arc(grey):
    """Equal angles in the plane of both, at their distance from the origin."""
    Z = np.zeros((2, D))
    Z[0, 1], Z[1, 4] = 3, 3
    _, path = interpolate(grey, Z, 3, return_latents=True)
    angles = np.radians([0, 30, 60, 90])
    assert_allclose(path[:, 1], 3 * np.cos(angles), atol=1e-12)
    assert_allclose(path[:, 4], 3 * np.sin(angles), atol=1e-12)
    assert not path[:, [0, 2, 3, 5]].any()


def test_linear_path_is_a_line(grey, Z):
    """Equal steps from one to the other; through the origin too."""
    _, path = interpolate(grey, [Z[0], -Z[0]], 4, method="linear", return_latents=True)
    assert_allclose(path, np.outer([1, 0.5, 0, -0.5, -1], Z[0]), atol=1e-12)


def test_spherical_path_along_a_ray_is_a_line(grey, Z):
    """Where the angle is 0, lengths go evenly from one to the other."""
    _, path = interpolate(grey, [Z[0], 3 * Z[0]], 4, return_latents=True)
    assert_allclose(path, np.outer([1, 1.5, 2, 2.5, 3], Z[0]))


def test_single_step_gives_the_key_points(grey, Z):
    """There is nothing in between."""
    assert_array_equal(interpolate(grey, Z, 1), grey.generate(Z))
    closed, path = interpolate(grey, Z, 1, closed=True, return_latents=True)
    assert_array_equal(path, Z)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda Z: Z[[0, 1, 1]], {}, r"Z\[1\] and Z\[2\] are identical"),
        (
            lambda Z: Z[[0, 1, 0]],
            {"closed": True},
            r"Z\[2\] and Z\[0\] are identical.*closed=True",
        ),
        (lambda Z: Z[:1], {}, "holds 1 key point; a path needs at least 2"),
        (lambda Z: Z[:, :4], {}, "Z has 4 columns.*latent_dim=6"),
        (lambda Z: Z * [1, 1, np.nan, 1, 1, 1], {}, "Input Z contains NaN"),
        (lambda Z: Z[0], {}, "Expected 2D array"),
        (lambda Z: Z, {"n_steps": 0}, "n_steps=0 should be an int of at least 1"),
        (lambda Z: Z, {"n_steps": True}, "n_steps=True should be an int"),
        (lambda Z: Z, {"n_steps": 2.5}, "n_steps=2.5"),
        (lambda Z: Z, {"method": "cubic"}, "'cubic'.*'spherical' or 'linear'"),
        (
            lambda Z: [Z[0], Z[1], -2 * Z[1]],
            {},
            r"Z\[1\] and Z\[2\] point in opposite directions.*method='linear'",
        ),
        (
            lambda Z: np.float32([Z[0], Z[1], -Z[0]]),
            {"closed": True},
            r"Z\[2\] and Z\[0\] point in opposite",
        ),
        (lambda Z: [Z[0], 0 * Z[0]], {}, r"Z\[1\] is the zero vector"),
    ],
)
def test_paths_that_there_are_not(grey, Z, change, options, message):
    """The message names the rows, and what to do."""
    with pytest.raises(ValueError, match=message):
        interpolate(grey, change(Z), **options)
    with pytest.raises(ValueError, match=message):
        InterpolationDisplay.from_estimator(grey, change(Z), **options)
    assert not plt.get_fignums()


def test_path_may_come_back_to_a_key_point(grey, Z):
    """Only neighbours have to differ; two closed points are there and back."""
    assert len(interpolate(grey, Z[[0, 1, 0]], 2)) == 5
    _, path = interpolate(grey, Z[:2], 2, closed=True, return_latents=True)
    assert_allclose(path[1], path[3])


# Lines --------------------------------------------------------------------------------


def test_dimensions_are_changed_one_at_a_time(grey, Z):
    """From -delta to delta around the value that was there."""
    images, lines = traverse(grey, Z[0], dimensions=[4, 0], return_latents=True)
    assert images.shape == (2, 10, 8, 8)
    assert_allclose(lines[0, :, 4] - Z[0, 4], np.linspace(-3, 3, 10))
    assert_allclose(lines[1, :, 0] - Z[0, 0], np.linspace(-3, 3, 10))
    assert_array_equal(
        np.delete(lines[0], 4, axis=1), np.tile(np.delete(Z[0], 4), (10, 1))
    )
    single = traverse(grey, Z[:1], dimensions=4)
    assert_allclose(single, images[:1], atol=1e-5)


def test_length_of_a_direction_does_not_matter(grey, Z):
    """``delta`` is a distance in the latent space; the middle of an odd line is z."""
    _, lines = traverse(
        grey, Z[0], directions=[7 * Z[1], Z[2]], delta=2, n_steps=5, return_latents=True
    )
    assert_allclose(np.linalg.norm(lines - Z[0], axis=2), [[2, 1, 0, 1, 2]] * 2)
    assert_allclose(lines[0, 4] - Z[0], 2 * Z[1] / np.linalg.norm(Z[1]))
    assert_array_equal(lines[:, 2], [Z[0], Z[0]])
    single = traverse(grey, Z[0], directions=Z[1], delta=2, n_steps=5)
    assert single.shape == (1, 5, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": 6}, "names 6, but .* variables 0 to 5"),
        ({"dimensions": [0, -1]}, "names -1"),
        ({"dimensions": []}, "should be an int or a list of int"),
        ({"dimensions": 1.0}, "should be an int or a list of int"),
        ({"dimensions": True}, "should be an int or a list of int"),
        ({}, "either dimensions or directions"),
        ({"dimensions": 0, "directions": np.ones(D)}, "and not both"),
        ({"directions": np.ones(D - 1)}, "directions has 5 columns"),
        ({"directions": np.full(D, np.nan)}, "directions contains NaN"),
        ({"directions": np.eye(D)[[0]] * 0}, r"directions\[0\] is the zero vector"),
        ({"dimensions": 0, "n_steps": 0}, "n_steps=0 should be an int of at least 2"),
        ({"dimensions": 0, "n_steps": 1}, "n_steps=1"),
        ({"dimensions": 0, "delta": 0}, "delta=0"),
        ({"dimensions": 0, "delta": np.inf}, "delta=inf"),
        ({"dimensions": 0, "delta": "3"}, "delta='3'"),
        ({"dimensions": 0, "z": np.ones(D + 1)}, "z has 7 columns"),
        ({"dimensions": 0, "z": np.full(D, np.nan)}, "Input z contains NaN"),
        ({"dimensions": 0, "z": np.eye(D)}, "z holds 6 latent vectors"),
    ],
)
def test_lines_that_there_are_not(grey, options, message):
    """The message names the value, and what can be had."""
    with pytest.raises(ValueError, match=message):
        traverse(grey, **({"z": np.ones(D)} | options))
    with pytest.raises(ValueError, match=message):
        TraversalDisplay.from_estimator(grey, **({"z": np.ones(D)} | options))
    assert not plt.get_fignums()


# Arithmetic ---------------------------------------------------------------------------


def test_arithmetic_is_of_means(grey):
    """Concepts may have any number of exemplars; the result is in the middle."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal((n, D)) for n in (3, 1, 4))
    images, latents = vector_arithmetic(grey, a, b[0], c, return_latents=True)
    assert images.shape == (9, 8, 8)
    assert_allclose(latents[4], a.mean(0) - b[0] + c.mean(0))
    noise = np.delete(latents, 4, axis=0) - latents[4]
    assert 0.2 < abs(noise).max() <= 0.25
    assert abs(noise).min() < 0.05
    (alone,) = vector_arithmetic(grey, a, b, c, n_neighbors=0)
    assert_allclose(alone, images[4], atol=1e-5)


def test_neighbours_are_repeatable(grey, Z):
    """random_state decides, the estimator's own by default."""
    first = vector_arithmetic(grey, *Z)
    assert_array_equal(vector_arithmetic(grey, *Z), first)
    assert_array_equal(vector_arithmetic(grey, *Z, random_state=0), first)
    assert not np.array_equal(vector_arithmetic(grey, *Z, random_state=1), first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negative": np.ones((3, 5))}, "negative has 5 columns"),
        ({"base": np.full(D, np.nan)}, "Input base contains NaN"),
        ({"positive": np.ones((0, D))}, "0 sample"),
        ({"n_neighbors": -1}, "n_neighbors=-1"),
        ({"radius": -0.1}, "radius=-0.1"),
        ({"radius": np.nan}, "radius=nan"),
    ],
)
def test_arithmetic_that_cannot_be_done(grey, options, message):
    """The message names the concept."""
    concepts = dict.fromkeys(("positive", "negative", "base"), np.ones((3, D)))
    with pytest.raises(ValueError, match=message):
        vector_arithmetic(grey, **(concepts | options))
