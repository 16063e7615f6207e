"""KeepBest: the best epoch by a figure on held-out images remains."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback
from test_training import make_gan, same, weights

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    KeepBest,
    SemiSupervisedGANClassifier,
    TrainingDivergedError,
)
from sklgan.metrics import kernel_distance


class Snapshots(Callback):
    """Keep the weights of each epoch."""

    def initialize(self):
        self.epochs = []
        return self

    def on_epoch_end(self, net, **kwargs):
        generator = weights(net.ema_generator_)
        self.epochs.append((weights(net.discriminator_), generator))


class Break(Callback):
    """Spoil the training at a batch of an epoch."""

    def __init__(self, epoch, error=None):
        self.epoch, self.error = epoch, error

    def on_batch_end(self, net, **kwargs):
        if net.n_epochs == self.epoch:
            if self.error is not None:
                raise self.error
            with torch.no_grad():
                next(net.discriminator_.parameters()).fill_(np.nan)


def fast_gan(**kwargs):
    """Return an estimator whose weights move a lot in each epoch."""
    return make_gan(
        **{"latent_dim": 4, "learning_rate": 0.01, "max_epochs": 4, **kwargs}
    )


def figures(gan, name):
    """Return the column of the history."""
    return [row[name] for row in gan.history_]


@pytest.mark.parametrize("labels", [False, True])
def test_the_best_epoch_remains(digits, labels):
    """Its weights, of both networks; the column says which epoch that was."""
    X, y = digits
    best = KeepBest(X[100:], y[100:] if labels else None)
    snapshots = Snapshots()
    gan = fast_gan(callbacks=[best, snapshots]).fit(X[:100])
    name, choose = ("probe_accuracy", max) if labels else ("kernel_distance", min)
    column = figures(gan, name)
    assert len(column) == gan.n_iter_ == 4
    assert best.best_score_ == choose(column)
    assert best.best_epoch_ == 1 + column.index(choose(column))
    discriminator, generator = snapshots.epochs[best.best_epoch_ - 1]
    assert same(weights(gan.discriminator_), discriminator)
    assert same(weights(gan.generator_), generator)


def test_watching_changes_nothing(digits):
    """The weights are those of a fit with so many epochs and without the callback."""
    X = digits[0]
    best = KeepBest(X[100:])
    watched = fast_gan(callbacks=[best]).fit(X[:100])
    alone = fast_gan(max_epochs=best.best_epoch_).fit(X[:100])
    for name in ("generator_", "discriminator_"):
        first = getattr(watched, name).state_dict()
        second = getattr(alone, name).state_dict()
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_the_figure_is_that_of_the_fitted_networks(digits):
    """With features of the user's own, it can be computed again from outside."""
    X = digits[0]
    space = fast_gan(max_epochs=1, random_state=5).fit(X)
    best = KeepBest(X[100:], features=space, n_samples=40)
    gan = fast_gan(callbacks=[best]).fit(X[:100])
    Z = np.random.RandomState(0).standard_normal((40, 4)).astype(np.float32)
    features = space.transform(X[100:]), space.transform(gan.generate(Z))
    distance, _ = kernel_distance(*features)
    # The statistics of batch normalisation are drawn anew.
    assert best.best_score_ == pytest.approx(distance, rel=0.1)


def test_patience_ends_training(digits):
    """After so many evaluations without a better figure; all callbacks see the last."""
    X = digits[0]
    best, snapshots = KeepBest(X[100:], patience=2), Snapshots()
    gan = fast_gan(max_epochs=60, callbacks=[best, snapshots]).fit(X[:100])
    assert gan.n_iter_ == best.best_epoch_ + 2 < 60
    assert len(snapshots.epochs) == gan.n_iter_


def test_evaluations_may_be_rare(digits):
    """Each second epoch and the last have a figure."""
    X = digits[0]
    gan = fast_gan(max_epochs=7, callbacks=[KeepBest(X[100:], every=2)]).fit(X[:100])
    found = ["kernel_distance" in row for row in gan.history_]
    assert found == [False, True, False, True, False, True, True]


@pytest.mark.parametrize(
    "estimator",
    [
        SemiSupervisedGANClassifier(n_filters=4, max_epochs=2),
        CategoricalGANClusterer(10, n_filters=4, max_epochs=2, n_init=2),
    ],
    ids=["classifier", "clusterer"],
)
def test_other_estimators(estimator, digits):
    """Averages of the discriminator, several trainings: the best of each remains."""
    X, y = digits
    best = KeepBest(X[100:], y[100:])
    gan = clone(estimator).set_params(callbacks=[best], random_state=0)
    gan.fit(X[:100], y[:100])
    assert max(figures(gan, "probe_accuracy")) <= 1
    assert best.best_score_ is not None


@pytest.mark.parametrize("form", ["grey", "flattened", "uint8", "flat"])
def test_held_out_images_in_every_form(form, digits):
    """As fit takes them, flat data included."""
    X = digits[0]
    shape = {"flattened": (8, 8)}.get(form)
    if form in ("flattened", "flat"):
        X = X.reshape(-1, 64)
    if form == "uint8":
        X = (15 * X).astype(np.uint8)[..., None]
    best = KeepBest(X[100:])
    fast_gan(max_epochs=1, image_shape=shape, callbacks=[best]).fit(X[:100])
    assert best.best_score_ > 0


def test_searches_clone_it(digits):
    """Each cell has a copy of its own; so has the refitted estimator."""
    X, y = digits
    gan = SemiSupervisedGANClassifier(
        n_filters=4,
        max_epochs=2,
        random_state=0,
        callbacks=[KeepBest(X[150:], y[150:])],
    )
    search = GridSearchCV(gan, {"learning_rate": [1e-3, 1e-4]}, cv=2).fit(
        X[:150], y[:150]
    )
    refitted = search.best_estimator_.callbacks[0]
    assert refitted is not gan.callbacks[0]
    column = figures(search.best_estimator_, "probe_accuracy")
    assert refitted.best_score_ == max(column)


def test_a_fitted_one_is_cloned(digits):
    """As a fitted estimator that holds it is, also in a pipeline."""
    X, y = digits
    gan = fast_gan(max_epochs=1, callbacks=[KeepBest(X[150:], every=2)]).fit(X[:100])
    copied = clone(gan).callbacks[0]
    assert copied.every == 2
    assert copied.X is not gan.callbacks[0].X
    assert not hasattr(copied, "best_score_")
    pipeline = make_pipeline(gan, RidgeClassifier()).fit(X[:100], y[:100])
    scores = cross_val_score(pipeline, X[:100], y[:100], cv=2, error_score="raise")
    assert np.isfinite(scores).all()


def test_features_stay_fitted_in_clones(digits):
    """A clone's figures are those of the first, and a search has some."""
    X = digits[0]
    space = fast_gan(max_epochs=1, random_state=5).fit(X)
    gan = fast_gan(max_epochs=2, callbacks=[KeepBest(X[100:], features=space)])
    column = figures(clone(gan).fit(X[:100]), "kernel_distance")
    assert column == figures(gan.fit(X[:100]), "kernel_distance")
    assert clone(gan).callbacks[0].features is space
    search = GridSearchCV(
        gan, {"learning_rate": [1e-3]}, cv=2, scoring=lambda *_: 0, error_score="raise"
    )
    refitted = search.fit(X[:100]).best_estimator_.callbacks[0]
    assert refitted.best_score_ > 0


def test_nothing_is_judged_before_the_generator_trains(digits):
    """The clusterer's warm-up has no samples to compare; with y it has features."""
    X, y = digits
    gan = CategoricalGANClusterer(10, n_filters=4, max_epochs=4, random_state=0)
    assert gan.warmup == 0.5
    best = KeepBest(X[100:])
    gan.set_params(callbacks=[best]).fit(X[:100])
    found = ["kernel_distance" in row for row in gan.history_]
    assert found == [False, False, True, True]
    assert best.best_epoch_ > 2
    gan.set_params(callbacks=[KeepBest(X[100:], y[100:])]).fit(X[:100])
    assert len(figures(gan, "probe_accuracy")) == 4


def test_a_generator_that_never_trains_needs_y(digits):
    """There would be nothing to compare."""
    X, y = digits
    gan = CategoricalGANClusterer(
        10, n_filters=4, max_epochs=1, adversarial_weight=0, random_state=0
    )
    with pytest.raises(ValueError, match="without y .* give y"):
        gan.set_params(callbacks=[KeepBest(X[100:])]).fit(X[:100])
    best = KeepBest(X[100:], y[100:])
    gan.set_params(callbacks=[best]).fit(X[:100])
    assert best.best_epoch_ == 1


def test_each_chunk_is_a_training_of_its_own(digits):
    """partial_fit: a figure a chunk, and weights as without."""
    X = digits[0]
    best = KeepBest(X[150:], every=3, patience=1)
    watched, alone = fast_gan(callbacks=[best]), fast_gan()
    for chunk in (X[:50], X[50:100], X[100:150]):
        watched.partial_fit(chunk)
        alone.partial_fit(chunk)
        assert best.best_epoch_ == 1
        assert best.best_score_ == watched.history_[-1]["kernel_distance"]
    assert same(weights(watched.discriminator_), weights(alone.discriminator_))
    assert len(figures(watched, "kernel_distance")) == 3


def test_it_holds_no_networks_afterwards(digits):
    """So that a pickle of the estimator is not twice as large, nor a GPU occupied."""
    X = digits[0]
    gan = fast_gan(max_epochs=2, callbacks=[("best", KeepBest(X[190:]))]).fit(X[:100])
    copied = pickle.loads(pickle.dumps(gan))
    assert copied.callbacks[0][1].best_epoch_ == gan.callbacks[0][1].best_epoch_
    held = vars(gan.callbacks[0][1]).values()
    assert not any(isinstance(value, torch.nn.Module | dict) for value in held)
    copy.deepcopy(gan)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()], ids=["nan", "ctrl-c"])
def test_a_fit_that_goes_wrong_ends_with_the_best(error, digits):
    """Divergence and Ctrl-C keep the weights of the best epoch, and say so."""
    X = digits[0]
    best, snapshots = KeepBest(X[100:]), Snapshots()
    gan = fast_gan(max_epochs=9, callbacks=[best, snapshots, Break(4, error)])
    kind = TrainingDivergedError if error is None else KeyboardInterrupt
    with pytest.raises(kind) as caught:
        gan.fit(X[:100])
    assert gan.n_iter_ == 3
    discriminator, _ = snapshots.epochs[best.best_epoch_ - 1]
    assert same(weights(gan.discriminator_), discriminator)
    if error is None:
        assert f"The weights of epoch {best.best_epoch_} have been" in str(caught.value)


# Checkpoints ------------------------------------------------------------------------


def checkpointed(folder, **kwargs):
    """Return an estimator that writes after each epoch."""
    options = {"checkpoint": folder, "checkpoint_interval": 0, "max_epochs": 4}
    return fast_gan(**(options | kwargs))


@pytest.mark.parametrize("epoch", [2, 4])
def test_a_resumed_fit_knows_the_best_epoch(epoch, digits, tmp_path):
    """Figures, patience and weights are as if nothing had been."""
    X = digits[0]
    whole = checkpointed(tmp_path / "a", callbacks=[KeepBest(X[100:])]).fit(X[:100])
    stop = Break(epoch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        checkpointed(tmp_path / "b", callbacks=[KeepBest(X[100:]), stop]).fit(X[:100])
    best = KeepBest(X[100:])
    resumed = checkpointed(tmp_path / "b", callbacks=[best]).fit(X[:100])
    column = figures(resumed, "kernel_distance")
    assert column == figures(whole, "kernel_distance")
    assert best.best_epoch_ == whole.callbacks[0].best_epoch_
    assert same(weights(resumed.discriminator_), weights(whole.discriminator_))
    # A training that had ended is not run again, and has the best weights too.
    again = checkpointed(tmp_path / "b", callbacks=[KeepBest(X[100:])]).fit(X[:100])
    assert same(weights(again.discriminator_), weights(whole.discriminator_))


@pytest.mark.parametrize("labels", [False, True])
def test_other_held_out_images_begin_anew(labels, digits, tmp_path):
    """With the epoch resumed from: figures before it could not be compared."""
    X, y = digits
    snapshots = Snapshots()
    checkpointed(tmp_path, max_epochs=3, callbacks=[KeepBest(X[100:]), snapshots]).fit(
        X[:100]
    )
    other = KeepBest(X[150:], y[150:] if labels else None)
    ended = checkpointed(tmp_path, max_epochs=3, callbacks=[other]).fit(X[:100])
    name, choose = ("probe_accuracy", max) if labels else ("kernel_distance", min)
    assert other.best_epoch_ == 3
    assert other.best_score_ == ended.history_[-1][name]
    assert same(weights(ended.discriminator_), snapshots.epochs[2][0])
    gan = checkpointed(tmp_path, max_epochs=5, callbacks=[other]).fit(X[:100])
    column = [row[name] for row in gan.history_[2:]]
    assert column[0] == ended.history_[-1][name]
    assert other.best_score_ == choose(column)
    assert other.best_epoch_ == 3 + column.index(choose(column))


def test_a_resumed_fit_keeps_its_rhythm(digits, tmp_path):
    """Broken off before the first evaluation, it does not evaluate any earlier."""
    X = digits[0]
    stop = Break(2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        checkpointed(tmp_path, callbacks=[KeepBest(X[100:], every=3), stop]).fit(
            X[:100]
        )
    gan = checkpointed(tmp_path, callbacks=[KeepBest(X[100:], every=3)]).fit(X[:100])
    found = ["kernel_distance" in row for row in gan.history_]
    assert found == [False, False, True, True]


def test_a_diverged_fit_is_resumed(digits, tmp_path):
    """NaN amid an epoch: the checkpoint has the last whole one, its figures too."""
    X = digits[0]
    whole = checkpointed(None, callbacks=[KeepBest(X[100:])]).fit(X[:100])
    gan = checkpointed(tmp_path, callbacks=[KeepBest(X[100:]), Break(3)])
    with pytest.raises(TrainingDivergedError, match="epoch 3"):
        gan.fit(X[:100])
    assert gan.n_iter_ == len(gan.history_) == 2
    resumed = checkpointed(tmp_path, callbacks=[KeepBest(X[100:])]).fit(X[:100])
    assert figures(resumed, "d_loss") == figures(whole, "d_loss")
    assert same(weights(resumed.generator_), weights(whole.generator_))


# Bad input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"every": 0}, "every=0"),
        ({"patience": 0.5}, "patience=0.5 of KeepBest should be an int of at least 1"),
        ({"n_samples": 1}, "n_samples=1"),
        ({"y": np.arange(3)}, r"100 rows, but its y is of shape \(3,\)"),
        ({"y": np.full(100, -1)}, "two classes or more"),
        ({"y": np.arange(100)}, "2 rows or more each"),
        (
            {"y": np.arange(100) % 2, "features": DCGANFeatureExtractor()},
            "features or y",
        ),
        ({"X": np.zeros((100, 9, 9))}, "X of KeepBest: X holds images of shape"),
        ({"X": np.full((100, 8, 8), np.nan)}, "X of KeepBest: Input X contains NaN"),
        ({"X": np.zeros((1, 8, 8))}, "X of KeepBest has 1 row, but needs 2"),
        ({"X": []}, "X of KeepBest: X is empty"),
    ],
)
def test_parameters_are_checked_before_anything_changes(params, message, digits):
    """A fitted estimator stays as it was."""
    X = digits[0]
    gan = fast_gan(max_epochs=1).fit(X)
    before = weights(gan.discriminator_)
    gan.set_params(callbacks=[KeepBest(**{"X": X[100:], **params})])
    with pytest.raises(ValueError, match=message):
        gan.fit(X)
    assert same(weights(gan.discriminator_), before)


def test_rows_without_a_class_are_left_out(digits):
    """-1 means unlabelled here too."""
    X, y = digits
    hidden = np.where(np.arange(100) < 60, y[100:], -1)
    best = KeepBest(X[100:], hidden), KeepBest(X[100:160], y[100:160])
    for callback in best:
        fast_gan(max_epochs=2, callbacks=[callback]).fit(X[:100])
    assert best[0].best_score_ == best[1].best_score_
