"""Nearest images, and whether a generator draws its training images again."""

import joblib
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from torch import nn

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan.datasets import NpyImages
from sklgan.inspection import (
    MemorizationDisplay,
    memorization_report,
    nearest_samples,
)
from sklgan.networks import DCGANDiscriminator

SEEDS = range(10)


@pytest.fixture(scope="module")
def images():
    """Return 1,000 digits, (1000, 8, 8) in [0, 16], in random order."""
    X = load_digits().images
    return X[np.random.default_rng(0).permutation(len(X))[:1000]]


@pytest.fixture(scope="module")
def untrained(images):
    return DCGANFeatureExtractor(n_filters=8, max_epochs=0, random_state=0).fit(images)


def _discriminator(in_shape, n_outputs):
    return DCGANDiscriminator(in_shape, n_outputs, 8)


class Remembers(nn.Module):
    """A generator that draws some stored images with noise, the others from ``smooth``.

    ``smooth`` is a normal distribution of images, fitted to thousands: in range and
    blurred, and the copy of none.
    """

    def __init__(self, latent_dim, out_shape, stored, share, smooth):
        super().__init__()
        self.out_shape, self.share = out_shape, share
        for name, value in (
            ("stored", stored),
            *zip(("mean", "root"), smooth, strict=True),
        ):
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32))
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, z):
        chance = torch.distributions.Normal(0, 1).cdf(z[:, :2])
        which = (chance[:, 0] * len(self.stored)).long().clamp(max=len(self.stored) - 1)
        copies = self.stored[which] + 0.02 * z[:, : self.stored.shape[1]]
        smooth = self.mean + z[:, 2 : 2 + len(self.root)] @ self.root
        copied = chance[:, 1:] < self.share
        drawn = torch.where(copied, copies, smooth) + 0 * self.weight
        return drawn.clamp(-1, 1).reshape(-1, *self.out_shape)


def _remembering(X, n_stored, share, seed=0):
    """Return a fitted estimator whose generator remembers so many images of X."""
    rows = X.reshape(len(X), -1) / 8 - 1
    mean = rows.mean(axis=0)
    _, singular, axes = np.linalg.svd(rows - mean, full_matrices=False)
    root = (singular[:20, None] * axes[:20]) / np.sqrt(len(rows))

    def generator(latent_dim, out_shape):
        stored = rows[:n_stored]
        return Remembers(latent_dim, out_shape, stored, share, (mean, root))

    gan = DCGANFeatureExtractor(
        network=(generator, _discriminator),
        data_range=(0, 16),
        max_epochs=0,
        random_state=seed,
    )
    return gan.fit(X)


@pytest.mark.parametrize("space", ["pixels", "features"])
def test_neighbours_are_those_of_all_distances(images, untrained, space):
    """Block by block the same is found as in the whole matrix of distances."""
    queries, X = images[:7] + 0.3, images[:700]
    distances, indices = nearest_samples(
        untrained, queries, X, n_neighbors=4, space=space
    )
    if space == "pixels":
        points = [A.reshape(len(A), -1) / 8 for A in (queries, X)]
    else:
        layers = [untrained.transform(A).astype(float) for A in (queries, X)]
        sizes = np.cumsum([int(np.prod(s)) for s in untrained._feature_shapes])[:-1]
        some = untrained.transform(X[np.linspace(0, 699, 256).astype(int)])
        scale = np.concatenate(
            [
                np.full(part.shape[1], np.sqrt(part.var(axis=0, dtype=float).sum()))
                for part in np.split(some, sizes, axis=1)
            ]
        )
        points = [layer / scale for layer in layers]
    full = cdist(*points)
    np.testing.assert_array_equal(indices, np.argsort(full, axis=1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(full, axis=1)[:, :4], rtol=1e-4)


@pytest.mark.parametrize("space", ["pixels", "features"])
def test_neighbours_of_files_are_those_of_arrays(tmp_path, two_colours, space):
    """Images on disk are decoded when they are needed, with the same result."""
    X, _ = two_colours
    np.save(tmp_path / "images.npy", X)
    gan = DCGANFeatureExtractor(n_filters=4, max_epochs=0, random_state=0).fit(X)
    lazy = NpyImages(tmp_path / "images.npy")
    found = nearest_samples(gan, lazy[[5, 3]], lazy, n_neighbors=3, space=space)
    expected = nearest_samples(gan, X[[5, 3]], X, n_neighbors=3, space=space)
    np.testing.assert_array_equal(found, expected)
    assert found[1][:, 0].tolist() == [5, 3]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors=0 .* 1 to .* 200"),
        ({"n_neighbors": 201}, "n_neighbors=201"),
        ({"n_neighbors": 2.0}, "n_neighbors=2.0"),
        ({"space": "latent"}, "space='latent' should be one of pixels, features"),
    ],
)
def test_nearest_samples_refuses(images, untrained, params, message):
    with pytest.raises(ValueError, match=message):
        nearest_samples(untrained, images[:2], images[:200], **params)


@pytest.mark.parametrize("seed", SEEDS)
def test_fifty_remembered_images_are_caught(images, seed):
    X, held_out = images[:50], images[500:800]
    gan = _remembering(X, 50, 1.0, seed)
    report = memorization_report(gan, X, held_out, n_samples=200)
    assert report
    assert report.spaces["pixels"].copied > 0.9
    assert "draws training images again" in str(report)


@pytest.mark.parametrize("seed", SEEDS)
def test_smooth_generator_is_not_accused(images, seed):
    """Its samples are closer to training images than others are, but copy none."""
    X, held_out = images[:500], images[500:800]
    report = memorization_report(
        _remembering(X, 1, 0.0, seed), X, held_out, n_samples=200
    )
    assert not report
    assert "No copies" in str(report)


def test_some_copies_are_found_and_named(images):
    """A tenth of copies is estimated, and each leads to the image it copies."""
    X, held_out = images[:500], images[500:]
    gan = _remembering(X, 500, 0.1)
    report = memorization_report(gan, X, held_out, n_samples=500, random_state=1)
    figures = report.spaces["pixels"]
    assert report.memorized
    assert figures.interval[0] <= figures.copied <= figures.interval[1]
    assert 0.05 < figures.copied < 0.15
    copies = np.flatnonzero(figures.is_copy)
    sources = X[figures.indices[copies, 0]]
    assert abs(report.samples[copies] - sources).mean() < 0.5
    # All are closer, on the whole, to nothing: distances alone would not have told.
    assert figures.closeness > 0.5


def test_images_that_are_repeated_are_copied_all_the_same(images):
    """A copy of an image that X has twenty times is not less a copy."""
    X, held_out = images[:50], images[500:800]
    gan = _remembering(X, 50, 0.5)
    once = memorization_report(gan, X, held_out, n_samples=100)
    repeated = np.repeat(X, 20, axis=0)
    report = memorization_report(gan, repeated, held_out, n_samples=100)
    assert once
    assert str(report) == str(once)
    for name, figures in report.spaces.items():
        expected = once.spaces[name].indices
        np.testing.assert_array_equal(repeated[figures.indices], X[expected])
    twice = np.repeat(held_out, 2, axis=0)
    assert str(memorization_report(gan, X, twice, n_samples=100)) == str(once)


def test_all_is_all(images):
    """Chance, which only what is no copy can have, does not lower a share of 1."""
    X, held_out = images[:400], images[500:]
    report = memorization_report(_remembering(X, 400, 1.0), X, held_out)
    assert report.spaces["pixels"].is_copy.all()
    assert report.spaces["pixels"].copied == report.spaces["pixels"].interval[1] == 1


def test_interval_has_the_doubt_of_few_held_out_images(images):
    """How often chance makes a copy is not known from thirty images."""
    X, gan = images[:500], _remembering(images, 500, 0.3)
    widths = []
    for n_held_out in (30, 500):
        held_out = images[500 : 500 + n_held_out]
        report = memorization_report(gan, X, held_out, n_samples=300, space="pixels")
        low, high = report.spaces["pixels"].interval
        widths.append(high - low)
    assert widths[0] > 1.1 * widths[1]


def test_few_images_copied_again_and_again_are_caught(images):
    """A generator that has collapsed onto a training image has memorised it."""
    X, held_out = images[:500], images[500:]
    assert memorization_report(_remembering(X, 2, 1.0), X, held_out, n_samples=100)


def test_collapsed_generator_is_not_accused(images):
    """One image of its own, drawn again and again, is no copy however it lies."""
    X, held_out = images[:500], images[500:]
    gan = _remembering(X, 1, 1.0)
    gan.generator_.stored.copy_(gan.generator_.stored * 0 - 0.4)
    assert not memorization_report(gan, X, held_out, n_samples=100)


def test_new_real_images_are_not_accused(images):
    """A perfect generator draws images of the data's own distribution."""
    X, others, held_out = images[:400], images[400:700], images[700:]
    gan = _remembering(X, 1, 1.0)
    stored = torch.as_tensor(others.reshape(300, -1) / 8 - 1, dtype=torch.float32)
    gan.generator_.stored = stored
    assert not memorization_report(gan, X, held_out, n_samples=300)


@pytest.mark.parametrize(
    "gan",
    [
        DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0),
        DCGANFeatureExtractor(network="mlp", n_filters=4, max_epochs=1, random_state=0),
        SemiSupervisedGANClassifier(n_filters=4, max_epochs=1, random_state=0),
        CategoricalGANClusterer(2, n_filters=4, max_epochs=2, random_state=0),
    ],
    ids=["dcgan", "mlp", "classifier", "clusterer"],
)
def test_all_estimators_have_reports(two_colours, gan):
    """The report has a place for each sample, and changes neither model nor seeds."""
    X, y = two_colours
    gan.fit(X[:40], y[:40])
    before, state = joblib.hash(gan.__getstate__()), torch.random.get_rng_state()
    first = memorization_report(gan, X[:40], X[40:], n_samples=20, n_neighbors=3)
    again = memorization_report(gan, X[:40], X[40:], n_samples=20, n_neighbors=3)
    assert joblib.hash(gan.__getstate__()) == before
    assert torch.equal(torch.random.get_rng_state(), state)
    assert str(first) == str(again)
    assert first.samples.shape == (20, 8, 8, 3)
    assert first.samples.dtype == np.uint8
    for figures in first.spaces.values():
        assert figures.indices.shape == figures.distances.shape == (20, 3)
        assert figures.held_out_distances.shape == (20,)
        assert np.all(np.diff(figures.distances, axis=1) >= 0)


def test_flat_rows_have_a_report_but_no_pictures(images):
    X = images.reshape(len(images), -1)
    gan = DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0).fit(X[:200])
    report = memorization_report(gan, X[:200], X[200:300], n_samples=50)
    assert not report
    with pytest.raises(ValueError, match="flat X, which has no pictures"):
        MemorizationDisplay.from_report(report, gan, X[:200])
    with pytest.raises(ValueError, match="flat X, which has no pictures"):
        MemorizationDisplay.from_estimator(gan, X[:200], X[200:300])


def test_held_out_images_of_the_training_set_are_left_out(images, untrained):
    X, held_out = images[:100], images[100:200]
    mixed = np.concatenate([held_out, X[:30]])
    with pytest.warns(
        UserWarning, match="30 of 130 images of X_held_out are in X_train"
    ):
        report = memorization_report(untrained, X, mixed, random_state=0)
    clean = memorization_report(untrained, X, held_out, random_state=0)
    assert str(report) == str(clean)


def test_all_of_the_held_out_images_are_training_images(images, untrained):
    with pytest.raises(
        ValueError, match="X_held_out has 0 images that differ from each other and"
    ):
        memorization_report(untrained, images[:100], images[:100])


@pytest.mark.parametrize(
    ("n_train", "n_held_out", "params", "message"),
    [
        (9, 50, {}, "X_train has 9 images, but at least 10"),
        (50, 19, {}, "X_held_out has 19 images, but at least 20"),
        (50, 50, {"n_samples": 19}, "n_samples should be an int of at least 20"),
        (50, 50, {"n_neighbors": True}, "n_neighbors should be an int .* got True"),
        (50, 50, {"n_neighbors": 0}, "n_neighbors should be an int of at least 1"),
        (50, 50, {"space": "latent"}, "one of both, pixels, features"),
        (50, 50, {"threshold": 1.0}, r"threshold should be in \[0, 1\), got 1.0"),
        (50, 50, {"alpha": "a"}, r"alpha should be in \[0, 1\), got 'a'"),
    ],
)
def test_report_refuses(images, untrained, n_train, n_held_out, params, message):
    X, held_out = images[:n_train], images[500 : 500 + n_held_out]
    with pytest.raises(ValueError, match=message):
        memorization_report(untrained, X, held_out, **params)


def test_no_report_of_a_generator_that_was_not_trained(images):
    """A discriminator that teaches itself alone leaves it as it was drawn."""
    gan = DCGANFeatureExtractor(
        n_filters=4,
        max_epochs=1,
        objective="rotation",
        adversarial_weight=0,
        random_state=0,
    ).fit(images[:50])
    with pytest.raises(ValueError, match="not trained.*larger adversarial_weight"):
        memorization_report(gan, images[:50], images[50:100])


def test_report_refuses_images_of_other_sizes(images, untrained):
    with pytest.raises(ValueError, match=r"was fitted on images of shape \(8, 8, 1\)"):
        memorization_report(untrained, images[:50], images[50:100, :6])


def test_held_out_images_that_are_equal_count_once(images, untrained):
    held_out = np.repeat(images[500:510], 5, axis=0)
    with pytest.raises(ValueError, match="X_held_out has 10 images that differ"):
        memorization_report(untrained, images[:100], held_out)


def test_pixels_need_no_discriminator(images, tmp_path):
    """The file of a generator alone is enough to look for copies."""
    X = np.repeat(np.repeat(images[:200], 2, axis=1), 2, axis=2)
    netG = nn.Sequential(nn.ConvTranspose2d(5, 4, 8), nn.ConvTranspose2d(4, 1, 4, 2, 1))
    torch.save(netG.state_dict(), tmp_path / "netG.pth")
    gan = DCGANFeatureExtractor.from_checkpoint(
        tmp_path / "netG.pth", data_range=(0, 16), random_state=0
    )
    assert not memorization_report(gan, X[:150], X[150:], space="pixels")
    with pytest.raises(ValueError, match="There is no discriminator"):
        memorization_report(gan, X[:150], X[150:])


def test_one_space_can_be_asked_for(images, untrained):
    report = memorization_report(
        untrained, images[:50], images[50:100], n_samples=20, space="features"
    )
    assert list(report.spaces) == ["features"]


@pytest.mark.parametrize("n_worst", [0, -1, 2.0])
def test_display_needs_something_to_draw(images, untrained, n_worst):
    with pytest.raises(ValueError, match=r"n_worst=.* should be an int of at least 1"):
        MemorizationDisplay.from_estimator(
            untrained, images[:50], images[50:100], n_worst=n_worst
        )


def test_display_needs_the_training_images_of_the_report(images, untrained):
    report = memorization_report(
        untrained, images[:50], images[50:100], n_samples=20, random_state=0
    )
    with pytest.raises(ValueError, match="X_train has 3 images, but the report names"):
        MemorizationDisplay.from_report(report, untrained, images[:3])


def test_display_shows_copies_beside_what_they_copy(images):
    """The first row has the sample, and at once its source."""
    X, held_out = images[:100], images[500:]
    gan = _remembering(X, 3, 0.5)
    display = MemorizationDisplay.from_estimator(
        gan, X, held_out, n_samples=100, n_neighbors=2, n_worst=4
    )
    assert display.samples.shape == (4, 8, 8, 1)
    assert display.neighbors["pixels"].shape == (4, 2, 8, 8, 1)
    for row in range(3):  # each image that was copied stands there once
        source = display.neighbors["pixels"][row, 0]
        assert abs(display.samples[row] - source).mean() < 0.5
    assert display.ratios[2] < 0.5 < display.ratios[3]
    # A sample, its two neighbours in each space, gaps of white between the three.
    assert display.grid().shape == (35, 8 + 3 + 17 + 3 + 17, 1)
    assert display.im_.get_array().shape == display.grid().shape[:2]
    labels = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert labels == ["sample", "nearest in pixels", "nearest in features"]
    assert display.plot(ax=display.ax_).figure_ is display.figure_
