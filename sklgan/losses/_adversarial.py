"""Adversarial losses: pairs ``d_*`` and ``g_*``, and the penalties that go with them.

A discriminator's loss takes the logits of real and of fake images, a generator's
those of fake images; both return a scalar tensor to be minimised. Logits may have
any shape; the mean is taken over all of them.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus


def d_nonsaturating(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E[softplus(-D(x))] + E[softplus(D(G(z)))], the original GAN's loss.

    It is binary cross-entropy; at equal logits of 0 it is 2 log 2. Source: Goodfellow
    et al. 2014, section 3 (arXiv:1406.2661).
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def g_nonsaturating(fake_logits: Tensor) -> Tensor:
    """Return E[softplus(-D(G(z)))]; Goodfellow et al. 2014, section 3."""
    return softplus(-fake_logits).mean()


def d_hinge(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))].

    Source: Lim and Ye 2017 (arXiv:1705.02894), equation 6.
    """
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


def g_hinge(fake_logits: Tensor) -> Tensor:
    """Return -E[D(G(z))]; Lim and Ye 2017 (arXiv:1705.02894)."""
    return -fake_logits.mean()


def d_wasserstein(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E[D(G(z))] - E[D(x)]; add :func:`gradient_penalty` to bound D's slope.

    Source: Arjovsky, Chintala and Bottou 2017, algorithm 1 (arXiv:1701.07875).
    """
    return fake_logits.mean() - real_logits.mean()


def g_wasserstein(fake_logits: Tensor) -> Tensor:
    """Return -E[D(G(z))]; Arjovsky, Chintala and Bottou 2017 (arXiv:1701.07875)."""
    return -fake_logits.mean()


def d_least_squares(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return (E[(D(x) - 1)^2] + E[D(G(z))^2]) / 2.

    Source: Mao et al. 2017, equation 9 (arXiv:1611.04076).
    """
    return 0.5 * ((real_logits - 1).square().mean() + fake_logits.square().mean())


def g_least_squares(fake_logits: Tensor) -> Tensor:
    """Return E[(D(G(z)) - 1)^2] / 2; Mao et al. 2017, equation 9."""
    return 0.5 * (fake_logits - 1).square().mean()


def d_relativistic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return E[softplus(D(G(z)) - D(x))], real and fake paired row by row.

    Source: Jolicoeur-Martineau 2018, section 4.1 (arXiv:1807.00734); with the
    penalties R1 and R2 it is R3GAN's (Huang et al. 2024, arXiv:2501.05441).
    """
    return softplus(fake_logits - real_logits).mean()


def g_relativistic(fake_logits: Tensor, real_logits: Tensor) -> Tensor:
    """Return E[softplus(D(x) - D(G(z)))]; needs the logits of real images too.

    Source: Jolicoeur-Martineau 2018, section 4.1 (arXiv:1807.00734).
    """
    return softplus(real_logits - fake_logits).mean()


ADVERSARIAL_LOSSES = {
    "nonsaturating": (d_nonsaturating, g_nonsaturating),
    "hinge": (d_hinge, g_hinge),
    "wasserstein": (d_wasserstein, g_wasserstein),
    "least_squares": (d_least_squares, g_least_squares),
    "relativistic": (d_relativistic, g_relativistic),
}


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Return E[||dD(x)/dx||^2], the zero-centred gradient penalty.

    On real images it is R1, on generated ones R2.

    Parameters
    ----------
    logits : Tensor
        The discriminator's logits of ``images``, any shape.
    images : Tensor
        (n, ...), requiring gradients.

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Mescheder, Geiger and Nowozin 2018, equation 9 (arXiv:1801.04406), without its
    factor gamma / 2.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.float().flatten(1).square().sum(1).mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return E[(||dD(u)/du|| - 1)^2], u drawn between a real and a fake image.

    Parameters
    ----------
    discriminator : torch.nn.Module
        ``forward(x) -> (features, logits)``, without batch normalisation.
    real, fake : Tensor
        (n, ...), of equal shape.

    Returns
    -------
    Tensor
        A scalar.

    References
    ----------
    Gulrajani et al. 2017, algorithm 1 (arXiv:1704.00028), without its factor lambda.
    """
    weight = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    between = torch.lerp(real, fake, weight).detach().requires_grad_()
    _, logits = discriminator(between)
    (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    return (gradient.float().flatten(1).norm(dim=1) - 1).square().mean()


def discriminator_loss(
    discriminator: nn.Module,
    real: Tensor,
    fake: Tensor,
    y: Tensor | None = None,
    *,
    loss: str,
    penalty_weight: float = 0.0,
) -> Tensor:
    """Return a discriminator's adversarial loss with its gradient penalty.

    Real and fake images pass apart, so that each is normalised over its own kind.

    Parameters
    ----------
    discriminator : torch.nn.Module
        ``forward(x) -> (features, logits)``.
    real, fake : Tensor
        (n, c, h, w) or (n, d).
    y : Tensor, optional
        Ignored; methods that use labels have losses of their own.
    loss : str
        A key of ``ADVERSARIAL_LOSSES``.
    penalty_weight : float, default=0.0
        Lambda of :func:`gradient_penalty` for ``"wasserstein"``; for
        ``"relativistic"`` gamma of R1 + R2, for the others gamma of R1 (times 1/2).

    Returns
    -------
    Tensor
        A scalar.
    """
    d_loss, _ = ADVERSARIAL_LOSSES[loss]
    with_r1 = penalty_weight > 0 and loss != "wasserstein"
    with_r2 = with_r1 and loss == "relativistic"
    real = real.detach().requires_grad_(with_r1)
    fake = fake.detach().requires_grad_(with_r2)
    real_logits = discriminator(real)[1].float()
    fake_logits = discriminator(fake)[1].float()
    value = d_loss(real_logits, fake_logits)
    if with_r1:
        penalty = r1_penalty(real_logits, real)
        if with_r2:
            penalty = penalty + r1_penalty(fake_logits, fake)
        value = value + 0.5 * penalty_weight * penalty
    elif penalty_weight > 0:
        value = value + penalty_weight * gradient_penalty(discriminator, real, fake)
    return value


def d_lazy_r1(
    discriminator: nn.Module,
    real: Tensor,
    fake: Tensor,
    y: Tensor | None = None,
    *,
    step: Tensor,
    penalty_weight: float,
    interval: int,
) -> Tensor:
    """Return the non-saturating loss, at times with R1: gamma / 2 E[||dD(x)/dx||^2].

    Each ``interval``-th step has the penalty, with ``interval`` times its weight.
    Source: Karras et al. 2020, section 3.1 (arXiv:1912.04958).

    Parameters
    ----------
    discriminator : torch.nn.Module
        ``forward(x) -> (features, logits)``.
    real, fake : Tensor
        (n, c, h, w) or (n, d).
    y : Tensor, optional
        Ignored.
    step : Tensor
        Number of steps taken, int64 of shape () on the CPU; counted here, in place.
    penalty_weight : float
        Gamma.
    interval : int
        Steps from one penalty to the next.

    Returns
    -------
    Tensor
        A scalar.
    """
    # On the CPU, where nothing has to wait for the device.
    is_due = int(step) % interval == 0
    step += 1
    weight = interval * penalty_weight if is_due else 0.0
    return discriminator_loss(
        discriminator, real, fake, loss="nonsaturating", penalty_weight=weight
    )


def generator_loss(
    discriminator: nn.Module, real: Tensor, fake: Tensor, *, loss: str
) -> Tensor:
    """Return a generator's adversarial loss.

    Parameters
    ----------
    discriminator : torch.nn.Module
        ``forward(x) -> (features, logits)``.
    real, fake : Tensor
        (n, c, h, w) or (n, d); only ``"relativistic"`` looks at ``real``.
    loss : str
        A key of ``ADVERSARIAL_LOSSES``.

    Returns
    -------
    Tensor
        A scalar.
    """
    _, g_loss = ADVERSARIAL_LOSSES[loss]
    fake_logits = discriminator(fake)[1].float()
    if loss != "relativistic":
        return g_loss(fake_logits)
    with torch.no_grad():
        real_logits = discriminator(real)[1].float()
    return g_loss(fake_logits, real_logits)
