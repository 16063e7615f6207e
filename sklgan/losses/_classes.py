"""Losses of a discriminator with a logit for each class."""

import math

import torch
from torch import Tensor


def realness(logits: Tensor) -> Tensor:
    """Return the realness logit of K class logits, (n, K) to (n,): log sum exp.

    The logit of the class "generated" is fixed at 0, so that the probability of being
    real is sigmoid(log sum_k exp l_k(x)). Source: Salimans et al. 2016, section 5
    (arXiv:1606.03498).
    """
    return logits.logsumexp(dim=1)


def g_feature_matching(real_features: Tensor, fake_features: Tensor) -> Tensor:
    """Return the mean over features f of abs(E f(x) - E f(G(z))), each (n, ...).

    Source: Salimans et al. 2016, section 3.1, with the absolute value of their code
    in place of the square.
    """
    return (real_features.mean(0) - fake_features.mean(0)).abs().mean()


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -E[sum_k t_k log p_k] in nats, for p = softmax of logits (n, K).

    Targets t are probabilities (n, K).
    """
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()


def conditional_entropy(logits: Tensor) -> Tensor:
    """Return E[H(p(y|x))] in nats for p = softmax of logits (n, K)."""
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1).mean()


def marginal_entropy(logits: Tensor, remembered: Tensor | None = None) -> Tensor:
    """Return H(E[p(y|x)]) in nats for p = softmax of logits (n, K).

    A batch of few rows cannot hold all classes and has too low an entropy. There the
    mean is taken over earlier batches as well, which are constants for the gradient.

    Parameters
    ----------
    logits : Tensor
        (n, K).
    remembered : Tensor, optional
        (K,), the mean prediction so far, which is moved by this one in place: by so
        much that 10 K rows count. From 10 K rows on the batch alone does.

    Returns
    -------
    Tensor
        A scalar.
    """
    mean = logits.softmax(dim=1).mean(dim=0)
    if remembered is not None:
        mean = _remember(remembered, mean, len(logits) / (10 * len(mean)))
    return -torch.xlogy(mean, mean.clamp(min=1e-12)).sum()


def marginal_divergence(
    logits: Tensor, prior: Tensor, remembered: Tensor | None = None
) -> Tensor:
    """Return KL(E[p(y|x)] || prior) in nats, for p = softmax of logits (n, K).

    For a uniform prior it is log K - :func:`marginal_entropy`, and batches of few rows
    are treated as there.

    Parameters
    ----------
    logits : Tensor
        (n, K).
    prior : Tensor
        (K,), above 0.
    remembered : Tensor, optional
        (K,), as for :func:`marginal_entropy`, but so that 5 K rows count.

    Returns
    -------
    Tensor
        A scalar.
    """
    share = len(logits) / (5 * len(prior))
    if remembered is None or share >= 1:
        log_mean = logits.log_softmax(dim=1).logsumexp(dim=0) - math.log(len(logits))
        return (log_mean.exp() * (log_mean - prior.log())).sum()
    mean = _remember(remembered, logits.softmax(dim=1).mean(dim=0), share)
    return (torch.xlogy(mean, mean.clamp(min=1e-12)) - mean * prior.log()).sum()


def _remember(remembered, mean, share):
    """Move ``remembered`` (K,) by a share towards a batch's mean; return it.

    Its gradient is the batch's.
    """
    remembered.lerp_(mean.detach(), min(1.0, share))
    return remembered + (mean - mean.detach())
