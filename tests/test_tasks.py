"""scikit-learn's own callbacks see a fit as a tree of tasks."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
    TrainingDivergedError,
)

# Came with scikit-learn 1.9; older ones are supported without it.
callback = pytest.importorskip("sklearn.callback")

SMALL = {"latent_dim": 4, "n_filters": 4, "max_epochs": 2, "random_state": 0}


class Record:
    """Note each task with its path, and stop after an epoch if told to."""

    max_propagation_depth = None

    def __init__(self, stop_after=None):
        self.stop_after, self.tasks, self.estimators = stop_after, [], []

    def setup(self, estimator, context):
        self.tasks.append("setup")

    def teardown(self, estimator, context):
        self.tasks.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        names = []
        while context is not None:
            names.append(f"{context.task_name} {context.task_id}")
            context = context.parent
        self.tasks.append(" / ".join(names[::-1]))

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        if context.task_name == "epoch":
            self.estimators.append((fitted_estimator, X, y))
            return self.stop_after == context.task_id


def test_a_fit_is_a_task_and_so_is_each_epoch(digits):
    """From setup to teardown."""
    record = Record()
    DCGANFeatureExtractor(**SMALL).set_callbacks(record).fit(digits[0])
    assert record.tasks == [
        "setup",
        "fit 0",
        "fit 0 / epoch 0",
        "fit 0 / epoch 1",
        "teardown",
    ]


def test_several_trainings_stand_between(digits):
    """One for each of n_init."""
    record = Record()
    gan = CategoricalGANClusterer(3, n_init=2, **SMALL).set_callbacks(record)
    gan.fit(digits[0])
    assert record.tasks[1:-1] == [
        "fit 0",
        "fit 0 / training 0",
        "fit 0 / training 0 / epoch 0",
        "fit 0 / training 0 / epoch 1",
        "fit 0 / training 1",
        "fit 0 / training 1 / epoch 0",
        "fit 0 / training 1 / epoch 1",
    ]


def test_search_fold_and_epoch_are_one_tree(digits):
    """Callbacks that are set on a search see the epochs of each of its fits."""
    X, y = digits
    record = Record()
    gan = SemiSupervisedGANClassifier(**SMALL)
    search = GridSearchCV(gan, {"learning_rate": [1e-3, 1e-4]}, cv=2)
    search.set_callbacks(record).fit(X, y)
    epochs = [task for task in record.tasks if "epoch" in task]
    assert epochs == [
        f"fit 0 / search 0 / fit {cell} / epoch {epoch}"
        for cell in range(4)
        for epoch in range(2)
    ] + [f"fit 0 / fit 1 / epoch {epoch}" for epoch in range(2)]


def test_a_pipeline_passes_them_on(digits):
    """The extractor's epochs are within the pipeline's step."""
    X, y = digits
    record = Record()
    pipeline = make_pipeline(DCGANFeatureExtractor(**SMALL), LogisticRegression(C=1e-4))
    pipeline.set_callbacks(record).fit(X, y)
    assert "fit 0 / fit 0 / epoch 1" in record.tasks


def test_a_callback_can_use_the_estimator_of_each_epoch(digits):
    """It predicts as if fit had stopped there; the last is the fitted one."""
    X, y = digits
    hidden = np.where(np.arange(len(y)) < 50, y, -1)
    record = Record()
    gan = SemiSupervisedGANClassifier(**SMALL).set_callbacks(record).fit(X, hidden)
    (first, rows, labels), (last, _, _) = record.estimators
    assert rows.shape == (200, 64)
    assert (labels == hidden).all()
    assert (first.n_iter_, last.n_iter_, gan.n_iter_) == (1, 2, 2)
    assert first.history_ == gan.history_[:1]
    assert first.predict(X).shape == y.shape
    assert (last.predict(X) == gan.predict(X)).mean() > 0.9
    assert first.sample(2).shape == (2, 8, 8)


def test_watching_changes_nothing(digits):
    """The weights are those of a fit without callbacks."""
    watched = DCGANFeatureExtractor(**SMALL).set_callbacks(Record()).fit(digits[0])
    alone = DCGANFeatureExtractor(**SMALL).fit(digits[0])
    assert (watched.transform(digits[0]) == alone.transform(digits[0])).all()


def test_scoring_monitor_scores_each_epoch(digits):
    """scikit-learn's own; what it scores is what the estimator would have been."""
    X, y = digits
    monitor = callback.ScoringMonitor(scoring="accuracy")
    gan = SemiSupervisedGANClassifier(**SMALL).set_callbacks(monitor).fit(X, y)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(rows) == gan.n_iter_
    assert all(0 <= row["accuracy"] <= 1 for row in rows)


def test_a_callback_can_stop_training(digits):
    """What it answers after an epoch counts; the fit then ends in peace."""
    gan = DCGANFeatureExtractor(**{**SMALL, "max_epochs": 9})
    record = Record(stop_after=2)
    gan.set_callbacks(record).fit(digits[0])
    assert gan.n_iter_ == 3
    assert record.tasks[-1] == "teardown"


@pytest.mark.parametrize("params", [{"layers": [7]}, {"learning_rate": 1e30}])
def test_teardown_is_called_when_fit_fails(params, digits):
    """A progress bar that waits for more would keep the process alive."""
    record = Record()
    gan = DCGANFeatureExtractor(**{**SMALL, **params}).set_callbacks(record)
    with pytest.raises((ValueError, TrainingDivergedError)):
        gan.fit(digits[0])
    assert record.tasks[-1] == "teardown"
    assert not hasattr(gan, "_callback_fit_ctx")


def test_progress_bar_shows_grid_fold_and_epochs(digits, capsys):
    """One bar for the search and one for each fit."""
    pytest.importorskip("rich")
    X, y = digits
    gan = SemiSupervisedGANClassifier(**SMALL)
    search = GridSearchCV(gan, {"learning_rate": [1e-3, 1e-4]}, cv=2)
    search.set_callbacks(callback.ProgressBar()).fit(X, y)
    shown = capsys.readouterr().out
    assert "GridSearchCV - search" in shown
    assert shown.count("candidate-split-evaluation") >= 4


def test_clones_share_them(digits):
    """As scikit-learn has it; fitted estimators keep nothing of the tasks."""
    record = Record()
    gan = clone(DCGANFeatureExtractor(**SMALL).set_callbacks(record)).fit(digits[0])
    assert len(record.estimators) == 2
    assert not hasattr(gan, "_callback_fit_ctx")
