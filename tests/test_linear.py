"""TorchLinearSVC: LinearSVC's objective, and what a user may throw at it."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale
from sklearn.svm import LinearSVC

from sklgan import TorchLinearSVC
from sklgan._newton import Rows

LOADERS = {
    "iris": load_iris,
    "digits": load_digits,
    "breast_cancer": load_breast_cancer,
}


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


@pytest.fixture(scope="module")
def wide():
    """Return 120 rows of 400 columns with large means, as activations have them."""
    rng = np.random.default_rng(0)
    X = (5 + rng.standard_normal((120, 400))).astype(np.float32)
    y = rng.integers(0, 3, 120)
    X[np.arange(120), y] += 2
    return X, y


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("C", [1e-3, 0.1, 1.0])
def test_objective_is_that_of_linear_svc(name, C):
    """Binary or not, the minimum is the same to 1e-5."""
    X, y = load(name)
    ours = TorchLinearSVC(C=C).fit(X.astype(np.float32), y)
    theirs = reference(X, y, C=C)
    assert_allclose(objective(ours, X, y, C), objective(theirs, X, y, C), rtol=1e-5)
    agree = ours.predict(X.astype(np.float32)) == theirs.predict(X)
    assert agree.mean() > 0.99


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
    ours = TorchLinearSVC(C=0.1, **parameters).fit(X, y)
    theirs = reference(X, y, C=0.1, **parameters)
    assert_allclose(ours.coef_, theirs.coef_, atol=2e-3)
    assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-3)


def test_sample_weight_multiplies_the_loss():
    """Rows count as often as their weight says."""
    X, y = load("iris")
    weight = np.random.default_rng(0).uniform(0, 3, len(X))
    ours = TorchLinearSVC(C=0.1).fit(X, y, sample_weight=weight)
    theirs = reference(X, y, sample_weight=weight, C=0.1)
    assert_allclose(ours.coef_, theirs.coef_, atol=2e-3)


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_weight_zero_is_as_good_as_removal(name):
    """Cross-validation may hide rows behind weights instead of copying the others."""
    X, y = load(name)
    kept = np.random.default_rng(0).random(len(X)) < 0.6
    hidden = TorchLinearSVC(C=0.05, tol=1e-7).fit(X, y, sample_weight=kept)
    removed = TorchLinearSVC(C=0.05, tol=1e-7).fit(X[kept], y[kept])
    assert_allclose(hidden.coef_, removed.coef_, atol=1e-3)


@pytest.mark.parametrize("C", [1e-4, 1.0])
def test_more_columns_than_rows(wide, C):
    """The solver works in the smaller space, with the same result."""
    X, y = wide
    ours = TorchLinearSVC(C=C).fit(X, y)
    theirs = reference(X.astype(float), y, C=C, dual=True)
    assert_allclose(objective(ours, X, y, C), objective(theirs, X, y, C), rtol=1e-3)


def random_features(n, d):
    """Return digits' rectified random projections: wide, positive and separable."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    projections = X[:n] / 16 @ rng.normal(size=(64, d)) + rng.normal(size=d)
    return np.maximum(projections, 0).astype(np.float32), y[:n]


@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
def test_separable_rows_of_many_columns_are_solved_at_any_cost(C):
    """Where Newton's method stalls on the kinks, the minimum is found and proved."""
    X, y = random_features(600, 1000)
    ours = TorchLinearSVC(C=C).fit(X, y)  # A ConvergenceWarning would be an error.
    theirs = reference(X.astype(float), y, C=C, dual=True)
    ratio = objective(ours, X, y, C) / objective(theirs, X, y, C)
    assert 1 - 1e-6 < ratio < 1 + 1e-4
    assert ours.n_iter_ < 60


def test_weight_zero_is_as_good_as_removal_with_many_columns():
    """Rows, and whole classes, of weight 0 do not move the weights of wide X."""
    X, y = random_features(400, 600)
    kept = (np.arange(400) % 3 > 0) & (y != 7)
    hidden = TorchLinearSVC(C=0.01, tol=1e-6).fit(X, y, sample_weight=kept)
    removed = TorchLinearSVC(C=0.01, tol=1e-6).fit(X[kept], y[kept])
    others = hidden.classes_ != 7
    assert_allclose(hidden.coef_[others], removed.coef_, atol=1e-3)
    assert not (hidden.predict(X) == 7).any()


def test_small_coefficients_are_not_lost():
    """Thousands of coefficients, each too small to change the sum, still add up."""
    X = torch.ones(4096, 2048)
    U = torch.full((1, 4096), 1e-9)
    U[0, 0] = 1
    total = Rows(X, 1.0, X.device).combine(U)
    assert_allclose(total, 1 + 4095e-9, rtol=6e-7)


def test_inexact_preconditioner_finds_the_same_minimum(monkeypatch):
    """With the preconditioner of large X, which is not exact, all stays the same."""
    monkeypatch.setattr("sklgan._newton._minimize._NARROW", 0)
    X, y = load("digits")
    C = 0.01
    ours = TorchLinearSVC(C=C).fit(X.astype(np.float32), y)
    theirs = reference(X, y, C=C)
    assert_allclose(objective(ours, X, y, C), objective(theirs, X, y, C), rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    """float32 stays float32, float64 stays float64."""
    X, y = load("iris")
    svm = TorchLinearSVC().fit(X.astype(dtype), y)
    assert svm.coef_.dtype == svm.intercept_.dtype == dtype
    assert svm.decision_function(X.astype(dtype)).dtype == dtype


def test_x_is_left_alone():
    """Read-only X in either order is accepted and not changed."""
    X, y = load("iris")
    for order in "CF":
        given = np.array(X, dtype=np.float32, order=order)
        given.flags.writeable = False
        TorchLinearSVC().fit(given, y)
        assert_array_equal(given, X.astype(np.float32))


def test_same_data_give_the_same_weights(wide):
    """Nothing is left to chance."""
    X, y = wide
    first, second = (TorchLinearSVC().fit(X, y) for _ in range(2))
    assert_array_equal(first.coef_, second.coef_)


def test_string_labels_and_shapes():
    """Classes of any kind; two classes have one row of weights, as in LinearSVC."""
    X, y = load("breast_cancer")
    names = np.array(["malignant", "benign"])[y]
    svm = TorchLinearSVC().fit(X, names)
    assert svm.coef_.shape == (1, X.shape[1])
    assert svm.decision_function(X).shape == (len(X),)
    assert set(svm.predict(X)) == {"malignant", "benign"}
    assert svm.score(X, names) > 0.97


def test_pickle_predicts_the_same(wide):
    """The fitted state is NumPy arrays."""
    X, y = wide
    svm = TorchLinearSVC().fit(X, y)
    again = pickle.loads(pickle.dumps(svm))
    assert_array_equal(again.decision_function(X), svm.decision_function(X))


def test_too_few_steps_are_a_convergence_warning():
    """The warning names the parameter, and the weights so far are kept."""
    X, y = load("digits")
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        svm = TorchLinearSVC(max_iter=2).fit(X, y)
    assert svm.n_iter_ == 2
    assert svm.score(X, y) > 0.5


def test_verbose_prints_the_objective(capsys):
    """Silent by default."""
    X, y = load("iris")
    TorchLinearSVC().fit(X, y)
    assert capsys.readouterr().out == ""
    TorchLinearSVC(verbose=1).fit(X, y)
    assert "step 1" in capsys.readouterr().out


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
        ({"C": 1e300}, "too large for float32"),
    ],
)
def test_bad_parameters_are_refused(parameters, message):
    """The parameter is named."""
    X, y = load("iris")
    with pytest.raises(ValueError, match=message):
        TorchLinearSVC(**parameters).fit(X.astype(np.float32), y)


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


def test_rows_too_long_for_their_dtype_are_refused():
    """The remedy is named, instead of weights of NaN."""
    X, y = load("iris")
    with pytest.raises(ValueError, match="scale the columns"):
        TorchLinearSVC().fit((X * 1e30).astype(np.float32), y)
