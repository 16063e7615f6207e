"""NearDuplicateDetector: copies are found, others are not, and groups are groups."""

import pickle

import numpy as np
import pytest
import skops.io
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from scipy.sparse.csgraph import connected_components
from sklearn.datasets import load_digits
from sklearn.model_selection import GroupKFold

from sklgan import LeakageReport, NearDuplicateDetector, TrainingDivergedError
from sklgan._hamming import group_hashes, nearest
from sklgan.datasets import ImageFolder

CPU = torch.device("cpu")


def detector(**parameters):
    """Return a detector that trains in a moment."""
    return NearDuplicateDetector(
        **{"max_epochs": 3, "random_state": 0, "device": "cpu", **parameters}
    )


@pytest.fixture(scope="module")
def pictures():
    """Return 60 different smooth colour pictures, (60, 40, 48, 3), uint8; read-only."""
    rng = np.random.default_rng(0)
    small = rng.integers(20, 200, size=(60, 8, 10, 3)).astype(np.uint8)
    X = [Image.fromarray(image).resize((48, 40), Image.BICUBIC) for image in small]
    X = np.stack([np.asarray(image) for image in X])
    X.flags.writeable = False
    return X


def darker(X):
    return (X * 0.8).astype(np.uint8)


def noisy(X):
    noise = np.random.default_rng(1).normal(0, 2, size=X.shape)
    return np.clip(X + noise, 0, 255).astype(np.uint8)


def other_scale(X):
    return np.stack(
        [
            np.asarray(Image.fromarray(image).resize((36, 30)).resize((48, 40)))
            for image in X
        ]
    )


COPIES = [darker, noisy, other_scale]


@pytest.mark.parametrize("make", COPIES, ids=lambda make: make.__name__)
def test_copies_share_the_group_of_their_original_and_no_other(pictures, make):
    """Recall and precision are 1 on pictures that differ as these do."""
    found = detector().fit(np.concatenate([pictures, make(pictures)]))
    assert_array_equal(found.groups_, np.tile(np.arange(60), 2))
    assert_array_equal(found.duplicate_mask_, np.arange(120) >= 60)


def test_brightness_matters_where_images_are_not_normalised(pictures):
    """Equal images are found, darker ones missed."""
    X = np.concatenate([pictures, pictures[:10], darker(pictures)])
    groups = detector(normalize=False, max_hamming=0).fit(X).groups_
    assert_array_equal(groups[60:70], groups[:10])
    assert np.mean(groups[70:] == groups[:60]) < 0.5


def test_mirror_images_are_found_if_asked_for(pictures):
    """Both ways: as a row of fit, and as a new image."""
    mirrored = pictures[:, :, ::-1]
    X = np.concatenate([pictures, mirrored[:5]])
    assert detector().fit(X).duplicate_mask_.sum() == 0
    found = detector(mirror=True).fit(X)
    assert_array_equal(found.groups_[60:], np.arange(5))
    assert found.duplicate_mask_.sum() == 5
    assert found.is_duplicate(mirrored).all()
    assert not detector().fit(pictures).is_duplicate(mirrored).any()
    report = found.leakage_report(pictures, mirrored[[9, 4]])
    assert_array_equal(report.pairs, [[9, 0], [4, 1]])


def test_is_duplicate_tells_copies_from_new_images(pictures):
    """Rows of fit are near-duplicates of themselves."""
    found = detector().fit(pictures[:40])
    assert found.is_duplicate(pictures[:40]).all()
    assert_array_equal(found.is_duplicate(noisy(pictures)), np.arange(60) < 40)
    assert_array_equal(found.is_duplicate(pictures[50:51]), [False])


def test_leakage_report_names_the_pairs(pictures):
    """Training row, test row, distance; rows without a pair are counted."""
    found = detector().fit(pictures[:40])
    X_test = np.concatenate([pictures[50:], darker(pictures[[7, 3]]), pictures[[0]]])
    report = found.leakage_report(pictures[:40], X_test)
    assert isinstance(report, LeakageReport)
    assert_array_equal(report.pairs, [[7, 10], [3, 11], [0, 12]])
    assert report.distances[2] == 0
    assert (report.distances <= found.max_hamming_).all()
    assert (report.n_train, report.n_test, report.n_leaked) == (40, 13, 3)
    assert report.fraction == pytest.approx(3 / 13)
    assert str(report).startswith("3 of 13 test rows (23.08 %)")
    nothing = found.leakage_report(pictures[:40], pictures[50:])
    assert nothing.fraction == 0
    assert nothing.pairs.shape == (0, 2)


def test_groups_keep_copies_on_one_side_of_each_split(pictures):
    """That is what they are for."""
    X = np.concatenate([pictures, noisy(pictures[:30])])
    found = detector().fit(X)
    for train, test in GroupKFold(3).split(X, groups=found.groups_):
        assert found.leakage_report(X[train], X[test]).n_leaked == 0


# Forms of X ---------------------------------------------------------------------------


def test_all_forms_of_the_same_images_hash_alike(pictures, tmp_path):
    """Arrays, flattened rows, floats, files decoded when needed."""
    for number, image in enumerate(pictures):
        Image.fromarray(image).save(tmp_path / f"{number:02d}.png")
    found = detector().fit(pictures)
    bits = found.transform(pictures)
    assert bits.shape == (60, 128)
    assert_array_equal(np.packbits(bits, axis=1), found.hashes_)
    folder = ImageFolder(tmp_path)
    assert_array_equal(found.transform(folder), bits)
    assert_array_equal(detector().fit(folder).hashes_, found.hashes_)
    rows = pictures.reshape(60, -1)
    flat = detector(image_shape=(40, 48, 3)).fit(rows)
    assert_array_equal(flat.transform(rows), bits)
    floats = (
        detector().fit(pictures / np.float32(255)).transform(pictures / np.float32(255))
    )
    assert np.mean(floats != bits) < 0.001  # rounding may turn a bit


def test_grey_images_smaller_than_the_hash_sees():
    """Darker copies of digits are found, and few others."""
    X = load_digits().images[:300]
    X = np.concatenate([X, X[:20] * 0.9])
    found = detector(n_bits=512).fit(X)
    assert_array_equal(found.groups_[300:], found.groups_[:20])
    assert found.duplicate_mask_.sum() < 35


def test_balanced_bits_tell_images_with_much_in_common_apart():
    """Thresholds at 0 leave most bits of digits the same for all."""
    X = load_digits().images[:300]
    spread = {
        balance: detector(balance=balance).fit(X).transform(X).mean(axis=0)
        for balance in (True, False)
    }
    assert (abs(spread[True] - 0.5) < 0.05).all()
    assert np.mean(abs(spread[False] - 0.5) > 0.4) > 0.5


def test_flat_rows():
    """Columns of very different units count alike."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 20)) * np.logspace(-3, 3, 20)
    found = detector().fit(np.concatenate([X, X[:9] * 1.001]))
    assert_array_equal(found.groups_[100:], np.arange(9))
    assert found.duplicate_mask_.sum() == 9


def test_what_is_beside_an_image_does_not_matter(pictures):
    """To the last bit, so that max_hamming=0 finds the image itself."""
    X = np.tile(pictures, (9, 1, 1, 1))
    found = detector(max_hamming=0).fit(X)
    assert_array_equal(found.groups_, np.tile(np.arange(60), 9))
    for part in (slice(0, 1), slice(3, 10), slice(250, 260)):
        assert_array_equal(found.transform(X[part]), found.transform(X)[part])


def test_blank_images_are_one_group():
    """No contrast is no reason for a NaN or for a hash of noise."""
    X = np.random.default_rng(0).integers(256, size=(30, 32, 32)).astype(np.uint8)
    X[:10] = np.arange(10)[:, None, None] * 20
    groups = detector().fit(X).groups_
    assert_array_equal(groups, np.maximum(np.arange(30) - 9, 0))


# State and randomness -----------------------------------------------------------------


def test_random_state_decides_all_and_copies_do_the_same(pictures):
    """Torch's own generator takes no part, and stays as it was."""
    before = torch.get_rng_state()
    found = detector().fit(pictures)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert_array_equal(detector().fit(pictures).coef_, found.coef_)
    torch.set_rng_state(before)
    assert np.any(detector(random_state=1).fit(pictures).coef_ != found.coef_)
    data = skops.io.dumps(found)
    for again in (
        pickle.loads(pickle.dumps(found)),
        skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data)),
    ):
        assert_array_equal(again.transform(pictures), found.transform(pictures))
        assert again.is_duplicate(pictures).all()


def test_parameters_set_after_fit_change_nothing(pictures):
    """They are for the next fit."""
    found = detector().fit(pictures)
    bits = found.transform(pictures)
    found.set_params(normalize=False, max_hamming=100, n_bits=8, data_range=(0, 1))
    assert_array_equal(found.transform(pictures), bits)
    assert not found.is_duplicate(255 - pictures).any()


def test_training_lowers_the_loss_and_tells(pictures, capsys):
    """One row an epoch, printed if asked for."""
    found = detector(max_epochs=20, verbose=1).fit(pictures)
    losses = [row["loss"] for row in found.history_]
    assert found.n_iter_ == len(losses) == 20
    assert losses[-1] < 0.9 * losses[0]
    assert capsys.readouterr().out.count("epoch") == 20


# Bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_hamming": 128}, "max_hamming=128 makes near-duplicates of all"),
        ({"max_hamming": "none"}, "'max_hamming' parameter"),
        ({"n_bits": 0}, "'n_bits' parameter"),
        ({"dropout": 1.0}, "'dropout' parameter"),
        ({"device": "nowhere"}, "device='nowhere'"),
        ({"data_range": (1, 0)}, "data_range="),
    ],
)
def test_bad_parameters_are_named(pictures, parameters, message):
    """Before anything is computed or overwritten."""
    found = detector().fit(pictures)
    before = found.hashes_
    with pytest.raises(ValueError, match=message):
        found.set_params(**parameters).fit(pictures)
    assert found.hashes_ is before


def test_mirror_of_flat_rows_is_refused():
    """The remedy is named."""
    with pytest.raises(ValueError, match=r"mirror=True needs images.*image_shape"):
        detector(mirror=True).fit(np.arange(40.0).reshape(10, 4))


def test_divergence_is_an_error_and_leaves_the_last_fit(pictures):
    """No hash of NaN, which would make all images equal."""
    found = detector().fit(pictures)
    bits = found.transform(pictures)
    with pytest.raises(TrainingDivergedError, match="learning_rate=1e"):
        found.set_params(learning_rate=1e30).fit(pictures)
    assert_array_equal(found.transform(pictures), bits)


def test_images_of_another_size_are_refused(pictures):
    """Also by the report."""
    found = detector().fit(pictures)
    with pytest.raises(ValueError, match=r"images of shape \(32, 32, 3\)"):
        found.is_duplicate(pictures[:, :32, :32])
    with pytest.raises(ValueError, match=r"images of shape \(32, 32, 3\)"):
        found.leakage_report(pictures, pictures[:, :32, :32])


# Hashes in blocks ---------------------------------------------------------------------


def _near_hashes(n, n_bits, seed):
    """Return hashes around a few centres, and all their distances."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(2, size=(7, n_bits))[rng.integers(7, size=n)]
    bits = bits ^ (rng.random((n, n_bits)) < 0.03)
    distances = (bits[:, None] != bits).sum(axis=2)
    return np.packbits(bits, axis=1), distances


@pytest.mark.parametrize("max_hamming", [0, 1, 3, 5])
@pytest.mark.parametrize("n_bits", [13, 64, 100])
def test_groups_are_those_of_all_distances(monkeypatch, n_bits, max_hamming):
    """Blocks and merges, forced to be many, miss and add nothing."""
    monkeypatch.setattr("sklgan._hamming._ROWS", 7)
    monkeypatch.setattr("sklgan._hamming._COLUMNS", 16)
    monkeypatch.setattr("sklgan._hamming._PAIRS", 20)
    hashes, distances = _near_hashes(150, n_bits, n_bits)
    n_groups, expected = connected_components(distances <= max_hamming)
    groups = group_hashes(hashes, n_bits, max_hamming, CPU)
    assert_array_equal(groups, expected)  # scipy numbers in order, too
    assert groups.max() + 1 == n_groups


def test_nearest_is_the_first_of_the_nearest(monkeypatch):
    """As argmin finds it."""
    monkeypatch.setattr("sklgan._hamming._ROWS", 7)
    monkeypatch.setattr("sklgan._hamming._COLUMNS", 16)
    hashes, distances = _near_hashes(150, 20, 0)
    index, distance = nearest(hashes[:50], hashes[50:], 20, CPU)
    assert_array_equal(distance, distances[:50, 50:].min(axis=1))
    assert_array_equal(index, distances[:50, 50:].argmin(axis=1))


def test_many_equal_rows_are_no_burden():
    """Pairs of equal hashes, 200 million here, are never listed."""
    hashes = np.zeros((20_000, 16), dtype=np.uint8)
    hashes[-1, 0] = 128
    assert_array_equal(group_hashes(hashes, 128, 1, CPU), np.zeros(20_000))
