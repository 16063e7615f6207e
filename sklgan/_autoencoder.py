"""A denoising autoencoder, whose code, thresholded, is a hash."""

from contextlib import closing
from functools import partial

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import nn
from torch.nn.functional import dropout, interpolate, mse_loss, relu

from sklgan._placement import read_batches, read_rows
from sklgan._tensors import as_tensor

# Images are compared at this height and width (DCGAN paper, section 4.1).
SIDE = 32

# An image without contrast is not blown up to noise: added to the standard deviation,
# in a range of values from -1 to 1.
_LEAST_CONTRAST = 0.02

_BATCH = 256


def to_input(batch, *, normalize, mirror=False):
    """Turn images into what the autoencoder takes.

    Parameters
    ----------
    batch : Tensor of shape (n, c, h, w) or (n, d)
        Images in [-1, 1], or flat rows, which stay as they are.
    normalize : bool
        Whether to take from each image its mean, and to divide it by its contrast.
    mirror : bool, default=False
        Whether to mirror each image left to right.

    Returns
    -------
    inputs : Tensor of shape (n, d), float32
        Pixels of the centre of each image, scaled to 32 x 32.
    """
    if batch.ndim == 2:
        return batch
    height, width = batch.shape[2:]
    shorter = min(height, width)
    if shorter != SIDE:
        size = [round(side * SIDE / shorter) for side in (height, width)]
        batch = interpolate(batch, size, mode="bilinear", antialias=True)
    top, left = ((side - SIDE) // 2 for side in batch.shape[2:])
    batch = batch[:, :, top : top + SIDE, left : left + SIDE]
    inputs = (batch.flip(3) if mirror else batch).flatten(1)
    if normalize:
        inputs = inputs - inputs.mean(1, keepdim=True)
        scale = inputs.std(1, keepdim=True, correction=0) + _LEAST_CONTRAST
        inputs = inputs / scale
    return inputs


def read_inputs(X, index, prepare, device):
    """Return some rows of X as the autoencoder takes them, a tensor (n, d).

    Parameters
    ----------
    X : ndarray, Tensor or ImageSequence of shape (n_samples, n_features)
        What ``check_images`` has returned.
    index : ndarray of int
        Which rows.
    prepare : callable
        Stored rows, a tensor on the device, to inputs (b, d).
    device : torch.device
        Where the result is needed.
    """
    inputs = None
    for rows in gen_batches(len(index), _BATCH):
        part = prepare(as_tensor(read_rows(X, index[rows])).to(device))
        if inputs is None:
            inputs = torch.empty(len(index), part.shape[1], device=device)
        inputs[rows] = part
    return inputs


def train_encoder(
    inputs,
    n_bits,
    *,
    noise,
    dropout_rate,
    learning_rate,
    batch_size,
    max_epochs,
    report=None,
):
    """Train encoder and decoder, one linear layer each, to take noise off inputs.

    Parameters
    ----------
    inputs : Tensor of shape (n, d)
        Clean inputs, on the device to train on.
    n_bits : int
        Units between the two layers.
    noise : float
        Standard deviation of the Gaussian noise that inputs are given.
    dropout_rate : float
        Probability of leaving out a unit.
    learning_rate : float
        Of Adam.
    batch_size, max_epochs : int
        Rows a step, and passes over the inputs.
    report : callable, default=None
        Is given the number of each epoch and its mean loss.

    Returns
    -------
    encoder : torch.nn.Linear
        From inputs to units; it codes by ``relu(encoder(inputs))``.
    losses : list of float
        The mean squared error of each epoch.
    """
    n, d = inputs.shape
    encoder = nn.Linear(d, n_bits, device=inputs.device)
    decoder = nn.Linear(n_bits, d, device=inputs.device)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    adam = torch.optim.Adam(parameters, lr=learning_rate)
    losses = []
    for epoch in range(1, max_epochs + 1):
        order, total = torch.randperm(n, device=inputs.device), 0.0
        for rows in gen_batches(n, batch_size):
            clean = inputs[order[rows]]
            noisy = clean + noise * torch.randn_like(clean)
            code = dropout(relu(encoder(noisy)), dropout_rate)
            loss = mse_loss(decoder(code), clean)
            adam.zero_grad()
            loss.backward()
            adam.step()
            total = total + loss.detach() * len(clean)
        losses.append(float(total) / n)
        if report is not None:
            report(epoch, losses[-1])
    return encoder, losses


@torch.no_grad()
def balance_bits(encoder, inputs):
    """Move the biases so that each unit is above 0 for about half of the inputs.

    A unit that is on for nearly all images, as training likes on images that have much
    in common, tells nothing of them.

    Parameters
    ----------
    encoder : torch.nn.Linear
        Changed in place.
    inputs : Tensor of shape (n, d)
        Clean inputs.
    """
    codes = encoder(inputs)
    # A little above: equal rows at the median itself would fall to either side of it.
    margin = 0.01 * codes.std(dim=0, correction=0)
    encoder.bias -= codes.median(dim=0).values + margin


def hash_rows(X, prepare, weight, bias):
    """Return the thresholded codes of rows X, packed.

    Parameters
    ----------
    X : ndarray, Tensor or ImageSequence of shape (n_samples, n_features)
        What ``check_images`` has returned; what is not in memory is read ahead.
    prepare : callable
        Stored rows, a tensor on the device, to inputs (b, d).
    weight, bias : Tensor of shape (n_bits, d) and (n_bits,)
        The encoder's, on the device.

    Returns
    -------
    hashes : ndarray of shape (n_samples, ceil(n_bits / 8)), uint8
        A bit is 1 where the code is above 0.
    """
    encode = partial(nn.functional.linear, weight=weight, bias=bias)
    hashes = np.empty((len(X), -(-len(weight) // 8)), dtype=np.uint8)
    with torch.inference_mode(), closing(read_batches(X, _BATCH)) as parts:
        for rows, part in parts:
            inputs = prepare(as_tensor(part).to(weight.device))
            # Full batches only: products of other sizes may round otherwise, and a
            # row's bits would depend on how many are beside it.
            padding = inputs.new_zeros(_BATCH - len(inputs), inputs.shape[1])
            bits = encode(torch.cat([inputs, padding]))[: len(inputs)] > 0
            hashes[rows] = np.packbits(bits.cpu().numpy(), axis=1)
    return hashes
