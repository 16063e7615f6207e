"""Which pixels a feature of the discriminator answers to: gradients and guided ones."""

from contextlib import closing, nullcontext
from functools import partial

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch.overrides import TorchFunctionMode

from sklgan._images import check_images
from sklgan._inference import check_gan, device_of, for_each_batch
from sklgan._namespaces import empty_beside, like
from sklgan._placement import read_batches, read_rows
from sklgan._streams import draw_seed
from sklgan._tensors import as_tensor, torch_seed
from sklgan._training import equal_batches, gather_batch_norm
from sklgan.inspection._features_by_name import parse_features, peaks
from sklgan.networks._build import network_builders

# Images whose activations are kept for the way back at a time.
_BATCH = 64

# Rows that batch normalisation of an untrained network has its statistics from.
_STATISTICS_ROWS = 2_048

# Negative inputs have a slope of their own in most of these; guided, it is 0.
_RECTIFIERS = {
    "relu",
    "relu_",
    "leaky_relu",
    "leaky_relu_",
    "prelu",
    "rrelu",
    "rrelu_",
}


class _GuidedRectifiers(TorchFunctionMode):
    """Let only what is positive pass back through rectifiers that are called within.

    Functions are watched and not modules: so the network is left alone, rectifiers
    that are no modules count, and parallel threads know nothing of it.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call the function; of a rectifier, change what comes back."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", None)
        if name in _RECTIFIERS and result.requires_grad:
            # They keep the sign, so that in-place ones can be told by their result.
            active = result > 0
            result.register_hook(lambda gradient: gradient.clamp(min=0) * active)
        return result


def guided_backprop(estimator, X, features, *, guided=True):
    """Show which pixels chosen features of the discriminator answer to.

    The gradient of a feature with respect to the image. Guided backpropagation lets
    only what is positive pass back through each rectifier (ReLU and LeakyReLU alike),
    where the rectifier's input was positive too; what is left are the pixels that
    together raise the feature, much clearer than the plain gradient. Compare it with
    that of :func:`untrained_copy`: some structure comes from the image and the
    architecture alone.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted; its networks are left as they are.
    X : array-like, ImageSequence, or sequence of paths or of PIL images
        As in ``fit``.
    features : str, tuple (layer, channel), or list of these
        Names as in ``get_feature_names_out``, such as ``"conv3_ch017_r2_c1"``; or
        filters, ``(3, 17)`` or ``"conv3_ch017"``: the layer counted from 1, the
        channel from 0, at the position where it is strongest. All layers of the
        discriminator can be named.
    guided : bool, default=True
        False returns the gradient itself. Activations other than rectifiers always
        pass their gradient.

    Returns
    -------
    gradients : ndarray of shape (n_samples, n_features, ...), float32
        Change of the feature by unit of X, an image or row in the layout of X for each
        feature. Guided, all 0 where the feature is not active (its response is not
        positive).
    responses : ndarray of shape (n_samples, n_features), float32
        The features, as ``transform`` returns them.

    Raises
    ------
    ValueError
        If there is no such feature.

    See Also
    --------
    top_images : Images that a filter answers to most.
    decision_map : The same for a classifier on the features.

    References
    ----------
    Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for Simplicity: The All
    Convolutional Net", 2014, section 3.4 (arXiv:1412.6806). Used for a discriminator by
    Radford, Metz and Chintala, 2015, section 6.2 (arXiv:1511.06434).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import guided_backprop
    >>> X = load_digits().images[:50]
    >>> gan = DCGANFeatureExtractor(n_filters=4, max_epochs=2, random_state=0).fit(X)
    >>> gradients, responses = guided_backprop(gan, X, ["conv1_ch002_r1_c3", (1, 0)])
    >>> gradients.shape, responses.shape
    ((50, 2, 8, 8), (50, 2))
    """
    features = parse_features(estimator, features)
    values = partial(values_of, features=features)
    return gradients_of(estimator, X, values, len(features), guided=guided)


def values_of(activations, logits, features):
    """Return the values of features, (n, n_features)."""
    return torch.stack([peaks(activations, f)[0] for f in features], dim=1)


def gradients_of(estimator, X, values, n_values, *, guided):
    """Return gradients with respect to X, and values, of functions of the activations.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted.
    X : array-like
        As in ``fit``.
    values : callable
        ``(activations, logits) -> Tensor of shape (n, n_values)``.
    n_values : int
        Number of values an image.
    guided : bool
        Whether rectifiers are guided.

    Returns
    -------
    gradients : ndarray of shape (n_samples, n_values, ...), float32
        In the layout of X.
    responses : ndarray of shape (n_samples, n_values), float32
        The values.
    """
    gradients, responses = gradients_of_rows(
        estimator,
        check_images(estimator, X, reset=False),
        values,
        n_values,
        guided=guided,
    )
    return like(gradients, X), like(responses, X)


def gradients_of_rows(estimator, images, values, n_values, *, guided):
    """Return the same for what ``check_images`` has returned, as tensors."""
    n_samples, n_features = images.shape

    def run(part, first, rows, batch_size):
        pixels, found = _differentiable(estimator, part[rows], values, guided)
        rows = slice(first + rows.start, first + rows.stop)
        responses[rows] = found.detach()
        for k in range(n_values):
            [gradient] = torch.autograd.grad(
                found[:, k].sum(), pixels, retain_graph=k < n_values - 1
            )
            gradients[rows, k] = gradient.to(gradients.dtype)

    with (
        # Whatever the caller has switched off.
        torch.inference_mode(False),
        torch.enable_grad(),
        closing(read_batches(images, _BATCH)) as parts,
    ):
        gradients = empty_beside(images, n_samples, n_values, n_features)
        responses = empty_beside(images, n_samples, n_values)
        batch_size = _BATCH
        for place, part in parts:
            run_part = partial(run, part, place.start)
            batch_size = for_each_batch(len(part), run_part, batch_size)
        layout = image_layout(estimator)
        return gradients.reshape(n_samples, n_values, *layout), responses


def _differentiable(estimator, rows, values, guided):
    """Return rows as pixels that have a gradient, and the values of their images."""
    network = estimator.discriminator_
    device = device_of(network)
    to_batch = estimator._make_to_batch(device)
    rows = as_tensor(rows).to(device)
    if not rows.is_floating_point():
        rows = rows.to(to_batch.keywords["center"].dtype)
    pixels = rows.detach().requires_grad_()
    with _GuidedRectifiers() if guided else nullcontext():
        return pixels, values(*network(to_batch(pixels)))


def image_layout(estimator):
    """Return the shape of one image or row in the layout of the X given to ``fit``."""
    ndim, shape = estimator._input_layout["ndim"], estimator.image_shape_
    if ndim == 2:
        return (estimator.n_features_in_,)
    return shape[:2] if ndim == 3 else shape


def untrained_copy(estimator, X, *, random_state=None):
    """Return an estimator with the same networks as they are before training.

    The baseline of all that is seen in a trained one. What was drawn for the weights
    is what ``fit`` has drawn, if ``random_state`` was an int there and networks draw
    nothing else; otherwise it is another draw.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted; it is left as it is.
    X : array-like, ImageSequence, or sequence of paths or of PIL images
        As in ``fit``, at least 2 rows. Batch normalisation has the statistics of
        at most 2,048 of them.
    random_state : int, RandomState instance or None, default=None
        Decides the weights. None takes the estimator's.

    Returns
    -------
    untrained : GAN estimator
        A copy, with networks of its own.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import untrained_copy
    >>> X = load_digits().images[:50]
    >>> gan = DCGANFeatureExtractor(n_filters=4, max_epochs=2, random_state=0).fit(X)
    >>> untrained_copy(gan, X).transform(X).shape
    (50, 64)
    """
    check_gan(estimator)
    rows = check_images(estimator, X, reset=False)
    if len(rows) < 2:
        raise ValueError(
            f"X has {len(rows)} row(s), but batch normalisation needs at least 2."
        )
    rng = None if random_state is None else check_random_state(random_state)
    seed = draw_seed(estimator, rng, streamed=False)
    device = device_of(estimator.discriminator_)
    to_batch = estimator._make_to_batch(device)
    latent_dim = estimator._architecture["latent_dim"]
    # copy.copy would copy the trained weights as well.
    untrained = object.__new__(type(estimator))
    vars(untrained).update(
        vars(estimator), n_iter_=0, history_=[], _training_state=None
    )
    # Shuffled: rows sorted by class vary too little within a batch.
    order = np.random.RandomState(seed).permutation(len(rows))[:_STATISTICS_ROWS]
    bounds = equal_batches(len(order), estimator.batch_size)
    chosen = np.split(order, bounds[1:-1])
    with torch_seed(seed, device):
        networks = [build() for build in network_builders(**estimator._architecture)]
        generator, discriminator = (
            network.to(device, memory_format=torch.channels_last)
            for network in networks
        )
        batches = (to_batch(as_tensor(read_rows(rows, k)).to(device)) for k in chosen)
        untrained.discriminator_ = gather_batch_norm(discriminator, batches)
        latent = (torch.randn(len(k), latent_dim, device=device) for k in chosen)
        untrained.generator_ = gather_batch_norm(generator, latent)
    return untrained
