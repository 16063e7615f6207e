"""Batch normalisation over the rows of all processes, each of which has its own.

torch's SyncBatchNorm is for GPUs alone. Here torch's own kernels work on a rank's rows;
two small tensors go between the ranks, one in each direction.
"""

import torch
import torch.distributed as dist
from torch.autograd import Function
from torch.nn.functional import batch_norm

from sklgan._training._distributed import communicate, current_group


def joined_batch_norm(layer, x):
    """Return what a layer in training makes of a rank's rows, part of a joined batch.

    Parameters
    ----------
    layer : torch.nn.BatchNorm1d, BatchNorm2d or BatchNorm3d
        In training; its running statistics are moved as in one process.
    x : Tensor of shape (b, c, ...)
        The rank's rows.

    Returns
    -------
    y : Tensor of shape (b, c, ...)
        Differentiable, twice where ``x`` is.
    """
    layer._check_input_dim(x)
    group = current_group()
    dtype = torch.promote_types(x.dtype, torch.float32)
    mean, variance, n_values = _statistics(x.detach(), dtype, group)
    if layer.track_running_stats:
        _move_statistics(layer, mean, variance * (n_values / (n_values - 1)))
    weight, bias = layer.weight, layer.bias
    if weight is None:
        weight, bias = torch.ones_like(mean), torch.zeros_like(mean)
    return _Normalize.apply(x, weight, bias, mean, variance, n_values, layer.eps, group)


def _statistics(x, dtype, group):
    """Return mean and variance (c,) of all ranks' values, and how many a channel has.

    From those of each rank, so that no large sums of squares cancel.
    """
    mean = variance = x.new_zeros(x.shape[1], dtype=dtype)
    if x.numel():
        # Without momentum the last arguments only say in what precision.
        mean, variance = torch.batch_norm_update_stats(x, mean, variance, 0.0)
    n_values = mean.new_full((1,), x.numel() / x.shape[1])
    own = torch.cat([mean, variance, n_values])
    parts = [torch.empty_like(own) for _ in range(group.size())]
    communicate(dist.all_gather, parts, own, group=group)
    joined = torch.stack(parts)
    shares = joined[:, -1:] / joined[:, -1].sum()
    means, variances = joined[:, :-1].chunk(2, dim=1)
    mean = (shares * means).sum(0)
    variance = (shares * (variances + (means - mean).square())).sum(0)
    return mean, variance, joined[:, -1].sum()


@torch.no_grad()
def _move_statistics(layer, mean, variance):
    """Move a layer's running statistics towards those of a batch."""
    layer.num_batches_tracked += 1
    momentum = layer.momentum
    if momentum is None:  # a cumulative average
        momentum = 1 / layer.num_batches_tracked.to(mean.dtype)
    layer.running_mean += momentum * (mean - layer.running_mean)
    layer.running_var += momentum * (variance - layer.running_var)


class _Normalize(Function):
    """Normalisation by statistics that are those of the rows of all ranks."""

    @staticmethod
    def forward(ctx, x, weight, bias, mean, variance, n_values, eps, group):
        ctx.save_for_backward(x, weight, bias, mean, variance, n_values)
        ctx.eps, ctx.group = eps, group
        return batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx, gradient):
        *inputs, mean, variance, n_values = ctx.saved_tensors
        needs, others = ctx.needs_input_grad[:3], [None] * 5
        if not torch.is_grad_enabled():
            return *_gradients(
                gradient, *inputs, mean, variance, n_values, ctx
            ), *others
        # To be differentiated again, as gradient penalties do.
        y = _normalize_in_steps(*inputs, n_values, ctx.eps, ctx.group)
        wanted = [x for x, need in zip(inputs, needs, strict=True) if need]
        found = iter(torch.autograd.grad(y, wanted, gradient, create_graph=True))
        return *(next(found) if need else None for need in needs), *others


def _gradients(gradient, x, weight, bias, mean, variance, n_values, ctx):
    """Return the gradients of x, weight and bias, those two of a rank's own rows."""
    of_x, of_weight, of_bias = (torch.zeros_like(t) for t in (x, mean, mean))
    if x.numel():  # of no rows, torch's kernel ends the process
        statistics = None, None, False, ctx.eps
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, *statistics, [True, True, True]
        )
    # So far as if mean and variance were constants. All ranks' rows move them.
    total = torch.stack([of_weight, of_bias])
    communicate(dist.all_reduce, total, group=ctx.group)
    total *= weight * (variance + ctx.eps).rsqrt() / n_values
    of_x -= batch_norm(x, mean, variance, *total, eps=ctx.eps)
    return of_x, of_weight, of_bias


def _normalize_in_steps(x, weight, bias, n_values, eps, group):
    """Return the same as ``_Normalize``, in operations that autograd knows."""
    dims = [0, *range(2, x.ndim)]
    shape = [1, -1] + [1] * (x.ndim - 2)
    values = x.to(weight.dtype)
    values = values - (_Sum.apply(values.sum(dims), group) / n_values).view(shape)
    variance = _Sum.apply(values.square().sum(dims), group) / n_values
    scale = (variance + eps).rsqrt() * weight
    return (values * scale.view(shape) + bias.view(shape)).to(x.dtype)


class _Sum(Function):
    """The sum over ranks of a tensor, which each rank then uses for its own rows."""

    @staticmethod
    def forward(ctx, tensor, group):
        ctx.group = group
        total = tensor.clone()
        communicate(dist.all_reduce, total, group=group)
        return total

    @staticmethod
    def backward(ctx, gradient):
        return _Sum.apply(gradient.contiguous(), ctx.group), None
