"""The Frechet distance against its definition, and against closed forms."""

import re

import numpy as np
import pytest
from scipy.linalg import sqrtm

from sklgan.metrics import frechet_distance


def by_definition(X, Y):
    """Compute the distance from means, covariances and SciPy's root of a matrix."""
    X, Y = np.asarray(X, dtype=float), np.asarray(Y, dtype=float)
    C_X, C_Y = np.cov(X, rowvar=False), np.cov(Y, rowvar=False)
    root = sqrtm(C_X @ C_Y)
    distance = np.sum((X.mean(axis=0) - Y.mean(axis=0)) ** 2)
    return distance + np.trace(C_X) + np.trace(C_Y) - 2 * np.trace(root).real


def correlated(rng, n, d):
    """Draw rows whose columns are neither independent nor of mean 0."""
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def whitened(rng, n, d):
    """Return rows with mean 0 and the unit matrix as covariance, to rounding."""
    rows = rng.normal(size=(n, d))
    rows -= rows.mean(axis=0)
    return np.linalg.qr(rows)[0] * np.sqrt(n - 1)


@pytest.mark.parametrize("d", [2, 5, 30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frechet_distance_is_the_definition(d, dtype):
    """With other numbers of rows, in both dtypes, and the same from either side."""
    rng = np.random.default_rng(d)
    X = correlated(rng, 80, d).astype(dtype)
    Y = correlated(rng, 95, d).astype(dtype)
    distance, _ = frechet_distance(X, Y)
    assert distance == pytest.approx(by_definition(X, Y), rel=1e-6)
    assert distance == pytest.approx(frechet_distance(Y, X)[0], rel=1e-12)


def test_normal_distributions_have_a_closed_form():
    """Of diagonal covariances: squared differences of means and of deviations."""
    rng = np.random.default_rng(0)
    X, Y = whitened(rng, 60, 3), whitened(rng, 50, 3)
    X, Y = X * [1.0, 2.0, 3.0] + [0, 0, 1], Y * [4.0, 2.0, 0.5] + [2, 0, 0]
    expected = (2**2 + 1) + (3**2 + 0 + 2.5**2)
    assert frechet_distance(X, Y)[0] == pytest.approx(expected, rel=1e-10)


def test_many_rows_of_two_known_distributions():
    """Covariances that do not commute: the formula, with three standard errors."""
    rng = np.random.default_rng(0)
    C_X = np.array([[2.0, 0.9], [0.9, 1.0]])
    C_Y = np.array([[1.0, -0.6], [-0.6, 3.0]])
    # Of a 2 x 2 matrix, tr M^(1/2) = (tr M + 2 det(M)^(1/2))^(1/2).
    product = C_X @ C_Y
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = 5.0 + np.trace(C_X) + np.trace(C_Y) - 2 * root
    X = rng.multivariate_normal([0, 0], C_X, size=40_000)
    Y = rng.multivariate_normal([1, 2], C_Y, size=30_000)
    distance, error = frechet_distance(X, Y, random_state=0)
    assert abs(distance - expected) < 3 * error < 0.2


def test_one_feature():
    """The smallest case: the difference of means and that of deviations."""
    X, Y = np.array([[0.0], [2.0]]), np.array([[5.0], [5.0]])
    assert frechet_distance(X, Y)[0] == pytest.approx(4**2 + 2)


def test_features_that_depend_on_each_other_or_never_change():
    """Covariances without an inverse, where a product's root has complex residues."""
    rng = np.random.default_rng(0)
    X = whitened(rng, 60, 2)[:, [0, 1, 0, 0]] * [1, 1, 1, 0] + 7
    Y = whitened(rng, 60, 2)[:, [0, 1, 0, 0]] * [2, 2, 2, 0] + 7
    # A direction of variance 2, a direction of variance 1, twice as wide.
    assert frechet_distance(X, Y)[0] == pytest.approx(2 + 1, rel=1e-7)
    same = np.full((9, 3), 0.1)
    assert frechet_distance(same, same)[0] == 0.0


def test_a_set_is_at_no_distance_from_itself():
    """However far from 0, and never below it."""
    X = correlated(np.random.default_rng(0), 100, 6) + 1e4
    distance, _ = frechet_distance(X, X[::-1])
    assert 0 <= distance < 1e-9


def test_standard_error_is_the_jackknife():
    """By hand: the parts are those that random_state draws, X first."""
    rng = np.random.default_rng(1)
    X, Y = correlated(rng, 43, 3), correlated(rng, 37, 3)
    distance, error = frechet_distance(X, Y, n_subsets=5, random_state=3)
    draw = np.random.RandomState(3)
    left_out = [np.array_split(draw.permutation(len(A)), 5) for A in (X, Y)]
    left = np.array(
        [
            by_definition(np.delete(X, x, axis=0), np.delete(Y, y, axis=0))
            for x, y in zip(*left_out, strict=True)
        ]
    )
    spread = np.sqrt(4 / 5 * ((left - left.mean()) ** 2).sum())
    assert error == pytest.approx(spread, rel=1e-6)
    corrected, same_error = frechet_distance(
        X, Y, n_subsets=5, correct_bias=True, random_state=3
    )
    assert corrected == pytest.approx(5 * distance - 4 * left.mean(), rel=1e-6)
    assert same_error == error


def test_standard_error_matches_the_spread_of_draws():
    """Where the distributions differ, it says how far another draw may lie."""
    rng = np.random.default_rng(0)
    drawn = [
        frechet_distance(rng.normal(size=(150, 4)), rng.normal(size=(150, 4)) + 1)
        for _ in range(80)
    ]
    distances, errors = np.array(drawn).T
    assert np.mean(errors) == pytest.approx(np.std(distances), rel=0.3)


def test_the_bias_is_what_the_docstring_says_and_is_corrected():
    """Of one distribution it is d (d + 5) / 4 x (1 / n + 1 / m), and then about 0."""
    rng, d, n, m = np.random.default_rng(0), 8, 160, 240
    plain, corrected = [], []
    for _ in range(40):
        X, Y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
        plain.append(frechet_distance(X, Y, n_subsets=1)[0])
        corrected.append(frechet_distance(X, Y, correct_bias=True, random_state=0)[0])
    excess = d * (d + 5) / 4 * (1 / n + 1 / m)
    assert np.mean(plain) == pytest.approx(excess, rel=0.1)
    assert abs(np.mean(corrected)) < 0.1 * excess
    assert min(corrected) < 0


def test_random_state_decides_the_error_alone():
    """The distance is the same to the last bit, and so is a repeated error."""
    X, Y = np.random.default_rng(0).normal(size=(2, 50, 3))
    first, again, other = (
        frechet_distance(X, Y, random_state=seed) for seed in (0, 0, 1)
    )
    assert first == again
    assert first[0] == other[0]
    assert first[1] != other[1]


def test_too_few_rows_are_refused_with_the_number_needed():
    """Instead of a figure that means nothing."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 20)), rng.normal(size=(21, 20))
    with pytest.raises(ValueError, match=r"X has 20 row.*minimum of 21.*PCA"):
        frechet_distance(X, Y)
    with pytest.raises(ValueError, match=r"Y has 20 row.*minimum of 21"):
        frechet_distance(Y, X)
    distance, error = frechet_distance(Y, Y + 1)
    assert distance == pytest.approx(20)
    assert np.isnan(error)
    with pytest.raises(ValueError, match=r"leaves 18; correct_bias .* so 24 rows of"):
        frechet_distance(Y, Y + 1, correct_bias=True)


@pytest.mark.parametrize("n_subsets", [2, 3, 10, 100])
def test_the_number_of_rows_named_for_the_correction_is_the_least(n_subsets):
    """With one row less the message comes again."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20))
    with pytest.raises(ValueError, match="correct_bias needs 21") as caught:
        frechet_distance(X[:21], X[:21], n_subsets=n_subsets, correct_bias=True)
    n = int(re.search(r"so (\d+) rows of each", str(caught.value))[1])
    frechet_distance(X[:n], X[:n], n_subsets=n_subsets, correct_bias=True)
    with pytest.raises(ValueError, match=f"so {n} rows"):
        frechet_distance(X[: n - 1], X[:n], n_subsets=n_subsets, correct_bias=True)


def test_one_part_tells_no_bias():
    """No number of rows would help."""
    X = np.random.default_rng(0).normal(size=(60, 20))
    with pytest.raises(ValueError, match="n_subsets=1 leaves no rows.*give 2 or more"):
        frechet_distance(X, X, n_subsets=1, correct_bias=True)


def test_what_is_no_pair_of_features_is_refused():
    """Other widths, NaN, images, no rows, no parts."""
    X = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(ValueError, match="X has 4 features and Y has 3"):
        frechet_distance(X, X[:, :3])
    broken = X.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="Input Y contains NaN"):
        frechet_distance(X, broken)
    with pytest.raises(ValueError, match="dim 3"):
        frechet_distance(X.reshape(-1, 2, 2), X)
    with pytest.raises(ValueError, match="0 sample"):
        frechet_distance(X[:0], X)
    with pytest.raises(ValueError, match="n_subsets=0"):
        frechet_distance(X, X, n_subsets=0)
