"""Averages over training: of weights, and of batch normalisation's statistics."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.optim.swa_utils import get_ema_multi_avg_fn


def are_finite(*modules):
    """Tell whether all weights are finite numbers; the device is asked once."""
    finite = [p.isfinite().all() for module in modules for p in module.parameters()]
    return bool(torch.stack(finite).all())


def batch_norm_in_training(module):
    """Put batch normalisation in training mode, all else such as dropout out of it.

    Spectral norms as well: their vectors follow the weights in training alone.
    """
    module.eval()
    for layer in module.modules():
        if isinstance(layer, (_BatchNorm, ParametrizationList)):
            layer.train()
    return module


@torch.no_grad()
def move_average(averaged, module, n_updates, decay):
    """Move averaged weights towards the weights; young averages are short."""
    decay = min(decay, (1 + n_updates) / (10 + n_updates))
    weights = list(averaged.parameters()), list(module.parameters())
    get_ema_multi_avg_fn(decay)(*weights, None)


@torch.no_grad()
def gather_batch_norm(module, batches, before=None, weight=1.0):
    """Set the running statistics of batch normalisation to their mean over batches.

    The statistics left by training belong to weights that have since moved, or to
    weights that are an average (see Newmu/dcgan_code, which recomputes them too).

    Parameters
    ----------
    module : torch.nn.Module
        Its statistics are set in place.
    batches : iterable of Tensor
        What it takes.
    before : torch.nn.Module, default=None
        The same network as it was a few steps ago.
    weight : float, default=1.0
        Of the batches, against the statistics of ``before``.

    Returns
    -------
    torch.nn.Module
        The module itself, in evaluation mode.
    """
    layers = _batch_norm_layers(module)
    if not layers:
        return module.eval()
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average
    batch_norm_in_training(module)
    for batch in batches:
        module(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    if before is not None:
        for layer, old in zip(layers, _batch_norm_layers(before), strict=True):
            for name in ("running_mean", "running_var"):
                statistic = getattr(layer, name)
                kept = getattr(old, name).to(statistic.device)
                statistic.copy_(torch.lerp(kept, statistic, weight))
    return module.eval()


def _batch_norm_layers(module):
    """Return the layers of a module that normalise over the batch."""
    return [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
