"""TorchLinearSVC: LinearSVC's objective, and what a user may throw at it.

Nearly all of it must hold for both solvers, that of few columns and that of many.
"""

import copy
import pickle

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale
from sklearn.svm import LinearSVC
from skops import io as skops_io

from sklgan import TorchLinearSVC

LOADERS = {
    "iris": load_iris,
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
}


# Each solver is to take X of any width.
SOLVERS = {"few columns": 10**6, "many columns": 0}


@pytest.fixture(params=SOLVERS)
def solver(request, monkeypatch):
    """Solve by one of the solvers, whatever the number of columns."""
    monkeypatch.setattr("sklgan._newton._minimize._NARROW", SOLVERS[request.param])
    return request.param


both_solvers = pytest.mark.usefixtures("solver")


def load(name):
    """Return scaled X, float64, and y of one of scikit-learn's data sets."""
    X, y = LOADERS[name](return_X_y=True)
    return scale(X), y


def objective(svm, X, y, C=1.0, weight=1.0, intercept_scaling=1.0):
    """Return the objective of all classes, added up in float64."""
    total = 0.0
    for k, (coef, intercept) in enumerate(zip(svm.coef_, svm.intercept_, strict=True)):
        positive = svm.classes_[1] if len(svm.coef_) == 1 else svm.classes_[k]
        signs = np.where(y == positive, 1, -1)
        coef = coef.astype(float)
        slack = np.maximum(0, 1 - signs * (X.astype(float) @ coef + intercept))
        total += 0.5 * (coef @ coef + (intercept / intercept_scaling) ** 2)
        total += C * np.sum(weight * slack**2)
    return total


def reference(X, y, sample_weight=None, **parameters):
    """Return a converged LinearSVC."""
    svm = LinearSVC(tol=1e-8, max_iter=1_000_000, random_state=0, **parameters)
    return svm.fit(X, y, sample_weight=sample_weight)


@both_solvers
@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("C", [1e-3, 0.1, 1.0])
def test_objective_is_that_of_linear_svc(name, C):
    """Binary or not, the minimum is the same to 1e-5."""
    X, y = load(name)
    ours = TorchLinearSVC(C=C, tol=1e-6).fit(X.astype(np.float32), y)
    theirs = reference(X, y, C=C)
    assert_allclose(objective(ours, X, y, C), objective(theirs, X, y, C), rtol=1e-5)
    agree = ours.predict(X.astype(np.float32)) == theirs.predict(X)
    assert agree.mean() > 0.99


@both_solvers
@pytest.mark.parametrize(
    "parameters",
    [
        {"intercept_scaling": 10.0},
        {"fit_intercept": False},
        {"class_weight": "balanced"},
        {"class_weight": {0: 5.0, 1: 0.2}},
    ],
)
@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_parameters_mean_what_they_mean_in_linear_svc(name, parameters):
    """Intercept and class weights enter the objective as liblinear has them."""
    X, y = load(name)
    ours = TorchLinearSVC(C=0.1, tol=1e-8, **parameters).fit(X, y)
    theirs = reference(X, y, C=0.1, **parameters)
    assert_allclose(ours.coef_, theirs.coef_, atol=2e-3)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-3)


@both_solvers
def test_sample_weight_multiplies_the_loss():
    """Rows count as often as their weight says."""
    X, y = load("iris")
    weight = np.random.default_rng(0).uniform(0, 3, len(X))
    ours = TorchLinearSVC(C=0.1, tol=1e-8).fit(X, y, sample_weight=weight)
    theirs = reference(X, y, sample_weight=weight, C=0.1)
    assert_allclose(ours.coef_, theirs.coef_, atol=2e-3)


@both_solvers
@pytest.mark.parametrize("name", ["iris", "digits"])
def test_weight_zero_is_as_good_as_removal(name):
    """Cross-validation may hide rows behind weights instead of copying the others."""
    X, y = load(name)
    kept = np.random.default_rng(0).random(len(X)) < 0.6
    hidden = TorchLinearSVC(C=0.05, tol=1e-7).fit(X, y, sample_weight=kept)
    removed = TorchLinearSVC(C=0.05, tol=1e-7).fit(X[kept], y[kept])
    assert_allclose(hidden.coef_, removed.coef_, atol=1e-3)


@both_solvers
@pytest.mark.parametrize("C", [1e-4, 1.0])
def test_more_columns_than_rows(C):
    """Large means, as activations have them, and fewer rows than columns."""
    rng = np.random.default_rng(0)
    X = (5 + rng.standard_normal((120, 400))).astype(np.float32)
    y = rng.integers(0, 3, 120)
    X[np.arange(120), y] += 2
    ours = TorchLinearSVC(C=C).fit(X, y)
    theirs = reference(X.astype(float), y, C=C, dual=True)
    assert_allclose(objective(ours, X, y, C), objective(theirs, X, y, C), rtol=1e-3)


@both_solvers
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    """float32 stays float32, float64 stays float64."""
    X, y = load("iris")
    svm = TorchLinearSVC().fit(X.astype(dtype), y)
    assert svm.coef_.dtype == svm.intercept_.dtype == dtype
    assert svm.decision_function(X.astype(dtype)).dtype == dtype


@both_solvers
def test_x_is_left_alone():
    """Read-only X in either order is accepted and not changed."""
    X, y = load("iris")
    for order in "CF":
        given = np.array(X, dtype=np.float32, order=order)
        given.flags.writeable = False
        TorchLinearSVC().fit(given, y)
        assert_array_equal(given, X.astype(np.float32))


@both_solvers
def test_same_data_give_the_same_weights():
    """What is drawn at random, for the solver of many columns, is always the same."""
    X, y = load("digits")
    first, second = (TorchLinearSVC(C=0.01).fit(X, y) for _ in range(2))
    assert_array_equal(first.coef_, second.coef_)


@both_solvers
def test_string_labels_and_shapes():
    """Classes of any kind; two classes have one row of weights, as in LinearSVC."""
    X, y = load("breast_cancer")
    names = np.array(["malignant", "benign"])[y]
    svm = TorchLinearSVC().fit(X, names)
    assert svm.coef_.shape == (1, X.shape[1])
    assert svm.decision_function(X).shape == (len(X),)
    assert set(svm.predict(X)) == {"malignant", "benign"}
    assert svm.score(X, names) > 0.97


def through_joblib(estimator, tmp_path):
    """Return what joblib reads back."""
    joblib.dump(estimator, tmp_path / "svm.joblib")
    return joblib.load(tmp_path / "svm.joblib")


def through_skops(estimator, tmp_path):
    """Return what skops reads back, trusting nothing but this class."""
    data = skops_io.dumps(estimator)
    return skops_io.loads(data, trusted=["sklgan._linear.TorchLinearSVC"])


ROUND_TRIPS = {
    "pickle": lambda estimator, tmp_path: pickle.loads(pickle.dumps(estimator)),
    "deepcopy": lambda estimator, tmp_path: copy.deepcopy(estimator),
    "joblib": through_joblib,
    "skops": through_skops,
}


@both_solvers
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_round_trip_gives_the_same_scores(round_trip, dtype, tmp_path):
    """The fitted state is NumPy arrays; a copy does the same to the last bit."""
    X, y = load("iris")
    X = X.astype(dtype)
    svm = TorchLinearSVC().fit(X, y)
    again = ROUND_TRIPS[round_trip](svm, tmp_path)
    assert_array_equal(again.decision_function(X), svm.decision_function(X))
    assert_array_equal(again.predict(X), svm.predict(X))
    assert again.coef_.dtype == again.intercept_.dtype == dtype
    assert again.get_params() == svm.get_params()


@both_solvers
def test_too_few_steps_are_a_convergence_warning():
    """The warning names the parameter, and the weights so far are kept."""
    X, y = load("digits")
    for steps, score in ((2, 0.09), (7, 0.5)):
        with pytest.warns(ConvergenceWarning, match=f"max_iter={steps}"):
            svm = TorchLinearSVC(max_iter=steps).fit(X, y)
        assert svm.n_iter_ == steps
        assert svm.score(X, y) > score


@both_solvers
def test_verbose_prints_the_objective(capsys):
    """Silent by default."""
    X, y = load("iris")
    TorchLinearSVC().fit(X, y)
    assert capsys.readouterr().out == ""
    TorchLinearSVC(verbose=1).fit(X, y)
    assert "step 1" in capsys.readouterr().out


@both_solvers
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(150)}, "only one class"),
        ({"sample_weight": np.full(150, -1.0)}, "(?i)negative"),
        ({"sample_weight": np.arange(150) < 50}, "only one class"),
        ({"X": np.full((150, 4), np.nan)}, "NaN"),
        ({"y": np.arange(150) / 7}, "continuous|Unknown label type"),
    ],
)
def test_bad_data_are_refused(change, message):
    """What was found is in the message."""
    X, y = load("iris")
    with pytest.raises(ValueError, match=message):
        TorchLinearSVC().fit(**{"X": X, "y": y, **change})


@both_solvers
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"C": 0}, "'C' parameter"),
        ({"tol": -1.0}, "'tol' parameter"),
        ({"max_iter": 0}, "'max_iter' parameter"),
        ({"intercept_scaling": 0}, "'intercept_scaling' parameter"),
        ({"class_weight": "even"}, "'class_weight' parameter"),
        ({"device": "nowhere"}, "device='nowhere'"),
        ({"class_weight": {0: -1}}, "negative factor"),
        ({"class_weight": {0: np.nan}}, "{0: nan} has a negative factor or NaN"),
        ({"class_weight": {0: np.inf}}, "too large for float32"),
        ({"class_weight": {0: 0.0, 1: 0.0, 2: 0.0}, "C": 1e-46}, "raise C"),
        ({"C": 1e300}, "too large for float32"),
        ({"C": 1e-46}, "C=1e-46 times the weights is too small for float32"),
        ({"intercept_scaling": 1e20}, "intercept_scaling=1e[+]20 is too large"),
        ({"intercept_scaling": 1e200}, "use at most 1.8e[+]19"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    """The parameter is named."""
    X, y = load("iris")
    with pytest.raises(ValueError, match=message):
        TorchLinearSVC(**parameters).fit(X.astype(np.float32), y)


@both_solvers
def test_odd_scales_and_strides_are_solved():
    """Reversed, huge or all zero X are no reason for an error of the solver."""
    X, y = load_digits(return_X_y=True)
    assert TorchLinearSVC(C=0.01).fit(X[::-1], y[::-1]).score(X, y) > 0.95
    zeros = TorchLinearSVC(fit_intercept=False).fit(np.zeros((20, 3)), y[:20])
    assert_array_equal(zeros.coef_, 0)


@pytest.mark.parametrize("factor", [1e3, 1e6])
@pytest.mark.filterwarnings("ignore:No convergence")
def test_huge_scales_are_solved(factor):
    """Where rounding leaves nothing of the penalty, the classifier is still good."""
    X, y = load_digits(return_X_y=True)
    for dtype in (np.float32, np.float64):
        scaled = (X * factor).astype(dtype)
        assert TorchLinearSVC().fit(scaled, y).score(scaled, y) > 0.99


def test_standing_still_is_no_convergence():
    """At a scale that rounding cannot resolve, the user is told, not misled."""
    X, y = load_digits(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="scale the columns"):
        TorchLinearSVC().fit(X * 1e9, y)


@both_solvers
@pytest.mark.parametrize("C", [1e-320, 1e-309])
def test_costs_without_a_reciprocal_are_refused(C):
    """Of float64, too, 1 / C must be finite."""
    X, y = load("iris")
    with pytest.raises(ValueError, match="too small for float64; raise C"):
        TorchLinearSVC(C=C).fit(X, y)
    svm = TorchLinearSVC(C=1e-300).fit(X, y)
    assert np.isfinite(svm.coef_).all()


def test_rows_too_long_for_their_dtype_are_refused():
    """The remedy is named, instead of weights of NaN."""
    X, y = load("iris")
    with pytest.raises(ValueError, match="scale the columns"):
        TorchLinearSVC().fit((X * 1e30).astype(np.float32), y)
