"""NearDuplicateDetector: images that are all but the same, found by semantic hashes."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from sklgan._autoencoder import (
    balance_bits,
    hash_rows,
    read_inputs,
    to_input,
    train_encoder,
)
from sklgan._hamming import group_hashes, nearest
from sklgan._images import check_images, to_batch
from sklgan._leakage import LeakageReport
from sklgan._tensors import as_tensor, device_or_cpu, resolve_device, torch_seed
from sklgan._training import TrainingDivergedError

# Rows to train on; more would cost time and memory, and change the hash little.
_MOST_TRAINED = 10_000


class NearDuplicateDetector(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Find images that are all but the same, in time for cross-validation.

    A denoising autoencoder of one hidden layer learns a code of images of 32 x 32
    pixels; where a unit of the code is above 0, a bit of the image's hash is 1. Images
    whose hashes are equal, or differ in a few bits, are near-duplicates: the same
    picture in another compression, brightness, contrast or size, or cropped a little.

    The paper compares images as they are, and takes equal hashes alone. Here each
    image loses its mean and contrast first, each bit is 1 for half of the images, and
    a few bits may differ: that finds far more copies, still with few errors. The
    paper is ``normalize=False, balance=False, max_hamming=0``.

    Parameters
    ----------
    n_bits : int, default=128
        Length of the hash. With more bits fewer different images are taken for
        copies.

    max_hamming : "auto" or int, default="auto"
        In how many bits the hashes of near-duplicates may differ. ``"auto"`` takes a
        sixteenth of ``n_bits``. Increase it to find copies that differ more, such as
        crops; look at some of the groups then, because errors soon outnumber them. 0
        takes equal hashes alone, in linear time; else time grows with the square of
        the number of rows.

    mirror : bool, default=False
        Whether an image mirrored left to right is a near-duplicate too.

    normalize : bool, default=True
        Whether brightness and contrast of an image make no difference. Flat X is
        standardised by column instead, in any case.

    balance : bool, default=True
        Whether the threshold of each unit is its median over the images of the
        training instead of 0. Bits that are 1 for nearly all images tell nothing; on
        images that have much in common, such as digits, that would be most. Set it to
        False where about half of the rows or more are copies of one image: the medians
        would lie among these, and tell them apart.

    noise : float, default=0.5
        Standard deviation of the noise that the autoencoder learns to take off. Images
        have a standard deviation of 1, or with ``normalize=False`` values from -1
        to 1.

    dropout : float, default=0.2
        Probability with which a unit of the code is left out in training.

    image_shape : tuple of int, default=None
        ``(h, w)`` or ``(h, w, c)`` of flattened images; without it, 2-D X is flat.
        Images from files are scaled and cropped to it.

    data_range : "auto" or pair of float, default="auto"
        Values that mean black and white; see :class:`DCGANFeatureExtractor`.

    learning_rate : float, default=1e-3
        Step size of Adam.

    batch_size : int, default=128
        Images a step of the training.

    max_epochs : int, default=10
        Passes over the images. At most 10,000 of X take part in the training, drawn at
        random; all are hashed.

    device : str or torch.device, default="auto"
        ``"auto"`` takes a CUDA GPU where there is one, else the CPU.

    random_state : int, RandomState instance or None, default=None
        Decides initial weights, noise and order. Hashes of different fits have nothing
        in common without it.

    verbose : int, default=0
        1 prints the loss of each epoch.

    Attributes
    ----------
    groups_ : ndarray of shape (n_samples,), int64
        The group of each row of ``fit``, numbered from 0 in the order of their first
        rows, for :class:`sklearn.model_selection.GroupKFold`. A row without
        near-duplicates is a group of its own. Near-duplicates of near-duplicates are in
        one group.

    duplicate_mask_ : ndarray of shape (n_samples,), bool
        True for all but the first row of each group: ``X[~duplicate_mask_]`` has no
        near-duplicates.

    hashes_ : ndarray of shape (n_samples, ceil(n_bits / 8)), uint8
        Hashes of the rows of ``fit``, packed by :func:`numpy.packbits`.

    max_hamming_ : int
        The number of bits that was used.

    coef_ : ndarray of shape (n_bits, d), float32
        Weights of the encoder, where d is 32 * 32 * c, or the width of flat X.

    intercept_ : ndarray of shape (n_bits,), float32
        Its biases, less the thresholds of the units.

    history_ : list of dict
        One row an epoch: ``"epoch"``, ``"loss"`` (mean squared error).

    n_iter_ : int
        Epochs run.

    image_shape_ : tuple of (h, w, c) or None
        Shape of one image, None for flat X.

    data_range_ : pair of float or None
        Values that mean black and white, None for flat X.

    n_features_in_ : int
        Number of values of a row.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, where it was a data frame with string names.

    See Also
    --------
    LeakageReport : What ``leakage_report`` returns.
    sklearn.model_selection.GroupKFold : Keeps groups on one side of each split.

    References
    ----------
    Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks", 2015 (arXiv:1511.06434), section
    4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import NearDuplicateDetector
    >>> X = load_digits().images[:200]
    >>> darker = 0.8 * X[:3]
    >>> detector = NearDuplicateDetector(random_state=0)
    >>> groups = detector.fit(np.concatenate([X, darker])).groups_
    >>> bool((groups[200:] == groups[:3]).all())
    True
    """

    _parameter_constraints: dict = {
        "n_bits": [Interval(Integral, 1, None, closed="left")],
        "max_hamming": [
            StrOptions({"auto"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "mirror": ["boolean"],
        "normalize": ["boolean"],
        "balance": ["boolean"],
        "noise": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "image_shape": [tuple, list, None],
        "data_range": [StrOptions({"auto"}), tuple, list],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        n_bits=128,
        max_hamming="auto",
        mirror=False,
        normalize=True,
        balance=True,
        noise=0.5,
        dropout=0.2,
        image_shape=None,
        data_range="auto",
        learning_rate=1e-3,
        batch_size=128,
        max_epochs=10,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_bits = n_bits
        self.max_hamming = max_hamming
        self.mirror = mirror
        self.normalize = normalize
        self.balance = balance
        self.noise = noise
        self.dropout = dropout
        self.image_shape = image_shape
        self.data_range = data_range
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the hash, and group the rows of X by it.

        Parameters
        ----------
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            Flat ``(n, d)``, grey ``(n, h, w)`` or colour images ``(n, h, w, c)``.
        y : Ignored
            There for the sake of pipelines.

        Returns
        -------
        self : NearDuplicateDetector
            The fitted estimator.

        Raises
        ------
        TrainingDivergedError
            If the loss or a weight becomes NaN or infinite; the estimator stays as it
            was.
        """
        device, max_hamming = resolve_device(self.device), self._choose_max_hamming()
        before = vars(self).copy()
        try:
            X = check_images(self, X, reset=True)
            if self.mirror and self.image_shape_ is None:
                raise ValueError(
                    "mirror=True needs images, but X is flat; set mirror=False, or "
                    "image_shape=(h, w) or (h, w, c) if its rows are flattened images."
                )
            self._train(X, device)
            self.max_hamming_ = max_hamming
            self.hashes_, *mirrored = self._hash(X, mirror=self.mirror)
            self.groups_ = group_hashes(
                self.hashes_, len(self.coef_), max_hamming, device, *mirrored
            )
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        self.duplicate_mask_ = np.ones(len(self.groups_), dtype=bool)
        self.duplicate_mask_[np.unique(self.groups_, return_index=True)[1]] = False
        return self

    def _choose_max_hamming(self):
        """Return the number of bits in which near-duplicates may differ."""
        if self.max_hamming == "auto":
            return self.n_bits // 16
        if self.max_hamming >= self.n_bits:
            raise ValueError(
                f"max_hamming={self.max_hamming} makes near-duplicates of all images, "
                f"because hashes have n_bits={self.n_bits}; it should be far less."
            )
        return int(self.max_hamming)

    def _train(self, X, device):
        """Train the autoencoder on rows X of ``check_images``, and keep the encoder."""
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(np.iinfo(np.int32).max))
        chosen = np.sort(rng.permutation(len(X))[:_MOST_TRAINED])
        self._normalizes = bool(self.normalize)
        prepare = self._make_prepare(device)
        with torch_seed(seed, device):
            inputs = read_inputs(X, chosen, prepare, device)
            encoder, losses = train_encoder(
                inputs,
                self.n_bits,
                noise=self.noise,
                dropout_rate=self.dropout,
                learning_rate=self.learning_rate,
                batch_size=self.batch_size,
                max_epochs=self.max_epochs,
                report=self._report if self.verbose else None,
            )
        if self.balance:
            balance_bits(encoder, inputs)
        self.coef_ = encoder.weight.detach().cpu().numpy()
        self.intercept_ = encoder.bias.detach().cpu().numpy()
        if not np.isfinite([*losses, self.coef_.sum(), self.intercept_.sum()]).all():
            raise TrainingDivergedError(
                "The autoencoder's loss or weights became NaN or infinite; reduce "
                f"learning_rate={self.learning_rate} or noise={self.noise}."
            )
        self.history_ = [
            {"epoch": epoch, "loss": loss} for epoch, loss in enumerate(losses, 1)
        ]
        self.n_iter_, self._n_features_out = len(losses), len(self.coef_)

    def _report(self, epoch, loss):
        print(f"epoch {epoch}/{self.max_epochs}, loss {loss:.4f}")

    def _make_prepare(self, device, mirror=False):
        """Return the function from stored rows to what the autoencoder takes."""
        center, half_range = (as_tensor(part).to(device) for part in self._scale)

        def prepare(rows):
            batch = to_batch(rows, center, half_range, self.image_shape_)
            return to_input(batch, normalize=self._normalizes, mirror=mirror)

        return prepare

    def _hash(self, X, mirror):
        """Return packed hashes of checked rows, and of their mirror images if asked."""
        device = device_or_cpu(self.device)
        weight, bias = (
            torch.from_numpy(part).to(device) for part in (self.coef_, self.intercept_)
        )
        return [
            hash_rows(X, self._make_prepare(device, mirrored), weight, bias)
            for mirrored in ([False, True] if mirror else [False])
        ]

    def _nearest(self, X, hashes):
        """Return the nearest of some hashes to each row of X, and their distances."""
        device, n_bits = device_or_cpu(self.device), len(self.coef_)
        X = check_images(self, X, reset=False)
        found = [
            nearest(queries, hashes, n_bits, device)
            for queries in self._hash(X, mirror=self.mirror)
        ]
        index, distance = found[0]
        for other, its_distance in found[1:]:
            index = np.where(its_distance < distance, other, index)
            distance = np.minimum(distance, its_distance)
        return index, distance

    def transform(self, X):
        """Return the bits of the hashes.

        Parameters
        ----------
        X : array-like
            As in ``fit``.

        Returns
        -------
        bits : ndarray of shape (n_samples, n_bits), uint8
            0 or 1; :func:`numpy.packbits` along axis 1 makes ``hashes_`` of them.
        """
        check_is_fitted(self)
        (hashes,) = self._hash(check_images(self, X, reset=False), mirror=False)
        return np.unpackbits(hashes, axis=1, count=len(self.coef_))

    def is_duplicate(self, X):
        """Tell which images are near-duplicates of a row given to ``fit``.

        Parameters
        ----------
        X : array-like
            As in ``fit``; the rows of ``fit`` themselves are near-duplicates of
            themselves.

        Returns
        -------
        mask : ndarray of shape (n_samples,), bool
            True where there is one.
        """
        check_is_fitted(self)
        return self._nearest(X, self.hashes_)[1] <= self.max_hamming_

    def leakage_report(self, X_train, X_test):
        """Report which test images have a near-duplicate among the training images.

        Parameters
        ----------
        X_train, X_test : array-like
            As in ``fit``; they may be the rows of ``fit``, parts of them, or others.

        Returns
        -------
        report : LeakageReport
            Pairs, their number, and the fraction of the test images.
        """
        check_is_fitted(self)
        X_train = check_images(self, X_train, reset=False)
        (hashes,) = self._hash(X_train, mirror=False)
        index, distance = self._nearest(X_test, hashes)
        leaked = np.flatnonzero(distance <= self.max_hamming_)
        pairs = np.column_stack([index[leaked], leaked])
        return LeakageReport(pairs, distance[leaked], len(hashes), len(distance))

    def __sklearn_tags__(self):
        """Say that bits are integers, whatever the dtype of X."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
