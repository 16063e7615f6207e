"""BlobGAN's encoder: how it learns to find the blobs that a generator would paint.

Source: Epstein et al. 2022, section 3.4 (arXiv:2205.02837).
"""

from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import mse_loss

from sklgan._checkpoint import Checkpoint, describe_training
from sklgan._placement import place_rows, while_read
from sklgan._streams import draw_seed
from sklgan._tensors import torch_seed
from sklgan._training import (
    AdversarialNet,
    EpochProgress,
    is_main_process,
    of_rank_0,
    settled_discriminator,
)
from sklgan.networks._blobs import layout_length
from sklgan.networks._residual import BlobDiscriminator, BlobEncoder
from sklgan.networks._splatting import covariances

# Of the blobs' own error, against those of the images.
_BLOBS_WEIGHT = 10.0

# Layouts of fakes are drawn towards the mean by a part in this range.
_TRUNCATION = 0.2, 0.4


def feature_distance(discriminator, images, others):
    """Return how differently a discriminator sees images, (n,).

    The mean squared distance of its activations, of unit length in each place, over
    all layers: LPIPS (Zhang et al. 2018, equation 1, arXiv:1801.03924) with the
    discriminator for VGG, and with all weights alike.
    """
    total = 0.0
    layers = zip(discriminator(images)[0], discriminator(others)[0], strict=True)
    for seen, other in layers:
        seen, other = nn.functional.normalize(seen), nn.functional.normalize(other)
        total = total + (seen - other).square().sum(1).flatten(1).mean(1)
    return total


def blob_distance(found, blobs):
    """Return the error of found blobs, a scalar: the mean over their fields.

    Each is the mean squared error over the spread of the true values in the batch, so
    that guesses of the mean cost 1. In the article errors are summed as
    they are, and long vectors would outweigh places, which vary by little.
    """
    pairs = [(covariances(found), covariances(blobs))]
    for name in blobs._fields:
        if name not in ("aspect", "angle"):
            pairs.append((getattr(found, name), getattr(blobs, name)))
    errors = [mse_loss(guess, true) / _spread(true) for guess, true in pairs]
    return sum(errors) / len(errors)


def _spread(values):
    """Return the mean variance of values (n, ...) over the batch."""
    return (values - values.mean(0)).square().mean().clamp_min(1e-4)


def image_distance(images, others, perceptual):
    """Return perceptual distance plus mean squared error, (n,)."""
    squares = (images - others).square().flatten(1).mean(1)
    return perceptual(images, others) + squares


def inversion_loss(
    encoder, real, fake=None, y=None, *, generator, latent_dim, perceptual
):
    """Return the encoder's loss, a scalar: five terms.

    Perceptual distance and squared error of what is painted of the blobs that were
    found, in real images and in fakes; of the blobs found in fakes, ten times
    :func:`blob_distance`. Source: Epstein et al. 2022, section 3.4.

    Parameters
    ----------
    encoder : torch.nn.Module
        ``forward(x) -> (features, layouts)``.
    real : Tensor
        (n, c, h, w) or (n, d).
    fake, y : Ignored
        The engine's; fakes are drawn here, because their blobs are needed.
    generator : torch.nn.Module
        With ``layout`` and ``render``; it does not learn.
    latent_dim : int
        Of its latent vectors.
    perceptual : callable
        ``(images, others) -> distances (n,)``.
    """
    layout, device = generator.layout, real.device
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        hidden = layout.hidden(torch.randn(len(real), latent_dim, device=device))
        low, high = _TRUNCATION
        part = low + (high - low) * torch.rand(len(hidden), 1, device=device)
        blobs = layout.read(torch.lerp(hidden, hidden.mean(0), part))
        fake = generator.render(blobs)
    value = 0.0
    for images in (real, fake):
        numbers = encoder(images)[1].float()
        found = layout.read_numbers(numbers)
        painted = generator.render(found)
        value = value + image_distance(painted, images, perceptual).mean()
    return value + _BLOBS_WEIGHT * blob_distance(found, blobs)


def choose_perceptual(name, discriminator, device):
    """Return a perceptual distance ``(images, others) -> (n,)``.

    Parameters
    ----------
    name : {"discriminator", "lpips"} or callable
        The parameter ``perceptual``.
    discriminator : torch.nn.Module
        Fitted, in evaluation mode.
    device : torch.device
        Where the images are.
    """
    if callable(name):
        return name
    if name == "discriminator":
        return partial(feature_distance, discriminator)
    lpips = _import_lpips()
    network = lpips.LPIPS(net="vgg", verbose=False).to(device).requires_grad_(False)

    def distance(images, others):
        # It knows colour images only.
        pair = (
            x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x for x in (images, others)
        )
        return network(*(x[:, :3] for x in pair)).flatten()

    return distance


def check_perceptual(name, image_shape):
    """Raise an error, before any training, if the distance cannot be had.

    Parameters
    ----------
    name : {"discriminator", "lpips"} or callable
        The parameter ``perceptual``.
    image_shape : tuple of int or None
        The fitted ``image_shape_``.
    """
    if callable(name) or name == "discriminator":
        return
    if image_shape is None:
        raise ValueError(
            "perceptual='lpips' is for images, but X is flat; set image_shape=(h, w, "
            "c) if its rows are flattened images, else perceptual='discriminator'."
        )
    _import_lpips()


def _import_lpips():
    """Return the package, or say how to do without."""
    try:
        import lpips
    except ImportError as error:
        raise ImportError(
            "perceptual='lpips' needs the package lpips and its weights: pip install "
            "lpips; or use perceptual='discriminator'."
        ) from error
    return lpips


def encoder_builder(architecture):
    """Return what builds a new encoder, without arguments."""
    options = architecture["generator_options"]
    length = layout_length(*options.values())
    return partial(
        BlobEncoder, architecture["shape"], length, architecture["n_filters"]
    )


def train_encoder(gan, X, device, n_epochs):
    """Train an encoder on rows X, and set ``encoder_`` and ``encoder_history_``.

    Whatever ends the training, they are those of the last whole epoch.

    Parameters
    ----------
    gan : BlobGAN
        Its networks are trained.
    X : ndarray of shape (n_samples, n_features)
        What ``check_images`` has returned.
    device : torch.device
    n_epochs : int
        Passes over X.
    """
    seed = of_rank_0(draw_seed(gan, None, False))
    perceptual = choose_perceptual(gan.perceptual, gan.discriminator_, device)
    net = AdversarialNet(
        generator=nn.Identity,
        discriminator=encoder_builder(gan._architecture),
        discriminator_loss=partial(
            inversion_loss,
            generator=gan.generator_,
            latent_dim=gan._architecture["latent_dim"],
            perceptual=perceptual,
        ),
        generator_loss=None,
        to_batch=gan._make_to_batch(device),
        latent_dim=1,
        augment=lambda batch: batch,
        n_critic=1,
        ema_decay=0.0,
        autocast=False,
        lr=gan.learning_rate,
        batch_size=gan.batch_size,
        max_epochs=n_epochs,
        checkpoint=_open_checkpoint(gan, X, seed),
        callbacks=[("progress", EpochProgress())]
        if gan.verbose and is_main_process()
        else [],
        device=device,
        verbose=0,
    )
    networks = gan.generator_, gan.discriminator_
    with torch_seed(seed + 1 + gan.n_iter_, device), while_read(X):
        net.initialize()
        _begin_from(net.discriminator_, gan)
        rows = place_rows(X, device)
        try:
            for network in networks:
                network.requires_grad_(False)
            if n_epochs > 0:
                net.train(rows)
        finally:
            for network in networks:
                network.requires_grad_(True)
            gan.encoder_history_ = [
                {("loss" if key == "d_loss" else key): row[key] for key in row}
                for row in net.history_rows(0)
            ]
            gan.encoder_ = settled_discriminator(net, rows)


def _begin_from(encoder, gan):
    """Give an encoder the weights of the last fit, or the discriminator's blocks.

    A discriminator of the user's may have others; there the encoder learns from noise.
    """
    if hasattr(gan, "encoder_"):
        encoder.load_state_dict(gan.encoder_.state_dict())
    elif isinstance(gan.discriminator_, BlobDiscriminator):
        encoder.trunk.load_state_dict(gan.discriminator_.trunk.state_dict())


def _open_checkpoint(gan, X, seed):
    """Return the checkpoint of the encoder of a generator of so many epochs."""
    if gan.checkpoint is None:
        return None
    return Checkpoint(
        Path(gan.checkpoint) / f"encoder_after_{gan.n_iter_}.safetensors",
        describe_training(gan, X, None, seed),
        gan.checkpoint_interval,
        writes=is_main_process(),
    )


def refined(numbers, images, generator, perceptual, n_steps, learning_rate=0.05):
    """Return layouts (n, length) that paint the images better, or as well.

    Adam's steps on the numbers of each image, of which the best are kept.

    Parameters
    ----------
    numbers : Tensor
        (n, length), an encoder's logits.
    images : Tensor
        (n, c, h, w) or (n, d).
    generator : torch.nn.Module
        With ``layout`` and ``render``.
    perceptual : callable
        ``(images, others) -> distances (n,)``.
    n_steps : int
        Of the optimiser.
    learning_rate : float, default=0.05
        Of Adam.
    """
    numbers = numbers.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([numbers], lr=learning_rate)
    best, least = numbers.detach().clone(), None
    for _ in range(n_steps + 1):
        painted = generator.render(generator.layout.read_numbers(numbers))
        distance = image_distance(painted, images, perceptual)
        better = least is None or distance.detach() < least
        if least is None:
            least = distance.detach().clone()
        else:
            best[better] = numbers.detach()[better]
            least = torch.minimum(least, distance.detach())
        optimizer.zero_grad()
        (gradient,) = torch.autograd.grad(distance.sum(), numbers)
        numbers.grad = gradient
        optimizer.step()
    return best
