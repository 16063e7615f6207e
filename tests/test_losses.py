"""Losses against values and gradients that were worked out by hand."""

from math import exp, log, log1p

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from sklgan import losses
from sklgan.losses import (
    ADVERSARIAL_LOSSES,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
)

REAL = torch.tensor([[2.0], [0.0]])
FAKE = torch.tensor([[-1.0], [3.0]])


def softplus(value):
    """Return log(1 + exp(value)) of a float."""
    return log1p(exp(value))


EXPECTED = {
    "nonsaturating": (
        (softplus(-2) + softplus(0) + softplus(-1) + softplus(3)) / 2,
        (softplus(1) + softplus(-3)) / 2,
    ),
    "hinge": ((0 + 1) / 2 + (0 + 4) / 2, -1.0),
    "wasserstein": (1.0 - 1.0, -1.0),
    "least_squares": (((1 + 1) / 2 + (1 + 9) / 2) / 2, (4 + 4) / 2 / 2),
    "relativistic": (
        (softplus(-3) + softplus(3)) / 2,
        (softplus(3) + softplus(-3)) / 2,
    ),
}


class Linear(nn.Module):
    """A discriminator whose logit is the product of an image with fixed weights."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        logits = (x * self.weight).flatten(1).sum(1, keepdim=True)
        return [x], logits


@pytest.fixture
def linear():
    """Return a linear discriminator of (2, 3, 3) images; the weights' norm is 3."""
    weight = torch.arange(18.0).view(2, 3, 3) - 5
    return Linear(3 * weight / weight.norm())


@pytest.fixture
def images():
    """Return real and fake images (5, 2, 3, 3)."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 2, 3, 3, generator=rng).unbind()


def g_value(loss, fake_logits, real_logits):
    """Return a generator's loss, with the real logits where it takes them."""
    g_loss = ADVERSARIAL_LOSSES[loss][1]
    if loss == "relativistic":
        return g_loss(fake_logits, real_logits)
    return g_loss(fake_logits)


def test_every_loss_has_its_values_in_this_file():
    """A new pair of losses needs a line in EXPECTED."""
    assert ADVERSARIAL_LOSSES.keys() == EXPECTED.keys()


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_pair_is_found_by_its_name(loss):
    """The key and the functions' names have the suffix in common."""
    pair = getattr(losses, f"d_{loss}"), getattr(losses, f"g_{loss}")
    assert ADVERSARIAL_LOSSES[loss] == pair


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_values_at_given_logits(loss):
    """Both losses are scalars of the value that the formula gives."""
    d_loss = ADVERSARIAL_LOSSES[loss][0](REAL, FAKE)
    g_loss = g_value(loss, FAKE, REAL)
    assert d_loss.shape == g_loss.shape == ()
    assert (float(d_loss), float(g_loss)) == pytest.approx(EXPECTED[loss])


@pytest.mark.parametrize("shape", [(2,), (2, 1), (1, 2), (2, 1, 1, 1)])
@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_logits_may_have_any_shape(loss, shape):
    """The mean is taken over all logits."""
    d_loss = ADVERSARIAL_LOSSES[loss][0](REAL.reshape(shape), FAKE.reshape(shape))
    assert float(d_loss) == pytest.approx(EXPECTED[loss][0])


def test_nonsaturating_loss_of_an_undecided_discriminator():
    """At logits of 0 the discriminator's loss is 2 log 2, the generator's log 2."""
    zeros = torch.zeros(7, 1)
    assert float(losses.d_nonsaturating(zeros, zeros)) == pytest.approx(2 * log(2))
    assert float(losses.g_nonsaturating(zeros)) == pytest.approx(log(2))


@pytest.mark.parametrize("size", [1e3, 1e30])
@pytest.mark.parametrize("loss", ["nonsaturating", "hinge", "relativistic"])
def test_losses_are_finite_at_large_logits(loss, size):
    """No exponential overflows."""
    logits = torch.tensor([[size], [-size]])
    assert ADVERSARIAL_LOSSES[loss][0](logits, -logits).isfinite()
    assert g_value(loss, logits, -logits).isfinite()


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_discriminator_raises_real_and_lowers_fake_logits(loss):
    """At undecided logits, descent raises those of real images and lowers the rest."""
    real, fake = torch.full((2, 4, 1), 0.5).requires_grad_().unbind()
    gradients = torch.autograd.grad(
        ADVERSARIAL_LOSSES[loss][0](real, fake), (real, fake)
    )
    assert (gradients[0] < 0).all()
    assert (gradients[1] > 0).all()


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_generator_raises_fake_logits(loss):
    """At undecided logits, descent raises those of generated images."""
    fake = torch.full((4, 1), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(g_value(loss, fake, torch.zeros(4, 1)), fake)
    assert (gradient < 0).all()


def test_r1_penalty_of_a_linear_discriminator(linear, images):
    """Its gradient is the weights everywhere: the penalty is their squared norm."""
    real = images[0].requires_grad_()
    penalty = r1_penalty(linear(real)[1], real)
    assert penalty.item() == pytest.approx(9, rel=1e-5)
    (gradient,) = torch.autograd.grad(penalty, linear.weight)
    assert_close(gradient, 2 * linear.weight.detach())


@pytest.mark.parametrize(("norm", "expected"), [(1, 0.0), (3, 4.0), (0.5, 0.25)])
def test_gradient_penalty_of_a_linear_discriminator(linear, images, norm, expected):
    """It is the squared distance of the weights' norm from 1."""
    linear.weight.data *= norm / 3
    penalty = gradient_penalty(linear, *images)
    assert penalty.item() == pytest.approx(expected, abs=1e-6)


def test_gradient_penalty_looks_between_real_and_fake(images):
    """Each image is asked about at one point of the line from real to fake."""
    real, fake = images
    seen = []

    def discriminator(x):
        seen.append(x.detach())
        return [], x.square().flatten(1).sum(1, keepdim=True)

    gradient_penalty(discriminator, real, fake)
    weight = (seen[0] - real) / (fake - real)
    assert weight.min() >= 0
    assert weight.max() <= 1
    assert_close(weight.flatten(1).std(1), torch.zeros(5), rtol=0, atol=1e-4)
    assert weight[:, 0, 0, 0].std() > 0.01


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_discriminator_loss_adds_the_penalty_of_its_loss(linear, images, loss):
    """Wasserstein: lambda GP; relativistic: gamma/2 (R1 + R2); others: gamma/2 R1."""
    real_logits, fake_logits = (linear(x)[1] for x in images)
    plain = ADVERSARIAL_LOSSES[loss][0](real_logits, fake_logits)
    without = discriminator_loss(linear, *images, loss=loss)
    assert_close(without, plain)
    with_penalty = discriminator_loss(linear, *images, loss=loss, penalty_weight=0.1)
    penalty = {"wasserstein": 0.1 * 4, "relativistic": 0.05 * 18}.get(loss, 0.05 * 9)
    assert (with_penalty - plain).item() == pytest.approx(penalty, rel=1e-4)


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_discriminator_loss_ignores_labels(linear, images, loss):
    """The losses of this module learn from images alone."""
    y = torch.arange(5)
    expected = discriminator_loss(linear, *images, loss=loss)
    assert_close(discriminator_loss(linear, *images, y, loss=loss), expected)


@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_discriminator_loss_gives_its_weights_gradients(linear, images, loss, weight):
    """The gradient exists and is finite, that through a penalty included."""
    discriminator_loss(linear, *images, loss=loss, penalty_weight=weight).backward()
    assert linear.weight.grad.isfinite().all()
    assert linear.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_discriminator_loss_gives_images_no_gradients(linear, images, loss):
    """Images that come without history leave without gradients, penalty or not."""
    discriminator_loss(linear, *images, loss=loss, penalty_weight=1.0).backward()
    assert all(x.grad is None and not x.requires_grad for x in images)


@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_generator_loss_reaches_the_generator_alone(linear, images, loss):
    """With the discriminator frozen, gradients arrive at the fake images only."""
    real, fake = images
    fake.requires_grad_()
    linear.requires_grad_(False)
    value = generator_loss(linear, real, fake, loss=loss)
    assert_close(value, g_value(loss, linear(fake)[1], linear(real)[1]))
    value.backward()
    assert fake.grad.abs().sum() > 0
    assert linear.weight.grad is None
    assert real.grad is None
