"""Networks as they leave training: averaged, their BatchNorm statistics gathered."""

from contextlib import closing, contextmanager

import torch

from sklgan._rows import gather
from sklgan._tensors import torch_seed
from sklgan._training._averages import gather_batch_norm
from sklgan._training._batches import equal_batches
from sklgan._training._distributed import same_weights

# Means and variances over this many images are exact to well under a per cent.
_STATISTICS_ROWS = 10_000

# Where a stream comes in small chunks, so many of its rows count, and so many batches
# of generated images: a few steps of training, in which weights hardly move.
_STREAM_ROWS, _GENERATED_BATCHES, _FEWEST_BATCHES = 1_000, 50, 8


def settled_discriminator(net, rows, before=None):
    """Return the discriminator, its BatchNorm statistics those of the rows.

    Parameters
    ----------
    net : AdversarialNet
        Trained.
    rows : Tensor or StreamedRows
        What it was trained on.
    before : torch.nn.Module, default=None
        The discriminator that a stream has led to so far, whose statistics count as
        well where the rows are few.
    """
    order = torch.randperm(len(rows), device=rows.device)[:_STATISTICS_ROWS]
    bounds = equal_batches(len(order), net.batch_size)
    network = net.discriminator_
    if net.average_discriminator:
        network = net.ema_discriminator_
        _copy_buffers(network, net.discriminator_)
    weight = min(1.0, len(rows) / _STREAM_ROWS)
    with closing(gather(rows, order, bounds)) as batches:
        batches = map(net.to_batch, batches)
        return same_weights(gather_batch_norm(network, batches, before, weight))


def settled_generator(net, before=None):
    """Return the generator with averaged weights, BatchNorm statistics to match.

    Parameters
    ----------
    net : AdversarialNet
        Trained.
    before : torch.nn.Module, default=None
        The generator a few steps of a stream ago: its statistics are only moved by as
        much.
    """
    averaged, last = net.ema_generator_, net.generator_
    if not net.ema_decay:
        averaged.load_state_dict(last.state_dict())
    _copy_buffers(averaged, last)
    n_batches = _GENERATED_BATCHES
    if before is not None:
        n_steps = sum(len(epoch["batches"]) for epoch in net.history)
        n_batches = min(n_batches, max(_FEWEST_BATCHES, n_steps))
    batches = (net.draw_latent(128) for _ in range(n_batches))
    weight = n_batches / _GENERATED_BATCHES
    if before is not None:
        before = _normalizing_part(before)
    gather_batch_norm(_normalizing_part(averaged), batches, before, weight)
    return same_weights(averaged.eval())


def _normalizing_part(generator):
    """Return what to run for statistics: all, or what the network says is enough."""
    return getattr(generator, "_normalizing_part", generator)


def _copy_buffers(averaged, last):
    """Give an average what is not averaged, such as the vectors of spectral norms.

    BatchNorm's statistics are gathered anew after that.
    """
    for buffer, value in zip(averaged.buffers(), last.buffers(), strict=True):
        buffer.copy_(value)


@contextmanager
def settled(net, rows=None):
    """Lend the generator as it would be if training ended now.

    To be used in the context alone: it is the network in training itself, whose
    statistics, like all that was drawn, are then put back. Given the rows that
    training is on, it is the discriminator. All processes of a training have to ask.
    """
    networks = [getattr(net, name) for name in net.module_names]
    buffers = [buffer for network in networks for buffer in network.buffers()]
    before = [buffer.clone() for buffer in buffers]
    with torch_seed(0, net.device):
        try:
            if rows is None:
                yield settled_generator(net)
            else:
                yield settled_discriminator(net, rows)
        finally:
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
