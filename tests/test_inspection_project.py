"""Images back to latent vectors, and how near what is drawn of them comes."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan.inspection import fit_encoder, project
from sklgan.networks import DCGANDiscriminator, DCGANGenerator

METHODS = ["optimize", "encoder", "hybrid"]


@pytest.fixture(scope="module")
def gan(digits):
    """Return a small GAN that draws different images, the same on any CPU."""
    return DCGANFeatureExtractor(
        8,
        n_filters=8,
        learning_rate=2e-3,
        batch_size=16,
        max_epochs=8,
        precision="float32",
        random_state=0,
    ).fit(digits[0])


@pytest.fixture(scope="module")
def encoder(gan):
    return fit_encoder(gan, n_steps=100, random_state=0)


def squared_errors(gan, X, Z):
    """Return mean squared differences of images in [0, 16], as if in [0, 1]."""
    return np.square((gan.generate(Z) - X) / 16).mean(axis=(1, 2))


def variance(X):
    return np.var(X / 16, axis=0).mean()


@pytest.mark.parametrize("method", METHODS)
def test_own_samples_are_found_again(gan, encoder, method):
    X = gan.sample(20, random_state=1)
    Z, errors = project(
        gan, X, method=method, encoder=encoder, random_state=0, return_errors=True
    )
    assert Z.shape == (20, 8)
    assert Z.dtype == errors.dtype == np.float32
    assert_allclose(errors, squared_errors(gan, X, Z), rtol=1e-3, atol=1e-6)
    if method == "encoder":
        assert errors.mean() < variance(X) / 3
    else:
        assert np.mean(errors < variance(X) / 100) >= 0.9


def test_samples_of_the_same_seed_do_not_start_at_their_own_vectors(gan):
    X = gan.sample(10, random_state=0)
    _, errors = project(gan, X, n_steps=0, random_state=0, return_errors=True)
    assert np.all(errors > variance(X) / 100)


def test_images_that_it_never_drew_come_nearer_than_any_sample(gan, digits):
    X = digits[0][:10]
    samples = gan.sample(512, random_state=1)
    nearest = np.square((samples[None] - X[:, None]) / 16).mean(axis=(2, 3)).min(1)
    _, errors = project(gan, X, random_state=0, return_errors=True)
    assert np.all(errors < nearest)


def test_more_starts_and_more_steps_help(gan):
    X = gan.sample(20, random_state=1)
    errors = {
        (starts, steps): project(
            gan,
            X,
            n_starts=starts,
            n_steps=steps,
            perceptual=None,
            prior_weight=0,
            random_state=0,
            return_errors=True,
        )[1]
        for starts, steps in [(1, 0), (1, 20), (6, 20)]
    }
    # The objective is the error itself, and the best that is met is kept.
    assert np.all(errors[1, 20] <= errors[1, 0])
    assert np.all(errors[6, 20] <= errors[1, 20] + 1e-6)
    assert errors[6, 20].mean() < 0.7 * errors[1, 20].mean()
    assert errors[1, 20].mean() < 0.5 * errors[1, 0].mean()


def test_hybrid_is_no_worse_than_its_encoder(gan, encoder, digits):
    settings = {"encoder": encoder, "random_state": 0, "return_errors": True}
    X = digits[0][:10]
    _, encoded = project(gan, X, method="encoder", **settings)
    _, refined = project(
        gan,
        X,
        method="hybrid",
        n_starts=1,
        n_steps=10,
        perceptual=None,
        prior_weight=0,
        **settings,
    )
    assert np.all(refined < encoded)


def test_prior_keeps_vectors_as_long_as_those_that_are_drawn(gan, digits):
    X = digits[0][:10]
    free, kept = (
        np.square(project(gan, X, prior_weight=weight, random_state=0)).mean(1)
        for weight in (0, 10)
    )
    assert np.all(np.abs(kept - 1) < 0.25)
    assert np.abs(free - 1).mean() > 2 * np.abs(kept - 1).mean()


@pytest.mark.parametrize("method", METHODS)
def test_same_random_state_same_result(gan, encoder, method):
    X = gan.sample(3, random_state=1)

    def run(seed):
        settings = {"n_steps": 5, "n_starts": 2, "random_state": seed}
        return project(gan, X, method=method, encoder=encoder, **settings)

    assert_array_equal(run(0), run(0))
    if method != "encoder":
        assert np.abs(run(0) - run(1)).max() > 0.1


def test_encoder_is_trained_where_there_is_none(digits):
    X = digits[0].reshape(200, -1)
    gan = DCGANFeatureExtractor(4, n_filters=4, max_epochs=1, random_state=0).fit(X)
    samples = gan.sample(50)
    _, errors = project(
        gan, samples, method="encoder", random_state=3, return_errors=True
    )
    assert errors.mean() < np.var(samples / gan._scale[1], axis=0).mean() / 2


@pytest.mark.parametrize("method", METHODS)
def test_a_row_does_not_depend_on_what_is_beside_it(gan, encoder, method):
    X = gan.sample(7, random_state=1)
    settings = {"method": method, "encoder": encoder, "n_steps": 20, "random_state": 0}
    Z = project(gan, X, **settings)
    assert_allclose(project(gan, X[::-1], **settings)[::-1], Z, atol=1e-3)
    assert_allclose(project(gan, X, batch_size=2, **settings), Z, atol=1e-3)
    assert_allclose(project(gan, X[5:6], **settings), Z[5:6], atol=1e-3)


def test_nothing_changes(gan, encoder, digits):
    def state(network):
        return {name: value.clone() for name, value in network.state_dict().items()}

    networks = [gan.generator_, gan.discriminator_]
    before = [state(network) for network in networks]
    attributes = set(vars(gan))
    numpys = check_random_state(None)  # NumPy's global generator
    states = torch.get_rng_state(), numpys.get_state()[1]
    X = digits[0][:3].copy()
    project(gan, X, n_steps=3)
    project(gan, X, method="hybrid", encoder=encoder, n_steps=3)
    fit_encoder(gan, n_steps=2, random_state=0)
    assert_array_equal(X, digits[0][:3])
    assert set(vars(gan)) == attributes
    for network, values in zip(networks, before, strict=True):
        assert not any(module.training for module in network.modules())
        assert all(p.grad is None and p.requires_grad for p in network.parameters())
        for name, value in network.state_dict().items():
            assert torch.equal(value, values[name])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert_array_equal(numpys.get_state()[1], states[1])


def test_gradients_that_the_caller_switched_off_do_not_matter(gan):
    X = gan.sample(2, random_state=1)
    Z = project(gan, X, n_steps=3, random_state=0)
    for context in (torch.no_grad, torch.inference_mode):
        with context():
            assert_array_equal(project(gan, X, n_steps=3, random_state=0), Z)
            fit_encoder(gan, n_steps=1)


# The perceptual term ----------------------------------------------------------------


def test_callable_perceptual_is_followed(gan):
    """A distance that sees the upper half alone brings that half nearer."""
    X = gan.sample(10, random_state=1)[::-1] * np.linspace(1, 0.3, 8)
    seen = []

    def upper_half(real, fake):
        seen.append((tuple(real.shape), tuple(fake.shape), float(real.abs().max())))
        difference = (fake - real)[:, :, :4].square().mean(dim=(1, 2, 3))
        return difference.reshape(-1, 1, 1, 1)  # as LPIPS does

    settings = {"n_starts": 2, "n_steps": 50, "random_state": 0}
    plain = project(gan, X, perceptual=None, **settings)
    led = project(gan, X, perceptual=upper_half, perceptual_weight=100.0, **settings)
    assert {shapes[:2] for shapes in seen} == {((20, 1, 8, 8), (20, 1, 8, 8))}
    assert max(largest for *_, largest in seen) <= 1
    errors = [np.square(gan.generate(Z) - X)[:, :4].mean() for Z in (plain, led)]
    assert errors[1] < 0.9 * errors[0]


def test_discriminator_distance_comes_nearer_in_its_features(gan, digits):
    X = digits[0][:10]

    def distance(Z):
        features = gan.transform(gan.generate(Z)) - gan.transform(X)
        return np.square(features).mean()

    settings = {"n_steps": 50, "random_state": 0}
    plain = project(gan, X, perceptual=None, **settings)
    led = project(gan, X, perceptual_weight=5.0, **settings)
    assert distance(led) < 0.9 * distance(plain)


@pytest.mark.parametrize(
    ("perceptual", "error", "message"),
    [
        (lambda real, fake: (real - fake).mean(), ValueError, "no mean over the batch"),
        (lambda real, fake: 1.0, TypeError, "returned float"),
        (
            lambda real, fake: (real - fake).sum((1, 2, 3)).detach(),
            ValueError,
            "detach",
        ),
        (lambda real, fake: fake.sum((1, 2, 3)) * torch.nan, ValueError, "NaN or inf"),
    ],
)
def test_perceptual_that_returns_no_distances_is_refused(
    gan, perceptual, error, message
):
    with pytest.raises(error, match=message):
        project(gan, gan.sample(2), perceptual=perceptual, n_steps=2)


# Every estimator, network and form of X ---------------------------------------------


def test_flat_rows(digits):
    X = digits[0].reshape(200, -1)[:, 20:28].astype(np.float64)
    gan = DCGANFeatureExtractor(4, n_filters=8, max_epochs=30, random_state=0).fit(X)
    samples = gan.sample(20, random_state=1)
    Z, errors = project(gan, samples, random_state=0, return_errors=True)
    scale = gan._scale[1]
    expected = np.square((gan.generate(Z) - samples) / scale).mean(1)
    assert_allclose(errors, expected, rtol=1e-2, atol=1e-5)
    assert np.mean(errors < np.var(samples / scale, axis=0).mean() / 100) >= 0.9
    encoder = fit_encoder(gan, n_steps=20, random_state=0)
    for method in ("encoder", "hybrid"):
        Z = project(gan, X[:3], method=method, encoder=encoder, n_steps=3)
        assert gan.generate(Z).shape == (3, 8)


class Generator(DCGANGenerator):
    def __init__(self, latent_dim, out_shape):
        super().__init__(latent_dim, out_shape, n_filters=4)


class Discriminator(DCGANDiscriminator):
    def __init__(self, in_shape, n_outputs):
        super().__init__(in_shape, n_outputs, n_filters=4)


@pytest.mark.parametrize(
    "gan",
    [
        DCGANFeatureExtractor(6, network="mlp", n_filters=4),
        DCGANFeatureExtractor(6, network="dcgan-deep", n_filters=4),
        DCGANFeatureExtractor(6, network="cnn", n_filters=4),
        DCGANFeatureExtractor(6, network=(Generator, Discriminator)),
        DCGANFeatureExtractor(6, loss="relativistic", n_filters=4),
        CategoricalGANClusterer(2, latent_dim=6, n_filters=4),
        SemiSupervisedGANClassifier(latent_dim=6, n_filters=4),
    ],
    ids=lambda gan: f"{type(gan).__name__}-{gan.network}",
)
def test_every_estimator_and_network(gan, two_colours):
    X, y = two_colours
    gan = gan.set_params(max_epochs=1, random_state=0).fit(X[:16], y[:16])
    samples = gan.sample(3, random_state=1)
    encoder = fit_encoder(gan, n_steps=2, batch_size=4, random_state=0)
    for method in METHODS:
        Z = project(gan, samples, method=method, encoder=encoder, n_steps=2)
        assert Z.shape == (3, 6)
        assert gan.generate(Z).shape == samples.shape
        assert gan.generate(Z).dtype == np.uint8


def test_encoder_in_a_pickle_says_the_same(gan, encoder):
    X = gan.sample(4, random_state=1)
    rng_state = torch.get_rng_state()
    copy = pickle.loads(pickle.dumps(encoder))
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert_array_equal(
        project(gan, X, method="encoder", encoder=copy),
        project(gan, X, method="encoder", encoder=encoder),
    )


def test_pictures_are_projected_as_arrays_are(two_colours):
    X = two_colours[0][:16]
    gan = DCGANFeatureExtractor(4, n_filters=4, max_epochs=0, random_state=0).fit(X)
    pictures = [Image.fromarray(image) for image in X[:3]]
    assert_array_equal(
        project(gan, pictures, n_steps=2), project(gan, X[:3], n_steps=2)
    )


# Errors -----------------------------------------------------------------------------


def with_nan(X):
    X = X[:3].copy()
    X[1, 2, 3] = np.nan
    return X


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_nan, "X contains NaN"),
        (lambda X: X[:3, :6, :6], r"images of shape \(6, 6, 1\).*fitted on"),
        (lambda X: X[:3].reshape(3, -1)[:, :63], "X has 63 features"),
        (lambda X: X[:0], "0 sample"),
    ],
)
def test_images_unlike_those_of_fit_are_refused(gan, digits, spoil, message):
    with pytest.raises(ValueError, match=message):
        project(gan, spoil(digits[0]))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "optimise"}, "'method' parameter"),
        ({"n_starts": 0}, "'n_starts' parameter"),
        ({"n_steps": -1}, "'n_steps' parameter"),
        ({"learning_rate": 0}, "'learning_rate' parameter"),
        ({"perceptual": "lpips"}, "'perceptual' parameter"),
        ({"encoder": torch.nn.Identity()}, "'encoder' parameter"),
    ],
)
def test_parameters_are_checked(gan, digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        project(gan, digits[0][:2], **parameters)


def test_a_generator_alone_will_do_for_pixels_alone(tmp_path, two_colours):
    """The other distance, and an encoder, are the discriminator's."""
    X = two_colours[0].repeat(2, axis=1).repeat(2, axis=2)
    gan = DCGANFeatureExtractor(8, n_filters=4, max_epochs=0).fit(X)
    torch.save({"generator": gan.generator_.state_dict()}, tmp_path / "generator.pth")
    alone = DCGANFeatureExtractor.from_checkpoint(tmp_path / "generator.pth")
    assert project(alone, X[:2], perceptual=None, n_steps=1).shape == (2, 8)
    with pytest.raises(ValueError, match="There is no discriminator"):
        project(alone, X[:2], n_steps=1)


def test_an_estimator_that_is_not_fitted_is_refused(digits):
    for function in (fit_encoder, lambda gan: project(gan, digits[0])):
        with pytest.raises(NotFittedError):
            function(DCGANFeatureExtractor())


def test_an_encoder_of_another_gan_is_refused(encoder, digits):
    gan = DCGANFeatureExtractor(9, n_filters=4, max_epochs=0).fit(digits[0])
    with pytest.raises(ValueError, match="latent_dim=8, but .* latent_dim=9"):
        project(gan, digits[0][:2], method="hybrid", encoder=encoder)


def test_an_encoder_of_another_training_is_warned_of(digits):
    """Of the same sizes it runs, and what it says is of no use."""
    X = digits[0][:20]
    gan = DCGANFeatureExtractor(5, n_filters=4, max_epochs=1, random_state=0).fit(X)
    encoder = fit_encoder(gan, n_steps=2, random_state=0)
    project(gan, X[:2], method="encoder", encoder=pickle.loads(pickle.dumps(encoder)))
    with pytest.warns(UserWarning, match="another generator than this DCGAN.*anew"):
        project(gan.set_params(random_state=1).fit(X), X[:2], encoder=encoder)
