"""Spectral norms: weights that stay at 1, and all that is done with a network."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sklgan import DCGANFeatureExtractor, SemiSupervisedGANClassifier
from sklgan.inspection import fit_encoder
from sklgan.networks import (
    NETWORKS,
    DCGANDiscriminator,
    DCGANGenerator,
    add_spectral_norm,
)
from sklgan.networks._build import network_builders
from sklgan.networks._spectral import plain_copy

SHAPE = (3, 16, 16)
CHEAP = {"n_filters": 2, "max_epochs": 2, "batch_size": 16, "random_state": 0}
IMAGES = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _seed():
    """Building a network draws from torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def build(network, **kwargs):
    """Return a small discriminator with spectral norms."""
    options = {"latent_dim": 5, "shape": SHAPE, "n_filters": 4, **kwargs}
    _, discriminator = network_builders(network, spectral_norm=True, **options)
    return discriminator()


def spectral_norms(module):
    """Return the largest singular value of each layer's weight, as it is used."""
    module.eval()
    norms = []
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            weight = layer.weight.detach()
            if isinstance(layer, nn.ConvTranspose2d):
                weight = weight.transpose(0, 1)
            norms.append(torch.linalg.matrix_norm(weight.flatten(1), 2))
    return torch.stack(norms)


def vectors(module):
    """Return what a module remembers of its spectral norms."""
    return {name: value.clone() for name, value in module.named_buffers()}


def train(module, n_steps=20):
    """Take a few steps of an optimiser."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(n_steps):
        optimizer.zero_grad()
        module.train()(IMAGES)[1].square().mean().backward()
        optimizer.step()
    return module


@pytest.mark.parametrize("network", NETWORKS)
def test_every_weight_has_a_norm_of_1(network):
    """At the start, and while the weights move; nothing else normalises."""
    discriminator = build(network)
    assert (spectral_norms(discriminator) - 1).abs().max() < 0.05
    train(discriminator)
    assert (spectral_norms(discriminator) - 1).abs().max() < 0.05
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)
    assert not any(isinstance(m, kinds) for m in discriminator.modules())


class OwnDiscriminator(nn.Module):
    """A discriminator of one's own: a transposed convolution, and a norm it has."""

    def __init__(self, in_shape, n_outputs):
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_shape[0], 6, 3, bias=False)
        self.middle = nn.utils.parametrizations.spectral_norm(nn.Conv2d(6, 4, 3))
        self.head = nn.Linear(4, n_outputs)

    def forward(self, x):
        x = self.middle(self.conv(x).relu())
        return [x], self.head(x.mean((2, 3)))


def test_networks_of_ones_own_are_normalised():
    """All layers, but for those that are already."""
    discriminator = build((nn.Module, OwnDiscriminator))
    train(discriminator)
    assert (spectral_norms(discriminator) - 1).abs().max() < 0.05
    assert len(discriminator.middle.parametrizations.weight) == 1


def test_what_cannot_be_normalised_is_refused():
    """No layer, as in BlobGAN's own, or weights of 0."""
    with pytest.raises(ValueError, match="BlobDiscriminator has no linear layer"):
        build("blobs")
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    nn.init.zeros_(module[1].weight)
    with pytest.raises(ValueError, match="weights of 0 in '1'"):
        add_spectral_norm(module)


def test_evaluation_leaves_the_vectors_alone():
    """Training moves them, and a frozen discriminator's too."""
    discriminator = train(build("sndcgan")).eval()
    before = vectors(discriminator)
    with torch.no_grad():
        first, again = discriminator(IMAGES)[1], discriminator(IMAGES)[1]
    assert torch.equal(first, again)
    assert all(torch.equal(before[n], v) for n, v in vectors(discriminator).items())
    x = IMAGES.clone().requires_grad_()
    discriminator.train().requires_grad_(False)(x)[1].sum().backward()
    assert x.grad.abs().sum() > 0
    assert any(not torch.equal(before[n], v) for n, v in vectors(discriminator).items())


def test_copies_and_states_compute_the_same():
    """Copied, loaded, in another memory format, with plain weights."""
    discriminator = train(build("dcgan")).eval()
    expected = discriminator(IMAGES)[1]
    copied, loaded = copy.deepcopy(discriminator), build("dcgan").eval()
    loaded.load_state_dict(discriminator.state_dict())
    assert torch.equal(copied(IMAGES)[1], expected)
    assert torch.equal(loaded(IMAGES)[1], expected)
    copied = copied.to(memory_format=torch.channels_last)
    torch.testing.assert_close(copied(IMAGES)[1], expected)
    plain = plain_copy(discriminator)
    torch.testing.assert_close(plain(IMAGES)[1], expected)
    assert set(plain.state_dict()) == set(
        DCGANDiscriminator(SHAPE, batch_norm=False).state_dict()
    )
    assert torch.equal(discriminator(IMAGES)[1], expected)


def test_norms_are_exact_under_autocast():
    """Only the layers' products are in bfloat16; two passes have gradients together."""
    discriminator = build("sndcgan")
    exact = copy.deepcopy(discriminator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = [discriminator(IMAGES)[1] for _ in range(2)]
        weight = copy.deepcopy(discriminator).layers[1][0].weight
    assert logits[0].dtype == torch.bfloat16
    assert weight.dtype == torch.float32
    sum(part.float().square().mean() for part in logits).backward()
    assert all(p.grad.isfinite().all() for p in discriminator.parameters())
    for _ in range(2):
        exact(IMAGES)
    torch.testing.assert_close(vectors(discriminator), vectors(exact))


def test_averaged_discriminators_keep_a_norm_of_1(digits):
    """An average of weights has other singular vectors than its first weights."""
    X, y = digits[0][:48], digits[1][:48]
    params = {**CHEAP, "max_epochs": 16, "learning_rate": 1e-2}
    classifier = SemiSupervisedGANClassifier(network="sndcgan", **params).fit(X, y)
    assert (spectral_norms(classifier.discriminator_) - 1).abs().max() < 0.05


def test_encoders_keep_a_norm_of_1(digits):
    """An encoder, which trains with dropout off, is one of these networks."""
    gan = DCGANFeatureExtractor(5, network="sndcgan", **CHEAP).fit(digits[0][:50])
    encoder = fit_encoder(gan, n_steps=30, learning_rate=2e-2, random_state=0)
    assert (spectral_norms(encoder.network) - 1).abs().max() < 0.05


def test_estimators_are_pickled(digits):
    """A copy from a file gives the same to the last bit, and can go on."""
    X = digits[0][:50]
    gan = DCGANFeatureExtractor(network="sndcgan", warm_start=True, **CHEAP).fit(X)
    copied = pickle.loads(pickle.dumps(gan))
    assert np.array_equal(copied.transform(X), gan.transform(X))
    assert np.array_equal(copied.fit(X).transform(X), gan.fit(X).transform(X))


def test_checkpoints_resume(digits, tmp_path):
    """What is resumed ends as what was never broken off."""
    pytest.importorskip("safetensors")
    X, params = digits[0][:50], {**CHEAP, "network": "sndcgan"}
    whole = DCGANFeatureExtractor(**params).fit(X)
    part = {**params, "checkpoint": tmp_path, "checkpoint_interval": 0}
    DCGANFeatureExtractor(**{**part, "max_epochs": 1}).fit(X)
    resumed = DCGANFeatureExtractor(**part).fit(X)
    assert np.array_equal(resumed.transform(X), whole.transform(X))


def small_generator(latent_dim, shape):
    """Return the generator of the tutorial's form."""
    return DCGANGenerator(latent_dim, shape, 2)


def normalized_discriminator(shape, n_outputs):
    """Return the tutorial's discriminator with spectral norms."""
    return add_spectral_norm(DCGANDiscriminator(shape, n_outputs, 4, batch_norm=False))


def test_files_for_others_have_plain_weights(two_colours, tmp_path):
    """The tutorial's form has no spectral norms: what it computes is the same."""
    X, path = two_colours[0], tmp_path / "both.pth"
    pair = (small_generator, normalized_discriminator)
    gan = DCGANFeatureExtractor(network=pair, **CHEAP).fit(X)
    gan.to_checkpoint(path)
    state = torch.load(path, weights_only=True)
    assert set(state["discriminator"]) == {"main.0.weight", "main.2.weight"}
    read = DCGANFeatureExtractor.from_checkpoint(path, data_range=gan.data_range_)
    np.testing.assert_allclose(read.score_samples(X), gan.score_samples(X), atol=1e-6)
