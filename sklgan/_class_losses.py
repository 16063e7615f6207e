"""Losses of discriminators with one logit a class: of the classifier and the clusterer.

Pairs ``d_*`` and ``g_*`` as the engine calls them, made of the terms in ``losses``.
"""

from functools import partial

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch.nn.functional import cross_entropy

from sklgan._architecture import choose_augmentation
from sklgan._labels import class_frequencies
from sklgan._placement import read_rows
from sklgan._tensors import as_tensor, resolve_device, torch_seed
from sklgan.losses import (
    ADVERSARIAL_LOSSES,
    conditional_entropy,
    g_feature_matching,
    marginal_divergence,
    marginal_entropy,
    realness,
    soft_cross_entropy,
    turns_cross_entropy,
)
from sklgan.losses._turns import N_TURNS

# Rows at a time, and at most, over which the objective of a fit is taken.
_OBJECTIVE_BATCH = 1000
_OBJECTIVE_ROWS = 10_000


def d_semi_supervised(
    discriminator,
    real,
    fake,
    y,
    *,
    averaged,
    loss,
    class_weight,
    adversarial_weight,
    consistency_weight,
    entropy_weight,
    balance_weight,
    rotation_weight,
    prior,
    remembered,
    strong_augment,
):
    """Return the loss of a discriminator with K logits; see the classifier's notes.

    The first ``len(y)`` real rows are labelled, the others count as unlabelled. A
    stream may begin without labels; their losses are then left out. Columns after the
    K logits are those of the turns. ``prior`` (K,) are the classes' frequencies,
    ``class_weight`` (K,) is what a labelled row of each counts.
    """
    labeled, unlabeled = slice(None, len(y)), slice(len(y), None)
    logits = _class_logits(discriminator, real, len(prior))
    value = entropy_weight * conditional_entropy(logits[unlabeled])
    if len(y) > 0:
        value = _told(logits[labeled], y, class_weight) + value
    divergence = marginal_divergence(logits[unlabeled], prior, remembered)
    value = value + balance_weight * divergence
    if fake is not None:
        d_loss, _ = ADVERSARIAL_LOSSES[loss]
        fake_logits = _class_logits(discriminator, fake, len(prior))
        adversarial = d_loss(realness(logits[unlabeled]), realness(fake_logits))
        value = value + adversarial_weight * adversarial
    if consistency_weight > 0:
        with torch.no_grad():
            targets = averaged(real[unlabeled])[1].float().softmax(dim=1)
        strong = _class_logits(discriminator, strong_augment(real), len(prior))
        consistency = soft_cross_entropy(strong[unlabeled], targets)
        if len(y) > 0:
            consistency = consistency + _told(strong[labeled], y, class_weight)
        value = value + consistency_weight * consistency
    if rotation_weight > 0:
        value = value + rotation_weight * turns_cross_entropy(discriminator, real)
    return value


def _told(logits, y, class_weight):
    """Return the mean of labelled rows' cross-entropies times their class's weight.

    torch's own mean divides by the weights of the rows at hand, which in batches of
    few labels would undo them.
    """
    return (class_weight[y] * cross_entropy(logits, y, reduction="none")).mean()


def _class_logits(discriminator, images, n_classes):
    """Return the logits of the classes (n, n_classes), in float32."""
    return discriminator(images)[1][:, :n_classes].float()


def g_semi_supervised(discriminator, real, fake, *, loss, n_classes):
    """Return the generator's loss against a discriminator with K logits."""
    if loss != "feature_matching":
        logits = _class_logits(discriminator, fake, n_classes)
        return ADVERSARIAL_LOSSES[loss][1](realness(logits))
    # In one batch: normalised apart, both would have the same means whatever they are.
    features = discriminator(torch.cat([real.detach(), fake]))[0][-1].float()
    return g_feature_matching(features[: len(real)], features[len(real) :])


def class_outputs(gan, classes):
    """Return which outputs the classifier's discriminator has.

    Parameters
    ----------
    gan : SemiSupervisedGANClassifier
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    discriminator : dict
        Keywords of :func:`sklgan._architecture.choose_architecture`.
    """
    outputs = {"n_outputs": len(classes)}
    if gan.rotation_weight > 0:
        outputs |= {"n_projections": (N_TURNS,), "own_logits": True}
    return outputs


def bind_semi_supervised(gan, classes, counts):
    """Return both losses of the classifier with all but their batches bound.

    Parameters
    ----------
    gan : SemiSupervisedGANClassifier
        Its parameters are the weights.
    classes, counts : ndarray of shape (n_classes,)
        The classes, and how many labelled rows of each there were so far. Where a
        class has none, each counts as one more: it is rare, not impossible.

    Returns
    -------
    options : dict
        Parameters of the engine: ``discriminator_loss``, ``generator_loss``, None if
        nothing is generated, and ``loss_state``.

    Raises
    ------
    ValueError
        If images are to be turned and X is flat.
    """
    if gan.rotation_weight > 0 and gan.image_shape_ is None:
        raise ValueError(
            f"rotation_weight={gan.rotation_weight!r} turns images, but X is flat; set "
            "image_shape=(h, w) or (h, w, c) if its rows are flattened images, else "
            "rotation_weight=0."
        )
    prior, class_weight = (
        as_tensor(array).to(resolve_device(gan.device))
        for array in class_frequencies(gan.class_weight, classes, counts)
    )
    remembered = prior.clone()
    d_loss = partial(
        d_semi_supervised,
        loss=gan.loss.replace("feature_matching", "nonsaturating"),
        class_weight=class_weight,
        adversarial_weight=gan.adversarial_weight,
        consistency_weight=gan.consistency_weight,
        entropy_weight=gan.entropy_weight,
        balance_weight=gan.balance_weight,
        rotation_weight=gan.rotation_weight,
        prior=prior,
        remembered=remembered,
        strong_augment=choose_augmentation(gan, "strong_augment"),
    )
    g_loss = partial(g_semi_supervised, loss=gan.loss, n_classes=len(prior))
    return {
        "discriminator_loss": d_loss,
        "generator_loss": g_loss if gan.adversarial_weight > 0 else None,
        "loss_state": {"remembered": remembered},
    }


def d_categorical(
    discriminator,
    real,
    fake,
    y=None,
    *,
    averaged=None,
    remembered=None,
    adversarial_weight,
    balance_weight,
    consistency_weight,
    strong_augment,
):
    """Return the loss of a discriminator with K logits; see the clusterer's notes."""
    logits = discriminator(real)[1].float()
    value = conditional_entropy(logits)
    value = value - balance_weight * marginal_entropy(logits, remembered)
    if fake is not None:
        fake_logits = discriminator(fake)[1].float()
        value = value - adversarial_weight * conditional_entropy(fake_logits)
    if consistency_weight > 0:
        targets = logits.detach().softmax(dim=1)
        strong_logits = discriminator(strong_augment(real))[1].float()
        value = value + consistency_weight * soft_cross_entropy(strong_logits, targets)
    return value


def g_categorical(discriminator, real, fake):
    """Return E[H(p(y|G(z)))] - H(E[p(y|G(z))]): sure of each, of all classes alike."""
    logits = discriminator(fake)[1].float()
    return conditional_entropy(logits) - marginal_entropy(logits)


def categorical_objective(gan, rows, strong_augment):
    """Return a fitted clusterer's loss on rows, without the generator's part."""
    device = next(gan.discriminator_.parameters()).device
    to_batch, network = gan._make_to_batch(device), gan.discriminator_
    chosen = np.arange(0, len(rows), -(-len(rows) // _OBJECTIVE_ROWS))
    # The marginal is that of all rows: X may be in the order of its classes.
    total, marginal = 0.0, 0.0
    with torch_seed(0, device), torch.inference_mode():
        for batch in gen_batches(len(chosen), _OBJECTIVE_BATCH):
            real = to_batch(as_tensor(read_rows(rows, chosen[batch])).to(device))
            logits = network(real)[1].double()
            value = conditional_entropy(logits)
            if gan.consistency_weight > 0:
                strong = network(strong_augment(real))[1].double()
                consistency = soft_cross_entropy(strong, logits.softmax(dim=1))
                value = value + gan.consistency_weight * consistency
            total = total + len(real) / len(chosen) * value
            marginal = marginal + logits.softmax(dim=1).sum(dim=0) / len(chosen)
    return float(total - gan.balance_weight * torch.special.entr(marginal).sum())
