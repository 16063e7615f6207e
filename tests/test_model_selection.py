"""Model selection where -1 means unlabelled: splitters, scorer, searches, masks."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn
from few_irises import (
    FEW,
    FEW_NAMES,
    LABELED,
    NAMES,
    TARGETS,
    TRUTH,
    WEIGHTS,
    X,
    Y,
    accuracy,
    both_targets,
    lda,
    logistic,
    pipeline,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array, csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, get_scorer, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from sklgan.model_selection import (
    LabeledOnly,
    SemiSupervisedKFold,
    SemiSupervisedShuffleSplit,
    labeled_scorer,
    mask_labels,
)

# What this module is for --------------------------------------------------------------


def test_without_this_module_the_figure_is_wrong():
    """StratifiedKFold and accuracy praise a classifier that finds no digit."""
    digits, y = load_digits(return_X_y=True)
    digits, y = digits[:600] / 16, y[:600]
    few = mask_labels(y, 5, random_state=0)
    svm = LinearSVC(random_state=0)
    praised = cross_val_score(svm, digits, few, cv=StratifiedKFold(5)).mean()
    assert praised > 0.85
    assert (svm.fit(digits, few).predict(digits) == y).mean() < 0.05

    model = LabeledOnly(svm)
    wrong = cross_val_score(model, digits, few, scoring="accuracy", cv=5).mean()
    assert wrong < 0.15  # of a model that is right about most digits:
    hidden = few == -1
    truth = model.fit(digits, few).score(digits[hidden], y[hidden])
    assert truth > 0.75
    ours, theirs = SemiSupervisedKFold(5), StratifiedKFold(5)
    pairs = (ours, None), (ours, "accuracy"), (theirs, None), (theirs, accuracy)
    for cv, scoring in pairs:
        right = cross_val_score(model, digits, few, cv=cv, scoring=scoring).mean()
        assert right == pytest.approx(truth, abs=0.1)


# Splitters ----------------------------------------------------------------------------

SPLITTERS = {
    "folds": SemiSupervisedKFold(4),
    "shuffled folds": SemiSupervisedKFold(4, shuffle=True, random_state=0),
    "random": SemiSupervisedShuffleSplit(4, test_size=0.25, random_state=0),
}


@both_targets
@pytest.mark.parametrize("name", SPLITTERS)
def test_unlabelled_rows_are_trained_on_and_never_tested(name, kind):
    """Test sets hold labelled rows, 3 of each class; training sets all the others."""
    cv, y = SPLITTERS[name], TARGETS[kind]
    splits = list(cv.split(X, y))
    assert len(splits) == cv.get_n_splits(X, y) == 4
    for (train, test), again in zip(splits, cv.split(X, y), strict=True):
        assert_array_equal(test, again[1])
        assert LABELED[test].all()
        assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(len(X)))
        assert_array_equal(np.bincount(Y[test]), [3, 3, 3])


@pytest.mark.parametrize("seed", range(5))
def test_folds_divide_the_labelled_rows(seed):
    """Each is tested once; classes of any size are spread as evenly as they can be."""
    y = np.random.default_rng(seed).permutation(
        np.repeat([-1, 0, 1, 2], [99, 60, 31, 4])
    )
    folds = list(SemiSupervisedKFold(3, shuffle=True, random_state=seed).split(y, y))
    tested = np.concatenate([test for _, test in folds])
    assert_array_equal(np.sort(tested), np.flatnonzero(y != -1))
    counts = [np.bincount(y[test], minlength=3) for _, test in folds]
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_folds_of_labelled_rows_are_scikit_learns():
    """Where nothing is unlabelled, nothing is different."""
    ours, theirs = SemiSupervisedKFold(3).split(X, Y), StratifiedKFold(3).split(X, Y)
    for split, expected in zip(ours, theirs, strict=True):
        assert_array_equal(np.concatenate(split), np.concatenate(expected))


def test_sizes_count_labelled_rows():
    """The unlabelled rows come on top of train_size."""
    cv = SemiSupervisedShuffleSplit(2, train_size=9, test_size=6, random_state=0)
    for train, test in cv.split(X, FEW):
        assert (len(test), LABELED[train].sum()) == (6, 9)
        assert (~LABELED[train]).sum() == (~LABELED).sum()
        # In random order: learning_curve takes the first rows.
        assert 0 < LABELED[train[: len(train) // 2]].sum() < 9


# The scorer ---------------------------------------------------------------------------


@both_targets
@pytest.mark.parametrize(
    "metric", ["accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr"]
)
def test_scorer_scores_the_labelled_rows(metric, kind):
    """The figure is that of the metric on these rows, whatever it asks for."""
    y = TARGETS[kind]
    model = LabeledOnly(lda).fit(X, y)
    expected = get_scorer(metric)(model, X[LABELED], TRUTH[kind][LABELED])
    assert labeled_scorer(metric)(model, X, y) == pytest.approx(expected)
    # Fully labelled test rows need no conversion, not even strings.
    all_rows = get_scorer(metric)(model, X, TRUTH[kind])
    assert labeled_scorer(metric)(model, X, TRUTH[kind]) == pytest.approx(all_rows)


def test_scorer_takes_what_check_scoring_takes():
    """Scorers, None for the estimator's own score, several; weights are cut like X."""
    model = clone(lda).fit(X, Y)
    labeled = X[LABELED], Y[LABELED], WEIGHTS[LABELED]
    expected = pytest.approx(model.score(*labeled))
    metric = make_scorer(accuracy_score)
    for scoring in (None, "accuracy", metric, partial(metric)):
        scorer = labeled_scorer(scoring)
        assert scorer(model, X, FEW, sample_weight=WEIGHTS) == expected
    for scoring in (["accuracy", "f1_macro"], {"accuracy": "accuracy"}):
        scores = labeled_scorer(scoring)(model, X, FEW, sample_weight=WEIGHTS)
        assert scores["accuracy"] == expected
    for scoring in ("no metric", 3, accuracy_score):
        with pytest.raises(ValueError, match="scoring"):
            labeled_scorer(scoring)


@pytest.mark.parametrize("convert", [list, csr_array, coo_array, pd.DataFrame])
def test_rows_may_come_in_any_container(convert):
    """The scorer and LabeledOnly cut what scikit-learn can index."""
    expected = LabeledOnly(logistic).fit(X, FEW)
    model = LabeledOnly(logistic).fit(convert(X), pd.Series(FEW))
    assert_allclose(model.estimator_.coef_, expected.estimator_.coef_, rtol=1e-6)
    assert model.score(convert(X), FEW) == expected.score(X, FEW)
    assert accuracy(model, convert(X), FEW) == expected.score(X, FEW)


def test_rows_may_be_paths():
    """X need not be numbers; the estimator alone looks at it."""
    paths, y = ["a.png", "b.png", "c.png", "d.png"], [0, -1, -1, 1]
    letters = FunctionTransformer(lambda paths: [[ord(path[0])] for path in paths])
    model = make_pipeline(letters, LabeledOnly(KNeighborsClassifier(1))).fit(paths, y)
    assert_array_equal(model.predict(paths), [0, 0, 1, 1])
    assert model.score(paths, y) == accuracy(model, paths, y) == 1


def test_scorer_can_be_pickled_and_cloned():
    """As parallel jobs and clone(GridSearchCV(...)) need."""
    model = clone(lda).fit(X, Y)
    cloned = clone(GridSearchCV(logistic, {}, scoring=accuracy)).scoring
    for copy in (pickle.loads(pickle.dumps(accuracy)), cloned):
        assert copy(model, X, FEW) == accuracy(model, X, FEW)


# Metadata and searches ---------------------------------------------------------------


def test_metadata_is_routed_to_the_scorer():
    """The scorer asks for what the metric in it asks for."""
    with sklearn.config_context(enable_metadata_routing=True):
        model = LabeledOnly(clone(logistic).set_fit_request(sample_weight=False))
        weighted = labeled_scorer("accuracy").set_score_request(sample_weight=True)
        metric = make_scorer(accuracy_score).set_score_request(sample_weight=False)
        options = {
            "scoring": {"weighted": weighted, "plain": labeled_scorer(metric)},
            "params": {"sample_weight": WEIGHTS},
        }
        scores = cross_validate(model, X, FEW, cv=3, **options)
        assert (scores["test_weighted"] != scores["test_plain"]).any()
        with pytest.raises(TypeError, match="name of a metric"):
            labeled_scorer(None).set_score_request(sample_weight=True)


# Inside scikit-learn's own machinery --------------------------------------------------

GRID = {"labeledonly__estimator__C": [1e-4, 1.0]}
MAX_ITER = {"resource": "labeledonly__estimator__max_iter", "max_resources": 300}
SHUFFLE = {"shuffle": True, "random_state": 0}
SPLIT_40 = SemiSupervisedShuffleSplit(3, test_size=0.4, random_state=0)


@pytest.mark.parametrize(
    ("cv", "scoring", "kind"),
    [
        (SemiSupervisedKFold(3), None, "integers"),
        (SPLIT_40, accuracy, "strings"),
        (KFold(3, **SHUFFLE), None, "strings"),
        (KFold(3, **SHUFFLE), accuracy, "integers"),
    ],
)
def test_searches_curves_and_cross_validation(cv, scoring, kind):
    """Every tool that takes a splitter and a scorer takes ours, and finds the best."""
    y = TARGETS[kind]
    options = {"cv": cv, "scoring": scoring, "error_score": "raise"}
    validated = cross_validate(pipeline, X, y, return_train_score=True, **options)
    assert validated["test_score"].mean() > 0.85
    assert validated["train_score"].mean() > 0.9
    curve = partial(learning_curve, train_sizes=[0.5, 1.0], **SHUFFLE)
    _, train, test = curve(pipeline, X, y, **options)
    assert train.mean() > 0.9
    assert test[-1].mean() > 0.85
    halving = partial(HalvingGridSearchCV, random_state=0)
    by_rows, by_steps = partial(halving, min_resources=90), partial(halving, **MAX_ITER)
    for search in (GridSearchCV, by_rows, by_steps):
        found = search(pipeline, GRID, **options).fit(X, y)
        assert found.best_params_["labeledonly__estimator__C"] == 1
        assert found.score(X, y) > 0.9  # y has -1


def test_a_fold_without_labels_is_an_error_that_says_so():
    """For training and for testing; SemiSupervisedKFold is the remedy."""
    order = np.argsort(~LABELED, kind="stable")  # the labelled rows come first
    labeled, rest = order[:75], order[75:]
    for cv, scoring in ([(rest, labeled)], None), ([(labeled, rest)], accuracy):
        options = {"scoring": scoring, "error_score": "raise"}
        validate = partial(cross_validate, LabeledOnly(lda), X, FEW, **options)
        with pytest.raises(ValueError, match="without labels.*SemiSupervisedKFold"):
            validate(cv=cv)
        assert validate(cv=SemiSupervisedKFold(3))["test_score"].mean() > 0.9


# Bad input ----------------------------------------------------------------------------

WITH_NONE, WITH_NA, WITH_STRING, WITH_NUMBER = (
    np.where(Y == 2, value, NAMES.astype(object)) for value in (None, pd.NA, "-1", 3)
)
BAD_TARGETS = {
    "no label": (np.full(150, -1), "without labels: all 150 values are -1"),
    "continuous": (X[:, 0], "continuous, y holds 5.1.*whole numbers or strings"),
    "two columns": (np.c_[Y, Y], r"1d array.*\(150, 2\)"),
    "NaN": (np.where(LABELED, Y, np.nan), "contains NaN.*-1 for unlabelled"),
    "infinity": (np.where(LABELED, Y, np.inf), "contains infinity.*-1 for unlabelled"),
    "None": (WITH_NONE, "holds None.*-1 for unlabelled"),
    "NA": (WITH_NA, "holds <NA>.*-1 for unlabelled"),
    "string '-1'": (WITH_STRING, "string '-1'.*the integer -1"),
    "mixed": (WITH_NUMBER, "strings and the number 3.*all classes strings"),
    "nothing": (None, "y"),
}
CALLERS = {
    "fit": lambda y: LabeledOnly(lda).fit(X, y),
    "folds": lambda y: next(SemiSupervisedKFold().split(X, y)),
    "random": lambda y: next(SemiSupervisedShuffleSplit().split(X, y)),
    "score": lambda y: LabeledOnly(lda).fit(X, FEW).score(X, y),
    "scorer": lambda y: accuracy(LabeledOnly(lda).fit(X, FEW), X, y),
    "mask": lambda y: mask_labels(y, 2),
}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("name", BAD_TARGETS)
def test_bad_targets_are_refused(name, caller):
    """With what was found, and what to do."""
    y, message = BAD_TARGETS[name]
    with pytest.raises(ValueError, match=message):
        CALLERS[caller](y)


HEAD = {n: np.where(np.arange(len(Y)) < n, Y, -1) for n in (51, 52)}
STRINGS = "dtype string.*dtype object.*-1 for unlabelled"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CALLERS["folds"](HEAD[52]), "1 has 2. Lower n_splits"),
        (lambda: CALLERS["folds"](HEAD[51]), "1 has 1. Label more"),
        (lambda: CALLERS["random"](HEAD[51]), "1 has 1. Label more"),
        (lambda: mask_labels(FEW_NAMES, 13), "'setosa' has 12. Lower n_per_class"),
        (lambda: CALLERS["fit"](NAMES), STRINGS),
        (lambda: CALLERS["folds"](NAMES), STRINGS),
        (lambda: CALLERS["random"](NAMES), STRINGS),
        (lambda: mask_labels(Y, 0), "'n_per_class' parameter"),
        (lambda: LabeledOnly(LinearRegression()).fit(X, Y), "regressor.*Leave out"),
        (lambda: LabeledOnly(None).fit(X, Y), "'estimator' parameter"),
        (lambda: LabeledOnly(lda).fit(X, Y[:-1]), r"\[150, 149\]"),
    ],
)
def test_other_bad_input_is_refused(call, message):
    """Too few rows of a class are named with their number."""
    with pytest.raises(ValueError, match=message):
        call()


def test_sizes_that_are_too_small_say_what_they_count():
    """The default tests on a tenth of the labelled rows, here 2 of 10 classes."""
    y = np.concatenate([np.repeat(np.arange(10), 2), np.full(100, -1)])
    message = r"= 10\. Sizes count labelled rows, .* 20 in 10 .* set need 10 at least"
    with pytest.raises(ValueError, match=message):
        next(SemiSupervisedShuffleSplit().split(np.zeros(120), y))
    _, test = next(SemiSupervisedShuffleSplit(test_size=10).split(np.zeros(120), y))
    assert sorted(y[test]) == list(range(10))
