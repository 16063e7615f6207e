"""Runs that go wrong: what has happened, in words and figures, and what to change."""

import inspect
import warnings
from dataclasses import dataclass, field
from itertools import takewhile
from math import log
from numbers import Integral

import numpy as np
import torch
from scipy.spatial.distance import cdist, pdist
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sklgan._features import fixed_space
from sklgan._images import check_images
from sklgan._inference import has_generator, run_generator
from sklgan._placement import read_rows
from sklgan._tensors import torch_seed
from sklgan.losses import ADVERSARIAL_LOSSES
from sklgan.metrics import kernel_distance
from sklgan.networks._build import network_builders

# A figure means trouble up to these, some from these on. They were set with
# benchmarks/check_diagnosis.py, between trainings that are well and others that were
# made to fail.
THRESHOLDS = {
    "distinctness": 0.2,
    "spread": 0.1,
    "spread_left": 0.2,
    "distance_left": 0.7,
    "separation": 0.95,
    "d_saturation": 0.05,
    "g_saturation": 0.5,
    "loss_movement": 0.006,
}
_HIGH_IS_BAD = {"distance_left", "separation", "g_saturation"}

# Losses of discriminator and generator where nobody can tell real from fake, and what
# the generator's is counted in. A Wasserstein critic is ahead by design.
_UNDECIDED = {
    "nonsaturating": (2 * log(2), log(2), log(2)),
    "hinge": (2.0, 0.0, 1.0),
    "least_squares": (0.25, 0.125, 0.125),
    "relativistic": (log(2), log(2), log(2)),
}

# Values in [-1, 1] that differ by less are the same.
_SAME = 1e-4


class TrainingWarning(ConvergenceWarning):
    """Says that a training has certainly failed; ``diagnose`` tells more."""


@dataclass(frozen=True)
class Finding:
    """Something that went wrong.

    Parameters
    ----------
    name : str
        ``"mode_collapse"``, ``"discriminator_won"`` or ``"no_learning"``.
    text : str
        What it is, with figures, and what to change.
    remedy : dict
        Parameters to try first: ``gan.set_params(**remedy)``.
    """

    name: str
    text: str
    remedy: dict


@dataclass(frozen=True)
class Diagnosis:
    """What ``diagnose`` found; true if that is anything, text if printed.

    Parameters
    ----------
    figures : dict of str to float
        ``distinctness``: number of different images among the samples over that among
        as many rows of X, both as Vendi scores, distances being counted in the median
        of their own set; ``spread``: mean distance of two samples over that of two
        rows; ``spread_left``: the same over that of an untrained generator's samples;
        ``distance_left``: kernel distance of samples to X over that of an
        untrained generator's; ``separation``: area under the ROC curve of
        ``score_samples`` between rows and samples; ``d_saturation``: last loss
        of the discriminator over that at even scores; ``g_saturation``: how much above
        that at even scores the generator's is, over a unit of the loss;
        ``loss_movement``: change of the losses from the first half of the epochs to
        the second, relative. NaN where a figure has no meaning.
    findings : tuple of Finding
        What is wrong; empty if nothing was found. Each has a ``name``, a ``text`` with
        figures and advice, and a ``remedy``: parameters to try first, as
        ``set_params`` takes them.
    thresholds : dict of str to float
        What the figures were held against.

    Attributes
    ----------
    names : list of str
        Of the findings: ``"mode_collapse"``, ``"discriminator_won"``,
        ``"no_learning"``.

    See Also
    --------
    KeepBest : Ends a training with its best epoch.

    References
    ----------
    Friedman and Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine
    Learning", 2023 (arXiv:2210.02410).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor
    >>> X = load_digits().images[:200]
    >>> gan = DCGANFeatureExtractor(n_filters=8, max_epochs=0, random_state=0).fit(X)
    >>> diagnosis = gan.diagnose(X)
    >>> diagnosis.names
    ['no_learning']
    >>> diagnosis.findings[0].remedy
    {'max_epochs': 25}
    """

    figures: dict
    findings: tuple
    thresholds: dict = field(default_factory=lambda: dict(THRESHOLDS))

    @property
    def names(self):
        """Names of the findings."""
        return [finding.name for finding in self.findings]

    def __bool__(self):
        """Tell whether anything was found."""
        return bool(self.findings)

    def __str__(self):
        """Return findings and figures as text."""
        found = [f"{finding.name}: {finding.text}" for finding in self.findings]
        heading = "Figures, and where they begin to mean trouble, most only together:"
        rows = [
            f"  {name:14} {'-' if np.isnan(value) else format(value, '.3g'):>8}   "
            f"{'>=' if name in _HIGH_IS_BAD else '<='} {self.thresholds[name]:g}"
            for name, value in self.figures.items()
        ]
        return "\n".join([*(found or ["Nothing wrong was found."]), heading, *rows])


class DiagnosisMixin:
    """What an estimator can say about its own training."""

    def diagnose(self, X, *, n_samples=300, random_state=None):
        """Say whether training has gone wrong, how, and what to change.

        It looks for samples that are alike, for a discriminator that has won, and for
        networks that have learned nothing. It may also be called after a ``fit`` that
        was interrupted or diverged.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            Real images as in ``fit``, at least 10; those of ``fit``, or others.
        n_samples : int, default=300
            Rows of X that are looked at, at most, and as many samples.
        random_state : int, RandomState instance or None, default=None
            Decides both. None takes the estimator's ``random_state``.

        Returns
        -------
        diagnosis : Diagnosis
            Figures and findings; true if there are findings, a text when printed.
        """
        check_is_fitted(self)
        X = check_images(self, X, reset=False)
        if not isinstance(n_samples, Integral) or min(n_samples, len(X)) < 10:
            raise ValueError(
                f"diagnose needs 10 rows or more, got n_samples={n_samples!r} and an X "
                f"of {len(X)} rows."
            )
        seed = self.random_state if random_state is None else random_state
        with config_context(array_api_dispatch=False):
            return _diagnose(self, X, check_random_state(seed), n_samples)


def _diagnose(gan, X, rng, n_samples):
    """Return the Diagnosis of a fitted estimator, given checked rows."""
    rows = read_rows(X, rng.permutation(len(X))[:n_samples])
    rows = rows.cpu().numpy() if torch.is_tensor(rows) else rows
    Z = rng.standard_normal((len(rows), gan._architecture["latent_dim"]))
    figures = dict.fromkeys(THRESHOLDS, np.nan)
    figures["loss_movement"] = _loss_movement(gan.history_)
    if has_generator(gan):
        samples = gan.generate(Z).reshape(len(rows), -1).astype(np.float32)
        figures |= _sample_figures(gan, rows, samples, Z)
        with warnings.catch_warnings():
            # These are rows of the data frame that fit saw, without its columns' names.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            real, fake = gan.score_samples(rows), gan.score_samples(samples)
        truth = np.repeat([1, 0], len(rows))
        figures["separation"] = roc_auc_score(truth, np.concatenate([real, fake]))
        figures |= _saturation(gan, real, fake)
    figures = {name: float(value) for name, value in figures.items()}
    return Diagnosis(figures, tuple(_findings(gan, figures)))


def _sample_figures(gan, rows, samples, Z):
    """Compare samples with rows, in a space that training has not touched."""
    build_generator, build_discriminator = network_builders(**gan._architecture)
    device = next(gan.generator_.parameters()).device
    to_batch = gan._make_to_batch(device)
    real, transform = fixed_space(build_discriminator, rows, to_batch)
    fake = transform(samples, to_batch)
    with torch_seed(0):
        untrained = build_generator().to(device)  # normalises over the batch
        # What a generator in training may draw, too.
        drawn = run_generator(untrained, Z.astype(np.float32), pad=False)
    first = transform(drawn)
    distances = [kernel_distance(real, F, n_subsets=1)[0] for F in (fake, first)]
    spreads = [max(pdist(F).mean(), 1e-12) for F in (fake, real, first)]
    return {
        "distinctness": _vendi(fake) / _vendi(real),
        "spread": spreads[0] / spreads[1],
        "spread_left": spreads[0] / spreads[2],
        "distance_left": max(distances[0], 0.0) / max(distances[1], 1e-12),
    }


def _vendi(features):
    """Return the effective number of different rows.

    It is the exponential of the entropy of the eigenvalues of a Gaussian kernel over
    the number of rows; the squared width is a quarter of the median squared distance.
    Friedman and Dieng, "The Vendi Score", 2023, section 3 (arXiv:2210.02410).
    """
    squares = cdist(features, features, "sqeuclidean")
    width = np.median(squares[np.triu_indices(len(squares), 1)]) / 4
    kernel = np.exp(-squares / max(width, 1e-12)) / len(squares)
    values = np.linalg.eigvalsh(kernel)
    values = values[values > 1e-12]
    return np.exp(-(values * np.log(values)).sum())


def _saturation(gan, real, fake):
    """Return how far the adversarial losses are from those at even scores."""
    loss = getattr(gan, "loss", "none").replace("feature_matching", "nonsaturating")
    if loss not in _UNDECIDED:
        return {}
    d_even, g_even, g_unit = _UNDECIDED[loss]
    if _has_plain_losses(gan):
        last = gan.history_[-max(1, len(gan.history_) // 4) :]
        d_loss = np.mean([row["d_loss"] for row in last]) if last else np.nan
        g_losses = [row["g_loss"] for row in last if "g_loss" in row]
        g_loss = np.mean(g_losses) if g_losses else np.nan
    else:  # the history has losses that are more than adversarial
        d_function, g_function = ADVERSARIAL_LOSSES[loss]
        real, fake = torch.from_numpy(real), torch.from_numpy(fake)
        d_loss, g_loss = float(d_function(real, fake)), float(g_function(fake))
    return {
        "d_saturation": d_loss / d_even,
        "g_saturation": (g_loss - g_even) / g_unit,
    }


def _has_plain_losses(gan):
    """Tell whether the losses of the history are adversarial alone."""
    other = hasattr(gan, "classes_") or _is_self_taught(gan)
    return gan._architecture["n_outputs"] == 1 and not other


def _loss_movement(history):
    """Return the largest change of a loss from the first half of epochs to the second.

    Relative to the loss, or to 1 where that is larger; over the last epochs that have
    the same losses, since a warm-up has a loss of its own.
    """
    names = [{name for name in row if name.endswith("_loss")} for row in history]
    alike = list(takewhile(lambda other: other == names[-1], reversed(names)))
    history, half = history[len(history) - len(alike) :], len(alike) // 2
    changes = []
    for name in names[-1] if half else ():
        values = [row[name] for row in history]
        first, second = np.mean(values[:half]), np.mean(values[-half:])
        changes.append(abs(second - first) / max(abs(first), 1.0))
    return max(changes, default=np.nan)


def _findings(gan, figures):
    """Yield what the figures mean; comparisons with NaN are false."""
    limits, left = THRESHOLDS, figures["distance_left"]
    stands = left >= limits["distance_left"] or not has_generator(gan)
    few = figures["distinctness"] <= limits["distinctness"]
    shrunk = not stands or figures["spread_left"] <= limits["spread_left"]
    one = figures["spread"] <= limits["spread"] and shrunk
    if few or one:
        yield _mode_collapse(gan, figures)
    lost = figures["g_saturation"] / limits["g_saturation"]
    hopeless = stands or lost >= 20 or figures["d_saturation"] <= limits["d_saturation"]
    if figures["separation"] >= limits["separation"] and lost >= 1 and hopeless:
        yield _discriminator_won(gan, figures)
    if stands and (
        not gan.history_ or figures["loss_movement"] <= limits["loss_movement"]
    ):
        yield _no_learning(gan, figures)


def _is_self_taught(gan):
    """Tell whether an objective beside the adversarial one draws the views itself."""
    architecture = gan._architecture
    return bool(architecture.get("n_projections")) and "own_logits" not in architecture


def _takes_penalties(gan):
    """Tell whether the estimator has losses with gradient penalties."""
    return hasattr(gan, "gradient_penalty") and not _is_self_taught(gan)


def _mode_collapse(gan, figures):
    """Return the finding that samples are alike."""
    remedy = {"learning_rate": gan.learning_rate / 5}
    if _takes_penalties(gan) and gan.loss in (
        "nonsaturating",
        "hinge",
        "least_squares",
    ):
        remedy["loss"] = "relativistic"
    else:
        remedy["batch_size"] = 2 * gan.batch_size
    text = (
        f"the samples are alike. There are {figures['distinctness']:.1%} as many "
        f"different images among them as in X, and two of them differ by "
        f"{figures['spread']:.1%} of what two rows of X do. {_try(remedy)}"
    )
    return Finding("mode_collapse", text, remedy)


def _discriminator_won(gan, figures):
    """Return the finding that the generator has nothing to learn from."""
    remedy = {"learning_rate": gan.learning_rate / 2}
    if gan.n_critic > 1:
        remedy["n_critic"] = 1
    elif _is_self_taught(gan):
        pass  # its views are the task's, and it knows no penalties
    elif gan.augment is None and gan.image_shape_ is not None:
        remedy["augment"] = ("translation", "cutout")
    elif _takes_penalties(gan):
        remedy["gradient_penalty"] = 10.0
    text = (
        f"it tells samples from X in {figures['separation']:.1%} of pairs, its loss is "
        f"{figures['d_saturation']:.1%} of that of an undecided one, and the "
        f"generator's loss is high. {_try(remedy)}"
    )
    return Finding("discriminator_won", text, remedy)


def _no_learning(gan, figures):
    """Return the finding that training has changed nothing."""
    usual = inspect.signature(type(gan)).parameters["learning_rate"].default
    if not gan.history_:
        remedy = {"max_epochs": 25}
    elif gan.learning_rate < usual / 2:
        remedy = {"learning_rate": usual}
    else:
        remedy = {"max_epochs": 4 * gan.max_epochs}
    signs = ["there has been no epoch"] if not gan.history_ else []
    if np.isfinite(figures["loss_movement"]):
        signs.append(f"the losses moved by {figures['loss_movement']:.2%}")
    if np.isfinite(figures["distance_left"]):
        signs.append(
            f"the distance of samples to X is {figures['distance_left']:.0%} of that "
            "of an untrained generator's"
        )
    return Finding("no_learning", f"{', and '.join(signs)}. {_try(remedy)}", remedy)


def _try(remedy):
    """Return the sentence that names parameters."""
    values = ", ".join(f"{name}={value!r}" for name, value in remedy.items())
    return f"Try {values}."


def warn_if_failed(gan, X):
    """Warn where a training has certainly failed, by what costs next to nothing.

    Parameters
    ----------
    gan : BaseGAN
        Just trained.
    X : ndarray of shape (n_samples, n_features)
        The rows that it was trained on.
    """
    if not gan.history_ or "g_loss" not in gan.history_[-1]:
        return
    Z = np.random.RandomState(0).standard_normal((16, gan._architecture["latent_dim"]))
    images = run_generator(gan.generator_, Z.astype(np.float32), pad=gan._pads)
    few = read_rows(X, slice(16))
    if np.ptp(images, axis=0).max() < _SAME and (few != few[0]).any():
        happened = "the generator draws one and the same image whatever it is given"
    else:
        figures = _saturation(gan, None, None) if _has_plain_losses(gan) else {}
        lost = 4 * THRESHOLDS["g_saturation"] <= figures.get("g_saturation", 0.0)
        if not lost or figures["d_saturation"] > THRESHOLDS["d_saturation"] / 2:
            return
        happened = "the discriminator has won, and the generator learns nothing more"
    warnings.warn(
        f"The training of {type(gan).__name__} has failed: {happened}. Call "
        f"diagnose(X) for figures and for what to change, such as learning_rate (now "
        f"{gan.learning_rate}).",
        TrainingWarning,
        stacklevel=6,
    )


def divergence_message(gan, error, autocast, final_epoch):
    """Return which epoch was lost, why, and what to change.

    Parameters
    ----------
    gan : BaseGAN
        With the whole epochs counted.
    error : TrainingDivergedError
        What the engine found.
    autocast : bool
        Whether it computed in bfloat16.
    final_epoch : int
        Epoch whose weights have been kept.
    """
    remedies = [f"Lower learning_rate (now {gan.learning_rate})"]
    if getattr(gan, "loss", "hinge") not in ("hinge", "nonsaturating"):
        remedies.append("choose loss='hinge' or 'nonsaturating'")
    if autocast:
        remedies.append("set precision='float32'")
    return (
        f"Training diverged in epoch {gan.n_iter_ + 1}: {error}. The weights of epoch "
        f"{final_epoch} have been kept. {', or '.join(remedies)}."
    )
