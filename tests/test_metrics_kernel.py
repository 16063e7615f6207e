"""The kernel distance against its definition."""

from fractions import Fraction

import numpy as np
import pytest

from sklgan.metrics import kernel_distance


def double_sum(X, Y):
    """Add up the definition, pair by pair."""

    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    n, m = len(X), len(Y)
    within_X = sum(kernel(X[i], X[j]) for i in range(n) for j in range(n) if i != j) / (
        n * (n - 1)
    )
    within_Y = sum(kernel(Y[i], Y[j]) for i in range(m) for j in range(m) if i != j) / (
        m * (m - 1)
    )
    between = sum(kernel(x, y) for x in X for y in Y) / (n * m)
    return within_X + within_Y - 2 * between


@pytest.mark.parametrize("shapes", [((7, 3), (7, 3)), ((5, 4), (9, 4)), ((2, 1),) * 2])
def test_kernel_distance_is_the_double_sum(shapes):
    """Over all pairs but those of a row with itself, whatever the numbers of rows."""
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=shape) for shape in shapes)
    distance, _ = kernel_distance(X, Y + 0.5)
    assert distance == pytest.approx(double_sum(X, Y + 0.5), rel=1e-12)


@pytest.mark.parametrize(("offset", "spread"), [(1e4, 1e-1), (1e4, 1e-4), (-1e6, 1.0)])
def test_rows_far_from_0_and_near_each_other(offset, spread):
    """Against exact arithmetic; the definition in float64 would have no digit right."""
    rng = np.random.default_rng(0)
    X, Y = (offset + spread * rng.normal(size=(n, 3)) for n in (6, 5))
    exact = double_sum(*([[Fraction(v) for v in row] for row in A] for A in (X, Y)))
    distance, _ = kernel_distance(X, Y)
    assert distance == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("scale", [1e60, 1e-200])
def test_values_that_float64_cannot_compare_are_refused(scale):
    """Instead of NaN or 0; those just within are compared."""
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match=r"Y holds values up to .*divide both"):
        kernel_distance(X, scale * X)
    distance, error = kernel_distance(1e44 * X[:10], 1e44 * X[10:])
    assert np.isfinite([distance, error]).all()
    assert distance != 0


def test_kernel_distance_of_more_rows_than_a_block():
    """Blocks add up to the matrix."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(1500, 3)), rng.normal(size=(1100, 3))
    K = [(A @ B.T / 3 + 1) ** 3 for A, B in ((X, X), (Y, Y), (X, Y))]
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in K[:2]]
    distance, _ = kernel_distance(X, Y)
    assert distance == pytest.approx(sum(within) - 2 * K[2].mean(), rel=1e-9)


def test_kernel_distance_is_unbiased_and_knows_its_error():
    """Over draws from one distribution it is 0 on average; far ones are told apart."""
    rng = np.random.default_rng(0)
    same = [
        kernel_distance(*rng.normal(size=(2, 60, 4)), random_state=0)
        for _ in range(200)
    ]
    distances, errors = np.array(same).T
    assert abs(distances.mean()) < 3 * distances.std() / np.sqrt(len(distances))
    assert distances.min() < 0 < distances.std() < errors.mean()
    X, Y = rng.normal(size=(900, 4)), rng.normal(size=(900, 4)) + 1
    distance, error = kernel_distance(X, Y, random_state=0)
    assert distance > 5 * error > 0


def test_standard_error_matches_the_spread_of_draws():
    """Where the distributions differ, it says how far another draw may lie."""
    rng = np.random.default_rng(0)
    drawn = [
        kernel_distance(rng.normal(size=(80, 3)), rng.normal(size=(80, 3)) + 1)
        for _ in range(100)
    ]
    distances, errors = np.array(drawn).T
    assert np.mean(errors) == pytest.approx(np.std(distances), rel=0.3)


def test_few_rows_have_no_standard_error():
    """Two parts of two rows are the least; the distance itself stands."""
    X = np.arange(6.0).reshape(3, 2)
    distance, error = kernel_distance(X, X + 1)
    assert np.isfinite(distance)
    assert np.isnan(error)


def test_kernel_distance_refuses_other_features():
    """Features of two networks cannot be compared."""
    with pytest.raises(ValueError, match="X has 2 features and Y has 3"):
        kernel_distance(np.zeros((4, 2)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="minimum of 2"):
        kernel_distance(np.zeros((1, 2)), np.zeros((4, 2)))


def test_no_standard_error_where_none_is_asked_for():
    """The distance is the same, and takes half of the time."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    distance, error = kernel_distance(X, X + 1, n_subsets=1)
    assert np.isnan(error)
    assert distance == kernel_distance(X, X + 1, random_state=0)[0]


@pytest.mark.parametrize("n_subsets", [0, -1, True, 2.5, "a", None])
def test_number_of_parts_is_checked(n_subsets):
    X = np.random.default_rng(0).normal(size=(20, 3))
    with pytest.raises(ValueError, match="n_subsets="):
        kernel_distance(X, X + 1, n_subsets=n_subsets)
