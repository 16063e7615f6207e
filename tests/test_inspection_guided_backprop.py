"""Guided backpropagation, and the untrained networks beside it."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.nn import functional as F

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan.inspection import (
    guided_backprop,
    top_images,
    untrained_copy,
)
from sklgan.networks import DCGANGenerator, initialize_weights


def make_gan(**kwargs):
    """Return an estimator that is trained in a moment."""
    options = {"n_filters": 4, "max_epochs": 1, "batch_size": 50, "random_state": 0}
    return DCGANFeatureExtractor(**(options | kwargs))


@pytest.fixture(scope="module")
def deep(digits):
    """Return an extractor with two convolutions, the second normalised."""
    return make_gan(network="dcgan-deep").fit(digits[0])


@pytest.fixture(scope="module")
def classifier(digits):
    """Return a classifier, whose discriminator pools between convolutions."""
    return SemiSupervisedGANClassifier(
        n_filters=4, max_epochs=1, batch_size=50, random_state=0
    ).fit(*digits)


class Rectified(nn.Module):
    """A discriminator whose rectifiers are functions, in place or not, or modules."""

    kind = "functions"

    def __init__(self, in_shape, n_outputs):
        super().__init__()
        self.first = nn.Conv2d(in_shape[0], 5, 3, padding=1)
        self.second = nn.Conv2d(5, 6, 3, stride=2, padding=1)
        self.rectify = nn.LeakyReLU(0.2, inplace=self.kind == "in place")
        self.head = nn.LazyLinear(n_outputs)
        with torch.no_grad():
            self(torch.zeros(1, *in_shape))
        self.apply(initialize_weights)

    def _activated(self, x):
        if self.kind == "functions":
            return F.leaky_relu(x, 0.2)
        if self.kind == "statements":
            F.leaky_relu_(x, 0.2)
            return x
        return self.rectify(x)

    def forward(self, x):
        """Return two activations, and the logits."""
        one = self._activated(self.first(x))
        two = self._activated(self.second(one))
        return [one, two], self.head(two.flatten(1))


def rectified(kind):
    """Return a fitted estimator with such a discriminator."""
    network = type("Discriminator", (Rectified,), {"kind": kind})
    return make_gan(network=(DCGANGenerator, network), max_epochs=0)


# Guided backpropagation -------------------------------------------------------------


@pytest.mark.parametrize("network", ["dcgan", "dcgan-deep", "mlp"])
def test_responses_are_the_features(network, digits):
    """They equal the columns of transform, by name."""
    X = digits[0][:70]
    gan = make_gan(network=network).fit(digits[0])
    names = gan.get_feature_names_out()[[0, 5, -1]]
    gradients, responses = guided_backprop(gan, X, names)
    assert gradients.shape == (70, 3, 8, 8)
    assert gradients.dtype == responses.dtype == np.float32
    assert_allclose(responses, gan.transform(X)[:, [0, 5, -1]], rtol=1e-5, atol=1e-6)


def test_a_filter_is_taken_where_it_is_strongest(deep, digits):
    """As a pair or by its name; its response is the maximum over the map."""
    X = digits[0][:20]
    features = dict(zip(deep.get_feature_names_out(), deep.transform(X).T, strict=True))
    cells = [v for name, v in features.items() if name.startswith("conv2_ch003_")]
    gradients, responses = guided_backprop(deep, X, [(2, 3), "conv2_ch003"])
    assert_array_equal(responses[:, 0], np.max(cells, axis=0))
    assert_array_equal(gradients[:, 0], gradients[:, 1])
    # One position's receptive field is 5 by 5.
    rows, columns = (np.abs(gradients[:, 0]).sum(axis=axis) > 0 for axis in (2, 1))
    assert rows.sum(axis=1).max() <= 5
    assert columns.sum(axis=1).max() <= 5


def test_gradient_is_that_of_finite_differences(deep, digits):
    """In units of X: by how much a feature rises when a pixel does."""
    X = digits[0][3:4].astype(float)
    name = "conv2_ch001_r1_c2"
    index = deep.get_feature_names_out().tolist().index(name)
    [[gradient]], _ = guided_backprop(deep, X, name, guided=False)
    step = 0.02 * np.eye(64).reshape(64, 8, 8)
    change = deep.transform(X + step)[:, index] - deep.transform(X - step)[:, index]
    assert np.abs(gradient).max() > 0
    difference = np.abs(change.reshape(8, 8) / 0.04 - gradient)
    # Where a rectifier bends within the step they differ.
    assert np.quantile(difference, 0.9) < 0.01 * np.abs(gradient).max()


def test_guided_backprop_is_the_paper_s(deep, digits):
    """Written out: what is positive passes back, where the activation was positive."""
    X = digits[0][:40]
    first, second = deep.discriminator_.layers
    (conv1, _), (conv2, norm, _) = first, second
    batch = torch.from_numpy(X[:, None] / 8 - 1).float()
    with torch.no_grad():
        one = F.leaky_relu(conv1(batch), 0.2)
        two = F.leaky_relu(norm(conv2(one)), 0.2)
        back = torch.zeros_like(two)
        back[:, 6, 2, 1] = 1
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        back = back * (two > 0) * gain[:, None, None]
        back = F.conv_transpose2d(
            back, conv2.weight, stride=2, padding=1, output_padding=1
        )
        back = back.clamp(min=0) * (one > 0)
        back = F.conv_transpose2d(back, conv1.weight, padding=1)[:, 0] / 8
    gradients, responses = guided_backprop(deep, X, "conv2_ch006_r2_c1")
    assert np.abs(gradients).max() > 0
    assert_allclose(gradients[:, 0], back, atol=1e-6 * np.abs(gradients).max())
    inactive = responses[:, 0] <= 0
    assert 0 < inactive.sum() < 40
    assert not gradients[inactive].any()


def test_how_a_rectifier_is_called_does_not_matter(digits):
    """Functions, in-place functions whose result is ignored, and modules."""
    X = digits[0][:10]
    all_gradients = []
    for kind in ("modules", "functions", "in place", "statements"):
        gan = rectified(kind).fit(digits[0])
        all_gradients.append(guided_backprop(gan, X, [(2, k) for k in range(6)])[0])
    assert np.abs(all_gradients[0]).max() > 0
    plain = guided_backprop(gan, X, [(2, k) for k in range(6)], guided=False)[0]
    assert not np.allclose(all_gradients[0], plain)
    for gradients in all_gradients[1:]:
        assert_array_equal(gradients, all_gradients[0])


def test_all_stays_as_it_was(deep, digits):
    """Weights, statistics, hooks, gradients and random numbers."""
    X = digits[0][:20].copy()
    before = {k: v.clone() for k, v in deep.discriminator_.state_dict().items()}
    random = torch.get_rng_state()
    trained = guided_backprop(deep, X, (2, 1))[0]
    top_images(deep, X, (2, 1))
    untrained_copy(deep, X)
    assert not any(module.training for module in deep.discriminator_.modules())
    assert_array_equal(trained, guided_backprop(deep, X, (2, 1))[0])
    for name, value in deep.discriminator_.state_dict().items():
        assert torch.equal(value, before[name]), name
    for module in deep.discriminator_.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
    assert all(p.grad is None for p in deep.discriminator_.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert_array_equal(X, digits[0][:20])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_gradients_need_no_permission(context, deep, digits):
    """The caller may have switched gradients off."""
    expected = guided_backprop(deep, digits[0][:3], (1, 1))[0]
    with context():
        assert_array_equal(guided_backprop(deep, digits[0][:3], (1, 1))[0], expected)


def test_gradients_have_the_layout_of_X(digits, two_colours):
    """Grey, colour, flattened and flat; integers too."""
    colour = make_gan().fit(two_colours[0])
    assert guided_backprop(colour, two_colours[0], (1, 0))[0].shape == (64, 1, 8, 8, 3)
    rows = digits[0].reshape(-1, 64)
    flattened = make_gan(image_shape=(8, 8)).fit(rows)
    images = make_gan().fit(digits[0])
    gradients = guided_backprop(flattened, rows, (1, 0))[0]
    assert gradients.shape == (200, 1, 64)
    assert_array_equal(
        gradients.reshape(200, 1, 8, 8), guided_backprop(images, digits[0], (1, 0))[0]
    )
    flat = make_gan().fit(rows[:, 20:30])
    assert guided_backprop(flat, rows[:, 20:30], "dense2_u003")[0].shape == (200, 1, 10)


def test_classifiers_and_clusterers_have_filters(classifier, digits):
    """Any layer of the discriminator can be named, in cells of a 4x4 grid."""
    X = digits[0]
    gradients, _ = guided_backprop(classifier, X[:9], ["conv1_ch002_r3_c3", (3, 1)])
    assert gradients.shape == (9, 2, 8, 8)
    assert not gradients[:, 0, :5].any()  # rows that this cell does not see
    assert gradients.any(axis=(0, 2, 3)).all()
    clusterer = CategoricalGANClusterer(
        3, network="mlp", n_filters=4, max_epochs=1, random_state=0
    ).fit(X.reshape(-1, 64))
    top = top_images(clusterer, X.reshape(-1, 64), "dense1_u001", n_images=2)
    assert top.images.shape == (1, 2, 64)
    assert top.boxes is top.crops is None


def test_names_are_those_of_the_last_fit(digits):
    """Whatever parameters have been set since: they mean the next one."""
    X = digits[0][:10]
    gan = make_gan(max_epochs=0).fit(X)
    name = gan.get_feature_names_out()[-1]
    gan.set_params(pool_size=2)
    assert_array_equal(guided_backprop(gan, X, name)[1][:, 0], gan.transform(X)[:, -1])


@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        ("conv3_ch000", ValueError, "layers 1 to 2"),
        ((0, 1), ValueError, "layers 1 to 2"),
        ((1, 8), ValueError, "8 filters, counted from 0"),
        ("conv1_ch000_r4_c0", ValueError, "4 rows and 4 columns"),
        ("dense1_u000", ValueError, "layer 1 is convolutional"),
        ("x0", ValueError, "names no feature.*conv2_ch017_r3_c0"),
        ([], ValueError, "No feature was chosen"),
        (3, TypeError, "features=3 should be a name, a pair"),
        ([3], TypeError, "neither a feature's name nor a filter"),
        ([(1.0, 2)], TypeError, "neither a feature's name nor a filter"),
    ],
)
def test_what_is_no_feature_is_refused(features, error, message, deep, digits):
    """The message says which there are."""
    with pytest.raises(error, match=message):
        guided_backprop(deep, digits[0], features)
    with pytest.raises(error, match=message):
        top_images(deep, digits[0], features)


def test_estimator_has_to_be_fitted(digits):
    """The error is scikit-learn's."""
    for function in (guided_backprop, top_images):
        with pytest.raises(NotFittedError):
            function(make_gan(), digits[0], (1, 0))
    with pytest.raises(NotFittedError):
        untrained_copy(make_gan(), digits[0])


# Untrained networks -----------------------------------------------------------------


@pytest.mark.parametrize("network", ["dcgan", "dcgan-deep", "mlp"])
def test_untrained_copy_is_what_fit_began_with(network, digits):
    """Its weights are those of the same fit with max_epochs=0, statistics nearly."""
    X, _ = digits
    gan = make_gan(network=network).fit(X)
    before = gan.transform(X)
    untrained = untrained_copy(gan, X)
    expected = clone(gan).set_params(max_epochs=0).fit(X)
    for part in ("generator_", "discriminator_"):
        weights, others = (
            dict(getattr(estimator, part).named_parameters())
            for estimator in (untrained, expected)
        )
        for name, value in weights.items():
            assert torch.equal(value, others[name]), name
    scale = expected.transform(X).std()
    assert_allclose(untrained.transform(X), expected.transform(X), atol=scale / 4)
    assert (untrained.n_iter_, untrained.history_) == (0, [])
    assert_array_equal(gan.transform(X), before)
    assert gan.n_iter_ == 1


def test_another_untrained_network_can_be_drawn(deep, digits):
    """random_state decides it."""
    X = digits[0]
    one, again, other = (
        untrained_copy(deep, X, random_state=seed).transform(X) for seed in (1, 1, 2)
    )
    assert_array_equal(one, again)
    assert not np.allclose(one, other)
    with pytest.raises(ValueError, match="at least 2"):
        untrained_copy(deep, X[:1])


def test_training_of_an_untrained_copy_begins_with_its_weights(digits):
    """What the trained one would go on from is not its own."""
    X = digits[0][:50]
    untrained = untrained_copy(make_gan(warm_start=True).fit(X), X)
    before = {k: v.clone() for k, v in untrained.discriminator_.named_parameters()}
    untrained.set_params(learning_rate=1e-9).fit(X)
    for name, weights in untrained.discriminator_.named_parameters():
        assert_allclose(weights.detach(), before[name].detach(), atol=1e-6)
