"""BlobGAN: images as blobs that can be found, moved, resized, restyled and removed."""

from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
)

from sklgan._base import BaseGAN
from sklgan._blob_dtype import GEOMETRY, blob_dtype
from sklgan._inversion import encoder_builder, train_encoder
from sklgan._namespaces import like
from sklgan._painting import BlobsMixin
from sklgan._perceptual import check_perceptual
from sklgan._tensors import resolve_device, to_torch, torch_seed
from sklgan.losses import d_lazy_r1, generator_loss
from sklgan.networks._build import check_blob_generator


class BlobGAN(TransformerMixin, BlobsMixin, BaseGAN):
    """Take images apart into blobs, and paint images of blobs.

    A layout network turns noise into blobs: places, sizes, shapes, and vectors that say
    what is there. A generator paints an image of them, a discriminator tells it from X.
    Nobody says what the blobs are to be; what moves together becomes one. Then an
    encoder learns to find the blobs of an image. ``transform`` returns them as
    features, ``inverse_transform`` paints them, and the functions of
    :mod:`sklgan.blobs` move, resize, restyle, copy and remove them in between.

    Parameters
    ----------
    n_blobs : int, default=10
        Blobs an image, beside the background. With far more than there are things in
        an image, several blobs share one.

    latent_dim : int, default=100
        Number of latent variables, the layout network's input.

    network : {"auto", "blobs"} or tuple, default="auto"
        ``"blobs"`` is all that ``"auto"`` takes. A pair of your own classes
        ``(Generator, Discriminator)`` keeps the contract of :mod:`sklgan.networks`; the
        generator also takes ``n_blobs``, ``feature_dim`` and ``style_dim``, and has all
        that :class:`sklgan.networks.BlobGenerator` has: derive it from that class.

    image_shape : tuple of int, default=None
        ``(h, w)``, grey, or ``(h, w, c)`` of flattened images; images from files are
        scaled and cropped to it. Without it, rows of 2-D X are signals, images of one
        pixel's height: their columns have to be in order. Images may have any size;
        blobs in those of fewer than 16x16 pixels are splatted at full size.

    data_range : "auto" or pair of float, default="auto"
        Values that mean black and white, as in :class:`DCGANFeatureExtractor`.

    n_filters : int, default=16
        Width of the networks at full size. Cost grows with its square. The default
        is for 32x32 images on a CPU; the paper has 96 for 256x256.

    feature_dim : int, default=32
        Length of the vector that says what a blob is; the paper has 768.

    style_dim : int, default=32
        Length of the vector that says what it looks like; the paper has 512.

    r1_gamma : float, default=1.0
        Weight of the gradient penalty R1. Raise it for larger images, or where training
        diverges; the paper has 100 for 256x256.

    r1_interval : int, default=16
        The penalty is computed at each so many steps, with so many times the weight.

    perceptual : {"discriminator", "lpips"} or callable, default="discriminator"
        What tells the encoder how alike two images look: the discriminator's features,
        LPIPS if the package ``lpips`` is installed with its weights, or a function, or
        module, of two tensors (n, c, h, w) in [-1, 1], for flat X of (n, d)
        standardised, that returns n distances, as a tensor. A module does not learn.

    encoder_epochs : "auto" or int, default="auto"
        Passes over X in which the encoder is trained, when the GAN has been; half of
        ``max_epochs``, rounded up, by default. More than a checkpoint had go on from
        there; as the loss follows a schedule, in one training it would end otherwise.

    n_critic : int, default=1
        Updates of the discriminator for each of the generator.

    ema_decay : float, default=0.999
        Decay, a step, of the average of the generator's weights, which is the one that
        remains.

    learning_rate : float, default=2e-3
        Of Adam, for all networks, with beta1 0.5. Lower it when training diverges.

    batch_size : int, default=32
        At most so many images a step; with 2 the sizes of blobs do not learn.

    max_epochs : int, default=12
        Passes over X.

    augment : str, list of str or callable, default=None
        Differentiable augmentations of real and fake images alike; see
        :mod:`sklgan.augment`.

    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the GAN's forward passes, as in :class:`DCGANFeatureExtractor`; layouts are
        computed in float32 always.

    device : str or torch.device, default="auto"
        ``"auto"`` takes a CUDA GPU where there is one, else the CPU.

    callbacks : list of skorch callbacks, default=None
        Called during the GAN's training with the training engine, a
        :class:`skorch.NeuralNet`.

    checkpoint : str or path-like, default=None
        Where a ``fit`` goes on from, as in :class:`DCGANFeatureExtractor`.

    checkpoint_interval : float, default=60
        Seconds between two writes at least, which come at the end of an epoch.

    warm_start : bool, default=False
        Whether another ``fit`` trains the same networks for ``max_epochs`` more
        epochs. Keeps the optimiser's state.

    random_state : int, RandomState instance or None, default=None
        Decides all that is drawn in ``fit``, and in ``sample`` where that is not told
        otherwise.

    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    generator_ : torch.nn.Module
        The generator with averaged weights, in evaluation mode; ``layout`` and
        ``render`` are its halves.

    discriminator_ : torch.nn.Module
        The discriminator.

    encoder_ : torch.nn.Module
        The encoder.

    blob_dtype_ : numpy.dtype
        Of arrays of blobs; see :mod:`sklgan.blobs`.

    image_shape_ : tuple of int or None
        ``(h, w, c)``; None for flat X.

    data_range_ : tuple of float or None
        The range of values that was used; None for flat X.

    history_ : list of dict
        A row an epoch: ``epoch``, ``d_loss``, ``g_loss``, ``duration`` in seconds.

    encoder_history_ : list of dict
        A row an epoch of the encoder in the last fit: ``epoch``, ``loss``,
        ``duration``.

    n_iter_ : int
        Epochs run, those of earlier fits included with ``warm_start``.

    n_features_in_ : int
        Number of values of an image or row.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, where it was a data frame with string names.

    See Also
    --------
    sklgan.blobs.edit : Moves, resizes, turns, restyles, copies or removes a blob.
    BlobsDisplay : Draws blobs beside the image and over it.

    References
    ----------
    Epstein, Park, Zhang, Shechtman and Efros, "BlobGAN: Spatially Disentangled Scene
    Representations", 2022 (arXiv:2205.02837).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import BlobGAN
    >>> from sklgan.blobs import edit
    >>> X = load_digits().images[:100]
    >>> gan = BlobGAN(3, n_filters=4, max_epochs=1, random_state=0).fit(X)
    >>> gan.transform(X).shape, gan.get_feature_names_out()[:3].tolist()
    ((100, 271), ['blob0_x', 'blob0_y', 'blob0_size'])
    >>> images, B = gan.sample(2, return_blobs=True)
    >>> B["x"].shape, gan.render(edit(B, 1, remove=True)).shape
    ((2, 3), (2, 8, 8))
    """

    _image_network = _flat_network = "blobs"
    _generator_parameters = ("n_blobs", "feature_dim", "style_dim")

    _parameter_constraints: dict = {
        **BaseGAN._parameter_constraints,
        "network": [StrOptions({"auto", "blobs"}), tuple],
        **dict.fromkeys(
            ("n_blobs", "feature_dim", "style_dim", "r1_interval"),
            [Interval(Integral, 1, None, closed="left")],
        ),
        "r1_gamma": [Interval(Real, 0, None, closed="left")],
        "perceptual": [StrOptions({"discriminator", "lpips"}), callable],
        "encoder_epochs": [
            StrOptions({"auto"}),
            Interval(Integral, 0, None, closed="left"),
        ],
    }

    def __init__(
        self,
        n_blobs=10,
        *,
        latent_dim=100,
        network="auto",
        image_shape=None,
        data_range="auto",
        n_filters=16,
        feature_dim=32,
        style_dim=32,
        r1_gamma=1.0,
        r1_interval=16,
        perceptual="discriminator",
        encoder_epochs="auto",
        n_critic=1,
        ema_decay=0.999,
        learning_rate=2e-3,
        batch_size=32,
        max_epochs=12,
        augment=None,
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
        self.n_blobs = n_blobs
        self.feature_dim = feature_dim
        self.style_dim = style_dim
        self.r1_gamma = r1_gamma
        self.r1_interval = r1_interval
        self.perceptual = perceptual
        self.encoder_epochs = encoder_epochs

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the networks on X, then the encoder.

        Parameters
        ----------
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            As in :meth:`DCGANFeatureExtractor.fit`.
        y : Ignored
            There for the sake of pipelines.

        Returns
        -------
        self : BlobGAN
            The fitted estimator.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight becomes NaN or infinite; the estimator then has the
            weights of the last good epoch, and no encoder if it was not its turn; with
            ``warm_start`` that of the last fit.
        ValueError
            If, among others, a network of your own is no blobs' generator.
        """
        with self._fitting():
            rows = self._prepare_fit(X, batch_norm=False)
            device = resolve_device(self.device)
            check_blob_generator(self._architecture)
            check_perceptual(self, device)
            if not hasattr(self, "generator_"):
                for name in ("encoder_", "encoder_history_"):
                    vars(self).pop(name, None)
            self.blob_dtype_ = blob_dtype(
                self.n_blobs, self.feature_dim, self.style_dim
            )
            step = torch.zeros((), dtype=torch.int64)
            self._fit_gan(
                rows,
                discriminator_loss=partial(
                    d_lazy_r1,
                    step=step,
                    penalty_weight=self.r1_gamma,
                    interval=self.r1_interval,
                ),
                generator_loss=partial(generator_loss, loss="nonsaturating"),
                loss_state={"step": step},
            )
            n_epochs = self.encoder_epochs
            if n_epochs == "auto":
                n_epochs = (self.max_epochs + 1) // 2
            train_encoder(self, rows, device, n_epochs)
        return self

    # From images to blobs -------------------------------------------------------

    # They are for direct calls: pipelines do not route them.
    __metadata_request__transform = {"refine": UNUSED}

    def transform(self, X, refine=0):
        """Find the blobs of images.

        Parameters
        ----------
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            As in ``fit``.
        refine : int, default=0
            Steps of an optimiser that improves what the encoder has found, image by
            image. Each costs several times as much as the encoder. Ten bring blobs
            closer to where things are; a picture to be edited takes some hundred.
            What is beside an image does not matter, but for rounding, which many steps
            make larger: for the same blobs again, pass the same batch.

        Returns
        -------
        M : ndarray of shape (n_samples, n_features_out), float32
            Blob by blob x, y, size, aspect, angle, feature and style, then the
            background's feature and style; ``find`` returns the same as an array of
            blobs. Under scikit-learn's array API dispatch, an array of the namespace
            and on the device of X.
        """
        return like(self._find_matrix(X, refine), X)

    @property
    def _n_features_out(self):
        """Number of features that ``transform`` returns."""
        return sum(
            int(np.prod(self.blob_dtype_[name].shape))
            for name in self.blob_dtype_.names
        )

    def get_feature_names_out(self, input_features=None):
        """Return the features' names, such as ``blob3_x`` or ``blob3_style07``.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Checked against ``feature_names_in_`` and ``n_features_in_``, not used.

        Returns
        -------
        names : ndarray of str objects, shape (n_features_out,)
            Blobs count from 0, from the rearmost to the foremost.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        vectors = [
            f"{name}{index:02d}"
            for name in ("feature", "style")
            for index in range(self.blob_dtype_[name].shape[1])
        ]
        owners = [f"blob{blob}" for blob in range(self.blob_dtype_["x"].shape[0])]
        names = [
            f"{owner}_{name}" for owner in owners for name in (*GEOMETRY, *vectors)
        ]
        names += [f"background_{name}" for name in vectors]
        return np.asarray(names, dtype=object)

    @property
    def _pads(self):
        """Whether the size of a batch would matter: signals are small."""
        return self.image_shape_ is None

    def __sklearn_tags__(self):
        """Say that features are float32 for float32 and uint8 X alike."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __setstate__(self, state):
        """Build the encoder again, beside the other networks."""
        super().__setstate__(state)
        if not isinstance(state.get("encoder_"), dict):
            return
        device = next(self.generator_.parameters()).device
        with torch_seed(0):
            encoder = encoder_builder(self._architecture)()
        encoder.load_state_dict(to_torch(state["encoder_"]))
        encoder = encoder.to(device, memory_format=torch.channels_last)
        self.encoder_ = encoder.eval()
