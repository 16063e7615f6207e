"""SNDCGAN and ResNet-18: sizes by hand, what a discriminator of the two may not do."""

import numpy as np
import pytest
import torch
from torch import nn

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan.networks import (
    NETWORKS,
    ResNet18Discriminator,
    ResNetGenerator,
    SNDCGANDiscriminator,
    SNDCGANGenerator,
)

NAMES = ["sndcgan", "resnet18"]
CHEAP = {"n_filters": 2, "max_epochs": 1, "batch_size": 16, "random_state": 0}


@pytest.fixture(autouse=True)
def _seed():
    """Building a network draws from torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def n_parameters(module):
    """Count a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def shapes(discriminator, shape):
    """Return the shapes of an image's features."""
    features, _ = discriminator(torch.zeros(2, *shape))
    return [tuple(feature.shape[1:]) for feature in features]


def test_parameters_are_those_counted_by_hand():
    """On 32x32 colour images with 64 filters; 11,173,962 is CIFAR's ResNet-18."""
    shape = (3, 32, 32)
    convs = [(3, 64, 3), (64, 128, 4), (128, 128, 3), (128, 256, 4), (256, 256, 3)]
    convs += [(256, 512, 4), (512, 512, 3)]
    weights = sum(n_in * n_out * k * k + n_out for n_in, n_out, k in convs)
    assert n_parameters(SNDCGANDiscriminator(shape)) == weights + 512 * 16 + 1
    assert n_parameters(SNDCGANDiscriminator(shape)) == 5_860_865
    assert n_parameters(ResNet18Discriminator(shape, 10)) == 11_173_962
    assert n_parameters(SNDCGANGenerator(100, shape)) == 3_575_363
    assert n_parameters(ResNetGenerator(100, shape)) == 3_326_403


def test_sndcgan_ends_with_the_papers_map():
    """Widths 1, 2, 2, 4, 4, 8, 8 times the filters; 8,192 values at the end."""
    assert shapes(SNDCGANDiscriminator((3, 32, 32), n_filters=64), (3, 32, 32)) == [
        (64, 32, 32),
        (128, 16, 16),
        (128, 16, 16),
        (256, 8, 8),
        (256, 8, 8),
        (512, 4, 4),
        (512, 4, 4),
    ]
    # Larger images have more layers, no wider ones.
    assert shapes(SNDCGANDiscriminator((1, 64, 64), n_filters=2), (1, 64, 64))[-2:] == [
        (16, 4, 4),
        (16, 4, 4),
    ]


def test_resnet18_ends_with_the_mean_of_its_map():
    """Stem, eight blocks, and what the logits are a linear function of."""
    discriminator = ResNet18Discriminator((1, 9, 13), 3, n_filters=2)
    x = torch.randn(4, 1, 9, 13)
    features, logits = discriminator(x)
    maps = [(2, 9, 13)] * 3 + [(4, 5, 7)] * 2 + [(8, 3, 4)] * 2 + [(16, 2, 2)] * 2
    assert [tuple(feature.shape[1:]) for feature in features] == [*maps, (16,)]
    torch.testing.assert_close(features[-1], features[-2].mean((2, 3)))
    torch.testing.assert_close(logits, discriminator.head(features[-1]))


@pytest.mark.parametrize(
    ("n_filters", "groups"), [(4, [1, 1, 1, 2]), (20, [1, 2, 5, 10]), (64, [4, 8, 16])]
)
def test_groups_have_sixteen_channels_where_there_are_as_many(n_filters, groups):
    """A number of filters that 16 does not divide has fewer, larger groups."""
    discriminator = ResNet18Discriminator((3, 8, 8), n_filters=n_filters)
    found = {
        norm.num_channels: norm.num_groups
        for norm in discriminator.modules()
        if isinstance(norm, nn.GroupNorm)
    }
    assert [found[n_filters * 2**k] for k in range(len(groups))] == groups


@pytest.mark.parametrize("size", [(8, 8), (16, 9)])
@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_receives_a_gradient(name, size):
    """No weight lies idle, at the smallest size either."""
    generator, discriminator = NETWORKS[name]
    generator, discriminator = (
        generator(5, (3, *size), 4),
        discriminator((3, *size), 1, 4),
    )
    real = torch.randn(6, 3, *size)
    fake = generator(torch.randn(6, 5))
    logits = discriminator(real)[1].sigmoid() - discriminator(fake)[1].exp()
    logits.square().mean().backward()
    for module in (generator, discriminator):
        for path, parameter in module.named_parameters():
            assert parameter.grad.isfinite().all(), path
            assert parameter.grad.abs().sum() > 0, path


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_judged_on_its_own(name, training):
    """Nothing of the batch around it, in training neither."""
    discriminator = NETWORKS[name][1]((3, 8, 8), n_filters=4).train(training)
    x = torch.randn(6, 3, 8, 8)
    with torch.no_grad():
        # The vectors of spectral norms move a little with each pass in training.
        for _ in range(500 if training and name == "sndcgan" else 0):
            discriminator(x[:1])
        among, alone = discriminator(x), discriminator(x[:1])
    torch.testing.assert_close(among[1][:1], alone[1], rtol=1e-4, atol=1e-5)
    for a, b in zip(among[0], alone[0], strict=True):
        torch.testing.assert_close(a[:1], b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(7, 7), (8, 7), (6, 20, 3)])
def test_resnet18_refuses_images_below_8x8(shape):
    """The message has the size and the remedy; the last fit is still there."""
    X = np.random.default_rng(0).uniform(size=(20, 8, 8))
    gan = DCGANFeatureExtractor(network="resnet18", **CHEAP).fit(X)
    before = gan.transform(X)
    small = np.random.default_rng(0).uniform(size=(20, *shape))
    found = f"{shape[0]}x{shape[1]}"
    with pytest.raises(ValueError, match=f"8x8.* {found}.*network='dcgan'"):
        gan.fit(small)
    assert np.array_equal(gan.transform(X), before)
    classifier = SemiSupervisedGANClassifier(network="resnet18", **CHEAP)
    with pytest.raises(ValueError, match=f"8x8.* {found}"):
        classifier.fit(small, np.arange(20) % 2)


@pytest.mark.parametrize("name", NAMES)
def test_estimators_take_them_by_name(name, digits):
    """Features, classes and clusters; the features' names tell maps from vectors."""
    X, y = digits[0][:40], digits[1][:40]
    gan = DCGANFeatureExtractor(network=name, **CHEAP)
    features = gan.fit_transform(X)
    names = gan.get_feature_names_out()
    assert features.shape == (40, len(names))
    assert np.isfinite(features).all()
    last = {"sndcgan": "conv3_ch003_r3_c3", "resnet18": "dense10_u015"}
    assert names[-1] == last[name]
    assert gan.sample(3).shape == (3, 8, 8)
    classifier = SemiSupervisedGANClassifier(network=name, **CHEAP).fit(X, y)
    assert classifier.predict_proba(X).shape == (40, len(np.unique(y)))
    clusterer = CategoricalGANClusterer(3, network=name, **CHEAP).fit(X)
    assert clusterer.predict_proba(X).shape == (40, 3)


def test_images_that_are_too_small_leave_no_checkpoint(tmp_path):
    X, y = np.zeros((20, 7, 7), np.uint8), np.arange(20) % 2
    gan = SemiSupervisedGANClassifier(
        network="resnet18", checkpoint=tmp_path / "checkpoint", **CHEAP
    )
    with pytest.raises(ValueError, match="at least 8x8 pixels, but they are 7x7"):
        gan.fit(X, y)
    assert not (tmp_path / "checkpoint").exists()
