"""Objectives of inversion: how far what a generator draws is from given images."""

from functools import partial

import torch

# Of a generator that always draws the same.
_SMALLEST_SPREAD = 1e-6


def squared_distance(fake, real):
    """Return the mean squared difference of images, each with several fakes.

    Parameters
    ----------
    fake : Tensor of shape (n, n_starts, ...)
    real : Tensor of shape (n, ...)

    Returns
    -------
    distance : Tensor of shape (n, n_starts)
    """
    return (fake - real.unsqueeze(1)).square().flatten(2).mean(2)


def spread(values):
    """Return the mean squared difference that two rows drawn at random have."""
    return max(2 * float(values.var(0).mean()), _SMALLEST_SPREAD)


def discriminator_distance(discriminator, samples):
    """Return the distance of images in the features of a discriminator.

    Each layer counts alike, whatever its size and scale: a distance of 1 is that of two
    samples drawn at random, with every network.

    Parameters
    ----------
    discriminator : torch.nn.Module
        In evaluation mode.
    samples : Tensor of shape (m, ...)
        Images of the generator, which give the scales.

    Returns
    -------
    prepare : callable
        Given real images (n, ...), a function of fake ones (n, n_starts, ...) that
        returns distances (n, n_starts).
    """
    with torch.no_grad():
        scales = [spread(layer) for layer in discriminator(samples)[0]]

    def distance(real_layers, fake):
        layers, _ = discriminator(fake.flatten(0, 1))
        parts = [
            squared_distance(layer.unflatten(0, fake.shape[:2]), real) / scale
            for layer, real, scale in zip(layers, real_layers, scales, strict=True)
        ]
        return torch.stack(parts).mean(0)

    def prepare(real):
        with torch.no_grad():
            return partial(distance, discriminator(real)[0])

    return prepare


def callable_distance(perceptual):
    """Return the same of a distance that the user gave, of pairs of images."""

    def prepare(real):
        return partial(_distance_of_pairs, perceptual, real)

    return prepare


def _distance_of_pairs(perceptual, real, fake):
    """Return a user's distance as a tensor (n, n_starts)."""
    pairs = real.repeat_interleave(fake.shape[1], 0), fake.flatten(0, 1)
    distance = perceptual(*pairs)
    if not torch.is_tensor(distance):
        raise TypeError(
            f"perceptual returned {type(distance).__name__}; it should return a tensor "
            "with a distance for each pair of images."
        )
    # LPIPS returns (n, 1, 1, 1).
    if distance.numel() != len(pairs[0]):
        raise ValueError(
            f"perceptual returned a tensor of shape {tuple(distance.shape)} for "
            f"{len(pairs[0])} pairs of images; it should return a distance for each: "
            "take no mean over the batch."
        )
    if fake.requires_grad and not distance.requires_grad:
        raise ValueError(
            "perceptual returned a tensor through which no gradient flows; it should "
            "be computed by torch, without detach() or no_grad()."
        )
    return distance.reshape(fake.shape[:2])


def make_objective(
    generator, real, *, scale, prior_weight, distance=None, distance_weight=0.0
):
    """Return what is minimised, as a function of latent vectors.

    The mean squared difference over ``scale``, a weighted distance, and ``prior_weight
    * (|z|^2 - d)^2 / (2 d)``: |z|^2 of a draw from N(0, 1) is a chi-squared variable,
    of mean d and variance 2 d.

    Parameters
    ----------
    generator : torch.nn.Module
        In evaluation mode.
    real : Tensor of shape (n, ...)
        Images to draw.
    scale : float
        Mean squared difference of two samples.
    prior_weight : float
        Of the latent vectors' length.
    distance : callable, default=None
        Of fake images (n, n_starts, ...).
    distance_weight : float, default=0.0
        Its weight.

    Returns
    -------
    objective : callable
        Latent vectors (n, n_starts, d) to losses (n, n_starts).
    """

    def objective(z):
        fake = generator(z.flatten(0, 1)).unflatten(0, z.shape[:2])
        loss = squared_distance(fake, real) / scale
        if distance is not None:
            loss = loss + distance_weight * distance(fake)
        if prior_weight:
            excess = z.square().sum(2) - z.shape[2]
            loss = loss + prior_weight * excess.square() / (2 * z.shape[2])
        return loss

    return objective


def minimize(objective, z, n_steps, learning_rate):
    """Return the best latent vectors of steps of Adam, and their losses.

    The learning rate falls to 0 along a cosine. No weight gets a gradient.

    Parameters
    ----------
    objective : callable
        Of ``make_objective``.
    z : Tensor of shape (n, n_starts, d)
        Where to start.
    n_steps : int
        0 only computes the losses.
    learning_rate : float
        Of the first step.

    Returns
    -------
    z : Tensor of shape (n, n_starts, d)
    losses : Tensor of shape (n, n_starts)
        Infinite where none was a number.
    """
    z = z.clone().requires_grad_()
    optimizer = torch.optim.Adam([z], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, n_steps))
    best, lowest = (
        z.detach().clone(),
        torch.full(z.shape[:2], torch.inf, device=z.device),
    )
    for step in range(n_steps + 1):
        with torch.set_grad_enabled(step < n_steps):
            losses = objective(z)
        with torch.no_grad():
            # What is no number is never better.
            better = losses < lowest
            lowest = torch.where(better, losses, lowest)
            best = torch.where(better.unsqueeze(2), z, best)
        if step < n_steps:
            (z.grad,) = torch.autograd.grad(losses.sum(), z)
            optimizer.step()
            schedule.step()
    return best, lowest
