"""CategoricalGANClusterer: a discriminator that is sure of real images only."""

import warnings
from functools import partial
from numbers import Integral, Real

import torch
from sklearn.base import ClusterMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from sklgan._architecture import choose_augmentation
from sklgan._base import BaseGAN
from sklgan._class_losses import categorical_objective, d_categorical, g_categorical
from sklgan._namespaces import like
from sklgan._tensors import as_tensor, resolve_device
from sklgan._training import TrainingDivergedError, of_rank_0
from sklgan.augment import AUGMENTATIONS


class CategoricalGANClusterer(ClusterMixin, BaseGAN):
    """Cluster without labels: the discriminator is sure of real images, not of fakes.

    The discriminator has one logit a cluster. It learns to put each real image into
    one cluster, all clusters being of about one size, to be unsure of generated ones,
    and to say of a strongly changed image what it says of the image itself. The
    generator draws images of which it is sure. What predicts is the average of the
    discriminator's weights.

    Seeds may differ: a start can end with two clusters that share two classes.
    ``n_init`` starts again, and picks by the objective, never by labels.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, at most that of rows.

    latent_dim : int, default=100
        Number of latent variables, the generator's input.

    network : {"auto", "mlp", "cnn", "dcgan", "dcgan-deep", "sndcgan", "resnet18"} or \
tuple, default="auto"
        As in :class:`SemiSupervisedGANClassifier`.

    image_shape : tuple of int, default=None
        ``(h, w)``, grey, or ``(h, w, c)`` of flattened images; without it, 2-D X is
        flat. Images from files are scaled and cropped to it.

    data_range : "auto" or pair of float, default="auto"
        Values that mean black and white, as in :class:`DCGANFeatureExtractor`.

    n_filters : int, default=32
        Width of the networks' narrowest layer. Cost grows with its square.

    adversarial_weight : float, default=1.0
        Weight of the entropy of generated images in the discriminator's loss. At 0 it
        learns without the generator, which stays untrained: the baseline that tells
        what that one adds.

    balance_weight : float, default=4.0
        Weight of the entropy of the mean prediction. Lower it where clusters have very
        different sizes.

    consistency_weight : float, default=4.0
        Weight of the cross-entropy between predictions of images and of the same
        images strongly changed. If it is too low, two clusters may share two classes;
        too high, and all predictions stay alike. The paper's categorical GAN has 0.

    warmup : float, default=0.5
        Part of the epochs, the first ones, without generator: what it draws hinders a
        discriminator that has found no clusters yet. Off where a fit goes on.

    n_init : int, default=1
        Trainings from the start, of which that of the smallest ``objective_`` is kept;
        one that diverges is passed over with a warning. ``warm_start`` continues it.

    n_critic : int, default=1
        Updates of the discriminator for each of the generator.

    ema_decay : float, default=0.999
        Decay, a step, of the averages of both networks' weights.

    learning_rate : float, default=1e-3
        Of Adam, for both networks, with beta1 0.5. Lower it when training diverges.

    batch_size : int, default=64
        At most so many rows a step. Below 10 rows a cluster the mean prediction is
        taken over earlier batches too.

    max_epochs : int, default=50
        Passes over X.

    augment : "auto", str, list of str, callable or None, default="auto"
        Augmentations of all that the discriminator sees, real and fake alike; see
        :mod:`sklgan.augment`. ``"auto"`` shifts images by up to a tenth.

    strong_augment : "auto", str, list of str, callable or None, default="auto"
        What is done on top of it for the consistency loss. It decides what a cluster
        is: what it changes does not matter. ``"auto"`` shifts, turns, zooms and shears
        images and adds noise; to flat X it adds noise of a tenth of the standard
        deviation.

    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the training's forward passes, as in :class:`DCGANFeatureExtractor`.

    device : str or torch.device, default="auto"
        ``"auto"`` takes a CUDA GPU where there is one, else the CPU.

    callbacks : list of skorch callbacks, default=None
        Called during ``fit`` with the training engine, a :class:`skorch.NeuralNet`.

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
    labels_ : ndarray of shape (n_samples,)
        Cluster of each row of ``fit`` or of the last chunk, from 0 to
        ``n_clusters - 1``.

    objective_ : float
        The discriminator's loss on X without the generator's part, in nats; smaller is
        better.

    generator_ : torch.nn.Module
        The generator with averaged weights, in evaluation mode.

    discriminator_ : torch.nn.Module
        The discriminator with averaged weights; its batch normalisation holds
        statistics of X.

    image_shape_ : tuple of int or None
        ``(h, w, c)``; None for flat X.

    data_range_ : tuple of float or None
        The range of values that was used; None for flat X.

    history_ : list of dict
        A row an epoch: ``epoch``, ``d_loss``, ``g_loss`` if any, ``duration`` in s.

    n_iter_ : int
        Epochs run, those of earlier fits included with ``warm_start``.

    n_features_in_ : int
        Number of values of an image or row.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, where it was a data frame with string names.

    See Also
    --------
    SemiSupervisedGANClassifier : With a few labels clusters become classes.

    Notes
    -----
    With p = softmax of the logits, the discriminator, once warmed up, minimises
    E[H(p(real))] - ``balance_weight`` H(E[p(real)]) - ``adversarial_weight``
    E[H(p(fake))] + ``consistency_weight`` CE(p(strongly changed), p(real)), the
    generator E[H(p(fake))] - H(E[p(fake)]).

    References
    ----------
    Springenberg, "Unsupervised and Semi-supervised Learning with Categorical Generative
    Adversarial Networks", 2015, section 3 (arXiv:1511.06390); Hu et al., "Learning
    Discrete Representations via Information Maximizing Self-Augmented Training", 2017
    (arXiv:1702.08720), for the consistency and the weight of the balance.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import CategoricalGANClusterer
    >>> X = load_digits().images[:300]
    >>> gan = CategoricalGANClusterer(10, n_filters=8, max_epochs=2, random_state=0)
    >>> gan.fit_predict(X).shape, gan.predict_proba(X[:3]).shape
    ((300,), (3, 10))
    """

    _image_network = "cnn"
    _auto_augment = {
        "augment": {"images": ("shift",), "flat": ()},
        "strong_augment": {"images": ("shift", "affine", "noise"), "flat": ("noise",)},
    }

    _parameter_constraints: dict = {
        **BaseGAN._parameter_constraints,
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "adversarial_weight": [Interval(Real, 0, None, closed="left")],
        "balance_weight": [Interval(Real, 0, None, closed="left")],
        "consistency_weight": [Interval(Real, 0, None, closed="left")],
        "warmup": [Interval(Real, 0, 1, closed="left")],
        **dict.fromkeys(
            ("augment", "strong_augment"),
            [StrOptions({"auto", *AUGMENTATIONS}), tuple, list, callable, None],
        ),
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        latent_dim=100,
        network="auto",
        image_shape=None,
        data_range="auto",
        n_filters=32,
        adversarial_weight=1.0,
        balance_weight=4.0,
        consistency_weight=4.0,
        warmup=0.5,
        n_init=1,
        n_critic=1,
        ema_decay=0.999,
        learning_rate=1e-3,
        batch_size=64,
        max_epochs=50,
        augment="auto",
        strong_augment="auto",
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
        self.n_clusters = n_clusters
        self.adversarial_weight = adversarial_weight
        self.balance_weight = balance_weight
        self.consistency_weight = consistency_weight
        self.warmup = warmup
        self.n_init = n_init
        self.strong_augment = strong_augment

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Train the networks on X and cluster it.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in :meth:`DCGANFeatureExtractor.fit`.
        y : Ignored
            There for the sake of pipelines.

        Returns
        -------
        self : CategoricalGANClusterer
            The fitted estimator.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight becomes NaN or infinite; the estimator then has the
            weights of the last good epoch.
        """
        with self._fitting():
            rows = self._prepare_fit(X, n_outputs=self.n_clusters)
            if len(rows) < self.n_clusters:
                raise ValueError(
                    f"n_samples={len(rows)} should be >= n_clusters={self.n_clusters}."
                )
            self._fit_best(rows)
            self.labels_ = like(as_tensor(self.labels_), X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None):
        """Go on training with a chunk of a stream: one pass over it.

        As :meth:`DCGANFeatureExtractor.partial_fit`; ``n_init`` does not matter.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            At least 2 rows of what ``fit`` takes.
        y : Ignored
            There for the sake of pipelines.

        Returns
        -------
        self : CategoricalGANClusterer
            The estimator, trained an epoch more, with ``labels_`` and ``objective_`` of
            the chunk; after an error it is as it was.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight becomes NaN or infinite.
        """
        with self._unchanged_on_error(streamed=True):
            rows = self._prepare_fit(X, n_outputs=self.n_clusters, streamed=True)
            self._fit_once(rows, streamed=True)
            self.labels_ = like(as_tensor(self.labels_), X)
        return self

    def _fit_best(self, rows):
        """Train ``n_init`` times and keep the best; what diverged is passed over."""
        rng, best, failure = check_random_state(self.random_state), None, None
        continued = hasattr(self, "generator_")
        n_warmup = 0 if continued else int(self.warmup * self.max_epochs)
        for name in ("labels_", "objective_"):
            vars(self).pop(name, None)
        for number in range(1 if continued else self.n_init):
            if not continued:
                self._begin_anew()
            try:
                self._fit_once(
                    rows, random_state=rng, number=number, warmup_epochs=n_warmup
                )
            except TrainingDivergedError as error:
                failure = error
            except BaseException:
                vars(self).update(best or {})
                raise
            else:
                if best is None or self.objective_ < best["objective_"]:
                    best = vars(self).copy()
        if best is None:
            raise failure
        vars(self).update(best)
        if failure is not None:
            warnings.warn(
                f"Of the {self.n_init} trainings of n_init one or more diverged and "
                f"were passed over. {failure}",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _fit_once(self, rows, **options):
        """Train the networks, cluster the rows, and say how well that went."""
        augment = choose_augmentation(self, "strong_augment")
        remembered = torch.full((self.n_clusters,), 1 / self.n_clusters)
        remembered = remembered.to(resolve_device(self.device))
        self._fit_gan(
            rows,
            discriminator_loss=partial(
                d_categorical,
                remembered=remembered,
                adversarial_weight=self.adversarial_weight,
                balance_weight=self.balance_weight,
                consistency_weight=self.consistency_weight,
                strong_augment=augment,
            ),
            generator_loss=g_categorical if self.adversarial_weight > 0 else None,
            average_discriminator=True,
            loss_state={"remembered": remembered},
            **options,
        )
        self.objective_ = of_rank_0(categorical_objective(self, rows, augment))
        self.labels_ = self._logits_of_rows(rows).argmax(dim=1).cpu().numpy()

    def predict_proba(self, X):
        """Return the probability of each cluster.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in ``fit``.

        Returns
        -------
        p : ndarray of shape (n_samples, n_clusters), float32
            Rows add up to 1.
        """
        return like(self._logits(X).softmax(dim=1), X)

    def predict(self, X):
        """Return the most probable cluster.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in ``fit``.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            From 0 to ``n_clusters - 1``.
        """
        return like(self._logits(X).argmax(dim=1), X)

    def score_samples(self, X):
        """Return how sure the discriminator is of each sample: real ones more so.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in ``fit``.

        Returns
        -------
        score : ndarray of shape (n_samples,), float32
            Minus the entropy of the prediction, in nats: from -log ``n_clusters``, as
            unsure as can be, to 0.
        """
        log_p = self._logits(X).log_softmax(dim=1)
        return like((log_p.exp() * log_p).sum(dim=1), X)
