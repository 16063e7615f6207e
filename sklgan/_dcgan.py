"""DCGANFeatureExtractor: the discriminator's activations as features."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from sklgan._base import BaseGAN
from sklgan._exchange import ExchangeMixin
from sklgan._features import check_out, choose_layers, feature_names, pool
from sklgan._images import check_images
from sklgan._namespaces import empty_beside, like
from sklgan._objectives import (
    PROJECTIONS,
    bind_objective,
    check_objective,
    check_rows,
    penalty_weight,
)
from sklgan.losses import ADVERSARIAL_LOSSES
from sklgan.networks._build import network_builders


class DCGANFeatureExtractor(ExchangeMixin, TransformerMixin, BaseGAN):
    """Learn image features without labels by training a DCGAN.

    A generator learns to draw images that look like X, a discriminator to tell them
    from X. ``transform`` returns what the discriminator saw: the activation of every
    convolution, max-pooled to a grid of ``pool_size`` x ``pool_size``, flattened and
    concatenated. A linear classifier on these features needs few labels.

    Parameters
    ----------
    latent_dim : int, default=100
        Number of latent variables, the generator's input.

    network : {"auto", "mlp", "dcgan", "cnn", "dcgan-deep", "sndcgan", "resnet18"} or \
tuple, default="auto"
        ``"dcgan"`` is the architecture of the PyTorch tutorial, ``"dcgan-deep"`` the
        paper's CIFAR-10 network, 8 to 11 times slower. ``"cnn"`` is made for
        classification, and learned most from rotations. ``"sndcgan"`` and
        ``"resnet18"`` (from 8x8 on) look longer at small images, and cost 6 to 8 and
        15 to 20 times as much as ``"dcgan"``. ``"mlp"`` is fully connected, for flat X.
        ``"auto"`` takes ``"mlp"`` for flat X and ``"dcgan"`` for images. A pair
        ``(Generator, Discriminator)`` of your own classes keeps the contract of
        :mod:`sklgan.networks`.

    image_shape : tuple of int, default=None
        ``(h, w)``, grey, or ``(h, w, c)`` of flattened images; without it, 2-D X is
        flat. Images from files are scaled and cropped to it.

    data_range : "auto" or pair of float, default="auto"
        Values that mean black and white. ``"auto"`` takes (0, 255) for uint8, and for
        other dtypes the narrowest of (0, 1), (-1, 1) and (0, 255) that is plainly
        meant, else the minimum and maximum of X.

    n_filters : int, default=64
        Width of the networks' narrowest layer. Cost grows with its square.

    loss : {"nonsaturating", "hinge", "wasserstein", "least_squares", \
"relativistic"}, default="nonsaturating"
        The adversarial loss; see :mod:`sklgan.losses`. ``"wasserstein"`` and
        ``"relativistic"`` need gradient penalties, which cost time and memory, and
        train a discriminator without batch normalisation, as ``"adversarial"`` alone.

    objective : {"adversarial", "contrastive", "rotation"}, default="adversarial"
        What teaches the discriminator's layers: ``"adversarial"``, the paper's, to tell
        generated images from X; ``"contrastive"``, to tell two views of an image from
        views of others in a batch of 8 or more, and generated images from X;
        ``"rotation"``, the first and which way an image was turned, see
        :func:`~sklgan.losses.turns_cross_entropy`. Figures of the last two are with
        ``learning_rate=1e-3``. :ref:`objectives` says which to take.

    adversarial_weight : float, default=1.0
        Weight of what generated images teach under the last two objectives alone. 0
        trains no generator and no realness, in less time: ``sample`` and
        ``score_samples`` are then those of untrained networks.

    gradient_penalty : "auto" or float, default="auto"
        Weight of the gradient penalty: lambda of WGAN-GP for ``"wasserstein"``
        (auto: 10), gamma of R1 and R2 for ``"relativistic"`` (auto: 1), gamma of R1
        for the other losses (auto: 0). Where it is positive the discriminator has no
        batch normalisation.

    spectral_norm : bool, default=False
        Whether the weights of the discriminator's layers have a spectral norm of 1, in
        place of batch normalisation. Those of ``"sndcgan"`` always have. The small
        networks on top of the layers, under other objectives, are free.

    n_critic : int, default=1
        Updates of the discriminator for each of the generator; 5 is usual for
        ``loss="wasserstein"``.

    ema_decay : float, default=0.999
        Decay, a step, of the average of the generator's weights that ``sample`` and
        ``generate`` use. 0 uses the last weights.

    learning_rate : float, default=2e-4
        Of Adam, for both networks, with beta1 0.5. Lower it when training diverges.

    batch_size : int, default=128
        At most so many images a step; batches of an epoch are of equal size.

    max_epochs : int, default=25
        Passes over X. 0 trains nothing: the features of an untrained network, which
        are the baseline to compare with.

    augment : str, list of str or callable, default=None
        Differentiable augmentations of real and fake images alike, such as ``"flip"``,
        ``"translation"``, ``"color"`` and ``"cutout"``; see :mod:`sklgan.augment`.
        Helps where there are few images. The views of ``objective="contrastive"``;
        None is ``"simclr"`` there.

    layers : "all", "last" or list of int, default="all"
        Layers whose activations are the features, counted from 1; ``"last"`` is the
        one that the logit is computed from. On CIFAR-10 all were better for a linear
        classifier, by 0 to 2 points with 10 labels a class and by 3 to 6 with 5,000;
        under ``"contrastive"`` the last did as well with these, with half the columns.

    pool_size : int, default=4
        Side of the grid to which activations are max-pooled; smaller ones are left as
        they are.

    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the training's forward passes; weights and ``transform`` are float32 always.
        ``"auto"`` takes bfloat16 for convolutions where the hardware has it.

    device : str or torch.device, default="auto"
        ``"auto"`` takes a CUDA GPU where there is one, else the CPU.

    callbacks : list of skorch callbacks, default=None
        Called during ``fit`` with the training engine, a :class:`skorch.NeuralNet`.

    checkpoint : str or path-like, default=None
        Folder of this fit alone, for what it takes to go on; None in a search. After a
        crash, a kill or Ctrl-C, the same ``fit`` with the same data goes on from there,
        and ends with the same weights on a CPU with as many threads. Needs safetensors.
        More ``max_epochs`` continue a training that has ended; callbacks begin anew.

    checkpoint_interval : float, default=60
        Seconds between two writes at least; they come at the end of an epoch. 0
        writes after each epoch.

    warm_start : bool, default=False
        Whether another ``fit`` trains the same networks for ``max_epochs`` more
        epochs. Keeps the optimiser's state, also in a pickle.

    random_state : int, RandomState instance or None, default=None
        Decides all that is drawn in ``fit``, and in ``sample`` where that is not told
        otherwise. Fits in parallel threads are not repeatable; in processes they are.

    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    generator_ : torch.nn.Module
        The generator with averaged weights, in evaluation mode.

    discriminator_ : torch.nn.Module
        The discriminator; its batch normalisation holds statistics of X.

    image_shape_ : tuple of int or None
        ``(h, w, c)``; None for flat X.

    data_range_ : tuple of float or None
        The range of values that was used; None for flat X.

    history_ : list of dict
        A row an epoch: ``epoch``, ``d_loss``, ``g_loss``, ``duration`` in seconds.

    n_iter_ : int
        Epochs run, those of earlier fits included with ``warm_start``.

    layers_ : list of int
        The convolutions in use.

    n_features_in_ : int
        Number of values of an image or row.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, where it was a data frame with string names.

    See Also
    --------
    TorchLinearSVC : A linear classifier for these features, without copies.

    References
    ----------
    Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks", 2015, section 5.1
    (arXiv:1511.06434).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import LinearSVC
    >>> from sklgan import DCGANFeatureExtractor
    >>> digits = load_digits()
    >>> X, y = digits.images[:200], digits.target[:200]
    >>> gan = DCGANFeatureExtractor(n_filters=16, max_epochs=2, random_state=0)
    >>> gan.fit_transform(X).shape
    (200, 256)
    >>> gan.get_feature_names_out()[:2].tolist()
    ['conv1_ch000_r0_c0', 'conv1_ch000_r0_c1']
    >>> gan.sample(3).shape
    (3, 8, 8)
    >>> make_pipeline(gan, LinearSVC()).fit(X, y).predict(X).shape
    (200,)
    """

    _parameter_constraints: dict = {
        **BaseGAN._parameter_constraints,
        "loss": [StrOptions(set(ADVERSARIAL_LOSSES))],
        "gradient_penalty": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "objective": [StrOptions({"adversarial", *PROJECTIONS})],
        "adversarial_weight": [Interval(Real, 0, None, closed="left")],
        "spectral_norm": ["boolean"],
        "layers": [StrOptions({"all", "last"}), list, tuple],
        "pool_size": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        latent_dim=100,
        *,
        network="auto",
        image_shape=None,
        data_range="auto",
        n_filters=64,
        loss="nonsaturating",
        objective="adversarial",
        adversarial_weight=1.0,
        gradient_penalty="auto",
        spectral_norm=False,
        n_critic=1,
        ema_decay=0.999,
        learning_rate=2e-4,
        batch_size=128,
        max_epochs=25,
        augment=None,
        layers="all",
        pool_size=4,
        precision="auto",
        device="auto",
        callbacks=None,
        checkpoint=None,
        checkpoint_interval=60.0,
        warm_start=False,
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            latent_dim=latent_dim,
            network=network,
            image_shape=image_shape,
            data_range=data_range,
            n_filters=n_filters,
            n_critic=n_critic,
            ema_decay=ema_decay,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_epochs=max_epochs,
            augment=augment,
            precision=precision,
            device=device,
            callbacks=callbacks,
            checkpoint=checkpoint,
            checkpoint_interval=checkpoint_interval,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.loss = loss
        self.objective = objective
        self.adversarial_weight = adversarial_weight
        self.gradient_penalty = gradient_penalty
        self.spectral_norm = spectral_norm
        self.layers = layers
        self.pool_size = pool_size

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the networks on X.

        Parameters
        ----------
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            Images ``(n, h, w)`` or ``(n, h, w, c)`` with channels last, flattened
            images ``(n, d)`` with ``image_shape`` set, or flat rows ``(n, d)``. What is
            too large for memory is a memory map or a sequence of
            :mod:`sklgan.datasets`.
        y : Ignored
            There for the sake of pipelines.

        Returns
        -------
        self : DCGANFeatureExtractor
            The fitted estimator.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight becomes NaN or infinite; the estimator then has the
            weights of the last good epoch.
        """
        with self._fitting():
            self._train(X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Go on training with a chunk of a stream: one pass over it.

        A sequence of calls trains as the epochs of one ``fit`` do: the optimiser, the
        averages and the random numbers go on, also in a copy of the estimator, whose
        file is larger for it. ``max_epochs`` does not matter. The first call decides
        ``data_range_`` and ``image_shape_``, or the scale of flat X. After a ``fit``
        it is its networks that go on, with its optimiser's state after ``warm_start``.

        Batch normalisation has the statistics of the chunk, those of earlier ones
        included if it has fewer than 1,000 rows: let a chunk hold what the stream
        holds, several hundred rows where there are as many.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            At least 2 rows of what ``fit`` takes, 8 with ``"contrastive"``.
        y : Ignored
            There for the sake of pipelines.

        Returns
        -------
        self : DCGANFeatureExtractor
            The estimator, trained an epoch more; after an error it is as it was.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight becomes NaN or infinite.
        """
        with self._unchanged_on_error(streamed=True):
            self._train(X, streamed=True)
        return self

    def _train(self, X, streamed=False):
        """Train the networks on X, or on a chunk of it."""
        check_objective(self)
        X = self._prepare_fit(
            X,
            streamed=streamed,
            batch_norm=penalty_weight(self) == 0,
            spectral_norm=self.spectral_norm,
            n_projections=PROJECTIONS.get(self.objective),
        )
        check_rows(self, X)
        self._choose_features()
        self._fit_gan(X, streamed=streamed, **bind_objective(self))

    def _choose_features(self):
        """Look at an untrained discriminator's layers, and set which are used."""
        _, build = network_builders(**self._architecture)
        shape = self._architecture["shape"]
        self.layers_, shapes = choose_layers(self.layers, build, shape)
        # In which each layer enters the features: (c, rows, columns) or (units,).
        self._feature_shapes = [
            (shape[0], *(min(side, self.pool_size) for side in shape[1:]))
            for shape in shapes
        ]

    # It is for direct calls: pipelines do not route it.
    __metadata_request__transform = {"out": UNUSED}

    def transform(self, X, out=None):
        """Return the features of X.

        Parameters
        ----------
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            As in ``fit``.
        out : ndarray of shape (n_samples, n_features_out), float32, default=None
            Where to write the features, batch by batch; for example a memory map, made
            by ``np.lib.format.open_memmap``.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out), float32
            ``out``, or the only array of that size which is ever allocated. Under
            scikit-learn's array API dispatch, an array of the namespace and on the
            device of X.
        """
        check_is_fitted(self)
        images = check_images(self, X, reset=False)
        shape = len(images), self._n_features_out
        if out is None:
            features_out = empty_beside(images, *shape)
        else:
            check_out(out, shape)
            features_out = torch.from_numpy(out)

        def write(rows, features, logits):
            start = 0
            for layer, shape in zip(self.layers_, self._feature_shapes, strict=True):
                stop = start + int(np.prod(shape))
                pooled = pool(features[layer - 1], shape)
                features_out[rows, start:stop].unflatten(1, shape).copy_(pooled)
                start = stop

        self._discriminate(images, write)
        return like(features_out, X) if out is None else out

    @property
    def _n_features_out(self):
        """Number of features that ``transform`` returns."""
        return sum(int(np.prod(shape)) for shape in self._feature_shapes)

    def get_feature_names_out(self, input_features=None):
        """Return the features' names, such as ``conv3_ch017_r2_c1``.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Checked against ``feature_names_in_`` and ``n_features_in_``, not used.

        Returns
        -------
        names : ndarray of str objects, shape (n_features_out,)
            Layer, counted from 1 as in ``layers``; channel, row and column of the
            pooled map, counted from 0. Fully connected layers have
            ``dense1_u017``.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        return feature_names(self.layers_, self._feature_shapes)

    def __sklearn_tags__(self):
        """Say that features are float32 for float32 and uint8 X alike."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
