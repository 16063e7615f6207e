"""partial_fit: a stream trains as epochs do, goes on from copies, keeps its labels."""

import copy
import pickle

import numpy as np
import pytest
import skops.io
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import learning_curve
from skorch.callbacks import Callback

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
    TrainingDivergedError,
)
from sklgan._streams import MOST_ROWS, remember
from sklgan._training import LabeledBatches

CHEAP = {"n_filters": 4, "batch_size": 32, "random_state": 0, "device": "cpu"}
GANS = {
    "extractor": DCGANFeatureExtractor(**CHEAP),
    "classifier": SemiSupervisedGANClassifier(**CHEAP),
    "clusterer": CategoricalGANClusterer(10, **CHEAP),
}


def learn(gan, X, y):
    """Return the estimator after a chunk; the classifier knows of ten classes."""
    if isinstance(gan, SemiSupervisedGANClassifier):
        return gan.partial_fit(X, y, classes=np.arange(10))
    return gan.partial_fit(X, y)


def chunks(digits):
    """Return four chunks of 50 digits, with 20 labels in each."""
    X, y = digits
    masked = np.where(np.arange(len(y)) % 50 < 20, y, -1)
    return list(zip(np.split(X, 4), np.split(masked, 4), strict=True))


def weights(gan):
    """Return the parameters of both networks."""
    modules = gan.generator_, gan.discriminator_
    return [p.detach() for module in modules for p in module.parameters()]


def same_weights(a, b):
    """Tell whether two estimators have bitwise the same parameters."""
    return all(torch.equal(p, q) for p, q in zip(weights(a), weights(b), strict=True))


def assert_same(a, b):
    """Check that they have the same networks, statistics included, and losses."""
    for name in ("generator_", "discriminator_"):
        first, second = getattr(a, name).state_dict(), getattr(b, name).state_dict()
        assert all(torch.equal(first[key], second[key]) for key in first)
    for one, other in zip(a.history_, b.history_, strict=True):
        assert {**one, "duration": 0} == {**other, "duration": 0}


class Break(Callback):
    """Do something at the second batch."""

    def __init__(self, action):
        self.action = action

    def on_epoch_begin(self, net, **kwargs):
        self.n_batches = 0

    def on_batch_begin(self, net, **kwargs):
        self.n_batches += 1
        if self.n_batches == 2:
            self.action(net)


def interrupt(net):
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def poison(net):
    """Let weights become NaN."""
    next(net.discriminator_.parameters()).data.fill_(float("nan"))


# All estimators -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", GANS)
def test_first_chunk_is_a_fit_of_one_epoch(kind, digits):
    """max_epochs, which it would take, does not matter."""
    X, y = digits
    fitted = clone(GANS[kind]).set_params(max_epochs=1).fit(X, y)
    streamed = learn(clone(GANS[kind]).set_params(max_epochs=0), X, y)
    assert_same(streamed, fitted)
    assert streamed.data_range_ == fitted.data_range_
    assert streamed.image_shape_ == fitted.image_shape_
    assert streamed.n_features_in_ == fitted.n_features_in_


@pytest.mark.parametrize("kind", ["extractor", "clusterer"])
def test_the_same_chunk_again_is_the_next_epoch(kind, digits):
    """Adam's moments, counters and averages go on without warm_start."""
    X, y = digits
    epochs = clone(GANS[kind]).set_params(warm_start=True, max_epochs=1)
    epochs.fit(X).fit(X)
    streamed = clone(GANS[kind]).partial_fit(X).partial_fit(X)
    assert same_weights(streamed, epochs)


@pytest.mark.parametrize("kind", GANS)
def test_history_grows_by_a_row_a_chunk(kind, digits):
    """Rows count on and hold finite numbers; attributes are those of the chunk."""
    gan = clone(GANS[kind])
    for n, (X, y) in enumerate(chunks(digits), start=1):
        assert learn(gan, X[: 10 * n], y[: 10 * n]) is gan
        assert gan.n_iter_ == len(gan.history_) == n
        for name in ("labels_", "transduction_"):
            assert len(getattr(gan, name, X[: 10 * n])) == 10 * n
    assert [row["epoch"] for row in gan.history_] == [1, 2, 3, 4]
    assert np.isfinite([list(row.values()) for row in gan.history_]).all()
    assert gan.sample(2).shape == (2, 8, 8)


@pytest.mark.parametrize("seed", [0, None], ids=["seed", "no seed"])
@pytest.mark.parametrize("kind", GANS)
def test_a_copy_goes_on_as_the_original(kind, seed, digits):
    """Through pickle and skops, to the last bit, whether or not there is a seed."""
    first, second, third, _ = chunks(digits)
    gan = learn(learn(clone(GANS[kind]).set_params(random_state=seed), *first), *second)
    data = skops.io.dumps(gan)
    trusted = [f"{type(gan).__module__}.{type(gan).__name__}"]
    assert skops.io.get_untrusted_types(data=data) == trusted
    copies = pickle.loads(pickle.dumps(gan)), skops.io.loads(data, trusted=trusted)
    learn(gan, *third)
    for again in copies:
        assert_same(learn(again, *third), gan)


@pytest.mark.parametrize("kind", GANS)
def test_random_state_decides_a_stream(kind, digits):
    """The same seed gives the same; a RandomState is drawn from once."""
    first, second = chunks(digits)[:2]
    seeds = [0, 0, 1, np.random.RandomState(0)]
    gans = [
        learn(learn(clone(GANS[kind]).set_params(random_state=seed), *first), *second)
        for seed in seeds
    ]
    assert_same(gans[0], gans[1])
    assert not same_weights(gans[0], gans[2])
    assert_same(gans[0], gans[3])


@pytest.mark.parametrize("kind", GANS)
def test_chunks_are_held_against_the_first(kind, digits):
    """Other images are refused, values out of range are a warning."""
    X, y = digits
    gan = learn(clone(GANS[kind]), X, y)
    before = copy.deepcopy(gan)
    with pytest.raises(ValueError, match=r"was fitted on images of shape \(8, 8, 1\)"):
        learn(gan, X[:, 1:], y)
    with pytest.raises(ValueError, match="X has 63 features, but .* is expecting 64"):
        learn(gan, X.reshape(len(X), -1)[:, 1:], y)
    with pytest.raises(ValueError, match="minimum of 2"):
        learn(gan, X[:1], y[:1])
    with pytest.raises(ValueError, match="n_filters was 4 and is 8.*begin anew"):
        learn(gan.set_params(n_filters=8), X, y)
    assert_same(gan, before)
    with pytest.warns(UserWarning, match=r"outside the range of the model, \[0, 16\]"):
        learn(gan.set_params(n_filters=4), 10 * X, y)
    assert gan.data_range_ == (0, 16)


@pytest.mark.parametrize(
    ("action", "error"),
    [(interrupt, KeyboardInterrupt), (poison, TrainingDivergedError)],
)
@pytest.mark.parametrize("kind", GANS)
def test_an_error_leaves_the_estimator_as_it_was(kind, action, error, digits):
    """It has been at work on copies; a stream that has not begun has not begun."""
    first, second = chunks(digits)[:2]
    callbacks = [Break(action)]
    gan = clone(GANS[kind]).set_params(batch_size=10, callbacks=callbacks)
    with pytest.raises(error):
        learn(gan, *first)
    with pytest.raises(NotFittedError):
        gan.sample()
    learn(gan.set_params(callbacks=None), *first)
    before = copy.deepcopy(gan)
    with pytest.raises(error):
        learn(gan.set_params(callbacks=callbacks), *second)
    assert vars(gan).keys() == vars(before).keys()
    assert_same(gan, before)
    gan.set_params(callbacks=None)
    assert_same(learn(gan, *second), learn(before, *second))


def test_an_error_after_the_training_of_a_chunk_undoes_it(digits):
    """New networks or not: a chunk counts whole or not at all."""

    class Unlucky(SemiSupervisedGANClassifier):
        def _logits_of_rows(self, X):
            if self.n_iter_ == 2:
                raise RuntimeError("out of luck")
            return super()._logits_of_rows(X)

    gan = Unlucky(n_filters=4, random_state=0)
    (X, y), second = chunks(digits)[:2]
    gan.partial_fit(X, y, classes=range(10))
    before = copy.deepcopy(gan)
    with pytest.raises(RuntimeError, match="out of luck"):
        gan.partial_fit(*second)
    assert vars(gan).keys() == vars(before).keys()
    assert_same(gan, before)


@pytest.mark.parametrize("kind", GANS)
def test_fit_begins_anew_and_partial_fit_goes_on(kind, digits):
    """In either order; a fit keeps neither the optimiser's state nor rows."""
    (X, y), second = chunks(digits)[:2]
    fitted = clone(GANS[kind]).set_params(max_epochs=2).fit(X, y)
    gan = learn(clone(GANS[kind]).set_params(max_epochs=2), *second)
    large = len(pickle.dumps(gan))
    gan.fit(X, y)
    assert_same(gan, fitted)
    assert len(pickle.dumps(gan)) == pytest.approx(len(pickle.dumps(fitted)), abs=100)
    assert large > 2 * len(pickle.dumps(gan))
    assert gan.partial_fit(*second).n_iter_ == 3
    assert_same(gan, fitted.partial_fit(*second))
    gan.set_params(warm_start=True, max_epochs=1).fit(X, y)
    assert gan.n_iter_ == 4


@pytest.mark.parametrize("kind", GANS)
def test_checkpoint_is_refused(kind, digits, tmp_path):
    """The estimator itself is what goes on."""
    gan = clone(GANS[kind]).set_params(checkpoint=tmp_path)
    with pytest.raises(ValueError, match="set checkpoint=None, and save the estimator"):
        learn(gan, *digits)
    assert not list(tmp_path.iterdir())


def test_flat_rows_keep_the_scale_of_the_first_chunk():
    """A stream that drifts is not standardised away."""
    X = np.random.default_rng(0).normal(5, 2, size=(40, 3))
    gan = DCGANFeatureExtractor(**CHEAP).partial_fit(X)
    gan.partial_fit(X + 100)
    assert gan.n_iter_ == 2
    with pytest.raises(ValueError, match="X has 2 features"):
        gan.partial_fit(X[:, 1:])


def test_statistics_of_small_chunks_are_averaged(digits):
    """One class alone in a chunk of 20 rows hardly moves what normalises them all."""
    X, y = digits
    gan = DCGANFeatureExtractor(network="dcgan-deep", **CHEAP)
    gan.set_params(learning_rate=1e-12).partial_fit(X)
    before, far = gan.transform(X), X[y == 0]
    gan.partial_fit(far)
    small = abs(gan.transform(X) - before).max()
    gan.partial_fit(np.repeat(far, 1000 // len(far) + 1, axis=0))
    assert small < 0.2 * abs(gan.transform(X) - before).max()


# The classifier -----------------------------------------------------------------------


def make_classifier(**params):
    """Return a classifier that is trained in a moment."""
    return SemiSupervisedGANClassifier(**(CHEAP | params))


def test_classes_are_needed_first_and_may_not_change(digits):
    """With scikit-learn's messages; -1 is no class."""
    X, y = digits
    gan = make_classifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        gan.partial_fit(X, y)
    gan.partial_fit(X, y, classes=[*range(10), -1])
    assert_array_equal(gan.classes_, np.arange(10))
    gan.partial_fit(X, y).partial_fit(X, y, classes=np.arange(10)[::-1])
    with pytest.raises(ValueError, match="is not the same as on last call to partial"):
        gan.partial_fit(X, y, classes=np.arange(11))
    with pytest.raises(ValueError, match=r"label\(s\) \[12\] in y do not exist"):
        gan.partial_fit(X, np.where(y == 3, 12, y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        gan.partial_fit(X, y[1:])
    assert gan.n_iter_ == 3


@pytest.mark.parametrize("classes", [[-1], [], None])
def test_there_has_to_be_a_class(digits, classes):
    """Neither -1 nor nothing will do."""
    X, _ = digits
    with pytest.raises(ValueError, match="class"):
        make_classifier().partial_fit(X, np.full(len(X), -1), classes=classes)


def test_classes_may_be_strings(digits):
    """Mixed with -1 where rows are unlabelled."""
    X, y = digits
    names = np.array(["even", "odd"], dtype=object)
    labels = np.where(np.arange(len(y)) < 50, names[y % 2], -1)
    gan = make_classifier().partial_fit(X, labels, classes=["odd", "even"])
    gan.partial_fit(X[100:], np.full(100, -1))
    assert gan.classes_.tolist() == ["even", "odd"]
    assert set(gan.predict(X)) <= {"even", "odd"}
    assert gan.n_labeled_ == 50


def test_labels_come_when_they_come(digits):
    """None at first, then one class, then others; all that came are counted."""
    X, y = digits
    nothing = np.full(len(y), -1)
    gan = make_classifier().partial_fit(X, nothing, classes=np.arange(10))
    assert gan.n_labeled_ == 0
    assert np.isfinite(gan.predict_proba(X)).all()
    gan.partial_fit(X, np.where(y == 3, y, -1))
    assert gan.n_labeled_ == (y == 3).sum()
    gan.partial_fit(X, np.where(y < 3, y, -1)).partial_fit(X, nothing)
    assert gan.n_labeled_ == (y <= 3).sum()
    assert np.isfinite([row["d_loss"] for row in gan.history_]).all()


def test_labels_of_the_first_chunk_are_not_forgotten(digits):
    """Chunks without labels learn from those that came before."""
    X, y = digits
    gan = make_classifier(n_filters=8, learning_rate=2e-3)
    gan.partial_fit(X[:100], y[:100], classes=np.arange(10))
    early = gan.score(X[:100], y[:100])
    for _ in range(12):
        gan.partial_fit(X[100:], np.full(100, -1))
    assert gan.score(X[:100], y[:100]) > max(0.8, early)
    assert gan.n_labeled_ == 100


def test_a_chunk_of_all_labels_in_one_class_weighs_as_it_should(digits):
    """class_weight="balanced" copes with classes that have not come yet."""
    X, y = digits
    gan = make_classifier(class_weight="balanced")
    gan.partial_fit(X, np.where(y == 0, 0, -1), classes=np.arange(10))
    gan.partial_fit(X, y)
    assert np.isfinite(gan.predict_proba(X)).all()


def test_learning_curve_with_incremental_learning(digits):
    """scikit-learn feeds chunk by chunk and scores in between."""
    X, y = digits
    sizes, train, test = learning_curve(
        make_classifier(),
        X,
        np.where(np.arange(len(y)) < 150, y, -1),
        train_sizes=[0.3, 0.6, 1.0],
        cv=2,
        exploit_incremental_learning=True,
        error_score="raise",
    )
    assert_array_equal(sizes, [30, 60, 100])
    assert train.shape == test.shape == (3, 2)
    assert np.isfinite(train).all()


# What is remembered -------------------------------------------------------------------


def test_memory_holds_all_rows_while_they_are_few():
    """In the order in which they came, and without those that have no label."""
    rows = np.arange(12.0).reshape(6, 2)
    codes = np.array([1, -1, 0, -1, -1, 1])
    memory = remember(None, rows, codes, 2, [0, 1])
    before = {name: value.copy() for name, value in memory.items()}
    both = remember(memory, rows + 100, codes, 2, [0, 2])
    assert_array_equal(both["codes"], [1, 0, 1, 1, 0, 1])
    assert_array_equal(both["rows"][:, 0], [0, 4, 10, 100, 104, 110])
    for name, value in memory.items():
        assert_array_equal(value, before[name])


def test_no_more_is_read_than_is_remembered(tmp_path):
    """Rows on disk may be more than memory holds."""
    read = []

    class Rows:
        def __getitem__(self, index):
            read.append(len(index))
            return np.zeros((len(index), 1))

    codes = np.zeros(3 * MOST_ROWS, dtype=int)
    memory = remember(None, Rows(), codes, 1, [0, 1])
    assert read == [MOST_ROWS] == [len(memory["rows"])]


def test_memory_is_bounded_and_even():
    """Each class has its share, of rows from all chunks alike."""
    memory, n_chunks = None, 5
    for chunk in range(n_chunks):
        codes = np.repeat([0, 1, -1], [MOST_ROWS, 10, 5])
        rows = np.full((len(codes), 1), chunk)
        memory = remember(memory, rows, codes, 4, [0, chunk])
    counts = np.bincount(memory["codes"])
    assert_array_equal(counts, [MOST_ROWS // 4, 10 * n_chunks])
    came = np.bincount(memory["rows"][memory["codes"] == 0, 0])
    assert abs(came / came.mean() - 1).max() < 0.2


def test_batches_of_labels_with_classes_missing():
    """Remembered rows are drawn for their labels, and left out of the pass."""

    class Dataset:
        X = torch.arange(30)[:, None]
        y = torch.tensor([-1] * 20 + [2] * 5 + [5] * 5)

    batches = LabeledBatches(Dataset, 10, 6, n_remembered=8)
    assert len(batches) == 3
    seen = []
    for rows, y in batches:
        assert_array_equal(np.bincount(y, minlength=6), [0, 0, 3, 0, 0, 3])
        assert_array_equal(Dataset.y[rows[:6, 0]], y)
        seen += rows[6:, 0].tolist()
    assert sorted(seen) == list(range(22))


def test_batches_without_any_label():
    """They hold the rows of the pass alone."""

    class Dataset:
        X, y = torch.arange(9)[:, None], torch.full((9,), -1)

    batches = list(LabeledBatches(Dataset, 5, 6))
    assert all(len(y) == 0 for _, y in batches)
    assert sorted(torch.cat([rows[:, 0] for rows, _ in batches])) == list(range(9))
