"""SemiSupervisedGANClassifier: few labels, of any kind, and nothing else leaks in."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import make_circles
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch.nn.functional import cross_entropy

from sklgan import SemiSupervisedGANClassifier
from sklgan._class_losses import d_semi_supervised, g_semi_supervised
from sklgan._training import LabeledBatches
from sklgan.losses import d_nonsaturating, realness
from sklgan.model_selection import SemiSupervisedKFold
from sklgan.networks._cnn import CNNDiscriminator

CHEAP = {"n_filters": 4, "max_epochs": 2, "random_state": 0, "device": "cpu"}


def make_classifier(**parameters):
    """Return a classifier that is trained in a moment."""
    return SemiSupervisedGANClassifier(**(CHEAP | parameters))


@pytest.fixture
def few(digits):
    """Return 200 digits with 40 labels, and the true labels."""
    X, y = digits
    masked = y.copy()
    masked[40:] = -1
    return X, masked, y


def test_fitted_attributes(few):
    """What was given stays, what was not is predicted."""
    X, masked, _ = few
    gan = make_classifier().fit(X, masked)
    assert_array_equal(gan.classes_, np.arange(10))
    assert gan.n_labeled_ == 40
    assert_array_equal(gan.transduction_[:40], masked[:40])
    assert_array_equal(gan.transduction_[40:], gan.predict(X[40:]))
    assert gan.transduction_.dtype == masked.dtype
    assert gan.sample(3).shape == (3, 8, 8)


def test_outputs_agree(few):
    """predict, predict_proba, decision_function and score_samples say the same."""
    X, masked, _ = few
    gan = make_classifier().fit(X, masked)
    proba, logits = gan.predict_proba(X), gan.decision_function(X)
    assert proba.dtype == logits.dtype == np.float32
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    assert_array_equal(gan.classes_[proba.argmax(axis=1)], gan.predict(X))
    log_proba = gan.predict_log_proba(X)
    assert log_proba.dtype == np.float32
    assert_allclose(log_proba, np.log(proba), rtol=1e-4, atol=1e-6)
    assert_array_equal(logits.argmax(axis=1), proba.argmax(axis=1))
    expected = np.log(np.exp(logits.astype(float)).sum(axis=1))
    assert_allclose(gan.score_samples(X), expected, rtol=1e-4, atol=1e-5)


def test_log_probabilities_of_what_is_all_but_impossible_are_finite(few):
    """Where the probability itself is 0 in float32."""
    X, masked, _ = few
    gan = make_classifier(max_epochs=1).fit(X, masked)
    with torch.no_grad():
        gan.discriminator_.head.weight *= 1e4
    assert (gan.predict_proba(X) == 0).any()
    assert np.isfinite(gan.predict_log_proba(X)).all()


def test_two_classes_have_one_column_of_scores(few):
    """As for any classifier of scikit-learn: positive means classes_[1]."""
    X, masked, y = few
    masked = np.where(masked == -1, -1, y % 2)
    gan = make_classifier().fit(X, masked)
    scores = gan.decision_function(X)
    assert scores.shape == (len(X),)
    assert_array_equal(gan.predict(X), (scores > 0).astype(int))
    assert_allclose(1 / (1 + np.exp(-scores)), gan.predict_proba(X)[:, 1], rtol=1e-4)


@pytest.mark.parametrize("kind", ["strings", "shifted", "floats", "booleans"])
def test_labels_of_any_kind(few, kind):
    """Only their order counts: the same fit, in the words of the user."""
    X, masked, _ = few
    unlabeled = masked == -1
    names = {
        "strings": np.array([f"digit {digit}" for digit in range(10)], dtype=object),
        "shifted": np.arange(10) + 5,
        "floats": np.arange(10.0),
        "booleans": np.arange(10) >= 5,
    }[kind]
    y = names[masked]
    if kind == "booleans":
        y = y.astype(int)
        names = np.array([0, 1])
    y[unlabeled] = -1
    gan = make_classifier().fit(X, y)
    assert_array_equal(gan.classes_, names)
    assert set(gan.predict(X)) <= set(names)
    if kind != "booleans":
        expected = make_classifier().fit(X, masked)
        assert_array_equal(gan.predict_proba(X), expected.predict_proba(X))


def test_all_rows_labelled(digits):
    """Then it is an ordinary classifier."""
    X, y = digits
    gan = make_classifier(max_epochs=15, n_filters=8).fit(X, y)
    assert gan.n_labeled_ == len(X)
    assert_array_equal(gan.transduction_, y)
    assert gan.score(X, y) > 0.9


def test_one_labelled_row_in_a_class(few):
    """It is drawn again and again; no class is forgotten."""
    X, _, y = few
    first = np.array([np.flatnonzero(y == digit)[0] for digit in range(10)])
    masked = np.full(len(y), -1)
    masked[first] = y[first]
    gan = make_classifier().fit(X, masked)
    assert len(gan.classes_) == gan.n_labeled_ == 10


def test_a_label_that_is_told_changes_the_fit(few):
    """And nothing else does: two fits to the same y are equal to the last bit."""
    X, masked, y = few
    fits = [make_classifier().fit(X, masked).predict_proba(X) for _ in range(2)]
    assert_array_equal(*fits)
    told = masked.copy()
    told[40] = y[40]
    assert not np.array_equal(make_classifier().fit(X, told).predict_proba(X), fits[0])


def test_no_batch_shows_a_label_of_an_unlabelled_row(few):
    """What the discriminator's loss is given are the labelled rows' classes alone."""
    X, masked, _ = few
    rows = torch.arange(len(X))[:, None]

    class Dataset:
        X, y = rows, torch.tensor(masked)

    torch.manual_seed(0)
    batches = LabeledBatches(Dataset, 16, 20)
    seen = []
    for batch, y in batches:
        assert_array_equal(masked[batch[: len(y), 0]], y)
        assert_array_equal(np.bincount(y, minlength=10), np.full(10, 2))
        seen.append(batch[len(y) :, 0])
    assert_array_equal(np.sort(np.concatenate(seen)), np.arange(len(X)))


def test_unlabelled_rows_are_learned_from():
    """Two rings, four labels on each: the other points tell where the rings lie."""
    X, y = make_circles(400, noise=0.05, factor=0.4, random_state=0)
    masked = np.full(len(y), -1)
    for ring in (0, 1):
        masked[np.flatnonzero(y == ring)[:4]] = ring
    gan = SemiSupervisedGANClassifier(random_state=0, device="cpu").fit(X, masked)
    assert gan.score(X, y) > 0.9


def test_class_weight_moves_the_border(few):
    """A class that weighs more is predicted more often."""
    X, masked, y = few
    masked = np.where(masked == -1, -1, y % 2)
    shares = [
        make_classifier(class_weight=weight, max_epochs=4).fit(X, masked).predict(X)
        for weight in ({0: 20.0, 1: 0.05}, {0: 0.05, 1: 20.0})
    ]
    assert shares[0].mean() < 0.3 < 0.7 < shares[1].mean()


def test_labels_are_looked_at_before_images(tmp_path):
    """To decode many files takes minutes; these are not even there."""
    paths = [tmp_path / f"{k}.png" for k in range(5)]
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make_classifier().fit(paths, [0, 1, 0, 1])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make_classifier().partial_fit(paths, [0, 1, 0, 1], classes=[0, 1])
    with pytest.raises(ValueError, match="class_weight gives class 1 the factor 0"):
        make_classifier(class_weight={1: 0}).fit(paths, [0, 1, 0, 1, 0])
    with pytest.raises(ValueError, match="SemiSupervisedGANClassifier .* an empty y"):
        make_classifier().fit(np.zeros((0, 8, 8)), [])


def test_without_the_generator_it_has_no_part(few):
    """adversarial_weight=0: what the generator draws does not matter."""
    X, masked, _ = few
    # The MLP has no dropout, so that both losses draw the same random numbers.
    common = {"network": "mlp", "adversarial_weight": 0.0}
    first, second = (
        make_classifier(loss=loss, **common).fit(X, masked).predict_proba(X)
        for loss in ("feature_matching", "nonsaturating")
    )
    assert_array_equal(first, second)
    third = make_classifier(network="mlp").fit(X, masked).predict_proba(X)
    assert not np.array_equal(first, third)


def test_grid_search_with_unlabelled_rows(few):
    """Folds of labelled rows, all others in training."""
    X, masked, _ = few
    masked[:40] %= 2
    grid = GridSearchCV(
        make_classifier(max_epochs=1),
        {"consistency_weight": [0.0, 1.0]},
        cv=SemiSupervisedKFold(2),
        error_score="raise",
    ).fit(X, masked)
    assert 0 <= grid.best_score_ <= 1
    assert grid.best_estimator_.n_labeled_ == 40


@pytest.mark.parametrize(
    ("y", "match"),
    [
        (np.full(200, -1), "CategoricalGANClusterer"),
        (np.arange(199) % 10, "inconsistent numbers of samples"),
        (np.where(np.arange(200) < 5, np.nan, 1.0), "NaN"),
        (np.linspace(0, 1, 200), "continuous"),
        (np.zeros((200, 2)), "1d array|shape"),
        (np.array(["a", "b"] * 100), "dtype string"),
        (None, "requires y"),
    ],
)
def test_bad_labels_are_refused_and_leave_the_last_fit(few, y, match):
    """The message says what was found; the estimator can still be used."""
    X, masked, _ = few
    gan = make_classifier().fit(X, masked)
    before = gan.predict_proba(X)
    with pytest.raises(ValueError, match=match):
        gan.fit(X, y)
    assert_array_equal(gan.predict_proba(X), before)


def test_minus_one_as_a_class_is_warned_of(few):
    """Of 1 and -1, as scikit-learn's binary classifiers take them, one is no class."""
    X, _, y = few
    y = np.where(y % 2, 1, -1)
    gan = SemiSupervisedGANClassifier(n_filters=4, max_epochs=1, random_state=0)
    with pytest.warns(UserWarning, match="y holds one class, 1, and -1.*another numb"):
        gan.fit(X, y)
    with pytest.warns(UserWarning, match="classes holds one class, 1, and -1"):
        clone(gan).partial_fit(X, y, classes=[-1, 1])


def test_other_classes_are_no_continuation(few):
    """warm_start goes on with the same classes only."""
    X, masked, _ = few
    gan = make_classifier(warm_start=True).fit(X, masked)
    assert gan.fit(X, masked).n_iter_ == 4
    with pytest.raises(ValueError, match=r"classes \[0, 1.*but y holds .* 7, 8\]; set"):
        gan.fit(X, np.where(masked == 9, -1, masked))
    before = gan.predict(X)
    with pytest.raises(ValueError, match=r"classes \[0, 1.*but y holds \[5, 6"):
        gan.fit(X, np.where(masked == -1, -1, masked + 5))
    assert_array_equal(gan.predict(X), before)


def test_interrupted_it_predicts_with_its_new_classes(few):
    """Ctrl-C in the second epoch: the networks and the classes of this fit."""
    X, masked, _ = few
    names = np.array(["cat", "dog", -1], dtype=object)
    gan = make_classifier(max_epochs=1).fit(X, masked)
    gan.set_params(max_epochs=3, callbacks=[InterruptSecondEpoch()])
    with pytest.raises(KeyboardInterrupt):
        gan.fit(X, names[np.where(masked == -1, 2, masked % 2)])
    assert gan.n_iter_ == 1
    assert gan.classes_.tolist() == ["cat", "dog"]
    assert set(gan.predict(X)) <= {"cat", "dog"}
    assert not hasattr(gan, "transduction_")


def test_score_passes_unlabelled_rows_by(few):
    """With weights as well, and for strings of any dtype."""
    X, masked, y = few
    gan = make_classifier().fit(X, masked)
    labeled = masked >= 0
    expected = gan.score(X[labeled], y[labeled])
    assert gan.score(X, masked) == expected == np.mean(gan.predict(X)[:40] == y[:40])
    weights = np.random.default_rng(0).random(len(X))
    weighted = gan.score(X, masked, sample_weight=weights)
    assert weighted == gan.score(X[labeled], y[labeled], sample_weight=weights[labeled])
    with pytest.raises(ValueError, match="without labels"):
        gan.score(X, np.full(len(X), -1))
    names = np.where(labeled, masked.astype(str).astype(object), -1)
    strings = make_classifier(max_epochs=1).fit(X, names)
    assert strings.score(X, y.astype(str)) == np.mean(
        strings.predict(X) == y.astype(str)
    )


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf])
def test_bad_class_weight_is_named(few, factor):
    """Before training, and not as a divergence."""
    X, masked, _ = few
    with pytest.raises(ValueError, match="class_weight gives class 3 the factor"):
        make_classifier(class_weight={3: factor}).fit(X, masked)


class InterruptSecondEpoch(Callback):
    """Press Ctrl-C."""

    def on_batch_end(self, net, **kwargs):
        """In the second epoch."""
        if len(net.history) == 2:
            raise KeyboardInterrupt


# The mathematics ----------------------------------------------------------------------


class Columns(torch.nn.Module):
    """A discriminator whose K logits are the first K values of a row."""

    def forward(self, x):
        """Return the rows as features and as logits."""
        return [1 * x], 1 * x


def test_loss_is_the_sum_of_its_parts():
    """Against the formula of the notes, worked out with torch's own functions."""
    torch.manual_seed(0)
    real, fake = torch.randn(7, 3), torch.randn(4, 3)
    y, weight = torch.tensor([0, 2, 1]), torch.tensor([1.0, 2.0, 3.0])
    prior = torch.tensor([0.5, 0.25, 0.25])
    unlabeled = real[3:]
    targets = (-unlabeled).softmax(1)
    value = d_semi_supervised(
        Columns(),
        real,
        fake,
        y,
        averaged=lambda x: ([x], -x),
        loss="nonsaturating",
        class_weight=weight,
        adversarial_weight=0.5,
        consistency_weight=2.0,
        entropy_weight=0.25,
        balance_weight=3.0,
        rotation_weight=0.0,
        prior=prior,
        remembered=None,
        strong_augment=lambda x: 10 * x,
    )
    p = unlabeled.softmax(1)
    mean = p.mean(0)
    expected = (
        (weight[y] * cross_entropy(real[:3], y, reduction="none")).mean()
        + 0.5 * d_nonsaturating(realness(unlabeled), realness(fake))
        + 2.0 * cross_entropy(10 * unlabeled, targets)
        + 2.0 * (weight[y] * cross_entropy(10 * real[:3], y, reduction="none")).mean()
        - 0.25 * (p * p.log()).sum(1).mean()
        + 3.0 * (mean * (mean / prior).log()).sum()
    )
    torch.testing.assert_close(value, expected)


def test_feature_matching_compares_means():
    """Same mean features, no loss; the gradient reaches the fakes alone."""
    real = torch.tensor([[0.0, 2.0], [2.0, 0.0]], requires_grad=True)
    fake = torch.tensor([[1.0, 3.0], [1.0, 3.0]], requires_grad=True)
    value = g_semi_supervised(
        Columns(), real, fake, loss="feature_matching", n_classes=2
    )
    value.backward()
    assert value.item() == pytest.approx((0 + 2) / 2)
    assert real.grad is None
    assert fake.grad.abs().sum() > 0


def test_feature_matching_sees_what_normalisation_takes_away():
    """Batches normalised apart would look alike, of whatever contrast they are."""
    torch.manual_seed(0)
    network = CNNDiscriminator((1, 8, 8), n_outputs=3, n_filters=8)
    real, other = torch.randn(2, 64, 1, 8, 8)
    with torch.no_grad():
        values = [
            g_semi_supervised(
                network, real, fake, loss="feature_matching", n_classes=3
            ).item()
            for fake in (other, 0.01 * other, other + 3)
        ]
    assert values[1] > 3 * values[0]
    assert values[2] > 3 * values[0]
