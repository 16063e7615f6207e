"""What teaches the discriminator of DCGANFeatureExtractor: its pairs of losses."""

from functools import partial

import numpy as np
import torch

from sklgan._architecture import choose_augmentation
from sklgan._training import equal_batches
from sklgan.augment import compose
from sklgan.losses import (
    ADVERSARIAL_LOSSES,
    discriminator_loss,
    fakes_apart,
    generator_loss,
    nt_xent,
    turns_cross_entropy,
)
from sklgan.losses._turns import N_TURNS

# Number of outputs of each head. Of the contrast's two, one sees two views of real
# images, the other tells fakes from both; 128 is SimCLR's.
PROJECTIONS = {"contrastive": (128, 128), "rotation": (N_TURNS,)}

# Of the generator's share in the rotations, Chen et al.'s.
_ROTATED_FAKES = 0.2

# What two views differ in, unless the user says otherwise.
_VIEWS = {"images": "simclr", "flat": "noise"}

# Few images in a batch say little about how they differ.
_SMALLEST_BATCH = 8

# Gulrajani et al. 2017 for the first; R3GAN tunes the second between 0.05 and 150.
_PENALTY_WEIGHTS = {"wasserstein": 10.0, "relativistic": 1.0}


def d_contrastive(
    discriminator, real, fake, y=None, *, augment, loss, adversarial_weight
):
    """Return NT-Xent of two views, the fakes' contrast with both, and the GAN's loss.

    The GAN's gradient stops below the head of realness, so that views may be changed
    more than a GAN would bear. Source: Jeong and Shin 2021, section 3
    (arXiv:2103.09742).
    """
    logits = discriminator(torch.cat([augment(real), augment(real)]))[1].float()
    seen, told = _projections(logits)
    value = nt_xent(*seen.chunk(2))
    if fake is None:
        return value
    fake_logits = discriminator(augment(fake))[1].float()
    _, fakes_told = _projections(fake_logits)
    apart = fakes_apart(fakes_told, told)
    d_loss, _ = ADVERSARIAL_LOSSES[loss]
    told_apart = d_loss(logits[:, 1], fake_logits[:, 1])
    return value + adversarial_weight * (apart + told_apart)


def _projections(logits):
    """Return what the contrast's two heads say, (n, 128) each."""
    return logits[:, 2:].split(PROJECTIONS["contrastive"], dim=1)


def g_contrastive(discriminator, real, fake, *, augment, loss):
    """Return the generator's loss against the logit whose gradient does not stop."""
    logits = discriminator(augment(fake))[1].float()
    return ADVERSARIAL_LOSSES[loss][1](logits[:, 0])


def d_rotation(discriminator, real, fake, y=None, *, augment, loss, adversarial_weight):
    """Return the cross-entropy of which way real images are turned, and the GAN's loss.

    Source: Chen et al. 2019 (arXiv:1811.11212).
    """
    real = augment(real)
    value = turns_cross_entropy(discriminator, real)
    if fake is None:
        return value
    d_loss, _ = ADVERSARIAL_LOSSES[loss]
    logits, fake_logits = (
        discriminator(images)[1][:, 0].float() for images in (real, augment(fake))
    )
    return value + adversarial_weight * d_loss(logits, fake_logits)


def g_rotation(discriminator, real, fake, *, augment, loss):
    """Return the generator's loss, and 0.2 times the cross-entropy of turned fakes.

    Source: Chen et al. 2019 (arXiv:1811.11212).
    """
    fake = augment(fake)
    logits = discriminator(fake)[1].float()
    turns = turns_cross_entropy(discriminator, fake)
    return ADVERSARIAL_LOSSES[loss][1](logits[:, 0]) + _ROTATED_FAKES * turns


_PAIRS = {
    "contrastive": (d_contrastive, g_contrastive),
    "rotation": (d_rotation, g_rotation),
}


def penalty_weight(gan):
    """Return the weight of an estimator's gradient penalty, 0 for none."""
    if gan.objective != "adversarial":
        return 0.0
    if gan.gradient_penalty == "auto":
        return _PENALTY_WEIGHTS.get(gan.loss, 0.0)
    return gan.gradient_penalty


def bind_objective(gan):
    """Return the pair of losses of an estimator's objective, as the engine takes it.

    Parameters
    ----------
    gan : DCGANFeatureExtractor

    Returns
    -------
    options : dict
        Parameters of the engine: ``discriminator_loss``, ``generator_loss``, and the
        augmentation where the losses draw views themselves.

    Raises
    ------
    ValueError
        If images are to be turned and X is flat.
    """
    if gan.objective == "adversarial":
        return {
            "discriminator_loss": partial(
                discriminator_loss, loss=gan.loss, penalty_weight=penalty_weight(gan)
            ),
            "generator_loss": partial(generator_loss, loss=gan.loss),
        }
    flat = gan.image_shape_ is None
    if flat and gan.objective == "rotation":
        raise ValueError(
            "objective='rotation' turns images, but X is flat; set image_shape=(h, w) "
            "or (h, w, c) if its rows are flattened images, else "
            "objective='contrastive'."
        )
    if gan.objective == "contrastive" and gan.augment is None:
        augment = compose(_VIEWS["flat" if flat else "images"])
    else:
        augment = choose_augmentation(gan, "augment")
    d_loss, g_loss = (
        partial(function, augment=augment, loss=gan.loss)
        for function in _PAIRS[gan.objective]
    )
    weight = gan.adversarial_weight
    return {
        "discriminator_loss": partial(d_loss, adversarial_weight=weight),
        "generator_loss": g_loss if weight > 0 else None,
        "augment": compose([]),
    }


def check_objective(gan):
    """Raise ValueError if parameters do not go with the objective."""
    objective, weight = gan.objective, gan.adversarial_weight
    if objective == "adversarial":
        if weight == 0:
            raise ValueError(
                "adversarial_weight=0 leaves objective='adversarial' nothing to learn; "
                "set max_epochs=0 for untrained features, or objective='contrastive'."
            )
        return
    # Without a generator the loss has no part.
    if weight > 0 and gan.loss in _PENALTY_WEIGHTS:
        raise ValueError(
            f"loss={gan.loss!r} needs gradient penalties, which objective="
            f"{objective!r} does not have. Set loss='nonsaturating', 'hinge' or "
            "'least_squares'."
        )
    if gan.gradient_penalty not in ("auto", 0):
        raise ValueError(
            f"gradient_penalty={gan.gradient_penalty!r} goes with "
            f"objective='adversarial' alone, not with {objective!r}. Set "
            "gradient_penalty='auto'."
        )
    if objective == "contrastive":
        _check_contrast(gan)


def _check_contrast(gan):
    """Raise ValueError if images cannot be compared with each other."""
    if gan.batch_size < _SMALLEST_BATCH:
        raise ValueError(
            f"batch_size={gan.batch_size} is too small for objective='contrastive', "
            "which compares the images of a batch, at most so many; set it to at least "
            f"{_SMALLEST_BATCH}, better to 128."
        )
    if isinstance(gan.augment, (list, tuple)) and not gan.augment:
        raise ValueError(
            f"augment={gan.augment!r} leaves nothing in which two views of an image "
            "differ, which objective='contrastive' compares; set None for its own "
            "views, or name augmentations."
        )


def check_rows(gan, rows):
    """Raise ValueError if rows cannot be compared with each other."""
    if gan.objective != "contrastive":
        return
    n_rows = len(rows)
    if n_rows < _SMALLEST_BATCH:
        raise ValueError(
            f"X has {n_rows} rows, too few for objective='contrastive', which "
            f"compares the images of a batch; pass at least {_SMALLEST_BATCH}, join a "
            "short chunk of a stream to another, or fit with objective='adversarial'."
        )
    smallest = min(np.diff(equal_batches(n_rows, gan.batch_size)))
    if smallest < _SMALLEST_BATCH:
        raise ValueError(
            f"batch_size={gan.batch_size} divides the {n_rows} rows of X into batches "
            f"of {smallest}, too small for objective='contrastive', which compares the "
            f"images of a batch; set it to at least {2 * _SMALLEST_BATCH}, better to "
            "128."
        )
    grey = gan.image_shape_ is not None and gan.image_shape_[2] < 3
    names = gan.augment if isinstance(gan.augment, (list, tuple)) else [gan.augment]
    if grey and all(name == "greyscale" for name in names):
        raise ValueError(
            f"augment={gan.augment!r} changes nothing in grey images, so that their "
            "two views, which objective='contrastive' compares, are the same; set None "
            "for its own views, or name other augmentations."
        )
