"""From a name, or a pair of classes, to what builds a generator and a discriminator."""

from functools import partial
from operator import attrgetter

import torch

from sklgan.networks._blobs import BlobGenerator
from sklgan.networks._cnn import CNNDiscriminator
from sklgan.networks._dcgan import (
    DCGANDiscriminator,
    DCGANGenerator,
    DeepDCGANDiscriminator,
    DeepDCGANGenerator,
)
from sklgan.networks._heads import SelfTaughtDiscriminator
from sklgan.networks._mlp import MLPDiscriminator, MLPGenerator
from sklgan.networks._residual import BlobDiscriminator
from sklgan.networks._resnet import ResNet18Discriminator, ResNetGenerator
from sklgan.networks._sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from sklgan.networks._spectral import add_spectral_norm

NETWORKS = {
    "mlp": (MLPGenerator, MLPDiscriminator),
    "dcgan": (DCGANGenerator, DCGANDiscriminator),
    "cnn": (DCGANGenerator, CNNDiscriminator),
    "dcgan-deep": (DeepDCGANGenerator, DeepDCGANDiscriminator),
    "sndcgan": (SNDCGANGenerator, SNDCGANDiscriminator),
    "resnet18": (ResNetGenerator, ResNet18Discriminator),
}

# Of BlobGAN alone, which asks more of a generator than the contract.
_BLOBS = {"blobs": (BlobGenerator, BlobDiscriminator)}

# What a discriminator leaves out under spectral norms, beside batch normalisation.
_LEFT_OUT = {"resnet18": {"group_norm": False}}


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


def _build_normalized(build):
    """Return a new module with spectral norms."""
    return add_spectral_norm(build())


def network_builders(
    network,
    *,
    latent_dim,
    shape,
    n_outputs=1,
    n_filters=64,
    batch_norm=True,
    spectral_norm=False,
    generator_options=None,
    n_projections=None,
    own_logits=False,
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
    spectral_norm : bool, default=False
        Give all linear layers and convolutions of the discriminator, of a user's class
        as well, weights of spectral norm 1; named ones then have no other
        normalisation. ``"sndcgan"`` is so always. Heads are left free.
    generator_options : dict, default=None
        Other keywords of the generator, of a user's class as well.
    n_projections : sequence of int, default=None
        Outputs of the heads of a :class:`~sklgan.networks.SelfTaughtDiscriminator`;
        None builds none.
    own_logits : bool, default=False
        Whether these heads stand beside the discriminator's own logits.

    Returns
    -------
    generator, discriminator : callable
        Without arguments; each call draws new weights.
    """
    if isinstance(network, str):
        generator, discriminator = {**NETWORKS, **_BLOBS}[network]
        left_out = _LEFT_OUT.get(network, {}) if spectral_norm else {}
        batch_norm = batch_norm and not spectral_norm
        generator = partial(generator, latent_dim, shape, n_filters)
        discriminator = partial(
            discriminator, shape, n_outputs, n_filters, batch_norm, **left_out
        )
    else:
        generator, discriminator = network
        generator = partial(generator, latent_dim, shape)
        discriminator = partial(discriminator, shape, n_outputs)
    if spectral_norm:
        discriminator = partial(_build_normalized, discriminator)
    if n_projections is not None:
        discriminator = partial(
            SelfTaughtDiscriminator, discriminator, shape, n_projections, own_logits
        )
    return partial(generator, **(generator_options or {})), discriminator


# What a generator must have, to be trained, to paint and to tell what is seen.
_BLOBS_NEED = (
    "layout.hidden",
    "layout.read",
    "layout.read_numbers",
    "render",
    "scores",
    "sides",
)


def check_blob_generator(architecture):
    """Refuse, before any training, a generator of the user's that knows no blobs.

    Parameters
    ----------
    architecture : dict
        Keywords of :func:`network_builders`.

    Raises
    ------
    ValueError
        If it cannot be built with what it is given, or lacks something.
    """
    if isinstance(architecture["network"], str):
        return
    own = getattr(architecture["network"][0], "__name__", architecture["network"][0])
    what = (
        "its generator should take (latent_dim, out_shape, *, n_blobs, feature_dim, "
        "style_dim) and be derived from sklgan.networks.BlobGenerator."
    )
    build, _ = network_builders(**architecture)
    try:
        with torch.random.fork_rng(devices=[]):
            generator = build()
    except TypeError as error:
        raise ValueError(
            f"network=({own}, ...) cannot be built: {error}; {what}"
        ) from error
    missing = []
    for name in _BLOBS_NEED:
        try:
            attrgetter(name)(generator)
        except AttributeError:
            missing.append(name)
    if missing:
        raise ValueError(f"network=({own}, ...) has no {', '.join(missing)}; {what}")
