"""Networks computed by several processes, each on its share of every batch.

All ranks draw the same batches, latent vectors and augmentations, those of the joined
batch. Networks alone are computed on a rank's own rows, and what they return is
gathered, so that any loss sees the joined batch; gradients of weights are then summed
over the ranks. The result is that of one process, up to rounding, where no layer but
batch normalisation mixes rows. In a single process nothing of this happens.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import torch
import torch.distributed as dist
from torch import nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm

from sklgan._training._distributed import communicate, current_group, in_place
from sklgan._training._joined_norm import joined_batch_norm

# The rows (start, stop, of how many) that a network is being computed on.
_ROWS: ContextVar = ContextVar("rows", default=None)


def shared(module):
    """Return a function that computes a network, each rank its share of the rows.

    Parameters
    ----------
    module : torch.nn.Module
        A generator, or a discriminator that returns (features, logits).

    Returns
    -------
    callable
        Rows of the joined batch to the output for them, the same on all ranks and
        differentiable, twice where the module is; features are gathered when they are
        asked for. The module itself in a single process.
    """
    group = current_group()
    if group is None:
        return module

    def compute(rows):
        n = len(rows)
        token = _ROWS.set((*_share(n, group), n))
        try:
            output = module(_Scatter.apply(rows, group))
        finally:
            _ROWS.reset(token)
        if torch.is_tensor(output):
            return _Gather.apply(output, n, group)
        features, logits = output
        return _Features(features, n, group), _Gather.apply(logits, n, group)

    return compute


class _Features:
    """A discriminator's features, each gathered when it is asked for."""

    def __init__(self, features, n_rows, group):
        self._features, self._args = features, (n_rows, group)

    def __len__(self):
        return len(self._features)

    def __getitem__(self, index):
        return _Gather.apply(self._features[index], *self._args)


def _share(n_rows, group):
    """Return the first of this rank's rows and the one after its last."""
    rank, size = dist.get_rank(group), group.size()
    return n_rows * rank // size, n_rows * (rank + 1) // size


class _Scatter(Function):
    """The rank's own rows of a joined tensor; gradients come back for all of them."""

    @staticmethod
    def forward(ctx, rows, group):
        ctx.n_rows, ctx.group = len(rows), group
        start, stop = _share(len(rows), group)
        return rows[start:stop].clone()

    @staticmethod
    def backward(ctx, gradient):
        return _Gather.apply(gradient, ctx.n_rows, ctx.group), None


class _Gather(Function):
    """The joined tensor of all ranks' rows, of whose gradients each takes its own."""

    @staticmethod
    def forward(ctx, rows, n_rows, group):
        ctx.group = group
        if rows.ndim != 4:
            return _gather(rows, n_rows, group)
        # Images lie in memory channels last.
        images = _gather(rows.permute(0, 2, 3, 1), n_rows, group)
        return images.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, gradient):
        return _Scatter.apply(gradient, ctx.group), None, None


def _gather(rows, n_rows, group):
    """Return the rows of all ranks, whose numbers of rows differ by 1 at most."""
    size = group.size()
    longest = rows.new_zeros(-(-n_rows // size), *rows.shape[1:])
    longest[: len(rows)] = rows
    parts = [torch.empty_like(longest) for _ in range(size)]
    communicate(dist.all_gather, parts, longest, group=group)
    bounds = [n_rows * rank // size for rank in range(size + 1)]
    lengths = [stop - start for start, stop in zip(bounds, bounds[1:], strict=False)]
    return torch.cat([part[:n] for part, n in zip(parts, lengths, strict=True)])


def sum_gradients(parameters):
    """Add up the gradients of all ranks, each of which has those of its own rows."""
    group = current_group()
    if group is not None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        in_place(partial(dist.all_reduce, group=group), gradients)


@contextmanager
def layers_of_the_joined_batch(module):
    """Let batch normalisation and dropout see the joined batch within the context.

    Also what draws random numbers for the rows of ``_joined_rows()``, (start, stop, of
    how many). Parameters, buffers and the layers themselves stay what they are.
    """
    layers = [
        (layer, own)
        for layer in module.modules()
        for kind, original, own in (
            (_BatchNorm, _BatchNorm.forward, _batch_norm),
            (nn.Dropout, nn.Dropout.forward, _dropout),
        )
        # Other classes' own ways of computing are left to them.
        if isinstance(layer, kind) and type(layer).forward is original
    ]
    drawing = [layer for layer in module.modules() if hasattr(layer, "_joined_rows")]
    if current_group() is None:
        layers = drawing = []
    for layer, own in layers:
        layer.forward = partial(own, layer)
    for layer in drawing:
        layer._joined_rows = _joined_rows
    try:
        yield
    finally:
        for layer, _ in layers:
            del layer.forward
        for layer in drawing:
            del layer._joined_rows


def _joined_rows():
    """Return the rows that a network is computed on: a function, to be pickled."""
    return _ROWS.get()


def _batch_norm(layer, x):
    """Normalise a rank's rows as they would be in the joined batch."""
    if _ROWS.get() is None or not layer.training:
        return type(layer).forward(layer, x)
    return joined_batch_norm(layer, x)


def _dropout(layer, x):
    """Drop from a rank's rows what would be dropped from them in the joined batch."""
    if _ROWS.get() is None or not layer.training:
        return type(layer).forward(layer, x)
    start, stop, n_rows = _ROWS.get()
    if len(x) != stop - start:  # not one entry a row
        return type(layer).forward(layer, x)
    mask = nn.functional.dropout(x.new_ones(n_rows, *x.shape[1:]), layer.p)
    return x * mask[start:stop]
