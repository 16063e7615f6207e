"""TorchLinearSVC on more columns than the exact solver takes."""

import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale
from sklearn.svm import LinearSVC

from sklgan import TorchLinearSVC
from sklgan._newton import Rows


def objective(svm, X, y, C):
    """Return the objective of every class, computed in float64."""
    coef, intercept = svm.coef_.astype(float), svm.intercept_.astype(float)
    signs = np.where(y[:, None] == svm.classes_, 1, -1)
    slack = np.maximum(0, 1 - signs * (X.astype(float) @ coef.T + intercept))
    return (coef**2).sum(1) / 2 + intercept**2 / 2 + C * (slack**2).sum(0)


def reference(X, y, C):
    """Return a converged LinearSVC."""
    svm = LinearSVC(C=C, dual=True, tol=1e-8, max_iter=1_000_000, random_state=0)
    return svm.fit(X.astype(float), y)


def random_features(n, d):
    """Return digits' rectified random projections: wide, positive and separable."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    projections = X[:n] / 16 @ rng.normal(size=(64, d)) + rng.normal(size=d)
    return np.maximum(projections, 0).astype(np.float32), y[:n]


@pytest.mark.parametrize("C", [1e-3, 1.0, 100.0])
def test_separable_rows_of_many_columns_are_solved_at_any_cost(C):
    """Where Newton's method stalls on the kinks, the minimum is found in few steps."""
    X, y = random_features(600, 1000)
    ours = TorchLinearSVC(C=C).fit(X, y)  # A ConvergenceWarning would be an error.
    theirs = reference(X, y, C)
    ratio = objective(ours, X, y, C) / objective(theirs, X, y, C)
    assert ((ratio > 1 - 1e-6) & (ratio < 1 + 1.01e-4)).all()
    assert ours.n_iter_ < 30


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
    X, y = load_digits(return_X_y=True)
    X = scale(X)
    ours = TorchLinearSVC(C=0.01).fit(X.astype(np.float32), y)
    theirs = reference(X, y, 0.01)
    assert_allclose(objective(ours, X, y, 0.01), objective(theirs, X, y, 0.01), 1e-3)


def one_large_column(dtype):
    """Return standardised columns beside one that is 100,000 to 100,006."""
    X, y = random_features(300, 600)
    X = (X - X.mean(0)) / (X.std(0) + 1e-3)
    return np.c_[X, 1e5 + np.arange(300) % 7].astype(dtype), y


def large_columns(dtype):
    """Return columns that all have a mean of 10,000, in steps of float32."""
    X, y = random_features(200, 600)
    return (X + np.float32(1e4)).astype(dtype), y


@pytest.mark.parametrize("C", [1e-3, 1.0])
@pytest.mark.parametrize("load", [one_large_column, large_columns])
def test_columns_of_large_mean_are_solved(load, C, monkeypatch):
    """float32 loses what tells the rows apart, but not the minimum."""
    X, y = load(np.float32)
    ours = TorchLinearSVC(C=C).fit(X, y)  # A ConvergenceWarning would be an error.
    monkeypatch.setattr("sklgan._newton._minimize._NARROW", 1000)
    exact = TorchLinearSVC(C=C).fit(X.astype(float), y)
    expected = objective(exact, X, y, C).sum()
    assert_allclose(objective(ours, X, y, C).sum(), expected, rtol=3e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_may_begin_tiny_and_need_systems_in_float64(dtype, monkeypatch):
    """A constant column of a million is solved, in X of either dtype."""
    X, y = random_features(100, 600)
    X = X.astype(dtype)
    svm = TorchLinearSVC(intercept_scaling=1e6)
    ours = svm.fit(X, y).coef_  # A ConvergenceWarning would be an error.
    monkeypatch.setattr("sklgan._newton._minimize._NARROW", 1000)
    exact = svm.fit(X.astype(float), y).coef_
    assert_allclose(ours, exact, atol=0.01 * np.abs(exact).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", [1e-6, 1e-3, 1e3, 1e5])
def test_scale_of_x_is_a_matter_of_cost(factor, dtype):
    """X times a factor has the minimum of X at C times its square."""
    X, y = random_features(100, 600)
    X, C = X.astype(dtype), factor**2
    larger = X * dtype(factor)
    scaled = TorchLinearSVC(fit_intercept=False).fit(larger, y)
    same = TorchLinearSVC(C=C, fit_intercept=False).fit(X, y)
    value = objective(scaled, larger, y, 1.0) * C
    assert_allclose(value, objective(same, X, y, C), rtol=2e-4)


HOPELESS = {
    "mean of 1e7 in float32": (1e7, np.float32, {}),
    "mean of 1e7 in float64": (1e7, np.float64, {}),
    "intercept_scaling in float32": (0, np.float32, {"intercept_scaling": 1e15}),
    "intercept_scaling in float64": (0, np.float64, {"intercept_scaling": 1e10}),
    "C that overflows the objective": (0, np.float64, {"C": 1e308}),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_what_rounding_prevents_is_warned_of_and_never_worse_than_nothing(case):
    """Each class keeps its best weights, and ends when it gets nowhere."""
    shift, dtype, parameters = HOPELESS[case]
    X, y = random_features(100, 600)
    X = X.astype(dtype) + dtype(shift)
    with pytest.warns(ConvergenceWarning, match="scale the columns") as caught:
        svm = TorchLinearSVC(**parameters).fit(X, y)
    assert len(caught) == 1
    assert svm.n_iter_ < 100
    assert np.isfinite(svm.coef_).all()
    if "intercept_scaling" in parameters:
        svm.intercept_ = svm.intercept_ * 0  # Of no weight in the penalty.
    C = parameters.get("C", 1.0)
    with np.errstate(over="ignore"):
        assert (objective(svm, X, y, C) <= C * len(X)).all()


def test_parameters_of_the_intercept_and_classes_with_many_columns():
    """What `LinearSVC` finds, without a threshold on the columns lowered for it."""
    X, y = random_features(150, 600)
    for parameters in (
        {"fit_intercept": False},
        {"intercept_scaling": 30.0},
        {"class_weight": {0: 9.0}},
    ):
        ours = TorchLinearSVC(C=0.01, tol=1e-8, **parameters).fit(X, y)
        theirs = LinearSVC(C=0.01, dual=True, tol=1e-8, max_iter=10**6, **parameters)
        theirs.fit(X.astype(float), y)
        assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
        assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5)


def test_verbose_adds_up_all_classes(capsys):
    """The objective printed last is that of the fit, classes that ended included."""
    X, y = random_features(150, 600)
    svm = TorchLinearSVC(verbose=1).fit(X, y)
    *_, last = capsys.readouterr().out.splitlines()
    printed = float(re.search(r"objective of all ([\d.e+-]+)", last)[1])
    assert_allclose(printed, objective(svm, X, y, 1.0).sum(), rtol=1e-5)
