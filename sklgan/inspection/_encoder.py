"""An encoder: images to latent vectors in one pass, learned from a generator."""

import hashlib
import warnings
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, validate_params
from torch.nn.functional import mse_loss

from sklgan._inference import check_gan, device_of
from sklgan._tensors import to_numpy, to_torch, torch_seed
from sklgan._training._averages import batch_norm_in_training
from sklgan.inspection._inversion import make_objective, spread
from sklgan.networks._build import network_builders

# Of 1, 0.3, 0.1 and 0 for the first, on a DCGAN of MNIST at 32x32, this was the best.
_LATENT_WEIGHT, _PRIOR_WEIGHT = 0.1, 0.002

# Samples that tell how far apart two of them are.
_SCALE_SAMPLES = 256


class LatentEncoder:
    """Hold a network that maps images to latent vectors, for ``project``.

    Made by :func:`fit_encoder`. It can be pickled, and loads on a CPU wherever it was
    trained.

    Parameters
    ----------
    network : torch.nn.Module
        Images, as the discriminator takes them, to ``(features, z)``, in evaluation
        mode.
    architecture : dict
        What it was built with.
    generator_checksum : str
        Of the weights of the generator that it learned from.

    See Also
    --------
    fit_encoder : Train one.
    project : Use it.
    """

    def __init__(self, network, architecture, generator_checksum):
        self.network = network
        self.architecture = architecture
        self.generator_checksum = generator_checksum

    def __getstate__(self):
        """Return the state with the network's as NumPy arrays, free of any device."""
        return {**vars(self), "network": to_numpy(dict(self.network.state_dict()))}

    def __setstate__(self, state):
        """Build the network again, on the CPU."""
        vars(self).update(state)
        # Building draws initial weights, which are then replaced.
        with torch_seed(0):
            self.network = _build(self.architecture)
        self.network.load_state_dict(to_torch(state["network"]))
        self.network.eval()


def check_encoder(encoder, estimator):
    """Refuse an encoder for other images or vectors, warn of another generator's."""
    for name in ("shape", "latent_dim"):
        found = encoder.architecture[name]
        expected = estimator._architecture[name]
        if found != expected:
            raise ValueError(
                f"encoder was trained with {name}={found}, but the generator of this "
                f"{type(estimator).__name__} has {name}={expected}; train it on this "
                "one with fit_encoder(estimator)."
            )
    if encoder.generator_checksum != _checksum(estimator.generator_):
        warnings.warn(
            "encoder was trained on another generator than this "
            f"{type(estimator).__name__} has, or before it was fitted again; what it "
            "says means little here. Train it anew with fit_encoder(estimator).",
            UserWarning,
            stacklevel=4,
        )


def _checksum(network):
    """Return what tells the weights of a network from others."""
    digest = hashlib.sha256()
    for name, value in to_numpy(dict(network.state_dict())).items():
        # A count that no output depends on, and not all checkpoints hold.
        if not name.endswith("num_batches_tracked"):
            digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def _build(architecture):
    """Return a discriminator with an output for each latent variable."""
    changes = {"n_outputs": architecture["latent_dim"], "n_projections": None}
    return network_builders(**{**architecture, **changes})[1]()


@validate_params(
    {
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def fit_encoder(
    estimator, *, n_steps=500, batch_size=64, learning_rate=2e-3, random_state=None
):
    """Train an encoder, which maps images to latent vectors, on a GAN's own samples.

    The encoder is a new discriminator of the estimator's architecture with an output
    for each latent variable. Each step draws latent vectors, generates images of them,
    and moves the encoder so that the generator draws these images again from what the
    encoder says; that it says the very vectors counts little, because several may draw
    almost the same image. No real image is needed, and none is seen: on images that
    the generator cannot draw the encoder has had no practice.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted.
    n_steps : int, default=500
        Steps of training.
    batch_size : int, default=64
        Samples a step.
    learning_rate : float, default=2e-3
        Of Adam at the first step; it falls to 0 along a cosine.
    random_state : int, RandomState instance or None, default=None
        Decides the encoder's first weights and what is drawn. None takes the
        estimator's ``random_state``.

    Returns
    -------
    encoder : LatentEncoder
        For the parameter ``encoder`` of :func:`project`. It belongs to the generator
        that it was trained on: train another after another ``fit``.

    See Also
    --------
    project : Map images to latent vectors.

    References
    ----------
    Zhu, Krahenbuhl, Shechtman and Efros, "Generative Visual Manipulation on the
    Natural Image Manifold", 2016, section 3.1 (arXiv:1609.03552).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import fit_encoder, project
    >>> X = load_digits().images[:100]
    >>> gan = DCGANFeatureExtractor(20, n_filters=8, max_epochs=1, random_state=0)
    >>> encoder = fit_encoder(gan.fit(X), n_steps=10, random_state=0)
    >>> project(gan, X[:5], method="encoder", encoder=encoder).shape
    (5, 20)
    """
    check_gan(estimator)
    rng = check_random_state(
        estimator.random_state if random_state is None else random_state
    )
    seed = int(rng.randint(np.iinfo(np.int32).max))
    device = device_of(estimator.generator_)
    architecture = {**estimator._architecture, "batch_norm": True}

    draw = partial(_draw_samples, estimator.generator_, architecture["latent_dim"])
    with torch_seed(seed, device), torch.inference_mode(False), torch.enable_grad():
        encoder = _build(architecture).to(device, memory_format=torch.channels_last)
        scale = spread(draw(_SCALE_SAMPLES)[1])
        batches = (draw(batch_size) for _ in range(n_steps))
        loss = partial(_reconstruction_loss, estimator.generator_, scale)
        _train(encoder, batches, loss, n_steps, learning_rate)
    return LatentEncoder(encoder.eval(), architecture, _checksum(estimator.generator_))


@torch.no_grad()
def _draw_samples(generator, latent_dim, n):
    """Return latent vectors and what the generator draws of them."""
    z = torch.randn(n, latent_dim, device=device_of(generator))
    return z, generator(z)


def _reconstruction_loss(generator, scale, encoded, z, images):
    """Return how far an encoder is from drawing images again that are drawn of z."""
    objective = make_objective(
        generator, images, scale=scale, prior_weight=_PRIOR_WEIGHT
    )
    loss = objective(encoded.unsqueeze(1)).mean()
    return loss + _LATENT_WEIGHT * mse_loss(encoded, z)


def _train(encoder, batches, loss, n_steps, learning_rate):
    """Train an encoder in place on so many batches of latent vectors and images."""
    weights = list(batch_norm_in_training(encoder).parameters())
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for z, images in batches:
        _, encoded = encoder(images)
        optimizer.zero_grad()
        # The generator's weights get no gradients.
        loss(encoded, z, images).backward(inputs=weights)
        optimizer.step()
        schedule.step()
