"""BaseGAN: what every GAN estimator shares, above all the one training path.

Think twice before adding anything: what a single method needs belongs into its file,
arithmetic on images into ``_images``, anything about steps and epochs into
``_training``.
"""

from contextlib import contextmanager
from functools import partial
from numbers import Integral, Real
from os import PathLike

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklgan._architecture import (
    check_continuation,
    choose_architecture,
    choose_augmentation,
)
from sklgan._checkpoint import CheckpointError, describe_run, open_checkpoint
from sklgan._diagnosis import DiagnosisMixin, divergence_message, warn_if_failed
from sklgan._engine import build_net, keep_trained, load_last_fit
from sklgan._images import check_images, from_batch, to_batch
from sklgan._inference import device_of, run_discriminator, run_generator
from sklgan._namespaces import empty_beside, like, without_namespace
from sklgan._placement import place_rows, while_read
from sklgan._streams import draw_seed
from sklgan._tasks import CallbackSupportMixin, fit_task
from sklgan._tensors import (
    as_tensor,
    device_or_cpu,
    resolve_device,
    to_numpy,
    to_torch,
    torch_seed,
    warn_if_card_is_shared,
)
from sklgan._training import (
    BROKEN_OFF,
    TrainingDivergedError,
    check_callbacks,
    check_same_fit,
    is_main_process,
    joined_processes,
    leave_group,
    memory_given_back,
    of_rank_0,
)
from sklgan.augment import AUGMENTATIONS
from sklgan.losses import realness
from sklgan.networks._build import NETWORKS, network_builders


class BaseGAN(DiagnosisMixin, CallbackSupportMixin, BaseEstimator):
    """Base of all GAN estimators; see :class:`sklgan.DCGANFeatureExtractor`."""

    # What "auto" means: the networks for images and for flat X, and the augmentations
    # of both by the parameter that names them.
    _image_network = "dcgan"
    _flat_network = "mlp"
    _auto_augment: dict = {}
    # The parameters that a generator takes beside those of all.
    _generator_parameters: tuple = ()

    _parameter_constraints: dict = {
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
        "network": [StrOptions({"auto", *NETWORKS}), tuple],
        "image_shape": [tuple, list, None],
        "data_range": [StrOptions({"auto"}), tuple, list],
        "n_filters": [Interval(Integral, 1, None, closed="left")],
        "n_critic": [Interval(Integral, 1, None, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "augment": [StrOptions(set(AUGMENTATIONS)), tuple, list, callable, None],
        "precision": [StrOptions({"auto", "float32", "bfloat16"})],
        "device": [str, torch.device],
        "callbacks": [list, None],
        "checkpoint": [str, PathLike, None],
        "checkpoint_interval": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        latent_dim,
        network,
        image_shape,
        data_range,
        n_filters,
        n_critic,
        ema_decay,
        learning_rate,
        batch_size,
        max_epochs,
        augment,
        precision,
        device,
        callbacks,
        checkpoint,
        checkpoint_interval,
        warm_start,
        random_state,
        verbose,
    ):
        self.latent_dim = latent_dim
        self.network = network
        self.image_shape = image_shape
        self.data_range = data_range
        self.n_filters = n_filters
        self.n_critic = n_critic
        self.ema_decay = ema_decay
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.augment = augment
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_interval = checkpoint_interval
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # The training path ----------------------------------------------------------

    @contextmanager
    def _unchanged_on_error(self, streamed=False):
        """Take back all attributes that were set, if an error leaves the context.

        Unless there are new networks: after a divergence or Ctrl-C ``fit`` leaves
        those of the last good epoch; ``partial_fit``, ``streamed``, leaves none. The
        processes of torch.distributed, if there are several, train together within
        the context. Gradients are on, whatever the caller's block says.
        """
        before = vars(self).copy()
        try:
            with (
                torch.inference_mode(False),
                torch.enable_grad(),
                memory_given_back(self.batch_size),
                joined_processes(),
            ):
                yield
        except BaseException:
            generator = vars(self).get("generator_")
            if streamed or generator in (None, before.get("generator_")):
                vars(self).clear()
                vars(self).update(before)
            raise

    @contextmanager
    def _fitting(self):
        """Do the same for ``fit``, and tell scikit-learn's callbacks of it."""
        with fit_task(self), self._unchanged_on_error():
            yield

    def _prepare_fit(self, X, *, streamed=False, **discriminator):
        """Check X and the parameters, choose the networks, and return X as rows.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
        streamed : bool
            Whether X is a chunk of ``partial_fit``.
        **discriminator
            What the method needs of it: ``n_outputs``, ``batch_norm`` and so on, as
            :func:`sklgan._architecture.choose_architecture` takes them.
        """
        warn_if_card_is_shared(resolve_device(self.device))
        check_callbacks(self.callbacks or ())
        if streamed and self.checkpoint is not None:
            raise ValueError(
                f"partial_fit writes no checkpoint, but checkpoint={self.checkpoint!r};"
                " set checkpoint=None, and save the estimator itself between chunks: "
                "it goes on from there exactly."
            )
        # A continuation must match what the last fit saw.
        continued = (self.warm_start or streamed) and hasattr(self, "generator_")
        X = check_images(self, X, reset=not continued)
        architecture = choose_architecture(self, **discriminator)
        if continued:
            if len(X) < 2:
                raise ValueError(
                    f"Found array with {len(X)} sample(s) (shape={tuple(X.shape)}) "
                    f"while a minimum of 2 is required by {type(self).__name__}."
                )
            check_continuation(self._architecture, architecture)
        else:
            self._architecture = architecture
            self._begin_anew()
        return X

    def _begin_anew(self):
        """Forget the networks of the last fit, so that the next is no continuation."""
        self.history_, self.n_iter_ = [], 0
        self._training_state = None
        for name in ("generator_", "_stream_seed"):
            vars(self).pop(name, None)

    def _fit_gan(
        self,
        X,
        y=None,
        *,
        discriminator_loss,
        generator_loss,
        random_state=None,
        number=0,
        streamed=False,
        n_remembered=0,
        **options,
    ):
        """Train both networks on rows X of ``_prepare_fit``: the one training path.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,), int64, or None
            Handed on to ``discriminator_loss`` batch by batch.
        discriminator_loss, generator_loss : callable
            The method; see :class:`sklgan._training.AdversarialNet`.
        random_state : RandomState instance, default=None
            For methods that train more than once; None takes the estimator's.
        number : int
            Of this training among those of the fit.
        streamed : bool
            Whether X is a chunk of ``partial_fit``: one epoch, which an error undoes.
        n_remembered : int
            So many rows at the end are of earlier chunks.
        **options
            Other parameters of the engine that the method needs.
        """
        device = resolve_device(self.device)
        # An unknown one is an error before a checkpoint's folder is made.
        options.setdefault("augment", choose_augmentation(self, "augment"))
        seed = draw_seed(self, random_state, streamed)
        checkpoint = open_checkpoint(self, X, y, seed, number, writes=is_main_process())
        check_same_fit(partial(describe_run, self, X, y, seed, checkpoint, device))
        # Without random_state each process has drawn its own.
        seed = of_rank_0(seed)
        net = build_net(
            self,
            X,
            device,
            max_epochs=1 if streamed else self.max_epochs,
            discriminator_loss=discriminator_loss,
            generator_loss=generator_loss,
            checkpoint=checkpoint,
            **options,
        )
        # A continuation that drew the same numbers again would learn less from them.
        with torch_seed(seed + self.n_iter_, device), while_read(X):
            net.initialize()
            if hasattr(self, "generator_"):
                load_last_fit(self, net)
            rows = place_rows(X, device)
            y = None if y is None else as_tensor(y).to(device)
            own = rows[:-n_remembered] if n_remembered else rows
            try:
                if net.max_epochs > 0:
                    net.train(rows, y)
            except (OSError, CheckpointError, *BROKEN_OFF) as error:
                if not isinstance(error, TrainingDivergedError):
                    leave_group()
                if not streamed:
                    keep_trained(self, net, own)
                if not isinstance(error, TrainingDivergedError):
                    raise
                kept = self.n_iter_ - net.n_epochs + net.final_epoch
                message = divergence_message(self, error, net.autocast, kept)
                raise TrainingDivergedError(message, error.losses) from None
            keep_trained(self, net, own, streamed)
        warn_if_failed(self, X)
        return self

    # Use of the fitted networks -------------------------------------------------

    def sample(self, n_samples=1, random_state=None):
        """Draw images from the generator.

        Parameters
        ----------
        n_samples : int, default=1
            Number of images.
        random_state : int, RandomState instance or None, default=None
            Decides the latent vectors. None takes the estimator's ``random_state``.

        Returns
        -------
        X : ndarray of shape (n_samples, ...)
            In the layout, dtype and range of the X given to ``fit``; images read from
            files come as uint8 arrays, channels last.
        """
        return self.generate(self._draw_latent(n_samples, random_state))

    def _draw_latent(self, n_samples, random_state):
        """Return latent vectors of (n_samples, latent_dim) as ``fit`` draws them."""
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(
                f"n_samples should be an int of at least 1, got {n_samples!r}."
            )
        rng = check_random_state(
            self.random_state if random_state is None else random_state
        )
        return rng.standard_normal((n_samples, self._architecture["latent_dim"]))

    def generate(self, Z):
        """Map latent vectors to images, each on its own.

        What is beside a vector does not matter: exactly for ``network="mlp"``, to
        rounding of float32 (about 1e-7) for convolutions and networks of your own.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            Latent vectors; ``fit`` and ``sample`` draw them from N(0, 1).

        Returns
        -------
        X : ndarray of shape (n_samples, ...)
            In the layout, dtype and range of the X given to ``fit``.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float32, input_name="Z")
        latent_dim = self._architecture["latent_dim"]
        if Z.shape[1] != latent_dim:
            raise ValueError(
                f"Z has {Z.shape[1]} columns, but the generator was fitted with "
                f"latent_dim={latent_dim}."
            )
        return from_batch(self, run_generator(self.generator_, Z, pad=self._pads))

    def score_samples(self, X):
        """Return how real the discriminator takes each sample to be.

        As a detector of novelties it is mostly worse than scikit-learn's
        ``LocalOutlierFactor`` on pixels: the guide's page on novelty has the figures.

        Parameters
        ----------
        X : array-like
            As in ``fit``.

        Returns
        -------
        score : ndarray of shape (n_samples,), float32
            The realness logit: larger is more real; 0 is undecided under the
            ``"nonsaturating"`` loss.
        """
        return like(realness(self._logits(X)), X)

    def _logits(self, X):
        """Return the discriminator's logits of X, a tensor (n_samples, n_outputs)."""
        check_is_fitted(self)
        return self._logits_of_rows(check_images(self, X, reset=False))

    def _logits_of_rows(self, X):
        """Return the same of rows that ``check_images`` has returned."""
        all_logits = empty_beside(X, len(X), self._architecture["n_outputs"])

        def write(rows, features, logits):
            all_logits[rows] = logits

        self._discriminate(X, write)
        return all_logits

    def _make_to_batch(self, device):
        """Return the function from stored rows to what the networks take."""
        center, half_range = (as_tensor(part).to(device) for part in self._scale)
        return partial(
            to_batch,
            center=center,
            half_range=half_range,
            image_shape=self.image_shape_,
        )

    def _discriminate(self, X, write):
        """Call ``write(rows, features, logits)`` for each batch of rows X, float32."""
        device = device_of(self.discriminator_)
        to_batch = self._make_to_batch(device)
        run_discriminator(self.discriminator_, X, to_batch, write, pad=self._pads)

    @property
    def _pads(self):
        """Whether the size of a batch would matter; users' networks are left alone."""
        return self._architecture["network"] == "mlp"

    def __sklearn_tags__(self):
        """Say that arrays of other namespaces and devices are taken and given back."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    # State: NumPy arrays and plain values only ----------------------------------

    def __getstate__(self):
        """Return the state with networks as NumPy arrays, free of any device."""
        state = dict(super().__getstate__())
        for name, value in state.items():
            # What was learned; a module that is a parameter stays what the user gave.
            if isinstance(value, torch.nn.Module) and name.endswith("_"):
                state[name] = to_numpy(dict(value.state_dict()))
            else:
                state[name] = without_namespace(value)
        return state

    def __setstate__(self, state):
        """Build the networks again, on the CPU where their device is not there."""
        super().__setstate__(state)
        if not isinstance(state.get("generator_"), dict):
            return
        device = device_or_cpu(self.device)
        names = ("generator_", "discriminator_")
        # Building draws initial weights, which are then replaced.
        with torch_seed(0):
            builders = network_builders(**self._architecture)
            for name, build in zip(names, builders, strict=True):
                module = build()
                module.load_state_dict(to_torch(state[name]))
                module = module.to(device, memory_format=torch.channels_last)
                setattr(self, name, module.eval())
