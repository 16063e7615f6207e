"""Losses: pairs ``d_*`` and ``g_*``, penalties, and the terms of the other tasks.

A discriminator's loss takes the logits of real and of fake images, a generator's
those of fake images; both return a scalar tensor to be minimised. Logits may have
any shape; the mean is taken over all of them.
"""

from sklgan.losses._adversarial import (
    ADVERSARIAL_LOSSES,
    d_hinge,
    d_lazy_r1,
    d_least_squares,
    d_nonsaturating,
    d_relativistic,
    d_wasserstein,
    discriminator_loss,
    g_hinge,
    g_least_squares,
    g_nonsaturating,
    g_relativistic,
    g_wasserstein,
    generator_loss,
    gradient_penalty,
    r1_penalty,
)
from sklgan.losses._classes import (
    conditional_entropy,
    g_feature_matching,
    marginal_divergence,
    marginal_entropy,
    realness,
    soft_cross_entropy,
)
from sklgan.losses._turns import turns_cross_entropy
from sklgan.losses._views import fakes_apart, nt_xent

__all__ = [
    "ADVERSARIAL_LOSSES",
    "conditional_entropy",
    "d_hinge",
    "d_lazy_r1",
    "d_least_squares",
    "d_nonsaturating",
    "d_relativistic",
    "d_wasserstein",
    "discriminator_loss",
    "fakes_apart",
    "g_feature_matching",
    "g_hinge",
    "g_least_squares",
    "g_nonsaturating",
    "g_relativistic",
    "g_wasserstein",
    "generator_loss",
    "gradient_penalty",
    "marginal_divergence",
    "marginal_entropy",
    "nt_xent",
    "r1_penalty",
    "realness",
    "soft_cross_entropy",
    "turns_cross_entropy",
]
