"""The engine: its step, its averages, its batches, and how training ends early."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch import nn
from torch.testing import assert_close

from sklgan import DCGANFeatureExtractor, TrainingDivergedError
from sklgan._tensors import to_numpy, to_torch
from sklgan._training import (
    AdversarialNet,
    equal_batches,
    gather_batch_norm,
    settled_generator,
)
from sklgan.losses import ADVERSARIAL_LOSSES, discriminator_loss, generator_loss
from sklgan.networks import DCGANDiscriminator, DCGANGenerator

LATENT_DIM = 5
SHAPE = (1, 16, 16)
LOSSES = list(ADVERSARIAL_LOSSES)


@pytest.fixture(autouse=True)
def _seed():
    """The engine draws from torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def make_net(loss="nonsaturating", **kwargs):
    """Return an initialised engine with a tiny DCGAN, in float32 on the CPU."""
    options = {
        "generator": partial(DCGANGenerator, LATENT_DIM, SHAPE, n_filters=4),
        "discriminator": partial(DCGANDiscriminator, SHAPE, n_filters=4),
        "discriminator_loss": partial(discriminator_loss, loss=loss),
        "generator_loss": partial(generator_loss, loss=loss),
        "to_batch": lambda rows: rows,
        "latent_dim": LATENT_DIM,
        "augment": lambda images: images,
        "n_critic": 1,
        "ema_decay": 0.999,
        "autocast": False,
        "lr": 2e-4,
        "max_epochs": 1,
        "batch_size": 8,
        "callbacks": [],
        "device": "cpu",
        "verbose": 0,
    }
    return AdversarialNet(**(options | kwargs)).initialize()


def make_gan(**kwargs):
    """Return an estimator that is trained in a moment."""
    options = {"n_filters": 4, "batch_size": 50, "random_state": 0, "device": "cpu"}
    return DCGANFeatureExtractor(**(options | kwargs))


def weights(module):
    """Return a copy of a module's parameters."""
    return [parameter.detach().clone() for parameter in module.parameters()]


def same(first, second):
    """Tell whether two lists of tensors are equal."""
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# The step ---------------------------------------------------------------------------


def tutorial_step(generator, discriminator, d_adam, g_adam, real):
    """Take the step of the PyTorch DCGAN tutorial, on logits."""
    bce = nn.functional.binary_cross_entropy_with_logits
    d_adam.zero_grad()
    logits = discriminator(real)[1]
    d_real = bce(logits, torch.ones_like(logits))
    d_real.backward()
    fake = generator(torch.randn(len(real), LATENT_DIM))
    logits = discriminator(fake.detach())[1]
    d_fake = bce(logits, torch.zeros_like(logits))
    d_fake.backward()
    d_adam.step()
    g_adam.zero_grad()
    logits = discriminator(fake)[1]
    g_loss = bce(logits, torch.ones_like(logits))
    g_loss.backward()
    g_adam.step()
    return (d_real + d_fake).detach(), g_loss.detach()


def test_steps_equal_the_tutorials():
    """Three steps give the networks that the tutorial's loop gives."""
    net = make_net()
    generator = copy.deepcopy(net.generator_)
    discriminator = copy.deepcopy(net.discriminator_)
    d_adam, g_adam = (
        torch.optim.Adam(module.parameters(), lr=2e-4, betas=(0.5, 0.999))
        for module in (discriminator, generator)
    )
    for step in range(3):
        real = torch.randn(8, *SHAPE).contiguous(memory_format=torch.channels_last)
        torch.manual_seed(step)
        d_loss, g_loss = tutorial_step(generator, discriminator, d_adam, g_adam, real)
        torch.manual_seed(step)
        losses = net.train_step((real, None))
        assert_close(losses["d_loss"], d_loss)
        assert_close(losses["g_loss"], g_loss)
    for ours, theirs in (
        (net.generator_, generator),
        (net.discriminator_, discriminator),
    ):
        assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_update_moves_one_network(loss):
    """The discriminator's leaves the generator as it was, and the other way round."""
    between = []

    def spy(discriminator, real, fake):
        between.append((weights(net.generator_), weights(net.discriminator_)))
        return generator_loss(discriminator, real, fake, loss=loss)

    net = make_net(loss, generator_loss=spy)
    for _ in range(3):
        generator, discriminator = weights(net.generator_), weights(net.discriminator_)
        net.train_step((torch.randn(8, *SHAPE), None))
        generator_between, discriminator_between = between.pop()
        assert same(generator_between, generator)
        assert not same(discriminator_between, discriminator)
        assert same(weights(net.discriminator_), discriminator_between)
        assert not same(weights(net.generator_), generator)


def test_generator_is_updated_at_every_n_critic_th_step():
    """The discriminator moves at each step, the generator at each third."""
    net = make_net(n_critic=3)
    for step in range(1, 7):
        generator, discriminator = weights(net.generator_), weights(net.discriminator_)
        losses = net.train_step((torch.randn(8, *SHAPE), None))
        assert not same(weights(net.discriminator_), discriminator)
        assert same(weights(net.generator_), generator) == (step % 3 != 0)
        assert ("g_loss" in losses) == (step % 3 == 0)


def test_an_error_within_an_epoch_leaves_the_last_whole_one():
    """Whatever its kind: the disk may be full in the middle of an epoch."""

    class FullDisk(Callback):
        def on_batch_end(self, net, **kwargs):
            if net.n_epochs == 2:
                raise OSError("no space left")

    X = np.random.default_rng(0).integers(256, size=(100, 8, 8)).astype(np.uint8)
    gan = make_gan(max_epochs=3, batch_size=25, callbacks=[FullDisk()])
    with pytest.raises(OSError, match="no space left"):
        gan.fit(X)
    expected = make_gan(max_epochs=1, batch_size=25).fit(X)
    assert gan.n_iter_ == 1
    assert same(weights(gan.discriminator_), weights(expected.discriminator_))


def test_nothing_is_generated_while_the_discriminator_warms_up():
    """The generator is first seen, and first moves, in the epoch after."""
    generated = []

    def loss(discriminator, real, fake, y):
        generated.append(fake is not None)
        logits = discriminator(real)[1]
        return logits.square().mean()

    net = make_net(discriminator_loss=loss, max_epochs=3, warmup_epochs=2)
    before = weights(net.generator_)
    net.train(torch.randn(16, *SHAPE))
    assert generated == [False] * 4 + [True] * 2
    assert ["g_loss" in row for row in net.history_rows(0)] == [False, False, True]
    assert net.n_generator_steps_ == 2
    assert not same(weights(net.generator_), before)


def test_a_state_that_went_through_numpy_continues_exactly():
    """Adam's moments included, of kernels that lie channels last in memory."""

    def loss(discriminator, real, fake, y):
        return (discriminator(real)[1] - 1).square().mean()

    options = {"lr": 0.1, "discriminator_loss": loss, "generator_loss": None}
    first = make_net(**options)
    batches = torch.randn(4, 8, *SHAPE)
    for batch in batches[:2]:
        first.train_step((batch, None))
    second = make_net(**options)
    second.load_training_state(to_torch(to_numpy(first.training_state())))
    for net in (first, second):
        for batch in batches[2:]:
            net.train_step((batch, None))
    assert same(weights(second.discriminator_), weights(first.discriminator_))


def test_average_follows_the_formula():
    """Its decay is ema_decay, or (1 + n) / (10 + n) after n updates while less."""
    net = make_net(ema_decay=0.3, lr=0.01)
    average = weights(net.generator_)
    for n in range(1, 7):
        net.train_step((torch.randn(8, *SHAPE), None))
        decay = min(0.3, (1 + n) / (10 + n))
        latest = weights(net.generator_)
        average = [
            decay * a + (1 - decay) * w for a, w in zip(average, latest, strict=True)
        ]
    assert_close(weights(settled_generator(net)), average)


def test_average_of_decay_0_is_the_generator_itself():
    """Without an average, the last weights are used."""
    net = make_net(ema_decay=0.0)
    for _ in range(2):
        net.train_step((torch.randn(8, *SHAPE), None))
    assert same(weights(settled_generator(net)), weights(net.generator_))


def test_augmentation_is_seen_by_real_and_fake_alike():
    """Whatever the discriminator sees has been augmented, once."""

    def augment(images):
        return images + 10

    seen = []

    def spy(discriminator, real, fake, y=None):
        seen.extend([real, fake])
        return discriminator(fake)[1].mean()

    net = make_net(augment=augment, discriminator_loss=spy, generator_loss=spy)
    net.train_step((torch.rand(8, *SHAPE), None))
    assert len(seen) == 4
    assert all(9 <= images.min() <= images.max() <= 11 for images in seen)


# Batches and statistics -------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [2, 3, 4, 7, 64, 128])
def test_batches_are_of_equal_size(batch_size):
    """They cover all rows, differ by 1 at most, none is 1 and none too large."""
    for n_rows in [*range(2, 140), 1000, 1001]:
        bounds = equal_batches(n_rows, batch_size)
        sizes = np.diff(bounds)
        assert bounds[0] == 0
        assert bounds[-1] == n_rows
        assert sizes.max() - sizes.min() <= 1
        assert sizes.min() >= 2
        # An odd number of rows has no pairs alone.
        assert sizes.max() <= max(batch_size, 3)
        if batch_size > 2:
            assert sizes.max() <= batch_size


def test_gathered_statistics_are_those_of_the_data():
    """With one batch they are its mean and variance, in every layer."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4))
    module[1].running_mean.fill_(99)
    momentum = module[1].momentum
    X = torch.randn(20, 3)
    assert gather_batch_norm(module, [X]) is module
    with torch.no_grad():
        hidden = module[0](X)
    assert_close(module[1].running_mean, hidden.mean(0))
    assert_close(module[1].running_var, hidden.var(0))
    assert_close(module[2].running_mean, torch.zeros(4), rtol=0, atol=1e-5)
    assert module[1].momentum == momentum
    assert not any(layer.training for layer in module.modules())


def test_gathered_statistics_weigh_batches_alike():
    """Over several batches they are the mean of the batches' own."""
    module = nn.Sequential(nn.BatchNorm1d(3))
    batches = torch.randn(6, 5, 3).unbind()
    gather_batch_norm(module, iter(batches))
    means = torch.stack([batch.mean(0) for batch in batches])
    variances = torch.stack([batch.var(0) for batch in batches])
    assert_close(module[0].running_mean, means.mean(0))
    assert_close(module[0].running_var, variances.mean(0))


# How training ends early ------------------------------------------------------------


class InEpoch(Callback):
    """Do something before or after the steps of an epoch."""

    def __init__(self, epoch, action, after=False):
        self.epoch = epoch
        self.action = action
        self.after = after

    def on_batch_begin(self, net, **kwargs):
        if len(net.history) == self.epoch and not self.after:
            self.action(net)

    def on_batch_end(self, net, **kwargs):
        if len(net.history) == self.epoch and self.after:
            self.action(net)


def interrupt(net):
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def poison_generator(net):
    """Let the weights of the generator become NaN."""
    next(net.generator_.parameters()).data.fill_(float("nan"))


def poison_discriminator(net):
    """Let the weights of the discriminator become NaN."""
    next(net.discriminator_.parameters()).data.fill_(float("nan"))


def assert_usable(gan, X, n_epochs):
    """Check that an estimator whose training ended early has n_epochs of training."""
    assert gan.n_iter_ == len(gan.history_) == n_epochs
    assert np.isfinite(gan.sample(5)).all()
    assert np.isfinite(gan.score_samples(X)).all()
    features = gan.transform(X)
    assert np.isfinite(features).all()
    assert features.shape == (len(X), len(gan.get_feature_names_out()))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_interruption_keeps_the_last_whole_epoch(digits, after):
    """Ctrl-C comes through, and the estimator is that of the epoch before."""
    X, _ = digits
    gan = make_gan(max_epochs=4, callbacks=[InEpoch(2, interrupt, after)])
    with pytest.raises(KeyboardInterrupt):
        gan.fit(X)
    assert_usable(gan, X, 1)
    whole = make_gan(max_epochs=1).fit(X)
    assert gan.history_[0]["d_loss"] == whole.history_[0]["d_loss"]
    assert_close(weights(gan.discriminator_), weights(whole.discriminator_))
    assert_close(weights(gan.generator_), weights(whole.generator_))


def test_interruption_in_the_first_epoch_leaves_an_untrained_network(digits):
    """There is no epoch to keep: it is the untrained network, and usable."""
    X, _ = digits
    gan = make_gan(callbacks=[InEpoch(1, interrupt, after=True)])
    with pytest.raises(KeyboardInterrupt):
        gan.fit(X)
    assert_usable(gan, X, 0)


def test_interruption_of_a_refit_on_other_images_leaves_no_mixture(digits, two_colours):
    """Networks, layers and shapes are all those of the new images."""
    gan = make_gan(max_epochs=1, layers=[1]).fit(digits[0])
    gan.set_params(max_epochs=2, layers="all", callbacks=[InEpoch(2, interrupt)])
    X = two_colours[0].repeat(2, axis=1).repeat(2, axis=2)
    with pytest.raises(KeyboardInterrupt):
        gan.fit(X)
    assert_usable(gan, X, 1)
    assert gan.layers_ == [1, 2]


@pytest.mark.parametrize("poison", [poison_generator, poison_discriminator])
def test_divergence_keeps_the_last_good_epoch(digits, poison):
    """The error says which epoch was lost and what to lower."""
    X, _ = digits
    gan = make_gan(max_epochs=4, learning_rate=0.001, callbacks=[InEpoch(3, poison)])
    with pytest.raises(
        TrainingDivergedError, match=r"epoch 3.*nan.*Lower learning_rate \(now 0.001\)"
    ) as caught:
        gan.fit(X)
    assert isinstance(caught.value, ValueError)
    assert_usable(gan, X, 2)


@pytest.mark.parametrize("poison", [poison_generator, poison_discriminator])
def test_weights_that_break_in_the_last_step_are_a_divergence(digits, poison):
    """No loss has seen them, but they are NaN all the same and must not be kept."""
    X, _ = digits
    callbacks = [InEpoch(2, poison, after=True)]
    gan = make_gan(max_epochs=2, batch_size=200, callbacks=callbacks)
    with pytest.raises(TrainingDivergedError, match="epoch 2: the weights are not fin"):
        gan.fit(X)
    assert_usable(gan, X, 1)


@pytest.mark.parametrize(
    ("params", "remedy"),
    [
        ({}, r"\(now 0.0002\)\.$"),
        ({"loss": "hinge"}, r"\(now 0.0002\)\.$"),
        ({"loss": "least_squares"}, r", or choose loss='hinge' or 'nonsaturating'\.$"),
        ({"precision": "bfloat16"}, r"\(now 0.0002\), or set precision='float32'\.$"),
    ],
    ids=str,
)
def test_divergence_error_advises_what_is_not_done_yet(digits, params, remedy):
    """Neither a loss as good as those advised, nor a precision, is advised again."""
    gan = make_gan(callbacks=[InEpoch(1, poison_generator)], precision="float32")
    with pytest.raises(TrainingDivergedError, match=remedy):
        gan.set_params(**params).fit(digits[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_huge_learning_rate_diverges(digits, loss):
    """The error comes whatever the loss, and names the rate."""
    X, _ = digits
    gan = make_gan(max_epochs=3, learning_rate=1e30, loss=loss)
    with pytest.raises(TrainingDivergedError, match=r"learning_rate \(now 1e\+30\)"):
        gan.fit(X)
    assert_usable(gan, X, gan.n_iter_)


def test_divergence_error_survives_a_process_boundary():
    """Workers of joblib hand errors on as pickles."""
    error = TrainingDivergedError("Training diverged in epoch 2.", {"d_loss": 1.0})
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert again.losses == error.losses
