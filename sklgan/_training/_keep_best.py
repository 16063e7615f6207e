"""KeepBest: the epoch that is best by a figure on held-out images, not by a loss."""

import hashlib
from numbers import Integral

import numpy as np
from sklearn.base import clone
from skorch.callbacks import Callback

from sklgan._features import fixed_space, pooled_features, probe_accuracy
from sklgan._inference import run_generator
from sklgan._training._distributed import check_same_fit, of_rank_0
from sklgan._training._settled import settled
from sklgan.metrics import kernel_distance


class KeepBest(Callback):
    """Let a fit end with the weights of its best epoch, and stop when none is better.

    Without y the figure is the kernel distance between held-out and generated images,
    to be small: how good the samples are. With y it is the accuracy of a linear
    classifier on the discriminator's features of held-out images: how good the
    features are. A GAN's losses say neither. The figure becomes a column of
    ``history_``, and is computed on the networks that ``fit`` would leave.

    Parameters
    ----------
    X : array-like or sequence of paths or of PIL images
        Held-out images, as in ``fit``; some hundreds, 2 at least. They are copied where
        an estimator is cloned.
    y : array-like of shape (n_samples,), default=None
        Classes of X for ``"probe_accuracy"``, at least 2 rows of each; rows with -1 are
        left out. None for ``"kernel_distance"``.
    every : int, default=1
        Epochs from one evaluation to the next. The last epoch is always evaluated.
    patience : int, default=None
        Stop after so many evaluations without a better figure. None never stops.
    features : fitted transformer, default=None
        Its ``transform(X)`` gives the features for the kernel distance, of images as
        in ``fit``; it must not change while training goes on. Clones share it, so that
        it stays fitted. None takes those of the discriminator's architecture with
        weights as first drawn, the same for every epoch and fit: in the space of the
        discriminator in training, distances of different epochs could not be compared.
    n_samples : int, default=None
        Generated images; None for as many as there are in X.
    random_state : int, default=0
        Decides the latent vectors, which are the same in each epoch.

    Attributes
    ----------
    best_score_ : float
        The best figure.
    best_epoch_ : int
        Its epoch, counted within the fit.
    n_misses_ : int
        Evaluations since.

    See Also
    --------
    sklgan.metrics.kernel_distance : The first of the figures.

    Notes
    -----
    Also a fit that diverges or is interrupted ends with the best weights. With
    ``checkpoint`` the figures and the best weights are in the file: a resumed fit goes
    on as if it had not been broken off. If X, y or other parameters of this
    class have changed, the search for the best begins anew, with the epoch from which
    the fit is resumed if that is one to evaluate.

    Without y, epochs in which the generator is not trained yet, those of the
    clusterer's ``warmup``, have no figure, and their weights are not kept.

    The best is sought within a training, and ``best_epoch_`` counts from where that
    began. With ``n_init`` each training has a best epoch of its own; the attributes are
    those of the last, ``history_`` has the figures of the one that is kept. With
    ``warm_start`` each call of ``fit`` is a training of its own. In ``partial_fit``
    each chunk is one, of a single epoch: its figure is recorded, but there is nothing
    to choose from, and ``patience`` has no effect.

    Use one KeepBest a fit for the weights; put callbacks that log ``history`` after it
    in the list.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor, KeepBest
    >>> X, y = load_digits(return_X_y=True)
    >>> X = X[:300].reshape(-1, 8, 8)
    >>> best = KeepBest(X[200:], y[200:300], patience=2)
    >>> gan = DCGANFeatureExtractor(
    ...     n_filters=8, max_epochs=3, random_state=0, callbacks=[best]
    ... )
    >>> gan = gan.fit(X[:200])
    >>> best.best_score_ == max(row["probe_accuracy"] for row in gan.history_)
    True
    """

    def __init__(
        self,
        X,
        y=None,
        *,
        every=1,
        patience=None,
        features=None,
        n_samples=None,
        random_state=0,
    ):
        self.X = X
        self.y = y
        self.every = every
        self.patience = patience
        self.features = features
        self.n_samples = n_samples
        self.random_state = random_state

    def __sklearn_clone__(self):
        """Copy the parameters; ``features`` is shared, since it has to stay fitted."""
        params = self.get_params(deep=False)
        features = params.pop("features")
        copies = {name: clone(value, safe=False) for name, value in params.items()}
        return type(self)(**copies, features=features)

    def initialize(self):
        """Forget the last training."""
        self.best_score_, self.best_epoch_, self.n_misses_ = None, None, 0
        return self

    def on_train_begin(self, net, X=None, **kwargs):
        """Check the parameters and the held-out images, and look for earlier bests."""
        self._check_parameters()
        if self.y is None and net.generator_loss is None:
            raise ValueError(
                "KeepBest without y compares generated images, but the generator is "
                "not trained here (adversarial_weight=0); give y, the classes of X."
            )
        rows = self._held_out_rows(net)
        if self.y is None:
            self.name_, self.sign_ = "kernel_distance", -1
            self._prepare_distance(net, rows)
        else:
            self.name_, self.sign_ = "probe_accuracy", 1
            rows = self._prepare_probe(net, rows)
        described = hashlib.sha256(np.ascontiguousarray(rows).data)
        described.update(repr((self.every, self.n_samples, self.random_state)).encode())
        described.update(repr((type(self.features), self.classes_)).encode())
        self.described_ = described.hexdigest()[:16]
        check_same_fit(lambda: {"X of KeepBest": self.described_})
        note = net.notes_.get(self.name_)
        if note is not None and note["of"] == self.described_:
            self.best_score_, self.best_epoch_ = note["score"], note["epoch"]
            self.n_misses_ = note["misses"]
            net.best_ = note["state"], note["epoch"]
        elif net.past_rows_ and self._is_due(net):
            net.past_rows_[-1][self.name_] = self._judge(net, X)

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        """Evaluate; remember the epoch if it is the best, else think of stopping."""
        if self._is_due(net):
            net.history.record(self.name_, self._judge(net, dataset_train.X))
            if self.patience is not None and self.n_misses_ >= self.patience:
                net.stop_requested_ = True

    def on_train_end(self, net, **kwargs):
        """Let go of what was prepared."""
        for name in ("evaluate_", "classes_"):
            vars(self).pop(name, None)

    def _is_due(self, net):
        """Tell whether the epoch is to be evaluated."""
        if self.y is None and net.is_warming_up():
            return False  # the generator is as it was first drawn
        is_last = net.n_epochs >= net.max_epochs or net.stopped_early_
        return is_last or net.n_epochs % self.every == 0

    def _judge(self, net, training_rows):
        """Return the figure of the last whole epoch; remember that if it is best."""
        with settled(net, None if self.y is None else training_rows) as network:
            # Ranks on unlike hardware would else decide differently.
            score = of_rank_0(self.evaluate_(network))
        self.n_misses_ += 1
        best = self.best_score_
        if best is None or self.sign_ * score > self.sign_ * best:
            self.best_score_, self.best_epoch_ = score, net.n_epochs
            self.n_misses_ = 0
            net.remember_best()
        net.notes_[self.name_] = {
            "of": self.described_,
            "score": self.best_score_,
            "epoch": self.best_epoch_,
            "misses": self.n_misses_,
            "state": net.best_[0],
        }
        return score

    def _check_parameters(self):
        """Raise ValueError for what makes no sense."""
        for name in ("every", "patience", "n_samples"):
            value, least = getattr(self, name), 2 if name == "n_samples" else 1
            if value is None and name != "every":
                continue
            if not isinstance(value, Integral) or value < least:
                raise ValueError(
                    f"{name}={value!r} of KeepBest should be an int of at least {least}"
                    f"{'' if name == 'every' else ', or None'}."
                )
        if self.features is not None and self.y is not None:
            raise ValueError(
                "KeepBest takes features or y: with y it looks at the features of the "
                "discriminator."
            )

    def _held_out_rows(self, net):
        """Return X as rows, or raise ValueError that names whose X it is."""
        try:
            rows = net.to_rows(self.X)
        except ValueError as error:
            raise ValueError(f"X of KeepBest: {error}") from error
        if len(rows) < 2:
            raise ValueError(
                f"X of KeepBest has {len(rows)} row, but needs 2 at least; some "
                "hundreds make a figure to go by."
            )
        return rows

    def _prepare_distance(self, net, rows):
        """Bring the held-out rows where they are compared with samples."""
        self.classes_ = None
        if self.features is None:
            real, transform = fixed_space(net.discriminator, rows, net.to_batch)
        else:
            real = self.features.transform(self.X)

            def transform(images):
                return self.features.transform(net.from_batch(images))

        n_samples = self.n_samples or len(rows)
        rng = np.random.RandomState(self.random_state)
        Z = rng.standard_normal((n_samples, net.latent_dim)).astype(np.float32)

        def evaluate(generator):
            fake = transform(run_generator(generator, Z, pad=False))
            return kernel_distance(real, fake, n_subsets=1)[0]

        self.evaluate_ = evaluate

    def _prepare_probe(self, net, rows):
        """Find the rows with classes, and return them."""
        y = np.asarray(self.y)
        if y.shape != (len(rows),):
            raise ValueError(
                f"X of KeepBest has {len(rows)} rows, but its y is of shape {y.shape}; "
                "give one class a row."
            )
        labeled = y != -1
        rows, y = rows[labeled], y[labeled]
        classes, counts = np.unique(y, return_counts=True)
        if len(classes) < 2 or counts.min() < 2:
            found = dict(zip(classes.tolist(), counts.tolist(), strict=True))
            raise ValueError(
                "y of KeepBest needs two classes or more with 2 rows or more each, "
                f"found rows by class {found}."
            )
        self.classes_ = y.tolist()

        def evaluate(discriminator):
            features = np.hstack(pooled_features(discriminator, rows, net.to_batch))
            return probe_accuracy(features, y)

        self.evaluate_ = evaluate
        return rows
