"""From a name, or a pair of classes, to what builds a generator and a discriminator."""

from functools import partial

import torch

from sklgan.networks._blobs import BlobGenerator
from sklgan.networks._cnn import CNNDiscriminator
from sklgan.networks._dcgan import (
    DCGANDiscriminator,
    DCGANGenerator,
    DeepDCGANDiscriminator,
    DeepDCGANGenerator,
)
from sklgan.networks._mlp import MLPDiscriminator, MLPGenerator
from sklgan.networks._residual import BlobDiscriminator

NETWORKS = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
    "cnn": (DCGANGenerator, CNNDiscriminator),
    "dcgan-deep": (DeepDCGANGenerator, DeepDCGANDiscriminator),
}

# Of BlobGAN alone, which asks more of a generator than the contract.
_BLOBS = {"blobs": (BlobGenerator, BlobDiscriminator)}


def _builds_module(builder):
    """Tell whether it is a class of modules, or a function that may return one."""
    if isinstance(builder, type):
        return issubclass(builder, torch.nn.Module)
    return callable(builder) and not isinstance(builder, torch.nn.Module)


def check_pair(network):
    """Refuse a tuple that is no pair of what builds a generator and a discriminator."""
    if len(network) != 2 or not all(map(_builds_module, network)):
        raise ValueError(
            f"network={network!r} should be a pair (Generator, Discriminator) of torch "
            "modules' classes, or of functions that return such modules; see "
            "sklgan.networks for what they must offer."
        )


def network_builders(
    network,
    *,
    latent_dim,
    shape,
    n_outputs=1,
    n_filters=64,
    batch_norm=True,
    generator_options=None,
):
    """Return two callables that build a new generator and a new discriminator.

    Parameters
    ----------
    network : str or tuple
        A key of ``NETWORKS``, or a pair ``(Generator, Discriminator)`` of classes
        that keep the contract; these are not told ``n_filters`` and ``batch_norm``.
    latent_dim : int
        Number of latent variables.
    shape : tuple of int
        ``(d,)`` or ``(c, h, w)``.
    n_outputs : int, default=1
        Number of the discriminator's logits.
    n_filters : int, default=64
        Width of the narrowest layer.
    batch_norm : bool, default=True
        Whether the discriminator may normalise over the batch.
    generator_options : dict, default=None
        Other keywords of the generator, of a user's class as well.

    Returns
    -------
    generator, discriminator : callable
        Without arguments; each call draws new weights.
    """
    if not isinstance(network, str):
        generator, discriminator = network
        return (
            partial(generator, latent_dim, shape, **(generator_options or {})),
            partial(discriminator, shape, n_outputs),
        )
    generator, discriminator = {**NETWORKS, **_BLOBS}[network]
    return (
        partial(generator, latent_dim, shape, n_filters, **(generator_options or {})),
        partial(discriminator, shape, n_outputs, n_filters, batch_norm),
    )
