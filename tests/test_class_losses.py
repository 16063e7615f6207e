"""What reaches the losses of classifier and clusterer, and what they do with it."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback
from torch import nn

from sklgan import CategoricalGANClusterer, SemiSupervisedGANClassifier
from sklgan._class_losses import categorical_objective, d_categorical, d_semi_supervised
from sklgan._images import check_images
from sklgan._labels import class_frequencies
from sklgan.losses import conditional_entropy, marginal_divergence, soft_cross_entropy

CHEAP = {"n_filters": 4, "max_epochs": 1, "random_state": 0, "device": "cpu"}
UNEQUAL = {
    "adversarial_weight": 0.5,
    "balance_weight": 3.0,
    "consistency_weight": 2.0,
    "entropy_weight": 0.25,
    "rotation_weight": 1.5,
}


class KeepLosses(Callback):
    """Remember what the losses were given beside batches."""

    def on_train_begin(self, net, **kwargs):
        """Before any step."""
        keywords = net.discriminator_loss.keywords
        self.keywords = {
            name: value.clone() if torch.is_tensor(value) else value
            for name, value in keywords.items()
        }
        self.g_loss, self.state = net.generator_loss, net.loss_state
        self.is_shared = keywords["remembered"] is net.loss_state["remembered"]


# From parameters to losses ------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "d_loss"),
    [
        ("feature_matching", "nonsaturating"),
        ("nonsaturating", "nonsaturating"),
        ("hinge", "hinge"),
        ("least_squares", "least_squares"),
    ],
)
def test_parameters_of_the_classifier_reach_its_losses(digits, loss, d_loss):
    """Each its own, and the frequencies are those of the labels times the factors."""
    X, y = digits
    y = np.where(np.arange(len(y)) < 60, y == 8, -1)
    counts = np.bincount(y[:60])
    kept = KeepLosses()
    parameters = CHEAP | UNEQUAL | {"loss": loss, "class_weight": {0: 1.0, 1: 2.0}}
    SemiSupervisedGANClassifier(**parameters, callbacks=[kept]).fit(X, y)
    assert {name: kept.keywords[name] for name in UNEQUAL} == UNEQUAL
    assert kept.keywords["loss"] == d_loss
    assert kept.g_loss.keywords == {"loss": loss, "n_classes": 2}
    expected = counts * [1, 2] / np.dot(counts, [1, 2])
    assert_allclose(kept.keywords["prior"], expected, rtol=1e-6)
    assert_allclose(kept.keywords["class_weight"], 2 * expected, rtol=1e-6)
    assert_allclose(kept.keywords["remembered"], expected, rtol=1e-6)
    assert kept.is_shared


def test_parameters_of_the_clusterer_reach_its_loss(digits):
    """And the mean prediction that it remembers, which begins even."""
    X, _ = digits
    kept = KeepLosses()
    names = ("adversarial_weight", "balance_weight", "consistency_weight")
    parameters = {name: UNEQUAL[name] for name in names}
    CategoricalGANClusterer(4, **CHEAP, **parameters, callbacks=[kept]).fit(X)
    assert {name: kept.keywords[name] for name in names} == parameters
    assert_array_equal(kept.keywords["remembered"], np.full(4, 0.25))
    assert kept.is_shared
    assert not np.allclose(kept.state["remembered"], 0.25, rtol=1e-4)


# Frequencies of classes ---------------------------------------------------------------


def test_frequencies_of_classes():
    """Counts times factors; weights have a mean of 1 over classes with labels."""
    classes, counts = np.array([0, 1, 2]), np.array([5, 3, 2])
    for factors, expected in (
        (None, [0.5, 0.3, 0.2]),
        ({2: 6.0}, [0.25, 0.15, 0.6]),
        ("balanced", [1 / 3, 1 / 3, 1 / 3]),
    ):
        prior, weights = class_frequencies(factors, classes, counts)
        assert_allclose(prior, expected, rtol=1e-6)
        assert_allclose(weights, 3 * np.array(expected), rtol=1e-6)
    # A class that has not come yet counts as one, and others two at least.
    prior, weights = class_frequencies(None, classes, np.array([7, 1, 0]))
    assert_allclose(prior, np.array([8, 2, 1]) / 11, rtol=1e-6)
    assert_allclose(weights, [1.6, 0.4, 0.2], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-250, 1e-12, 1.0, 1e40, 1e250])
def test_factors_count_by_their_ratio_alone(scale):
    """However small or large they are; what is next to impossible stays finite."""
    classes = np.array([0, 1])
    prior, weights = class_frequencies(
        {0: scale, 1: 100 * scale}, classes, np.array([90, 10])
    )
    assert_allclose(prior, np.array([90, 1000]) / 1090, rtol=1e-6)
    assert_allclose(weights, 2 * prior, rtol=1e-6)
    for counts in ([3, 3], [3, 0]):
        prior, weights = class_frequencies({1: 1e46 * scale}, classes, np.array(counts))
        assert (prior > 0).all()
        assert np.isfinite(np.log(prior)).all()
        assert np.isfinite(weights).all()


def test_a_rare_class_is_predicted_rarely():
    """Though batches hold as many labelled rows of it; unless it is to be balanced."""
    rng = np.random.default_rng(0)
    y = (rng.random(2400) < 0.1).astype(int)
    X = rng.normal(size=(2400, 2)) + 2 * y[:, None] * np.array([1, 0])
    weights = {"adversarial_weight": 0.0, "balance_weight": 0.0, "entropy_weight": 0.0}
    shares = []
    for class_weight in (None, "balanced"):
        gan = SemiSupervisedGANClassifier(
            **weights,
            class_weight=class_weight,
            max_epochs=20,
            random_state=0,
            device="cpu",
        )
        shares.append(gan.fit(X[:600], y[:600]).predict_proba(X[600:])[:, 1].mean())
    assert shares[0] < 1.6 * y[600:].mean()
    assert shares[1] > 2 * shares[0]


def value_of(real, y, **keywords):
    """Return the classifier's loss of rows that are their own logits."""
    defaults = dict.fromkeys(UNEQUAL, 0.0) | {
        "class_weight": torch.ones(real.shape[1]),
        "prior": torch.full((real.shape[1],), 1 / real.shape[1]),
        "remembered": None,
        "averaged": lambda x: ([x], x),
        "loss": "nonsaturating",
        "strong_augment": lambda x: x,
    }
    return d_semi_supervised(
        lambda x: ([x], x), real, None, torch.tensor(y), **(defaults | keywords)
    )


@pytest.mark.parametrize("consistency_weight", [0.0, 1.0])
def test_weights_of_classes_count_in_batches_of_one_label(consistency_weight):
    """A mean that divides by the weights at hand would undo them there."""
    real = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    plain, double = (
        value_of(
            real,
            [0],
            class_weight=torch.tensor([weight, 1.0]),
            consistency_weight=consistency_weight,
        ).item()
        for weight in (1.0, 2.0)
    )
    alone = np.log1p(np.exp(-1)) * (1 + consistency_weight)
    assert double - plain == pytest.approx(alone, rel=1e-5)


# The mean prediction of small batches -------------------------------------------------


def test_divergence_of_small_batches_is_steady():
    """Sure and right of 5 rows of 10 classes: alone above log 2, remembered near 0."""
    torch.manual_seed(0)
    prior = torch.arange(1.0, 11) / 55
    remembered, alone, together = prior.clone(), [], []
    for _ in range(300):
        logits = 50 * torch.eye(10)[torch.multinomial(prior, 5, replacement=True)]
        alone.append(marginal_divergence(logits, prior).item())
        together.append(marginal_divergence(logits, prior, remembered).item())
    assert np.mean(alone) > np.log(2)
    assert np.mean(together) < 0.1
    large = torch.randn(50, 10)
    before = remembered.clone()
    assert marginal_divergence(large, prior, remembered) == marginal_divergence(
        large, prior
    )
    assert_array_equal(remembered, before)


def test_the_classifier_hands_on_what_it_remembers():
    """Its loss moves it."""
    remembered = torch.full((10,), 0.1)
    value_of(torch.eye(10)[:6] * 9, [3], remembered=remembered, balance_weight=1.0)
    assert remembered[1:6].min() > 0.1 > remembered[6:].max()


def test_a_state_of_before_it_remembered_can_be_gone_on_from(digits):
    """What it does not hold begins anew."""
    X, y = digits
    gan = SemiSupervisedGANClassifier(**CHEAP, warm_start=True).fit(X, y)
    assert list(gan._training_state["loss"]) == ["remembered"]
    gan._training_state["loss"] = {}
    assert gan.fit(X, y).n_iter_ == 2


# Targets of consistency ---------------------------------------------------------------


class Scaled(nn.Module):
    """A discriminator with one parameter, by which it multiplies rows."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        """Return features and logits."""
        return [x], self.scale * x


def test_no_gradient_reaches_the_teacher():
    """What the average says of a row is a constant."""
    teacher = Scaled()
    real = torch.randn(6, 3, requires_grad=True)
    value_of(real, [0, 1], averaged=teacher, consistency_weight=1.0).backward()
    assert real.grad.abs().sum() > 0
    assert teacher.scale.grad is None


def test_targets_of_the_clusterer_are_constants():
    """Its own predictions are not pulled to those of the changed images."""
    network, real = Scaled(), torch.randn(6, 3)
    d_categorical(
        network,
        real,
        None,
        adversarial_weight=0.0,
        balance_weight=0.0,
        consistency_weight=2.0,
        strong_augment=torch.neg,
    ).backward()
    again = Scaled()
    logits = again(real)[1]
    value = 2 * soft_cross_entropy(again(-real)[1], logits.detach().softmax(1))
    (value + conditional_entropy(logits)).backward()
    torch.testing.assert_close(network.scale.grad, again.scale.grad)


def test_objective_of_the_clusterer_counts_consistency(digits):
    """It picks among starts; a view that says the opposite costs."""
    X, _ = digits
    gan = CategoricalGANClusterer(4, consistency_weight=3.0, **CHEAP).fit(X)
    rows = check_images(gan, X, reset=False)
    same, opposite = (
        categorical_objective(gan, rows, augment)
        for augment in (lambda batch: batch, torch.neg)
    )
    logits = gan._logits_of_rows(rows).double()
    changed = gan._logits_of_rows(check_images(gan, 16 - X, reset=False)).double()
    p = logits.softmax(1)
    entropy, cross = (
        -(p * some.log_softmax(1)).sum(1).mean().item() for some in (logits, changed)
    )
    assert opposite - same == pytest.approx(3 * (cross - entropy), rel=1e-3)
