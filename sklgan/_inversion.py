"""BlobGAN's encoder: how it learns to find the blobs that a generator would paint.

Source: Epstein et al. 2022, section 3.4 (arXiv:2205.02837).
"""

from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import mse_loss

from sklgan._checkpoint import Checkpoint, CheckpointError, describe_training
from sklgan._perceptual import choose_perceptual
from sklgan._placement import place_rows, while_read
from sklgan._streams import draw_seed
from sklgan._tensors import torch_seed
from sklgan._training import (
    AdversarialNet,
    EpochProgress,
    TrainingDivergedError,
    is_main_process,
    leave_group,
    of_rank_0,
    settled_discriminator,
)
from sklgan.networks._blobs import layout_length
from sklgan.networks._residual import BlobDiscriminator, BlobEncoder
from sklgan.networks._splatting import covariances

# Of the blobs' own error, against those of the images, at first and at last. The
# article has 10 throughout. But which of two blobs owns which of two objects is often
# undecided, and the squared error of the blobs is then least half way between; the
# images' errors are not.
_BLOBS_WEIGHTS = 10.0, 0.1

# Decay, a step, of the average of the encoder's weights, which is the one that remains.
_EMA_DECAY = 0.99

# Layouts of fakes are drawn towards the mean by a part in this range.
_TRUNCATION = 0.2, 0.4


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


def drawn_layouts(layout, n_samples, latent_dim, device):
    """Return blobs of fakes to learn from, (n_samples, k), each of a layout of its own.

    Layouts are truncated, and then they exchange their blobs: what a generator draws
    together is a part of what there is in images, and an encoder that has seen no other
    fakes takes that for a law.
    """
    hidden = layout.hidden(torch.randn(n_samples, latent_dim, device=device))
    low, high = _TRUNCATION
    part = low + (high - low) * torch.rand(n_samples, 1, device=device)
    return exchanged(layout.read(torch.lerp(hidden, hidden.mean(0), part)))


def exchanged(blobs):
    """Return layouts that have each blob from another one of the batch, at random."""
    n_samples, n_blobs = blobs.x.shape
    drawn = torch.rand(n_samples, n_blobs, device=blobs.x.device)
    rows, columns = drawn.argsort(0), torch.arange(n_blobs, device=drawn.device)
    return blobs._replace(
        **{
            name: getattr(blobs, name)[rows, columns]
            for name in blobs._fields
            if not name.startswith("background")
        }
    )


def blobs_weight(step, n_steps):
    """Return the weight of the blobs' own error, which falls by the same factor."""
    first, last = _BLOBS_WEIGHTS
    return first * (last / first) ** min(1.0, step / n_steps)


def inversion_loss(
    encoder,
    real,
    fake=None,
    y=None,
    *,
    averaged=None,
    generator,
    latent_dim,
    perceptual,
    step,
    n_steps,
):
    """Return the encoder's loss, a scalar: five terms.

    Perceptual distance and squared error of what is painted of the blobs that were
    found, in real images and in fakes; of the blobs found in fakes,
    :func:`blob_distance`, at first ten times. Source: Epstein et al. 2022, section 3.4.

    Parameters
    ----------
    encoder : torch.nn.Module
        ``forward(x) -> (features, layouts)``.
    real : Tensor
        (n, c, h, w) or (n, d).
    fake, y, averaged : Ignored
        The engine's; fakes are drawn here, because their blobs are needed.
    generator : torch.nn.Module
        With ``layout`` and ``render``; it does not learn.
    latent_dim : int
        Of its latent vectors.
    perceptual : callable
        ``(images, others) -> distances (n,)``.
    step : Tensor
        Number of steps taken, int64 of shape () on the CPU; counted here, in place.
    n_steps : int
        Steps of the whole training.
    """
    layout, device = generator.layout, real.device
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        blobs = drawn_layouts(layout, len(real), latent_dim, device)
        fake = generator.render(blobs)
    weight = blobs_weight(int(step), n_steps)
    step += 1
    value = 0.0
    for images in (real, fake):
        numbers = encoder(images)[1].float()
        found = layout.read_numbers(numbers)
        painted = generator.render(found)
        value = value + image_distance(painted, images, perceptual).mean()
    return value + weight * blob_distance(found, blobs)


def encoder_builder(architecture):
    """Return what builds a new encoder, without arguments."""
    options = architecture["generator_options"]
    length = layout_length(*options.values())
    return partial(
        BlobEncoder, architecture["shape"], length, architecture["n_filters"]
    )


def train_encoder(gan, X, device, n_epochs):
    """Train an encoder on rows X, and set ``encoder_`` and ``encoder_history_``.

    Whatever ends the training, they are those of the last whole epoch, if there is one.

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
    judge = [gan.perceptual] if isinstance(gan.perceptual, nn.Module) else []
    step = torch.zeros((), dtype=torch.int64)
    net = AdversarialNet(
        generator=nn.Identity,
        discriminator=encoder_builder(gan._architecture),
        discriminator_loss=partial(
            inversion_loss,
            generator=gan.generator_,
            latent_dim=gan._architecture["latent_dim"],
            perceptual=perceptual,
            step=step,
            n_steps=n_epochs * -(-len(X) // gan.batch_size),
        ),
        generator_loss=None,
        to_batch=gan._make_to_batch(device),
        latent_dim=1,
        augment=lambda batch: batch,
        n_critic=1,
        ema_decay=_EMA_DECAY,
        average_discriminator=True,
        loss_state={"step": step},
        autocast=False,
        lr=gan.learning_rate,
        batch_size=gan.batch_size,
        max_epochs=n_epochs,
        checkpoint=_open_checkpoint(gan, X, seed, n_epochs),
        callbacks=[("progress", EpochProgress("encoder"))]
        if gan.verbose and is_main_process()
        else [],
        device=device,
        verbose=0,
    )
    with torch_seed(seed + 1 + gan.n_iter_, device), while_read(X):
        net.initialize()
        for encoder in (net.discriminator_, net.ema_discriminator_):
            _begin_from(encoder, gan)
        rows = place_rows(X, device)
        try:
            with _frozen(gan.generator_, gan.discriminator_, *judge):
                if n_epochs > 0:
                    net.train(rows)
        except TrainingDivergedError as error:
            raise _explained(error, gan, net.n_epochs) from None
        finally:
            # One that has not learned for an epoch would answer, and know nothing.
            if net.n_epochs > 0 or n_epochs == 0:
                gan.encoder_history_ = [
                    {("loss" if key == "d_loss" else key): row[key] for key in row}
                    for row in net.history_rows(0)
                ]
                gan.encoder_ = settled_discriminator(net, rows)


def _explained(error, gan, n_kept):
    """Return the error of an encoder that diverged after so many whole epochs."""
    losses = {
        name.replace("d_loss", "loss"): error.losses[name] for name in error.losses
    }
    kept = "The GAN, which was trained before, has been kept"
    if n_kept > 0:
        kept += f", and the encoder of epoch {n_kept}"
    return TrainingDivergedError(
        f"The encoder's training diverged in epoch {n_kept + 1}: "
        f"{str(error).replace('d_loss', 'loss')}. {kept}. Lower learning_rate (now "
        f"{gan.learning_rate}), or see that perceptual={gan.perceptual!r} and its "
        "gradient are finite where two images are alike.",
        losses,
    )


@contextmanager
def _frozen(*networks):
    """Let networks not learn within the context; whoever fails there goes on alone."""
    learning = [
        parameter
        for network in networks
        for parameter in network.parameters()
        if parameter.requires_grad
    ]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    except TrainingDivergedError:
        raise  # by all processes alike
    except BaseException:
        # What follows must not wait for processes that have not failed.
        leave_group()
        raise
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _begin_from(encoder, gan):
    """Give an encoder the weights of the last fit, or the discriminator's blocks.

    A discriminator of the user's may have others, or of another width; there the
    encoder learns from noise.
    """
    if hasattr(gan, "encoder_"):
        encoder.load_state_dict(gan.encoder_.state_dict())
    elif isinstance(gan.discriminator_, BlobDiscriminator):
        weights = gan.discriminator_.trunk.state_dict()
        if _shapes(weights) == _shapes(encoder.trunk.state_dict()):
            encoder.trunk.load_state_dict(weights)


def _shapes(weights):
    """Return the shape of each of a network's weights."""
    return {name: values.shape for name, values in weights.items()}


def _open_checkpoint(gan, X, seed, n_epochs):
    """Return the checkpoint of the encoder of a generator of so many epochs."""
    if gan.checkpoint is None:
        return None
    checkpoint = Checkpoint(
        Path(gan.checkpoint) / f"encoder_after_{gan.n_iter_}.safetensors",
        describe_training(gan, X, None, seed),
        gan.checkpoint_interval,
        writes=is_main_process(),
    )
    n_before = len(checkpoint.state["rows"]) if checkpoint.state else 0
    if n_before > n_epochs:
        raise CheckpointError(
            f"{checkpoint.path} has {n_before} epochs behind it, more than the "
            f"{n_epochs} of encoder_epochs={gan.encoder_epochs!r}; increase it, or "
            "delete that file to train the encoder anew."
        )
    return checkpoint


@torch.inference_mode(False)
@torch.enable_grad()
def refined(numbers, images, generator, perceptual, n_steps):
    """Return layouts (n, length) that paint the images better, or as well.

    Adam's steps on the numbers of each image, of which the best are kept. The rate
    falls to 0, from one with which they can go as far as the root of ``n_steps``: few
    steps are long.

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
        Of the optimiser, at least 1.
    """
    numbers, images = numbers.detach().clone().requires_grad_(), images.clone()
    optimizer = torch.optim.Adam([numbers], betas=(0.5, 0.999))
    best, least = numbers.detach().clone(), None
    for step in range(n_steps + 1):
        painted = generator.render(generator.layout.read_numbers(numbers))
        distance = image_distance(painted, images, perceptual)
        better = least is None or distance.detach() < least
        if least is None:
            least = distance.detach().clone()
        else:
            best[better] = numbers.detach()[better]
            least = torch.minimum(least, distance.detach())
        if step < n_steps:
            optimizer.param_groups[0]["lr"] = (1 - step / n_steps) / n_steps**0.5
            (numbers.grad,) = torch.autograd.grad(distance.sum(), numbers)
            optimizer.step()
    return best
