"""Averages over training: of weights, and of batch normalisation's statistics."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn


def batch_norm_in_training(module):
    """Put batch normalisation in training mode, all else such as dropout out of it."""
    module.eval()
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.train()
    return module


@torch.no_grad()
def move_average(averaged, module, n_updates, decay):
    """Move averaged weights towards the weights; young averages are short."""
    decay = min(decay, (1 + n_updates) / (10 + n_updates))
    weights = list(averaged.parameters()), list(module.parameters())
    get_ema_multi_avg_fn(decay)(*weights, None)


@torch.no_grad()
def gather_batch_norm(module, batches):
    """Set the running statistics of batch normalisation to their mean over batches.

    The statistics left by training belong to weights that have since moved, or to
    weights that are an average (see Newmu/dcgan_code, which recomputes them too).
    Returns the module, in evaluation mode.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
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
    return module.eval()
