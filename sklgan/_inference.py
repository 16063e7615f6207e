"""Fitted networks at work: rows in batches, on the device, without gradients."""

from contextlib import closing
from functools import partial

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklgan._placement import read_batches
from sklgan._tensors import as_tensor

_BATCH = 128


def check_gan(estimator, method="generate", kind="GAN estimator"):
    """Refuse what is not a fitted GAN estimator.

    Parameters
    ----------
    estimator : object
        What the user passed.
    method : str, default="generate"
        What such estimators can do, and others cannot.
    kind : str, default="GAN estimator"
        What they are called, for the message.

    Raises
    ------
    TypeError
        If it is none, such as a pipeline that holds one.
    NotFittedError
        If it is not fitted.
    """
    if not hasattr(estimator, method):
        raise TypeError(
            f"{type(estimator).__name__} is no {kind} of sklgan. Pass one that is "
            "fitted: of a pipeline the step, such as pipeline['gan'], of a search its "
            "best_estimator_."
        )
    check_is_fitted(estimator)


def has_generator(estimator):
    """Tell whether an estimator's trainings, if there were any, had a generator."""
    history = estimator.history_
    return not history or any("g_loss" in row for row in history)


def for_each_batch(n_rows, run, batch_size=_BATCH):
    """Call ``run(rows, batch_size)`` for slices of at most ``batch_size`` rows.

    Where the device's memory does not suffice, the batch is halved and tried again.
    Returns the size of batch that did.
    """
    start = 0
    while start < n_rows:
        rows = slice(start, min(start + batch_size, n_rows))
        try:
            run(rows, batch_size)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size //= 2
        else:
            start = rows.stop
    return batch_size


def device_of(network):
    """Return the device on which a network computes."""
    return next(network.parameters()).device


def run_generator(generator, Z, *, pad):
    """Return the generator's output for latent vectors Z, (n, ...), float32."""
    device = device_of(generator)
    parts = []

    def run(rows, batch_size):
        z = as_tensor(Z[rows]).to(device)
        images = generator(_padded(z, batch_size) if pad else z)
        parts.append(images[: len(z)].cpu().numpy())

    with torch.inference_mode():
        for_each_batch(len(Z), run)
    return np.concatenate(parts)


def run_discriminator(discriminator, X, to_batch, write, *, pad):
    """Call ``write(rows, features, logits)`` for each batch of rows X.

    Parameters
    ----------
    discriminator : torch.nn.Module
        On the device to compute on.
    X : ndarray, Tensor or ImageSequence of shape (n_samples, n_features)
        What ``check_images`` has returned; what is not in memory is read ahead.
    to_batch : callable
        Some of these rows, as a tensor on the device, to what the network takes.
    write : callable
        Is given a slice, and the features and logits of its rows, on the device.
    pad : bool
        Whether each batch is filled up with rows of 0. Matrix products choose their
        order of summation by the number of rows, so that a row's last digits would
        depend on what is beside it; convolutions do not, and it would cost too much.
    """
    device = device_of(discriminator)
    batch_size = _BATCH

    def run(part, first, rows, batch_size):
        batch = to_batch(as_tensor(part[rows]).to(device))
        n = len(batch)
        features, logits = discriminator(_padded(batch, batch_size) if pad else batch)
        rows = slice(first + rows.start, first + rows.stop)
        write(rows, [feature[:n] for feature in features], logits[:n])

    with torch.inference_mode(), closing(read_batches(X, _BATCH)) as parts:
        for place, part in parts:
            run_part = partial(run, part, place.start)
            batch_size = for_each_batch(len(part), run_part, batch_size)


def _padded(batch, n_rows):
    """Return the batch with rows of 0 after it, ``n_rows`` in all."""
    missing = n_rows - len(batch)
    return torch.cat([batch, batch.new_zeros(missing, *batch.shape[1:])])
