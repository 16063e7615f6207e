"""SemiSupervisedGANClassifier: a discriminator that tells classes as well."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import _fit_context
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions

from sklgan._base import BaseGAN
from sklgan._class_losses import bind_semi_supervised, class_outputs
from sklgan._labels import check_labels, check_length, encode_labels
from sklgan._namespaces import take
from sklgan._predictions import PredictionMixin
from sklgan._streams import (
    choose_classes,
    encode_chunk,
    remember_chunk,
    with_remembered,
)
from sklgan._training import LabeledBatches
from sklgan.augment import AUGMENTATIONS
from sklgan.model_selection._scorer import LabeledClassifierMixin

_NO_LABELS = "Label some, or use CategoricalGANClusterer, which needs no labels."
_TERMS = ("adversarial", "consistency", "entropy", "balance", "rotation")
_WEIGHTS = tuple(f"{term}_weight" for term in _TERMS)
_LOSSES = ("feature_matching", "nonsaturating", "hinge", "least_squares")


class SemiSupervisedGANClassifier(PredictionMixin, LabeledClassifierMixin, BaseGAN):
    """Classify with few labels: the discriminator tells K classes, and real from fake.

    Rows with the label -1 are unlabelled. The discriminator has one logit a class;
    that of the class "generated" is 0. It learns from labelled rows by cross-entropy,
    from all rows that they are not generated, and to say of a strongly changed image
    what it says of the image itself. What predicts is the average of its weights.

    Parameters
    ----------
    latent_dim : int, default=100
        Number of latent variables, the generator's input.

    network : {"auto", "mlp", "cnn", "dcgan", "dcgan-deep", "sndcgan", "resnet18"} or \
tuple, default="auto"
        As in :class:`DCGANFeatureExtractor`, but for images ``"auto"`` takes ``"cnn"``:
        a discriminator made for classification, and the generator of ``"dcgan"``.

    image_shape : tuple of int, default=None
        ``(h, w)``, grey, or ``(h, w, c)`` of flattened images; without it, 2-D X is
        flat. Images from files are scaled and cropped to it.

    data_range : "auto" or pair of float, default="auto"
        Values that mean black and white, as in :class:`DCGANFeatureExtractor`.

    n_filters : int, default=32
        Width of the networks' narrowest layer. Cost grows with its square.

    loss : {"feature_matching", "nonsaturating", "hinge", "least_squares"}, \
default="feature_matching"
        The generator's loss. Images that match features teach more than good-looking
        ones do (Salimans et al.). The discriminator's loss is its partner, that of
        ``"nonsaturating"`` for feature matching.

    adversarial_weight : float, default=1.0
        Weight of the discriminator's adversarial loss. At 0 the generator and
        ``score_samples`` stay untrained: the baseline that tells what they add.

    consistency_weight : float, default=1.0
        Weight of the cross-entropy of strongly changed images with the average's
        predictions for these images, or with their labels. 0 for none.

    entropy_weight : float, default=1.0
        Weight of the entropy of each unlabelled image's prediction: be sure.

    balance_weight : float, default=4.0
        Weight of the divergence of the unlabelled images' mean prediction from the
        frequencies of classes, see ``class_weight``. Lower it, down to 0, where those
        of the unlabelled rows are not known. In batches of less than 5 rows a class
        the mean is taken over earlier batches too.

    rotation_weight : float, default=0.0
        Weight of the cross-entropy of which way an image was turned, a task without
        labels, for images of things that have an up and a down; see
        :func:`~sklgan.losses.turns_cross_entropy`. Between 0 and more a new fit is
        needed.

    class_weight : dict or "balanced", default=None
        How frequent classes are: None, as among the labelled rows; a dict, these
        factors times that; ``"balanced"``, all equally, whatever the labels say. It
        decides what a labelled row weighs and what ``balance_weight`` pulls to. For
        costs of errors weigh ``predict_proba`` instead: a factor of 5 here makes a
        class predicted several times as often.

    n_critic : int, default=1
        Updates of the discriminator for each of the generator.

    ema_decay : float, default=0.999
        Decay, a step, of the averages of both networks' weights.

    learning_rate : float, default=1e-3
        Of Adam, for both networks, with beta1 0.5. Lower it when training diverges.

    batch_size : int, default=64
        At most so many rows a step that count as unlabelled.

    labeled_batch_size : int, default=32
        Labelled rows a step, drawn with replacement, as many of each class.

    max_epochs : int, default=40
        Passes over X.

    augment : "auto", str, list of str, callable or None, default="auto"
        Augmentations of all that the discriminator sees, real and fake alike; see
        :mod:`sklgan.augment`. ``"auto"`` shifts images by up to a tenth.

    strong_augment : "auto", str, list of str, callable or None, default="auto"
        What is done on top of it for the consistency loss. ``"auto"`` shifts, turns,
        zooms and shears images, cuts out and adds noise; to flat X it adds noise of a
        tenth of the standard deviation.

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
        epochs; the classes must be the same. Keeps the optimiser's state.

    random_state : int, RandomState instance or None, default=None
        Decides all that is drawn in ``fit``, and in ``sample`` where that is not told
        otherwise.

    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes, without -1.

    transduction_ : ndarray of shape (n_samples,)
        The classes of the rows of ``fit``, or of the last chunk: as given, or as
        predicted where unlabelled.

    n_labeled_ : int
        Number of labelled rows, those of all chunks together.

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
    CategoricalGANClusterer : The same without any label.
    sklearn.semi_supervised.LabelSpreading : Few labels, without a network.

    Notes
    -----
    The discriminator minimises CE(labelled) + ``adversarial_weight`` times the
    adversarial loss of its realness log sum_k exp l_k(x) + ``consistency_weight``
    times CE(strongly changed rows, labels or the average's predictions) +
    ``rotation_weight`` CE(turns) + ``entropy_weight`` E[H(p)] + ``balance_weight``
    KL(E[p], class frequencies), the last two over predictions p of unlabelled rows.
    Batches hold as many labelled rows of each class, whose CE counts as much as the
    class is frequent.

    References
    ----------
    Salimans et al., "Improved Techniques for Training GANs", 2016, sections 3.1 and 5
    (arXiv:1606.03498); Tarvainen and Valpola, "Mean teachers", 2017
    (arXiv:1703.01780), for the average as teacher; Xie et al., "Unsupervised Data
    Augmentation", 2019 (arXiv:1904.12848), for the strongly changed images; Zhai et
    al., "S4L: Self-Supervised Semi-Supervised Learning", 2019 (arXiv:1905.03670), for
    the turns; entropy and balance as in :class:`CategoricalGANClusterer`.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import SemiSupervisedGANClassifier
    >>> digits = load_digits()
    >>> X, y = digits.images[:300], digits.target[:300].copy()
    >>> y[50:] = -1
    >>> gan = SemiSupervisedGANClassifier(n_filters=8, max_epochs=2, random_state=0)
    >>> gan.fit(X, y).n_labeled_
    50
    >>> gan.predict(X[:3]).shape, gan.predict_proba(X[:3]).shape, gan.sample(2).shape
    ((3,), (3, 10), (2, 8, 8))
    """

    _image_network = "cnn"
    _auto_augment = {
        "augment": {"images": ("shift",), "flat": ()},
        "strong_augment": {
            "images": ("shift", "affine", "cutout", "noise"),
            "flat": ("noise",),
        },
    }

    _parameter_constraints: dict = {
        **BaseGAN._parameter_constraints,
        "loss": [StrOptions(set(_LOSSES))],
        **dict.fromkeys(_WEIGHTS, [Interval(Real, 0, None, closed="left")]),
        "labeled_batch_size": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        **dict.fromkeys(
            ("augment", "strong_augment"),
            [StrOptions({"auto", *AUGMENTATIONS}), tuple, list, callable, None],
        ),
    }

    def __init__(
        self,
        latent_dim=100,
        *,
        network="auto",
        image_shape=None,
        data_range="auto",
        n_filters=32,
        loss="feature_matching",
        adversarial_weight=1.0,
        consistency_weight=1.0,
        entropy_weight=1.0,
        balance_weight=4.0,
        rotation_weight=0.0,
        class_weight=None,
        n_critic=1,
        ema_decay=0.999,
        learning_rate=1e-3,
        batch_size=64,
        labeled_batch_size=32,
        max_epochs=40,
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
        self.loss = loss
        self.adversarial_weight = adversarial_weight
        self.consistency_weight = consistency_weight
        self.entropy_weight = entropy_weight
        self.balance_weight = balance_weight
        self.rotation_weight = rotation_weight
        self.class_weight = class_weight
        self.labeled_batch_size = labeled_batch_size
        self.strong_augment = strong_augment

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Train the networks on X and the labels that y holds.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in :meth:`DCGANFeatureExtractor.fit`.
        y : array-like of shape (n_samples,)
            Classes, and -1 for rows without; strings as an array of dtype object. Of
            True, False and -1 the classes are 1 and 0.

        Returns
        -------
        self : SemiSupervisedGANClassifier
            The fitted estimator.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight becomes NaN or infinite; the estimator then has the
            weights of the last good epoch.
        """
        with self._fitting():
            classes, codes = encode_labels(y, type(self).__name__, _NO_LABELS)
            check_labels(self, X, classes, codes)
            rows = self._prepare_fit(X, **class_outputs(self, classes))
            check_consistent_length(rows, codes)
            self._memory = None
            self._train(X, rows, codes, classes, np.bincount(codes[codes >= 0]))
            if self.warm_start:
                self._memory = remember_chunk(self, rows, codes)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None):
        """Go on training with a chunk of a stream: one pass over it.

        As :meth:`DCGANFeatureExtractor.partial_fit`. A chunk may lack classes, or all
        labels: labelled rows are remembered, up to 10,000 in all with an equal share
        for each class, drawn evenly from all that came; with many more labels than
        that, the chunk's own count besides. They stand in the estimator's file, as do
        those of a ``fit`` with ``warm_start``; any other ``fit`` keeps none. As long
        as a class has not come yet it is taken for rare.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            At least 2 rows of what ``fit`` takes.
        y : array-like of shape (n_samples,)
            Classes, and -1 for rows without, as for ``fit``.
        classes : array-like of shape (n_classes,), default=None
            All classes that may ever come; needed at the first call, unless ``fit`` has
            been called. -1 is passed by.

        Returns
        -------
        self : SemiSupervisedGANClassifier
            The estimator, trained an epoch more, with ``transduction_`` of the chunk;
            after an error it is as it was.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight becomes NaN or infinite.
        """
        with self._unchanged_on_error(streamed=True):
            classes = choose_classes(self, classes)
            codes = encode_chunk(y, classes, type(self).__name__)
            check_length(X, codes)
            rows = self._prepare_fit(X, **class_outputs(self, classes), streamed=True)
            check_consistent_length(rows, codes)
            counts = np.bincount(codes[codes >= 0], minlength=len(classes))
            if hasattr(self, "generator_"):
                counts = counts + self._label_counts
            else:
                self._memory = None
            self._train(X, rows, codes, classes, counts, streamed=True)
            self._memory = remember_chunk(self, rows, codes)
        return self

    def _train(self, X, rows, codes, classes, counts, streamed=False):
        """Train on rows and what is remembered; counts are of all labels so far."""
        losses = bind_semi_supervised(self, classes, counts)
        self._label_counts = counts.tolist()
        self.classes_, self.n_labeled_ = classes, int(counts.sum())
        vars(self).pop("transduction_", None)
        all_rows, all_codes = with_remembered(self._memory, rows, codes)
        n_remembered = len(all_codes) - len(codes)
        self._fit_gan(
            all_rows,
            all_codes,
            **losses,
            average_discriminator=True,
            iterator_train=LabeledBatches,
            iterator_train__labeled_batch_size=self.labeled_batch_size,
            iterator_train__n_remembered=n_remembered,
            n_remembered=n_remembered,
            streamed=streamed,
        )
        # Of all rows: picking some of a memory map would copy them.
        predicted, codes = self._logits_of_rows(rows).argmax(dim=1), torch.tensor(codes)
        codes = torch.where(codes < 0, predicted.cpu(), codes)
        self.transduction_ = take(classes, codes, X)
