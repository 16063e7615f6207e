"""KeepBest: the epoch that is best by a figure on held-out images, not by a loss."""

import hashlib
from numbers import Integral

import numpy as np
from skorch.callbacks import Callback

from sklgan._features import fixed_space, pooled_features, probe_accuracy
from sklgan._inference import run_generator
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
        Held-out images, as in ``fit``; some hundreds. They are copied where an
        estimator is cloned.
    y : array-like of shape (n_samples,), default=None
        Classes of X for ``"probe_accuracy"``, at least 2 rows of each; rows with -1 are
        left out. None for ``"kernel_distance"``.
    every : int, default=1
        Epochs from one evaluation to the next. The last epoch is always evaluated.
    patience : int, default=None
        Stop after so many evaluations without a better figure. None never stops.
    features : fitted transformer, default=None
        Its ``transform(X)`` gives the features for the kernel distance, of images as
        in ``fit``; it must not change while training goes on. None takes those of the
        discriminator's architecture with weights as first drawn, the same for every
        epoch and fit: in the space of the discriminator in training, distances of
        different epochs could not be compared.
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
    class have changed, the search for the best begins anew where the fit is resumed.
    With ``n_init`` each training has a best epoch of its own. Use one KeepBest a fit
    for the weights; put callbacks that log ``history`` after it in the list.

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

    def initialize(self):
        """Forget the last training."""
        self.best_score_, self.best_epoch_, self.n_misses_ = None, None, 0
        return self

    def on_train_begin(self, net, **kwargs):
        """Check the parameters and the held-out images, and look for earlier bests."""
        self._check_parameters()
        rows = net.to_rows(self.X)
        if self.y is None:
            self._name, self._sign = "kernel_distance", -1
            self._prepare_distance(net, rows)
        else:
            self._name, self._sign = "probe_accuracy", 1
            rows = self._prepare_probe(net, rows)
        described = hashlib.sha256(np.ascontiguousarray(rows).data)
        described.update(repr((self.every, self.n_samples, self.random_state)).encode())
        described.update(repr((type(self.features), self._classes)).encode())
        self._described = described.hexdigest()[:16]
        note = net.notes_.get(self._name)
        if note is not None and note["of"] == self._described:
            self.best_score_, self.best_epoch_ = note["score"], note["epoch"]
            self.n_misses_ = note["misses"]
            net.best_ = note["state"], note["epoch"]

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        """Evaluate; remember the epoch if it is the best, else think of stopping."""
        epoch = net.n_epochs
        if epoch % self.every and epoch < net.max_epochs:
            return
        with settled(net, None if self.y is None else dataset_train.X) as network:
            score = self._evaluate(network)
        net.history.record(self._name, score)
        self.n_misses_ += 1
        if (
            self.best_score_ is None
            or self._sign * score > self._sign * self.best_score_
        ):
            self.best_score_, self.best_epoch_, self.n_misses_ = score, epoch, 0
            net.remember_best()
        net.notes_[self._name] = {
            "of": self._described,
            "score": self.best_score_,
            "epoch": self.best_epoch_,
            "misses": self.n_misses_,
            "state": net.best_[0],
        }
        if self.patience is not None and self.n_misses_ >= self.patience:
            net.stop_requested_ = True

    def on_train_end(self, net, **kwargs):
        """Let go of what was prepared."""
        for name in ("_evaluate", "_classes"):
            vars(self).pop(name, None)

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

    def _prepare_distance(self, net, rows):
        """Bring the held-out rows where they are compared with samples."""
        self._classes = None
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

        self._evaluate = evaluate

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
        self._classes = y.tolist()

        def evaluate(discriminator):
            features = np.hstack(pooled_features(discriminator, rows, net.to_batch))
            return probe_accuracy(features, y)

        self._evaluate = evaluate
        return rows
