"""Networks: the paper's sizes, any image shape, and the contract of both modules."""

import pytest
import torch
from torch import nn

from sklgan import DCGANFeatureExtractor
from sklgan.networks import NETWORKS, initialize_weights

LATENT_DIM = 5
# Those that normalise over the batch where they may.
WITH_BATCH_NORM = ["mlp", "dcgan", "cnn", "dcgan-deep"]
SIZES = [(1, 1), (5, 2), (8, 8), (9, 9), (28, 28), (37, 63), (64, 32)]


@pytest.fixture(autouse=True)
def _seed():
    """Building a network draws from torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def build(network, shape, n_outputs=1, n_filters=2, **kwargs):
    """Return (generator, discriminator), with small defaults."""
    generator, discriminator = NETWORKS[network]
    return (
        generator(LATENT_DIM, shape, n_filters=n_filters),
        discriminator(shape, n_outputs, n_filters=n_filters, **kwargs),
    )


def n_parameters(module):
    """Count a module's parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def batch_norms(module):
    """List a module's batch normalisations."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


def test_dcgan_has_the_tutorials_parameters():
    """For 64 x 64 colour images the counts are those of the PyTorch tutorial."""
    generator, discriminator = NETWORKS["dcgan"]
    assert n_parameters(generator(100, (3, 64, 64))) == 3_576_704
    assert n_parameters(discriminator((3, 64, 64))) == 2_765_568


def test_deep_dcgan_has_the_papers_features():
    """Max-pooled to 4 x 4, its maps on 32 x 32 colour images are 28,672 values."""
    discriminator = NETWORKS["dcgan-deep"][1]((3, 32, 32))
    features, _ = discriminator(torch.zeros(2, 3, 32, 32))
    shapes = [tuple(feature.shape[1:]) for feature in features]
    assert shapes == [
        (128, 32, 32),
        (128, 16, 16),
        (256, 16, 16),
        (256, 8, 8),
        (512, 8, 8),
        (512, 4, 4),
    ]
    assert sum(channels * 4 * 4 for channels, _, _ in shapes) == 28_672


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_fit_any_image_shape(network, size, channels):
    """The generator makes the shape, in [-1, 1]; the discriminator takes it."""
    if network == "resnet18" and min(size) < 8:
        size = tuple(max(side, 8) for side in size)
    shape = (channels, *size)
    generator, discriminator = build(network, shape, n_outputs=3)
    images = generator(torch.randn(4, LATENT_DIM))
    assert images.shape == (4, *shape)
    assert images.abs().max() <= 1
    features, logits = discriminator(images)
    assert logits.shape == (4, 3)
    assert isinstance(features, list)
    assert all(len(feature) == 4 for feature in features)
    n_flat = {"mlp": len(features), "resnet18": 1}.get(network, 0)
    n_maps = len(features) - n_flat
    assert [feature.ndim for feature in features] == n_maps * [4] + n_flat * [2]


def test_mlp_takes_flat_rows():
    """Flat rows come out unbounded, in standardised units."""
    generator, discriminator = build("mlp", (7,))
    with torch.no_grad():
        generator.layers[-1].bias.fill_(9)
    rows = generator(torch.randn(4, LATENT_DIM))
    assert rows.shape == (4, 7)
    assert rows.max() > 1
    features, logits = discriminator(rows)
    assert logits.shape == (4, 1)
    assert [feature.shape for feature in features] == [(4, 8), (4, 8)]


@pytest.mark.parametrize("n_filters", [1, 3, 8])
@pytest.mark.parametrize("network", NETWORKS)
def test_width_grows_with_n_filters(network, n_filters):
    """The first layer's width is proportional to n_filters."""
    _, narrow = build(network, (3, 16, 16), n_filters=1)
    _, wide = build(network, (3, 16, 16), n_filters=n_filters)
    x = torch.zeros(2, 3, 16, 16)
    pairs = zip(narrow(x)[0], wide(x)[0], strict=True)
    assert all(b.shape[1] == n_filters * a.shape[1] for a, b in pairs)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (5, 2), (9, 9), (16, 16)])
@pytest.mark.parametrize("network", [n for n in NETWORKS if n != "resnet18"])
def test_every_parameter_receives_a_gradient(network, size, batch_norm):
    """No weight lies idle."""
    generator, discriminator = build(network, (3, *size), batch_norm=batch_norm)
    real = torch.randn(6, 3, *size)
    fake = generator(torch.randn(6, LATENT_DIM))
    logits = discriminator(real)[1].sigmoid() - discriminator(fake)[1].exp()
    logits.square().mean().backward()
    for module in (generator, discriminator):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("network", NETWORKS)
def test_evaluation_is_deterministic(network):
    """In evaluation mode nothing is drawn and nothing learnt."""
    generator, discriminator = (module.eval() for module in build(network, (3, 8, 8)))
    z = torch.randn(6, LATENT_DIM)
    before = torch.get_rng_state()
    with torch.no_grad():
        images, again = generator(z), generator(z)
        assert torch.equal(images, again)
        (features, logits), (others, other) = (discriminator(images) for _ in range(2))
    assert torch.equal(logits, other)
    assert all(torch.equal(a, b) for a, b in zip(features, others, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("network", NETWORKS)
def test_weights_start_at_the_papers_scale(network):
    """Weights are N(0, 0.02), gains N(1, 0.02), biases 0."""
    for module in build(network, (3, 32, 32), n_filters=32):
        kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm)
        norms = [layer for layer in module.modules() if isinstance(layer, kinds)]
        gains = {id(layer.weight) for layer in norms}
        for name, parameter in module.named_parameters():
            values = parameter.detach()
            if name.endswith("bias"):
                assert (values == 0).all()
                continue
            center = float(id(parameter) in gains)
            assert values.mean() == pytest.approx(center, abs=0.02)
            assert (values - center).abs().max() < 0.14
            if values.numel() > 1000:
                assert values.std() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("network", WITH_BATCH_NORM)
def test_batch_norm_can_be_left_out(network):
    """Without it the logits of an image do not depend on the batch around it."""
    with_norm, without = (
        build(network, (3, 16, 16), batch_norm=value)[1] for value in (True, False)
    )
    assert batch_norms(with_norm)
    assert not batch_norms(without)
    without.eval()  # for the sake of dropout alone
    x = torch.randn(6, 3, 16, 16)
    torch.testing.assert_close(without(x)[1][:3], without(x[:3])[1])


@pytest.mark.parametrize("network", ["dcgan", "dcgan-deep"])
def test_first_and_last_layers_are_not_normalised(network):
    """As in the paper: not the discriminator's input, not the generator's output."""
    generator, discriminator = build(network, (3, 16, 16))
    n_convs = [
        sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in module.modules())
        for module in (generator, discriminator)
    ]
    assert len(batch_norms(generator)) == n_convs[0] - 1
    assert len(batch_norms(discriminator)) == n_convs[1] - 2  # the head neither


def test_features_are_kept_as_they_were():
    """No later layer writes into an activation that was handed out."""
    _, discriminator = build("dcgan", (3, 16, 16))
    discriminator.eval()
    x = torch.randn(2, 3, 16, 16)
    features, _ = discriminator(x)
    for k, feature in enumerate(features):
        x = discriminator.layers[k](x)
        assert torch.equal(feature, x)


def test_initialize_weights_leaves_other_layers_alone():
    """It is made for Module.apply, which hands it every layer."""
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU())
    before = module[1].weight.detach().clone()
    module.apply(initialize_weights)
    assert torch.equal(module[1].weight, before)
    assert (module[0].bias == 0).all()


class TinyGenerator(nn.Module):
    """A generator of one's own."""

    def __init__(self, latent_dim, out_shape):
        super().__init__()
        self.out_shape = out_shape
        n_values = out_shape[0] * out_shape[1] * out_shape[2]
        self.linear = nn.Linear(latent_dim, n_values)

    def forward(self, z):
        return self.linear(z).tanh().unflatten(1, self.out_shape)


class TinyDiscriminator(nn.Module):
    """A discriminator of one's own, with one convolution."""

    def __init__(self, in_shape, n_outputs):
        super().__init__()
        self.conv = nn.Conv2d(in_shape[0], 5, 3, padding=1)
        self.head = nn.Linear(5, n_outputs)

    def forward(self, x):
        feature = self.conv(x).relu()
        return [feature], self.head(feature.mean((2, 3)))


def test_estimator_takes_networks_of_ones_own(two_colours):
    """A pair of classes that keep the contract is trained like the others."""
    X, _ = two_colours
    gan = DCGANFeatureExtractor(
        network=(TinyGenerator, TinyDiscriminator), max_epochs=1, random_state=0
    )
    features = gan.fit_transform(X)
    assert features.shape == (64, 5 * 4 * 4)
    assert gan.get_feature_names_out()[-1] == "conv1_ch004_r3_c3"
    assert isinstance(gan.generator_, TinyGenerator)
    assert isinstance(gan.discriminator_, TinyDiscriminator)
    assert gan.sample(3).shape == (3, 8, 8, 3)


class GeneratorWithLayout(TinyGenerator):
    """Normalises in a part that has BlobGAN's name for another thing."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.layout = nn.BatchNorm1d(1, affine=False)

    def forward(self, z):
        self.layout(5 + z.mean(dim=1, keepdim=True))
        return super().forward(z)


def test_statistics_are_of_the_whole_generator(two_colours):
    """Latent vectors go into the generator, not into a part of it."""
    gan = DCGANFeatureExtractor(
        network=(GeneratorWithLayout, TinyDiscriminator), max_epochs=1, random_state=0
    ).fit(two_colours[0])
    assert gan.generator_.layout.running_mean.item() == pytest.approx(5, abs=0.05)
