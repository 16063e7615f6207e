"""BlobGAN's encoder: its loss, what it is taught by, and how its training ends."""

import pickle
import sys
import types

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from small_blobgan import TINY

from sklgan import (
    BlobGAN,
    CheckpointError,
    DCGANFeatureExtractor,
    TrainingDivergedError,
)
from sklgan._inversion import blob_distance, exchanged, inversion_loss
from sklgan._perceptual import feature_distance
from sklgan.blobs import blobs_to_matrix
from sklgan.networks import (
    BlobDiscriminator,
    BlobEncoder,
    BlobGenerator,
    DCGANGenerator,
)


def test_the_encoder_learns(digits):
    """Its loss falls, and in generated images it finds blobs better than by chance."""
    X = digits[0][:100]
    params = {**TINY, "max_epochs": 2, "learning_rate": 0.01}
    fits = [BlobGAN(2, **params, encoder_epochs=n).fit(X) for n in (0, 8)]
    images, B = fits[0].sample(100, truncation=0.3, return_blobs=True)
    found = [gan.transform(images) for gan in fits]
    errors = [np.square(M - blobs_to_matrix(B)).mean() for M in found]
    assert errors[1] < 0.7 * errors[0]
    rows = fits[1].encoder_history_
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert fits[0].encoder_history_ == []
    assert_array_equal(*(gan.sample(3) for gan in fits))


class DenseDiscriminator(torch.nn.Module):
    """A user's: its activations are rows, without maps."""

    def __init__(self, in_shape, n_outputs):
        super().__init__()
        self.hidden = torch.nn.Linear(int(np.prod(in_shape)), 8)
        self.head = torch.nn.Linear(8, n_outputs)

    def forward(self, x):
        hidden = self.hidden(x.flatten(1)).relu()
        return [hidden], self.head(hidden)


def test_a_discriminator_without_maps(digits):
    """The contract of networks allows it, and the encoder learns from it too."""
    networks = BlobGenerator, DenseDiscriminator
    gan = BlobGAN(2, **TINY, network=networks).fit(digits[0][:40])
    assert gan.transform(digits[0][:3], refine=2).shape == (3, 25)


def test_a_discriminator_of_another_width(digits):
    """A user's pair is not told n_filters; the encoder then begins from noise."""
    networks = BlobGenerator, BlobDiscriminator
    gan = BlobGAN(2, **TINY, network=networks).fit(digits[0][:40])
    assert gan.transform(digits[0][:3]).shape == (3, 25)


def test_other_perceptual_distances(digits, monkeypatch):
    """A function of two batches, or LPIPS where that is installed."""
    seen = []

    def distance(images, others):
        seen.append((images.shape[1:], others.shape))
        return (images - others).abs().flatten(1).mean(1)

    BlobGAN(2, **TINY, perceptual=distance).fit(digits[0][:40])
    assert seen[1:] == [((1, 8, 8), (20, 1, 8, 8))] * 4
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ImportError, match="perceptual='lpips' needs the package lpips"):
        BlobGAN(2, **TINY, perceptual="lpips").fit(digits[0][:40])
    with pytest.raises(ValueError, match="perceptual='lpips' is for images"):
        BlobGAN(2, **TINY, perceptual="lpips").fit(np.eye(20))
    # As that package has it: a module of colour images, distances (n, 1, 1, 1).
    kinds = []

    class LPIPS(torch.nn.Module):
        def __init__(self, net, verbose):
            super().__init__()
            torch.randn(3)
            kinds.append(net)

        def forward(self, images, others):
            assert images.shape[1] == others.shape[1] == 3
            return (images - others).abs().mean((1, 2, 3), keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=LPIPS))
    drawn = torch.get_rng_state()
    gan = BlobGAN(2, **TINY, perceptual="lpips").fit(digits[0][:40])
    assert set(kinds) == {"vgg"}
    assert torch.equal(torch.get_rng_state(), drawn)
    n_built = len(kinds)
    gan.transform(digits[0][:150], refine=1)
    assert len(kinds) == n_built + 1


@pytest.mark.parametrize(
    ("distance", "error", "message"),
    [
        (lambda a, b: (a - b).square().mean(), ValueError, r"\(\) for 2 pairs"),
        (lambda a, b: (a - b).flatten(1), ValueError, r"\(2, 64\) for 2 pairs"),
        (lambda a, b: (a - b).detach().mean((1, 2, 3)), ValueError, "no gradient"),
        (lambda a, b: 0.0, TypeError, "returned float"),
    ],
)
def test_what_is_no_perceptual_distance_is_refused(digits, distance, error, message):
    """Before any training, with what it should return."""
    gan = BlobGAN(2, **TINY, perceptual=distance)
    with pytest.raises(error, match=message):
        gan.fit(digits[0][:40])
    assert not hasattr(gan, "generator_")


def test_distances_of_any_shape_are_taken(digits):
    """If there is one for each pair: networks of lpips return (n, 1, 1, 1)."""

    def flat(images, others):
        return (images - others).abs().mean((1, 2, 3))

    def deep(images, others):
        return (images - others).abs().mean((1, 2, 3), keepdim=True)

    X = digits[0][:40]
    found = [
        BlobGAN(2, **TINY, perceptual=distance).fit(X).transform(X, refine=3)
        for distance in (flat, deep)
    ]
    assert_array_equal(*found)


def test_weights_of_lpips_that_are_not_there_are_missed_before_training(
    digits, monkeypatch
):
    """The package may be installed without them."""

    class LPIPS:
        def __init__(self, net, verbose):
            raise OSError("no weights of VGG")

    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=LPIPS))
    gan = BlobGAN(2, **TINY, perceptual="lpips")
    with pytest.raises(
        ValueError, match=r"'lpips' cannot be used .*: no weights of VGG\..*TORCH_HOME"
    ):
        gan.fit(digits[0][:40])
    assert not hasattr(gan, "generator_")


class OwnDistance(torch.nn.Module):
    """A user's distance that has weights, of which a part was frozen before."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.conv.bias.requires_grad_(False)

    def forward(self, images, others):
        return (self.conv(images) - self.conv(others)).square().flatten(1).mean(1)


def test_a_module_as_distance_stays_what_it_is(digits, tmp_path):
    """It does not learn, gets no gradients, and lives through pickle and clone."""
    X, distance = digits[0][:40], OwnDistance()
    weights = distance.conv.weight.detach().clone()
    gan = BlobGAN(2, **TINY, perceptual=distance).fit(X)
    assert gan.perceptual is distance
    assert torch.equal(distance.conv.weight, weights)
    assert distance.conv.weight.grad is None
    assert distance.conv.weight.requires_grad
    assert not distance.conv.bias.requires_grad
    loaded = pickle.loads(pickle.dumps(gan))
    assert isinstance(loaded.perceptual, OwnDistance)
    assert_array_equal(loaded.transform(X, refine=2), gan.transform(X, refine=2))
    assert_array_equal(clone(loaded).fit(X).transform(X), gan.transform(X))
    params = {**TINY, "checkpoint": tmp_path, "checkpoint_interval": 0}
    for _ in range(2):
        BlobGAN(2, **params, perceptual=distance).fit(X)
    with pytest.raises(CheckpointError, match="perceptual was '.*OwnDistance, weights"):
        BlobGAN(2, **params, perceptual=OwnDistance()).fit(X)
    augmented = DCGANFeatureExtractor(n_filters=2, augment=torch.nn.Identity())
    assert type(pickle.loads(pickle.dumps(augmented)).augment) is torch.nn.Identity


def test_images_are_refined_where_gradients_are_off(digits):
    """A user's block decides nothing here, nor in fit."""
    params = {**TINY, "perceptual": OwnDistance()}
    gan = BlobGAN(2, **params).fit(digits[0][:40])
    expected = gan.transform(digits[0][:3], refine=2)
    for block in (torch.no_grad(), torch.inference_mode()):
        with block:
            assert_array_equal(gan.transform(digits[0][:3], refine=2), expected)
            again = BlobGAN(2, **params).fit(digits[0][:40])
            assert_array_equal(again.transform(digits[0][:3], refine=2), expected)
    with pytest.raises(ValueError, match="refine=True should be an int"):
        gan.transform(digits[0][:3], refine=True)


def test_layouts_exchange_whole_blobs():
    """Each blob keeps its number and its fields, and comes from another layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = BlobGenerator(8, (1, 8, 8), 2, 3, 3, 2)
        blobs = generator.layout(torch.randn(40, 8))
        mixed = exchanged(blobs)
    sources = []
    for blob in range(3):
        distances = torch.cdist(mixed.feature[:, blob], blobs.feature[:, blob])
        rows = distances.argmin(1)
        for name in ("x", "y", "size", "aspect", "angle", "feature", "style"):
            before, after = getattr(blobs, name), getattr(mixed, name)
            assert torch.equal(after[:, blob], before[rows, blob])
        assert rows.sort().values.tolist() == list(range(40))
        sources.append(rows)
    assert (sources[0] == sources[1]).float().mean() < 0.2
    assert mixed.background_style is blobs.background_style


@pytest.mark.parametrize(("steps_taken", "weight"), [(0, 10.0), (50, 1.0), (100, 0.1)])
def test_the_inversion_loss_has_five_terms(steps_taken, weight):
    """Two of real images, two of fakes, and the error of the blobs, less and less."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = BlobGenerator(8, (1, 8, 8), 2, 2, 3, 2).eval()
        encoder = BlobEncoder((1, 8, 8), 2 * 11 + 5, 2)
        discriminator = BlobDiscriminator((1, 8, 8), 1, 2).eval()
        real = torch.rand(6, 1, 8, 8)
        parts, drawn = [], []

        def perceptual(images, others):
            drawn.append(others)
            parts.append(feature_distance(discriminator, images, others).mean())
            parts.append((images - others).square().mean())
            return feature_distance(discriminator, images, others)

        layouts, render = [], generator.render

        def render_and_keep(blobs):
            layouts.append(blobs)
            return render(blobs)

        generator.render = render_and_keep
        step = torch.tensor(steps_taken)
        loss = inversion_loss(
            encoder,
            real,
            generator=generator,
            latent_dim=8,
            perceptual=perceptual,
            step=step,
            n_steps=100,
        )
        found = generator.layout.read_numbers(encoder(drawn[1])[1])
        total = sum(parts) + weight * blob_distance(found, layouts[0])
    assert torch.equal(drawn[0], real)
    torch.testing.assert_close(render(layouts[0]), drawn[1])
    assert len(parts) == 4
    assert step == steps_taken + 1
    torch.testing.assert_close(loss, total)


def test_a_fit_goes_on_from_its_checkpoint(digits, tmp_path):
    """Broken off within the encoder's training, it ends as if it had not been."""
    X, calls = digits[0][:64], []
    params = {**TINY, "max_epochs": 2, "encoder_epochs": 3}

    def distance(images, others):
        calls.append(len(images))
        if len(calls) == stop:
            raise KeyboardInterrupt
        return (images - others).abs().flatten(1).mean(1)

    stop = None
    whole = BlobGAN(2, **params, perceptual=distance).fit(X)
    # In the second epoch: two batches, two distances each, after one to check it.
    calls, stop = [], 8
    gan = BlobGAN(
        2,
        **params,
        perceptual=distance,
        checkpoint=tmp_path,
        checkpoint_interval=0,
    )
    with pytest.raises(KeyboardInterrupt):
        gan.fit(X)
    assert len(gan.encoder_history_) == 1
    assert gan.transform(X).shape == (64, 25)
    calls, stop = [], None
    gan.fit(X)
    assert len(calls) == 1 + 8  # of two epochs
    assert len(gan.encoder_history_) == 3
    assert_array_equal(gan.transform(X), whole.transform(X))


def test_an_encoder_goes_on_to_more_epochs_and_not_to_fewer(digits, tmp_path):
    """As the GAN before it: what a folder holds is not thrown away in silence."""
    X = digits[0][:40]
    params = {**TINY, "checkpoint": tmp_path, "checkpoint_interval": 0}
    first = BlobGAN(2, **params, encoder_epochs=2).fit(X)
    with pytest.raises(CheckpointError, match="2 epochs .* the 1 of encoder_epochs=1"):
        BlobGAN(2, **params, encoder_epochs=1).fit(X)
    more = BlobGAN(2, **params, encoder_epochs=3).fit(X)
    losses = [[row["loss"] for row in gan.encoder_history_] for gan in (first, more)]
    assert losses[1][:2] == losses[0]
    assert len(losses[1]) == 3


def test_an_encoder_of_no_epoch_does_not_answer(digits):
    """Broken off before its first epoch was over, unless that was asked for."""

    def distance(images, others):
        calls.append(images)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return (images - others).abs().flatten(1).mean(1)

    calls, gan = [], BlobGAN(2, **TINY, perceptual=distance)
    with pytest.raises(KeyboardInterrupt):
        gan.fit(digits[0][:40])
    assert gan.sample(2).shape == (2, 8, 8)
    with pytest.raises(NotFittedError, match="before an epoch of its encoder"):
        gan.transform(digits[0][:3])
    gan = BlobGAN(2, **TINY, encoder_epochs=0).fit(digits[0][:40])
    assert gan.transform(digits[0][:3]).shape == (3, 25)


class LayoutOnly(torch.nn.Module):
    """A generator that takes what a blobs' one does, and has a part of its methods."""

    def __init__(self, latent_dim, out_shape, n_blobs, feature_dim, style_dim):
        super().__init__()
        self.layout = torch.nn.Linear(latent_dim, n_blobs)


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (LayoutOnly, r"LayoutOnly.* has no layout.hidden, .*read_numbers, render"),
        (
            DCGANGenerator,
            r"DCGANGenerator.* cannot be built: .*'n_blobs'; its generator",
        ),
    ],
)
def test_a_generator_without_blobs_is_refused_before_training(
    digits, generator, message
):
    """With what it lacks; what was fitted stays."""
    X = digits[0][:40]
    gan = BlobGAN(2, **TINY).fit(X)
    before = gan.transform(X)
    gan.set_params(network=(generator, BlobDiscriminator))
    with pytest.raises(ValueError, match=message):
        gan.fit(X)
    assert_array_equal(gan.transform(X), before)


def test_other_blobs_are_no_continuation(digits):
    """The message names the parameter."""
    gan = BlobGAN(2, **TINY, warm_start=True).fit(digits[0][:40])
    with pytest.raises(ValueError, match="last fit, but n_blobs was 2 and is 3 now"):
        gan.set_params(n_blobs=3).fit(digits[0][:40])


def test_an_encoder_that_diverges_at_once_leaves_that_of_the_last_fit(digits):
    """With its history."""
    gan = BlobGAN(2, **TINY, warm_start=True, encoder_epochs=2).fit(digits[0][:40])
    before, history = gan.transform(digits[0][:5]), gan.encoder_history_

    def distance(images, others):
        calls.append(images)
        return (images - others).abs().flatten(1).mean(1) / (len(calls) < 2)

    calls = []
    with pytest.raises(TrainingDivergedError, match="encoder's .* in epoch 1"):
        gan.set_params(perceptual=distance).fit(digits[0][:40])
    assert_array_equal(gan.encoder_history_, history)
    assert gan.n_iter_ == 2
    assert_array_equal(gan.transform(digits[0][:5]), before)


def test_an_encoder_that_diverges_leaves_the_last_good_one(digits):
    """And says that it was the encoder, and what to change."""

    def distance(images, others):
        # Gradients are infinite in time, as those of a root at 0.
        calls.append(images)
        return (images - others).abs().flatten(1).mean(1) / (len(calls) < 6)

    calls = []
    gan = BlobGAN(2, **TINY, perceptual=distance, encoder_epochs=3)
    message = r"encoder's training diverged in epoch 2: loss = .*Lower learning_rate"
    with pytest.raises(TrainingDivergedError, match=message) as caught:
        gan.fit(digits[0][:64])
    assert list(caught.value.losses) == ["loss"]
    assert len(gan.encoder_history_) == 1
    assert np.isfinite(gan.transform(digits[0][:5])).all()
    assert "kept, and the encoder of epoch 1. Lower" in str(caught.value)
    calls = [None] * 6
    gan = BlobGAN(2, **TINY, perceptual=distance)
    gan_only = r"diverged in epoch 1: .* trained before, has been kept\. Lower"
    with pytest.raises(TrainingDivergedError, match=gan_only):
        gan.fit(digits[0][:64])
    assert not hasattr(gan, "encoder_")


def test_each_bar_says_what_is_trained(digits, capsys):
    """One for the GAN, one for the encoder after it."""
    BlobGAN(2, **TINY, verbose=1, encoder_epochs=2).fit(digits[0][:40])
    shown = capsys.readouterr().err
    gan, encoder = shown.index("epoch 1/1"), shown.index("encoder, epoch 2/2")
    assert gan < encoder
    assert "encoder, epoch 1/1" not in shown
    assert "d_loss" in shown[:encoder]
    assert "loss=" in shown[encoder:]
    assert "d_loss" not in shown[encoder:]
