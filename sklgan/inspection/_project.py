"""From images to latent vectors: the inverse of ``generate``, as far as it has one."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    Interval,
    StrOptions,
    validate_params,
)

from sklgan._images import check_images
from sklgan._inference import check_gan, device_of, for_each_batch, run_generator
from sklgan._tensors import as_tensor
from sklgan.inspection._encoder import LatentEncoder, check_encoder, fit_encoder
from sklgan.inspection._inversion import (
    callable_distance,
    discriminator_distance,
    make_objective,
    minimize,
    spread,
    squared_distance,
)

# Samples of which the nearest are starts, and which give the scales of distances.
_N_CANDIDATES = 512

# So many give the scales of the discriminator's features, which take memory.
_N_SCALE = 128


@validate_params(
    {
        "method": [StrOptions({"optimize", "encoder", "hybrid"})],
        "n_starts": [Interval(Integral, 1, None, closed="left")],
        "n_steps": [Interval(Integral, 0, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "perceptual": [StrOptions({"discriminator"}), callable, None],
        "perceptual_weight": [Interval(Real, 0, None, closed="left")],
        "prior_weight": [Interval(Real, 0, None, closed="left")],
        "encoder": [LatentEncoder, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "return_errors": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def project(
    estimator,
    X,
    *,
    method="optimize",
    n_starts=2,
    n_steps=200,
    learning_rate=0.2,
    perceptual="discriminator",
    perceptual_weight=0.3,
    prior_weight=0.002,
    encoder=None,
    batch_size=32,
    random_state=None,
    return_errors=False,
):
    """Map images to latent vectors of which the generator draws them, or nearly.

    ``generate`` has no inverse: an image that the generator cannot draw has a nearest
    one among those that it can, and several latent vectors may draw almost the same
    image. So this is a search. Starting from several latent vectors, Adam minimises ::

        |G(z) - x|^2 + perceptual_weight * distance(G(z), x)
            + prior_weight * (|z|^2 - latent_dim)^2 / (2 latent_dim)

    for each image x on its own, and the best that was met is returned. The squared
    difference, and the discriminator's distance, are counted in units of what they are
    between two samples drawn at random, and the last term is 1 on average for vectors
    drawn from N(0, 1), so that weights mean the same for all networks and data.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted, on images or on flat rows. It is left as it is.
    X : array-like, ImageSequence, or sequence of paths or of PIL images
        Images of the size, layout and range of those given to ``fit``, or flat rows.
    method : {"optimize", "encoder", "hybrid"}, default="optimize"
        ``"optimize"`` starts from the ``n_starts`` nearest of 512 samples.
        ``"encoder"`` asks a network that was trained on the generator's samples: one
        pass, much faster once it is trained, and less exact. ``"hybrid"`` optimises
        what the encoder says and, with ``n_starts`` of 2 or more, the nearest samples.
    n_starts : int, default=2
        Starts an image, for ``"optimize"`` and ``"hybrid"``, at a cost in proportion.
        More help where a search ends far from an image that can be drawn; 1 is fast,
        above all for ``"hybrid"``.
    n_steps : int, default=200
        Steps of Adam from each start. More come nearer; 0 returns the best start.
    learning_rate : float, default=0.2
        Of the first step; it falls to 0 along a cosine.
    perceptual : "discriminator", callable or None, default="discriminator"
        Distance of images beside their squared difference. ``"discriminator"`` is
        the mean squared difference of the discriminator's activations, each layer
        counting alike. A callable such as LPIPS takes two tensors, real images and as
        many generated ones, ``(b, c, h, w)`` in [-1, 1] on the device of the networks
        (standardised rows ``(b, d)`` for flat X), and returns a tensor with a distance
        for each pair, through which gradients flow.
    perceptual_weight : float, default=0.3
        Weight of that distance. 0 is about twice as fast.
    prior_weight : float, default=0.002
        Weight of the latent vectors' length: of many dimensions, those that ``fit``
        and ``sample`` draw from N(0, 1) are about as long. 0 lets the search end far
        from where the generator has been trained.
    encoder : LatentEncoder, default=None
        What :func:`fit_encoder` returned; not for ``"optimize"``. None trains one where
        ``method`` needs it, which takes as long as optimising some hundred images.
    batch_size : int, default=32
        Images at a time; the memory is for ``n_starts`` times as many.
    random_state : int, RandomState instance or None, default=None
        Decides the samples that may be starts, the same for all images, and the
        encoder's training. None takes the estimator's ``random_state``.
    return_errors : bool, default=False
        Whether to return the images' errors too.

    Returns
    -------
    Z : ndarray of shape (n_samples, latent_dim), float32
        Latent vectors; ``estimator.generate(Z)`` draws the projections.
    errors : ndarray of shape (n_samples,), float32
        Mean squared difference of each image and its projection, for values in [0, 1]
        before they are rounded to X's dtype; for flat X in units of the standardised
        columns. Only if ``return_errors=True``.

    Raises
    ------
    ValueError
        If X is not like the X of ``fit``, or ``perceptual`` does not return a finite
        distance for each pair, through which gradients flow.
    TypeError
        If ``perceptual`` returns no tensor.

    See Also
    --------
    fit_encoder : Train an encoder once, to use it often.

    References
    ----------
    Zhu, Krahenbuhl, Shechtman and Efros, "Generative Visual Manipulation on the
    Natural Image Manifold", 2016, section 3 (arXiv:1609.03552), for the three methods.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import project
    >>> X = load_digits().images[:100]
    >>> gan = DCGANFeatureExtractor(20, n_filters=8, max_epochs=1, random_state=0)
    >>> Z, errors = project(
    ...     gan.fit(X), X[:5], n_steps=10, random_state=0, return_errors=True
    ... )
    >>> Z.shape, errors.shape, gan.generate(Z).shape
    ((5, 20), (5,), (5, 8, 8))
    """
    check_gan(estimator)
    rows = check_images(estimator, X, reset=False)
    rng = check_random_state(
        estimator.random_state if random_state is None else random_state
    )
    if encoder is not None:
        check_encoder(encoder, estimator)
    elif method != "optimize":
        encoder = fit_encoder(estimator, random_state=rng)
    weights = {"distance_weight": perceptual_weight, "prior_weight": prior_weight}
    with torch.inference_mode(False), torch.enable_grad():
        if method == "encoder":
            search = partial(_encode, encoder)
        else:
            samples = _draw_samples(estimator, n_starts, rng)
            first = encoder if method == "hybrid" else None
            search = partial(
                _optimize,
                starts=_starts_maker(samples, n_starts, first),
                prepare=_objective_maker(estimator, samples, perceptual, weights),
                n_steps=n_steps,
                learning_rate=learning_rate,
            )
        Z, errors = _search_all(estimator, rows, search, batch_size)
    return (Z, errors) if return_errors else Z


def _search_all(estimator, rows, search, batch_size):
    """Return latent vectors of all rows, batch by batch, and the images' errors."""
    generator = estimator.generator_
    device = device_of(generator)
    to_batch = estimator._make_to_batch(device)
    # The networks' images span 2, those of the error 1; flat rows are as they are.
    factor = 1 if estimator.image_shape_ is None else 4
    Z = np.empty((len(rows), estimator._architecture["latent_dim"]), np.float32)
    errors = np.empty(len(rows), np.float32)

    def run(part, batch_size):
        real = to_batch(as_tensor(rows[part]).to(device))
        z = search(real)
        with torch.no_grad():
            error = squared_distance(generator(z).unsqueeze(1), real) / factor
        Z[part], errors[part] = z.cpu().numpy(), error.squeeze(1).cpu().numpy()

    for_each_batch(len(rows), run, batch_size)
    return Z, errors


@torch.no_grad()
def _encode(encoder, real):
    """Return the latent vectors that an encoder gives images, (n, d)."""
    _, z = encoder.network.to(real.device)(real)
    return z


def _optimize(real, starts, prepare, n_steps, learning_rate):
    """Return the best latent vectors that are found from several starts, (n, d)."""
    z, losses = minimize(prepare(real), starts(real), n_steps, learning_rate)
    if losses.isinf().all(1).any():
        raise ValueError(
            "The distance of an image from what is generated is NaN or infinite from "
            "the first step on; see whether perceptual returns finite distances, and "
            "whether the networks' weights are finite."
        )
    return z[torch.arange(len(z)), losses.argmin(1)]


def _draw_samples(estimator, n_starts, rng):
    """Return latent vectors and what the generator draws of them, as tensors."""
    shape = max(n_starts, _N_CANDIDATES), estimator._architecture["latent_dim"]
    # A stream of its own: else samples drawn with the same seed would start at their
    # own vectors.
    rng = np.random.RandomState(rng.randint(np.iinfo(np.int32).max))
    z = rng.standard_normal(shape).astype(np.float32)
    images = run_generator(estimator.generator_, z, pad=estimator._pads)
    device = device_of(estimator.generator_)
    return as_tensor(z).to(device), as_tensor(images).to(device)


def _starts_maker(samples, n_starts, encoder):
    """Return the function from images to where to start, (n, n_starts, d).

    All images choose among the same samples, so that what is beside one does not
    matter: the nearest, and what the encoder says, if there is one.
    """
    candidates, images = samples

    def starts(real):
        # Matrix products would round by what else is in the batch.
        distances = torch.cdist(
            real.flatten(1),
            images.flatten(1),
            compute_mode="donot_use_mm_for_euclid_dist",
        )
        nearest = candidates[distances.topk(n_starts, largest=False).indices]
        if encoder is not None:
            nearest[:, -1] = _encode(encoder, real)
        return nearest

    return starts


def _objective_maker(estimator, samples, perceptual, weights):
    """Return the function from images to what is minimised for them."""
    images = samples[1]
    scale = spread(images)
    if perceptual is None or not weights["distance_weight"]:
        prepare = None
    elif perceptual == "discriminator":
        discriminator = estimator.discriminator_
        prepare = discriminator_distance(discriminator, images[:_N_SCALE])
    else:
        prepare = callable_distance(perceptual)

    def objective(real):
        return make_objective(
            estimator.generator_,
            real,
            scale=scale,
            distance=None if prepare is None else prepare(real),
            **weights,
        )

    return objective
