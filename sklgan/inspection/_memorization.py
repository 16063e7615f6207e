"""Whether a generator draws its training images again."""

import warnings
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

from sklgan._inference import check_gan, has_generator
from sklgan._placement import read_batches
from sklgan.inspection._copies import compare
from sklgan.inspection._neighbors import (
    SPACES,
    check_space,
    checked_rows,
    visitor,
)

_FEWEST = {"X_train": 10, "X_held_out": 20, "n_samples": 20}


@dataclass(frozen=True)
class MemorizationReport:
    """What :func:`memorization_report` found; true if memorised, text if printed.

    Parameters
    ----------
    memorized : bool
        Whether the generator draws training images again, by the thresholds.
    spaces : dict of str to CopyFigures
        What was found in ``"pixels"`` and in ``"features"``: figures, and the nearest
        training images of each sample.
    samples : ndarray of shape (n_samples, ...)
        The samples, in the layout, dtype and range of the X given to ``fit``.
    threshold : float
        Fraction of copies that the lower end of the interval had to exceed.
    alpha : float
        What the p-value had to be at most.

    See Also
    --------
    MemorizationDisplay : Samples beside their nearest training images.
    """

    memorized: bool
    spaces: dict
    samples: np.ndarray = field(repr=False)
    threshold: float
    alpha: float

    def __bool__(self):
        """Tell whether the generator draws training images again."""
        return self.memorized

    def __str__(self):
        """Return verdict and figures as text."""
        verdict = (
            "The generator draws training images again."
            if self.memorized
            else "No copies of training images were found."
        )
        limits = f"copied above {self.threshold:.0%} for certain, p {self.alpha:g}"
        rows = [
            f"  {name:9} copied {space.copied:6.1%} "
            f"[{space.interval[0]:.1%}, {space.interval[1]:.1%}], "
            f"p {space.p_value:.2g}, closeness {space.closeness:.2f}, nearest is a "
            f"training image {space.train_share:.1%} (expected "
            f"{space.expected_share:.1%})"
            for name, space in self.spaces.items()
        ]
        return "\n".join([f"{verdict} (threshold: {limits})", *rows])


def memorization_report(
    estimator,
    X_train,
    X_held_out,
    *,
    n_samples=500,
    n_neighbors=5,
    space="both",
    threshold=0.01,
    alpha=0.01,
    random_state=None,
):
    """Say whether the generator draws its training images again.

    A sample is a copy if it is alone with its nearest training image: if the distance
    to it, over the mean distance to the ten next images, training and held-out ones
    together, is as small as with 3 % of real images. Being close is not enough: blurred
    images are close to all others, and a ratio does not take them for copies.

    Held-out images are the control, in two ways. Nobody can copy them, so that samples
    which are alone with one of them are chance; and as often as held-out images are
    alone with a training image, samples that are no copies would be too. ``copied`` is
    the lower of the two fractions that are left. There are two tests, both Fisher's
    exact test of two fractions: of images with which a sample is alone, among training
    images and among held-out ones, which hardly depends on what the generator draws;
    and of copies among samples and among held-out images, which has more power where
    few images are copied or held out. The p-value is twice the lower. Samples with the
    same nearest image count as one in both, and are drawn together in the bootstrap
    that gives the interval, since a collapsed generator draws the same accident again
    and again; held-out images are drawn again too.

    Parameters
    ----------
    estimator : GAN estimator
        Fitted on ``X_train``.
    X_train : array-like, ImageSequence, or sequence of paths or of PIL images
        What ``fit`` was given, at least 10 images. A part of it tells less. Equal
        images count as one.
    X_held_out : array-like, ImageSequence, or sequence of paths or of PIL images
        Images of the same kind that ``fit`` has not seen, at least 20, better hundreds;
        where they are few beside X_train, chance is known less exactly. Those that
        equal a training image are left out, with a warning.
    n_samples : int, default=500
        Number of samples, at least 20; more find rarer copies.
    n_neighbors : int, default=5
        Nearest training images that are kept of each sample, for pictures.
    space : {"both", "pixels", "features"}, default="both"
        Where images are compared, as in :func:`nearest_samples`. With ``"both"`` copies
        in either are memorisation. Features find copies that are shifted a little.
    threshold : float, default=0.01
        Fraction of copies among the samples that may be. The lower end of the 95 %
        interval has to exceed it.
    alpha : float, default=0.01
        The p-value at most with which copies are taken for more than chance.
    random_state : int, RandomState instance or None, default=None
        Decides what is drawn. None takes the estimator's ``random_state``.

    Returns
    -------
    report : MemorizationReport
        True if the generator has memorised; figures by space; a text when printed.

    Raises
    ------
    ValueError
        If a parameter is out of its range, there are too few images, or the training
        had no generator.

    See Also
    --------
    MemorizationDisplay : Samples beside their nearest training images.
    nearest_samples : Nearest images of any images.

    References
    ----------
    Meehan, Chaudhuri and Dasgupta, "A Non-Parametric Test to Detect Data-Copying in
    Generative Models", 2020 (arXiv:2004.05675), for held-out images as the measure.

    Carlini et al., "Extracting Training Data from Diffusion Models", 2023, section 4.1
    (arXiv:2301.13188), for distances relative to those of other images.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> from sklgan.inspection import memorization_report
    >>> X = load_digits().images
    >>> gan = DCGANFeatureExtractor(n_filters=8, max_epochs=2, random_state=0)
    >>> gan = gan.fit(X[:500])
    >>> report = memorization_report(gan, X[:500], X[500:800], n_samples=100)
    >>> report.memorized
    False
    >>> report.spaces["pixels"].indices.shape
    (100, 5)
    """
    check_gan(estimator)
    _check_generator(estimator)
    names = _check_parameters(n_samples, n_neighbors, space, threshold, alpha)
    train, held_out = (checked_rows(estimator, X) for X in (X_train, X_held_out))
    _check_enough("X_train", len(train))
    first, new = _distinct_rows(train, held_out)
    train, held_out = _only(train, first), _only(held_out, new)
    rng = check_random_state(
        estimator.random_state if random_state is None else random_state
    )
    samples = estimator.sample(n_samples, random_state=rng)
    with warnings.catch_warnings():
        # These are rows of the data frame that fit saw, without its columns' names.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        drawn = checked_rows(estimator, samples)
    chosen = rng.permutation(len(held_out))[:n_samples]
    seed = rng.randint(2**31)
    spaces = {
        name: compare(
            visitor(estimator, name, train),
            drawn,
            train,
            held_out,
            chosen,
            min(n_neighbors, len(train)),
            np.random.default_rng(seed),
        )
        for name in names
    }
    # The rows of X_train, of which equal ones have stood for one.
    spaces = {
        name: replace(figures, indices=first[figures.indices])
        for name, figures in spaces.items()
    }
    memorized = any(
        figures.interval[0] > threshold and figures.p_value <= alpha
        for figures in spaces.values()
    )
    return MemorizationReport(memorized, spaces, samples, threshold, alpha)


def _check_generator(estimator):
    """Refuse an estimator whose training had no generator."""
    if not has_generator(estimator):
        raise ValueError(
            "The generator was not trained (adversarial_weight=0), so that there is "
            "nothing it could have memorised; fit with a larger adversarial_weight."
        )


def _check_parameters(n_samples, n_neighbors, space, threshold, alpha):
    """Return the names of the spaces, or raise a ValueError."""
    for name, value in (("n_samples", n_samples), ("n_neighbors", n_neighbors)):
        fewest = _FEWEST.get(name, 1)
        is_count = isinstance(value, Integral) and not isinstance(value, bool)
        if not is_count or value < fewest:
            raise ValueError(
                f"{name} should be an int of at least {fewest}, got {value!r}."
            )
    for name, value in (("threshold", threshold), ("alpha", alpha)):
        if not isinstance(value, Real) or not 0 <= value < 1:
            raise ValueError(f"{name} should be in [0, 1), got {value!r}.")
    if space == "both":
        return SPACES
    check_space(space, ("both", *SPACES))
    return (space,)


def _check_enough(name, n_rows, what=""):
    """Raise ValueError where there are too few rows."""
    if n_rows < _FEWEST[name]:
        raise ValueError(
            f"{name} has {n_rows} images{what}, but at least {_FEWEST[name]} are "
            "needed."
        )


def _distinct_rows(train, held_out):
    """Return which training rows differ, and which held-out rows from them and others.

    A copy of an image that is there a dozen times would not be alone with any of them.
    """
    first, new, n_known = {}, {}, 0
    for number, digest in enumerate(_digests(train)):
        first.setdefault(digest, number)
    for number, digest in enumerate(_digests(held_out)):
        if digest in first:
            n_known += 1
        else:
            new.setdefault(digest, number)
    differ = " that differ from each other and from X_train"
    _check_enough("X_held_out", len(new), differ * (len(new) < len(held_out)))
    if n_known > 0:
        warnings.warn(
            f"{n_known} of {len(held_out)} images of X_held_out are in X_train too, "
            "and are left out. If that is no accident, hold other images out.",
            UserWarning,
            stacklevel=3,
        )
    return np.array(list(first.values())), np.array(list(new.values()))


def _only(rows, index):
    """Return some rows; where that is all of them, without a copy."""
    return rows if len(index) == len(rows) else rows[index]


def _digests(rows):
    """Yield what tells rows apart: 16 bytes each."""
    for _, part in read_batches(rows, 128):
        for row in np.asarray(part, dtype=np.float32) + 0.0:  # -0.0 equals 0.0
            yield blake2b(row.tobytes(), digest_size=16).digest()
