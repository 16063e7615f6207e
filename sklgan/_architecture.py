"""What an estimator trains, chosen from its parameters: networks and augmentations."""

from sklgan.augment import compose
from sklgan.networks._build import check_pair
from sklgan.networks._resnet import check_image_size

# What is no parameter's name.
_IN_WORDS = {
    "batch_norm": "batch normalisation (none with a gradient penalty)",
    "n_projections": "the outputs of heads that objective or rotation_weight asks for",
}
# What is left out of an architecture where it is none.
_LEFT_OUT = {"n_projections": (), "spectral_norm": False}


def choose_architecture(gan, *, n_outputs=1, batch_norm=True, **options):
    """Return what is needed to build both networks, as a dict of plain values.

    Parameters
    ----------
    gan : BaseGAN
        After ``check_images``, which sets ``image_shape_`` and ``n_features_in_``.
    n_outputs : int
        Number of the discriminator's logits.
    batch_norm : bool
        Whether the discriminator may normalise over the batch.
    **options
        Other keywords of :func:`sklgan.networks._build.network_builders`; what is
        empty is left out.

    Raises
    ------
    ValueError
        If ``network`` is for images and X is flat, or for larger ones, or is no pair of
        networks.
    """
    flat = gan.image_shape_ is None
    network = gan.network
    if network == "auto":
        network = gan._flat_network if flat else gan._image_network
    if flat and isinstance(network, str) and network not in ("mlp", "blobs"):
        raise ValueError(
            f"network={network!r} needs images, but X is flat, of shape "
            f"(n_samples, {gan.n_features_in_}); set image_shape=(h, w) or "
            "(h, w, c) if its rows are flattened images, else network='mlp'."
        )
    if isinstance(network, tuple):
        check_pair(network)
    shape = (gan.n_features_in_,)
    if not flat:
        height, width, channels = gan.image_shape_
        if network == "resnet18":
            check_image_size(height, width)
        shape = (channels, height, width)
    architecture = {
        "network": network,
        "latent_dim": gan.latent_dim,
        "shape": shape,
        "n_outputs": n_outputs,
        "n_filters": gan.n_filters,
        "batch_norm": batch_norm,
        **{name: value for name, value in options.items() if value},
    }
    options = {name: getattr(gan, name) for name in gan._generator_parameters}
    return {**architecture, "generator_options": options} if options else architecture


def choose_augmentation(gan, name):
    """Return the augmentation that the parameter ``name`` describes, a function.

    Parameters
    ----------
    gan : BaseGAN
        After ``check_images``, which sets ``image_shape_``.
    name : str
        Of the parameter.

    Raises
    ------
    ValueError
        If an augmentation is for images and X is flat.
    """
    value = getattr(gan, name)
    if callable(value):
        return value
    flat = gan.image_shape_ is None
    if isinstance(value, str) and value == "auto":
        return compose(gan._auto_augment[name]["flat" if flat else "images"])
    names = [value] if isinstance(value, str) else list(value or ())
    if flat and set(names) - {"noise"}:
        raise ValueError(
            f"{name}={value!r} is for images, but X is flat; set "
            "image_shape=(h, w, c) if its rows are flattened images, else "
            f"{name}=None."
        )
    return compose(names)


def _by_parameter(architecture):
    """Return an architecture with the generator's own parameters among the others."""
    architecture = dict(architecture)
    options = architecture.pop("generator_options", {})
    return {**architecture, **options}


def check_continuation(before, now):
    """Refuse to go on with other networks than those of the last fit."""
    before, now = _by_parameter(before), _by_parameter(now)
    for name in {**before, **now}:
        old, new = (part.get(name, _LEFT_OUT.get(name)) for part in (before, now))
        if new != old:
            raise ValueError(
                "warm_start=True and partial_fit continue the networks of the last "
                f"fit, but {_IN_WORDS.get(name, name)} was {old!r} and is {new!r} now; "
                "set it back, or begin anew with fit and warm_start=False."
            )
