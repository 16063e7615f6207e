"""The averaged discriminator, and training without a generator."""

import copy

import pytest
import torch
from test_training import SHAPE, make_net
from torch.testing import assert_close

from sklgan._training import settled_discriminator


@pytest.fixture(autouse=True)
def _seed():
    """The engine draws from torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def squares(discriminator, real, fake, y, averaged=None):
    """Stand for a discriminator's loss."""
    return discriminator(real)[1].square().mean()


def test_average_of_the_discriminator_follows_its_weights():
    """After each step it moves a part 1 - decay of the way; short while it is young."""
    net = make_net(
        discriminator_loss=squares, average_discriminator=True, ema_decay=0.9, lr=0.1
    )
    expected = list(net.discriminator_.state_dict().values())[0].clone()
    for step in range(1, 4):
        net.train_step((torch.randn(8, *SHAPE), None))
        weight = list(net.discriminator_.state_dict().values())[0]
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    averaged = list(net.ema_discriminator_.state_dict().values())[0]
    assert_close(averaged, expected)
    assert not torch.allclose(averaged, weight)


def test_the_average_is_what_remains():
    """The settled discriminator has averaged weights, and statistics of the rows."""
    net = make_net(discriminator_loss=squares, average_discriminator=True)
    rows = torch.randn(32, *SHAPE)
    net.train(rows)
    averaged = copy.deepcopy(dict(net.ema_discriminator_.named_parameters()))
    settled = settled_discriminator(net, rows)
    assert_close(dict(settled.named_parameters()), averaged, rtol=0, atol=0)
    assert not any(layer.training for layer in settled.modules())


def test_losses_see_the_average_and_not_the_network_itself():
    """Its weights lag behind the network's."""
    distances = []

    def distance(network, other):
        pairs = zip(network.parameters(), other.parameters(), strict=True)
        return sum((one - two).abs().sum().item() for one, two in pairs)

    def loss(discriminator, real, fake, y, averaged):
        assert distance(averaged, net.ema_discriminator_) == 0
        distances.append(distance(averaged, net.discriminator_))
        return squares(discriminator, real, fake, y)

    net = make_net(discriminator_loss=loss, average_discriminator=True, lr=0.1)
    for _ in range(2):
        net.train_step((torch.randn(8, *SHAPE), None))
    assert distances[0] == 0 < distances[1]


def test_losses_see_the_average_with_dropout_off():
    """Targets are not to be noisy; batch normalisation takes the batch."""
    seen = []

    def loss(discriminator, real, fake, y, averaged):
        seen.append({type(m).__name__: m.training for m in averaged.modules()})
        return squares(discriminator, real, fake, y)

    net = make_net(discriminator_loss=loss, average_discriminator=True)
    net.discriminator_.head.dropout = torch.nn.Dropout()
    net.ema_discriminator_.head.dropout = torch.nn.Dropout()
    net.train_step((torch.randn(8, *SHAPE), None))
    assert seen[0]["BatchNorm2d"]
    assert not seen[0]["Dropout"]


def test_without_a_generators_loss_nothing_is_generated():
    """The generator stays as it was, and the discriminator's loss gets no fakes."""
    fakes = []

    def loss(discriminator, real, fake, y):
        fakes.append(fake)
        return discriminator(real)[1].square().mean()

    net = make_net(generator_loss=None, discriminator_loss=loss)
    before = copy.deepcopy(net.generator_.state_dict())
    net.train(torch.randn(16, *SHAPE))
    assert fakes == [None, None]
    assert_close(net.generator_.state_dict(), before, rtol=0, atol=0)
    assert "g_loss" not in net.history_rows(0)[0]
