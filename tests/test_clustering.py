"""CategoricalGANClusterer: clusters, the objective that picks, and the mathematics."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback

from sklgan import CategoricalGANClusterer, TrainingDivergedError
from sklgan._class_losses import categorical_objective, d_categorical, g_categorical
from sklgan._images import check_images
from sklgan.losses import conditional_entropy, marginal_entropy
from sklgan.metrics import cluster_accuracy

CHEAP = {"n_filters": 4, "max_epochs": 2, "random_state": 0, "device": "cpu"}


def make_clusterer(**parameters):
    """Return a clusterer that is trained in a moment."""
    return CategoricalGANClusterer(**({"n_clusters": 4} | CHEAP | parameters))


def test_outputs_agree(digits):
    """labels_, fit_predict, predict and predict_proba say the same."""
    X, _ = digits
    gan = make_clusterer().fit(X)
    proba = gan.predict_proba(X)
    assert proba.shape == (200, 4)
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert_array_equal(gan.labels_, proba.argmax(axis=1))
    assert_array_equal(gan.labels_, gan.predict(X))
    assert_array_equal(gan.labels_, make_clusterer().fit_predict(X))
    assert gan.sample(3).shape == (3, 8, 8)


def test_score_is_minus_the_entropy(digits):
    """From -log n_clusters, as unsure as can be, to 0."""
    X, _ = digits
    gan = make_clusterer().fit(X)
    p = gan.predict_proba(X).astype(float)
    assert_allclose(gan.score_samples(X), (p * np.log(p)).sum(1), atol=1e-4)


def test_separate_blobs_are_found():
    """The default parameters do, and new rows go to the clusters of their blobs."""
    X, y = make_blobs(400, centers=4, cluster_std=0.5, random_state=0)
    gan = CategoricalGANClusterer(4, n_init=2, random_state=0, device="cpu")
    assert cluster_accuracy(y[:300], gan.fit_predict(X[:300])) > 0.9
    assert cluster_accuracy(y[300:], gan.predict(X[300:])) > 0.9


def test_n_init_keeps_the_smallest_objective(digits):
    """The first of several fits is the only fit with that seed; the best is kept."""
    X, _ = digits
    first = make_clusterer(max_epochs=1).fit(X)
    objectives = [first.objective_]
    for n_init in (2, 5, 10):
        gan = make_clusterer(max_epochs=1, n_init=n_init).fit(X)
        objectives.append(gan.objective_)
        assert gan.n_iter_ == len(gan.history_) == 1
        assert_array_equal(gan.labels_, gan.predict(X))
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[-1] < objectives[0]


def test_a_continuation_trains_once(digits):
    """n_init begins anew, warm_start goes on."""
    X, _ = digits
    gan = make_clusterer(n_init=2, warm_start=True).fit(X)
    assert gan.fit(X).n_iter_ == 4


def test_the_generator_comes_when_half_of_the_epochs_are_over(digits):
    """A continuation has found its clusters, and has the generator from the start."""
    X, _ = digits
    gan = make_clusterer(max_epochs=5, warm_start=True).fit(X)
    generated = ["g_loss" in row for row in gan.history_]
    assert generated == [False, False, True, True, True]
    assert all("g_loss" in row for row in gan.fit(X).history_[5:])
    gan = make_clusterer(max_epochs=1).fit(X)
    assert "g_loss" in gan.history_[0]


def test_more_epochs_do_not_lead_back_into_the_warm_up(digits, tmp_path):
    """What a checkpoint goes on with had found its clusters."""
    X, _ = digits
    gan = make_clusterer(max_epochs=4, checkpoint=tmp_path).fit(X)
    gan.set_params(max_epochs=8).fit(X)
    assert ["g_loss" in row for row in gan.history_] == [False] * 2 + [True] * 6


def test_one_cluster_is_legal(digits):
    """As in scikit-learn's clusterers."""
    X, _ = digits
    assert_array_equal(make_clusterer(n_clusters=1).fit_predict(X), 0)


def test_more_clusters_than_rows_are_refused(digits):
    """The message names both; the last fit can still be used."""
    X, _ = digits
    gan = make_clusterer().fit(X)
    before = gan.predict_proba(X)
    with pytest.raises(ValueError, match="n_samples=7 should be >= n_clusters=8"):
        gan.set_params(n_clusters=8).fit(X[:7])
    assert_array_equal(gan.predict_proba(X), before)


# The mathematics ----------------------------------------------------------------------


def entropy(p):
    """Return the entropy in nats along the last axis."""
    return -(p * p.log()).sum(-1)


def columns(x):
    """Stand for a discriminator whose logits are the values of a row."""
    return [x], x


def test_loss_is_the_sum_of_its_parts():
    """Against the formula of the notes."""
    torch.manual_seed(0)
    real, fake = torch.randn(5, 3), torch.randn(6, 3)
    p, q = real.softmax(1), fake.softmax(1)
    value = d_categorical(
        columns,
        real,
        fake,
        adversarial_weight=0.5,
        balance_weight=4.0,
        consistency_weight=2.0,
        strong_augment=lambda x: x + 1 - 2 * x,
    )
    strong = (1 - real).softmax(1)
    expected = (
        entropy(p).mean()
        - 4 * entropy(p.mean(0))
        - 0.5 * entropy(q).mean()
        - 2 * (p * strong.log()).sum(1).mean()
    )
    torch.testing.assert_close(value, expected)
    generator = g_categorical(columns, real, fake)
    torch.testing.assert_close(generator, entropy(q).mean() - entropy(q.mean(0)))


def test_entropies_at_their_ends():
    """One-hot predictions of all classes: 0 each, log K together."""
    sure = 50 * torch.eye(4)
    assert conditional_entropy(sure).item() == pytest.approx(0, abs=1e-6)
    assert marginal_entropy(sure).item() == pytest.approx(np.log(4))
    unsure = torch.zeros(3, 4)
    assert conditional_entropy(unsure).item() == pytest.approx(np.log(4))


def test_marginal_entropy_of_small_batches_is_steady():
    """Batches of 5 rows of 10 classes: alone log 5 at most, remembered near log 10."""
    torch.manual_seed(0)
    remembered = torch.full((10,), 0.1)
    alone, together = [], []
    for _ in range(200):
        logits = 50 * torch.eye(10)[torch.randint(10, (5,))]
        alone.append(marginal_entropy(logits).item())
        together.append(marginal_entropy(logits, remembered).item())
    assert max(alone) <= np.log(5) + 1e-6
    assert np.mean(together) > np.log(10) - 0.1
    large = torch.randn(100, 10)
    torch.testing.assert_close(
        marginal_entropy(large, remembered), marginal_entropy(large)
    )


def test_gradient_of_a_small_batch_is_not_diluted():
    """What is remembered is a constant; the batch's own mean counts in full."""
    logits = torch.randn(5, 10, requires_grad=True)
    marginal_entropy(logits, torch.full((10,), 0.1)).backward()
    assert torch.isfinite(logits.grad).all()
    mean = torch.lerp(torch.full((10,), 0.1), logits.detach().softmax(1).mean(0), 0.05)
    again = logits.detach().clone().requires_grad_()
    (-(mean.log() + 1) * again.softmax(1).mean(0)).sum().backward()
    torch.testing.assert_close(logits.grad, again.grad, rtol=1e-4, atol=1e-6)


# Several starts -----------------------------------------------------------------------


class BreakStart(Callback):
    """Break off a training of several, counted from 0, in its second epoch."""

    def __init__(self, number, error):
        self.number, self.error, self.n_starts = number, error, 0

    def on_train_begin(self, net, **kwargs):
        """Count."""
        self.n_starts += 1

    def on_batch_end(self, net, **kwargs):
        """Break off."""
        if (self.n_starts - 1, len(net.history)) == (self.number, 2):
            raise self.error


def diverge():
    """Return the engine's error."""
    return TrainingDivergedError("d_loss = nan", {"d_loss": float("nan")})


def test_a_start_that_diverges_is_passed_over(digits):
    """Another one is kept, with all that belongs to it."""
    X, _ = digits
    expected = make_clusterer(n_init=2).fit(X)
    gan = make_clusterer(n_init=3, callbacks=[BreakStart(2, diverge())])
    with pytest.warns(ConvergenceWarning, match="passed over"):
        gan.fit(X)
    assert gan.objective_ == expected.objective_
    assert_array_equal(gan.labels_, expected.labels_)
    assert_array_equal(gan.predict(X), expected.labels_)


def test_if_all_starts_diverge_it_is_an_error(digits):
    """That of a single one."""
    X, _ = digits
    gan = make_clusterer(callbacks=[BreakStart(0, diverge())])
    with pytest.raises(TrainingDivergedError, match="d_loss = nan"):
        gan.fit(X)
    assert gan.n_iter_ == 1
    assert gan.predict(X).shape == (200,)


def test_interrupted_it_keeps_the_best_start(digits):
    """Ctrl-C in the second start leaves the first, which had ended."""
    X, _ = digits
    expected = make_clusterer().fit(X)
    gan = make_clusterer(n_init=3, callbacks=[BreakStart(1, KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        gan.fit(X)
    assert gan.n_iter_ == 2
    assert_array_equal(gan.labels_, expected.labels_)
    assert_array_equal(gan.predict(X), expected.labels_)


def test_interrupted_at_once_it_has_no_old_labels(digits):
    """Nor the objective of another fit."""
    X, _ = digits
    gan = make_clusterer().fit(X)
    gan.set_params(callbacks=[BreakStart(0, KeyboardInterrupt())])
    with pytest.raises(KeyboardInterrupt):
        gan.fit(X[:100])
    assert not hasattr(gan, "labels_")
    assert not hasattr(gan, "objective_")


def test_objective_does_not_depend_on_the_order_of_rows():
    """Rows sorted by class are as good as others, also over several batches."""
    X, y = make_blobs(2500, centers=4, cluster_std=0.5, random_state=0)
    gan = make_clusterer(consistency_weight=0.0, max_epochs=1).fit(X)
    # The same network on the same rows in another order.
    rows = check_images(gan, X, reset=False)
    value = categorical_objective(gan, rows, lambda batch: batch)
    sorted_value = categorical_objective(gan, rows[np.argsort(y)], lambda batch: batch)
    assert_allclose(value, gan.objective_)
    assert_allclose(sorted_value, value, rtol=1e-5)
    p = gan.predict_proba(X).astype(float)
    marginal = p.mean(axis=0)
    expected = -(p * np.log(p)).sum(1).mean() + 4 * (marginal * np.log(marginal)).sum()
    assert_allclose(value, expected, rtol=1e-4)
