"""How differently two batches of images look, to one of several judges."""

from functools import partial

import torch
from torch import nn

from sklgan._tensors import torch_seed


def feature_distance(discriminator, images, others):
    """Return how differently a discriminator sees images, (n,).

    The mean squared distance of its activations, of unit length in each place, over
    all layers; one without a map, (n, units), is a single place. It is LPIPS (Zhang et
    al. 2018, equation 1, arXiv:1801.03924) with the discriminator for VGG, and with
    all weights alike.
    """
    total = 0.0
    layers = zip(discriminator(images)[0], discriminator(others)[0], strict=True)
    for seen, other in layers:
        seen, other = nn.functional.normalize(seen), nn.functional.normalize(other)
        squares = (seen - other).square().sum(1)
        total = total + squares.reshape(len(squares), -1).mean(1)
    return total


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
        return partial(_distances, name)
    if name == "discriminator":
        return partial(feature_distance, discriminator)
    lpips = _import_lpips()
    with torch_seed(0):  # it draws weights, which are then replaced
        network = lpips.LPIPS(net="vgg", verbose=False)
    network = network.to(device).requires_grad_(False)

    def distance(images, others):
        # It knows colour images only.
        pair = (
            x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x for x in (images, others)
        )
        return network(*(x[:, :3] for x in pair)).flatten()

    return distance


def check_perceptual(gan, device):
    """Raise an error, before any training, if the distance cannot be had.

    It is asked once, for two black images: for weights that are not there, images that
    are too small for LPIPS, and functions that return anything but distances.

    Parameters
    ----------
    gan : BlobGAN
        Its networks are chosen, and not built.
    device : torch.device
        Where it will be trained.

    Raises
    ------
    ImportError
        If LPIPS is asked for and not installed.
    TypeError, ValueError
        If LPIPS cannot be used, or a function returns no distances.
    """
    if gan.perceptual == "discriminator":
        return
    if gan.perceptual == "lpips" and gan.image_shape_ is None:
        raise ValueError(
            "perceptual='lpips' is for images, but X is flat; set image_shape=(h, w, "
            "c) if its rows are flattened images, else perceptual='discriminator'."
        )
    images = torch.full((2, *gan._architecture["shape"]), -1.0, device=device)
    try:
        distance = choose_perceptual(gan.perceptual, None, device)
        with torch_seed(0, device):
            distance(images.clone().requires_grad_(), images)
    except Exception as error:
        if gan.perceptual != "lpips" or isinstance(error, ImportError):
            raise
        raise ValueError(
            f"perceptual='lpips' cannot be used here, for images of "
            f"{gan.image_shape_}: {error}. It wants the weights of VGG16, which torch "
            "loads into its cache (TORCH_HOME) where there is a network, and images "
            "of 16x16 at least; or set perceptual='discriminator'."
        ) from error


def _distances(perceptual, images, others):
    """Return a user's distances as a tensor (n,); LPIPS's own are (n, 1, 1, 1)."""
    found = perceptual(images, others)
    if not torch.is_tensor(found):
        raise TypeError(
            f"perceptual returned {type(found).__name__}; it should return a tensor "
            "with a distance for each pair of images."
        )
    if found.numel() != len(images):
        raise ValueError(
            f"perceptual returned a tensor of shape {tuple(found.shape)} for "
            f"{len(images)} pairs of images; it should return a distance for each: "
            "take no mean over the batch."
        )
    if images.requires_grad and not found.requires_grad:
        raise ValueError(
            "perceptual returned a tensor through which no gradient flows; it should "
            "be computed by torch, without detach() or no_grad()."
        )
    return found.reshape(len(images))


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
