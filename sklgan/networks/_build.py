"""From a name, or a pair of classes, to what builds a generator and a discriminator."""

from functools import partial

from sklgan.networks._dcgan import (
    DCGANDiscriminator,
    DCGANGenerator,
    DeepDCGANDiscriminator,
    DeepDCGANGenerator,
)
from sklgan.networks._mlp import MLPDiscriminator, MLPGenerator

NETWORKS = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
    "dcgan-deep": (DeepDCGANGenerator, DeepDCGANDiscriminator),
}


def network_builders(
    network, *, latent_dim, shape, n_outputs=1, n_filters=64, batch_norm=True
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

    Returns
    -------
    generator, discriminator : callable
        Without arguments; each call draws new weights.
    """
    if not isinstance(network, str):
        generator, discriminator = network
        return (
            partial(generator, latent_dim, shape),
            partial(discriminator, shape, n_outputs),
        )
    generator, discriminator = NETWORKS[network]
    return (
        partial(generator, latent_dim, shape, n_filters),
        partial(discriminator, shape, n_outputs, n_filters, batch_norm),
    )
