"""Precision, recall, density and coverage, pair by pair and in closed forms."""

from math import prod

import numpy as np
import pytest

from sklgan.metrics import density_coverage, precision_recall


def squared(x, y):
    """Add up the squared differences of two rows, in float64."""
    return sum((float(a) - float(b)) ** 2 for a, b in zip(x, y, strict=True))


def pair_by_pair(X_real, X_fake, k):
    """Return precision, recall, density and coverage by their definitions."""

    def radii(X):
        others = [
            [squared(x, y) for j, y in enumerate(X) if j != i] for i, x in enumerate(X)
        ]
        return [sorted(distances)[k - 1] for distances in others]

    real, fake = radii(X_real), radii(X_fake)
    D = [[squared(x, y) for y in X_fake] for x in X_real]
    n, m = len(X_real), len(X_fake)
    in_real = [[D[i][j] <= real[i] for j in range(m)] for i in range(n)]
    in_fake = [[D[i][j] <= fake[j] for j in range(m)] for i in range(n)]
    precision = sum(any(row[j] for row in in_real) for j in range(m)) / m
    recall = sum(any(row) for row in in_fake) / n
    density = sum(map(sum, in_real)) / (k * m)
    coverage = sum(any(row) for row in in_real) / n
    return precision, recall, density, coverage


def normal(rng, n):
    return rng.normal(size=(n, 5))


def lattice(rng, n):
    """Many ties, and rows that are there twice."""
    return rng.integers(0, 3, size=(n, 4)).astype(np.float32)


def coins(rng, n):
    """More neighbours equally far than are looked at first."""
    return rng.integers(0, 2, size=(n, 3))


def far_from_0(rng, n):
    """Distances of a millionth of the length of the rows, in float32."""
    return (1000 + 1e-3 * rng.normal(size=(n, 4))).astype(np.float32)


def two_places(rng, n):
    """Centred rows as long as the places are far apart, and tiny distances within."""
    return rng.integers(0, 2, size=(n, 1)) * 1e3 + 1e-3 * rng.normal(size=(n, 3))


def outlier(rng, n):
    """One row that is far from all others."""
    return np.vstack([rng.normal(size=(n - 1, 3)), np.full((1, 3), 1e9)])


def huge(rng, n):
    """Squares that float32 cannot hold."""
    return rng.normal(size=(n, 3)) * 1e30


KINDS = [normal, lattice, coins, far_from_0, two_places, outlier, huge]


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_figures_are_those_of_the_definitions(kind, k):
    """Exactly, whatever the rounding of fast products; some fakes are copies."""
    rng = np.random.default_rng(0)
    X_real, X_fake = kind(rng, 50), kind(rng, 40)
    X_fake[:10] = X_real[:10]
    expected = pair_by_pair(X_real, X_fake, k)
    found = (
        *precision_recall(X_real, X_fake, n_neighbors=k),
        *density_coverage(X_real, X_fake, n_neighbors=k),
    )
    assert found == pytest.approx(expected, abs=1e-12)


def test_more_rows_than_a_block():
    """Blocks add up to the whole."""
    rng = np.random.default_rng(0)
    X_real, X_fake = rng.normal(size=(1300, 4)), 0.8 * rng.normal(size=(1100, 4))
    D, DR, DF = (
        np.linalg.norm(A[:, None] - B, axis=2)
        for A, B in ((X_real, X_fake), (X_real, X_real), (X_fake, X_fake))
    )
    real, fake = (np.sort(within, axis=1)[:, 3] for within in (DR, DF))
    precision = (D <= real[:, None]).any(axis=0).mean()
    recall = (D <= fake).any(axis=1).mean()
    assert precision_recall(X_real, X_fake) == pytest.approx((precision, recall))


def test_real_and_fake_have_their_places():
    """Fakes of one mode are good and few; fakes all over the place the opposite."""
    rng = np.random.default_rng(0)
    wide, narrow = rng.normal(size=(300, 4)), 0.1 * rng.normal(size=(300, 4))
    precision, recall = precision_recall(wide, narrow)
    assert precision > 0.9
    assert recall < 0.2
    assert precision_recall(narrow, wide) == (recall, precision)
    density, coverage = density_coverage(X_real=wide, X_fake=narrow)
    assert density > 1
    assert coverage < 0.5


def test_two_draws_of_one_distribution():
    """On average density is 1, and coverage what the paper's lemma says."""
    rng, n, m, k = np.random.default_rng(0), 60, 40, 5
    drawn = [
        density_coverage(rng.normal(size=(n, 3)), rng.normal(size=(m, 3)))
        for _ in range(200)
    ]
    missed = prod((n - i) / (n + m - i) for i in range(1, k + 1))
    density, coverage = np.mean(drawn, axis=0)
    spread = np.std(drawn, axis=0) / np.sqrt(len(drawn))
    assert abs(density - 1) < 3 * spread[0]
    assert abs(coverage - (1 - missed)) < 3 * spread[1]


def test_a_copy_of_the_real_rows_is_perfect():
    """Which is why none of these figures finds a generator that memorises."""
    X = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    assert precision_recall(X, X[::-1]) == (1.0, 1.0)
    density, coverage = density_coverage(X, X[::-1])
    assert density >= 1
    assert coverage == 1


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_generator_that_draws_one_image(offset):
    """It is as good as the image, and has nothing of the rest."""
    X_real = np.random.default_rng(0).normal(size=(300, 8)) + offset
    X_fake = np.repeat(X_real[:1], 300, axis=0)
    precision, recall = precision_recall(X_real, X_fake)
    assert precision == 1
    assert recall == 1 / 300
    assert density_coverage(X_real, X_fake)[1] < 0.1


def test_too_few_rows_are_refused_with_the_number_needed():
    """A k-th neighbour takes k + 1 rows of the set whose neighbours are looked for."""
    X = np.random.default_rng(0).normal(size=(8, 2))
    with pytest.raises(
        ValueError, match=r"X_real has 3 row.*minimum of 4.*neighbors=3"
    ):
        precision_recall(X[:3], X)
    with pytest.raises(ValueError, match=r"X_fake has 3 row.*minimum of 4"):
        precision_recall(X, X[:3])
    with pytest.raises(ValueError, match=r"X_real has 5 row.*minimum of 6"):
        density_coverage(X[:5], X)
    assert density_coverage(X[:6], X[:1])[0] >= 0


@pytest.mark.parametrize("figure", [precision_recall, density_coverage])
def test_what_is_no_pair_of_features_is_refused(figure):
    """Other widths, NaN, and a number of neighbours that is none."""
    X = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(ValueError, match="X_real has 4 features and X_fake has 3"):
        figure(X, X[:, :3])
    with pytest.raises(ValueError, match="Input X_fake contains NaN"):
        figure(X, np.full((30, 4), np.nan))
    for n_neighbors in (0, 2.5, True):
        with pytest.raises(ValueError, match=f"n_neighbors={n_neighbors}"):
            figure(X, X, n_neighbors=n_neighbors)
