"""BlobGAN: blobs of noise and of images, painted again, edited and saved."""

import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sklgan import BlobGAN, BlobsDisplay, TrainingDivergedError
from sklgan._inversion import (
    blob_distance,
    exchanged,
    feature_distance,
    inversion_loss,
)
from sklgan.blobs import blob_dtype, blobs_to_matrix, compose, edit
from sklgan.networks import BlobDiscriminator, BlobEncoder, BlobGenerator

TINY = {
    "n_filters": 2,
    "latent_dim": 8,
    "feature_dim": 3,
    "style_dim": 2,
    "max_epochs": 1,
    "device": "cpu",
    "random_state": 0,
}


@pytest.fixture(scope="module")
def gan(digits):
    """Return a BlobGAN of three blobs, hardly trained; to be left as it is."""
    return BlobGAN(3, **TINY).fit(digits[0])


def test_transform_and_back(gan, digits):
    """Images to rows to images; rows and arrays of blobs mean the same."""
    X, _ = digits
    M, B = gan.transform(X[:5]), gan.find(X[:5])
    assert M.shape == (5, 3 * (5 + 3 + 2) + 3 + 2)
    assert M.dtype == np.float32
    assert len(gan.get_feature_names_out()) == M.shape[1]
    assert_array_equal(blobs_to_matrix(B), M)
    images = gan.inverse_transform(M)
    assert images.shape == (5, 8, 8)
    assert images.dtype == X.dtype
    assert 0 <= images.min() <= images.max() <= 16
    assert_array_equal(gan.render(B), images)


def test_names_say_where_a_value_stands(gan, digits):
    """Each name is that of its field."""
    names, B = gan.get_feature_names_out().tolist(), gan.find(digits[0][:4])
    M = blobs_to_matrix(B)
    for name, expected in {
        "blob0_x": B["x"][:, 0],
        "blob2_angle": B["angle"][:, 2],
        "blob1_feature02": B["feature"][:, 1, 2],
        "blob2_style01": B["style"][:, 2, 1],
        "background_feature00": B["background_feature"][:, 0],
        "background_style01": B["background_style"][:, 1],
    }.items():
        assert_array_equal(M[:, names.index(name)], expected)


def test_values_have_the_documented_ranges(gan, digits):
    """Of found blobs and of drawn ones."""
    for B in (gan.find(digits[0]), gan.sample(50, return_blobs=True)[1]):
        for name in ("x", "y"):
            assert ((B[name] >= 0) & (B[name] <= 1)).all()
        assert (B["size"] >= 0).all()
        assert ((B["aspect"] >= 1) & (B["aspect"] <= 3)).all()
        assert (abs(B["angle"]) <= np.pi / 2 + 1e-6).all()
        assert_allclose((B["style"] ** 2).mean(2), 1, rtol=1e-2)


def test_samples_are_painted_of_their_blobs(gan):
    """``sample``, ``generate``, ``layout`` and ``render`` agree."""
    images, B = gan.sample(6, random_state=1, return_blobs=True)
    assert B.dtype == gan.blob_dtype_ == blob_dtype(3, 3, 2)
    assert_array_equal(gan.render(B), images)
    assert_array_equal(gan.sample(6, random_state=1), images)
    Z = np.random.RandomState(1).standard_normal((6, 8))
    assert_array_equal(blobs_to_matrix(gan.layout(Z)), blobs_to_matrix(B))
    assert_allclose(gan.generate(Z), images, atol=1e-4)


def test_truncation_draws_layouts_together(gan):
    """Half way half as diverse about, at 1 all the same."""
    spreads = []
    for truncation in (0.0, 0.5, 1.0):
        _, B = gan.sample(100, truncation=truncation, return_blobs=True)
        spreads.append(B["x"].std(axis=0).mean())
    assert spreads[0] > 1.2 * spreads[1] > 0
    assert spreads[2] < 1e-5
    with pytest.raises(ValueError, match="truncation=2 should be from 0 to 1"):
        gan.layout(np.zeros((1, 8)), truncation=2)


def test_opacity_maps_are_shares(gan):
    """Background first; a removed blob is not seen."""
    _, B = gan.sample(4, return_blobs=True)
    maps = gan.opacity_maps(B)
    assert maps.shape == (4, 4, 8, 8)
    assert_allclose(maps.sum(axis=1), 1, rtol=1e-5)
    assert gan.opacity_maps(edit(B, 1, remove=True))[:, 2].max() < 1e-5


def test_moving_a_blob_moves_what_is_seen_of_it(gan):
    """By as many pixels, in any image."""
    B = gan.sample(1, return_blobs=True)[1]
    B["x"], B["y"], B["size"], B["aspect"] = 0.4, 0.5, [0, 1, 0], 1
    moved = gan.opacity_maps(edit(B, 1, move=(0.25, 0.0)))[0, 2]
    assert_allclose(moved[:, 2:], gan.opacity_maps(B)[0, 2][:, :-2], atol=1e-5)


def test_any_number_of_blobs_can_be_painted(gan):
    """Copies and blobs of other images come on top."""
    images, B = gan.sample(2, return_blobs=True)
    assert gan.render(edit(B, 0, copy=True)).shape == images.shape
    assert gan.render(compose(B, B[:1])).shape == images.shape
    hidden = compose(B, edit(B, 2, remove=True), [2])
    assert_allclose(gan.render(hidden), images, atol=1e-3)


def test_blobs_of_another_model_are_refused(gan):
    """By the widths of their vectors; so are values that cannot be painted."""
    B = np.zeros(1, dtype=blob_dtype(3, 5, 2))
    B["aspect"] = 1
    with pytest.raises(ValueError, match="feature of 5 values.*have 3"):
        gan.render(B)
    with pytest.raises(ValueError, match=r"M has shape \(2, 7\)"):
        gan.inverse_transform(np.zeros((2, 7)))
    B = gan.sample(1, return_blobs=True)[1]
    B["size"][0, 1] = -1
    with pytest.raises(ValueError, match="size=-1.0 of blob 1"):
        gan.render(B)
    with pytest.raises(ValueError, match="NaN"):
        gan.inverse_transform(np.full((1, 35), np.nan))


def test_refinement_paints_better(gan, digits):
    """Never worse by the distance that it lessens."""
    X = digits[0][:20]
    errors = [
        np.square(gan.render(gan.find(X, refine=n_steps)) - X).mean()
        for n_steps in (0, 10, 30)
    ]
    assert errors[2] < 0.9 * errors[0]
    assert errors[2] < errors[1] < 0.97 * errors[0]
    assert_array_equal(gan.transform(X, refine=2), gan.transform(X, refine=2))
    assert all(p.grad is None for p in gan.generator_.parameters())
    with pytest.raises(ValueError, match="refine=-1"):
        gan.transform(X, refine=-1)


def test_the_encoder_learns(digits):
    """Its loss falls, and in generated images it finds blobs better than by chance."""
    X = digits[0][:100]
    params = {**TINY, "max_epochs": 2, "learning_rate": 0.01}
    fits = [BlobGAN(2, **params, encoder_epochs=n).fit(X) for n in (0, 8)]
    images, B = fits[0].sample(100, truncation=0.3, return_blobs=True)
    found = [gan.transform(images) for gan in fits]
    errors = [np.square(M - blobs_to_matrix(B)).mean() for M in found]
    assert errors[1] < 0.7 * errors[0]
    rows = fits[1].encoder_history_
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert fits[0].encoder_history_ == []
    assert_array_equal(*(gan.sample(3) for gan in fits))


def test_pipeline_with_a_classifier(digits):
    """Blobs are features like any other."""
    X, y = digits
    gan = BlobGAN(3, **TINY, encoder_epochs=4)
    model = make_pipeline(gan, LogisticRegression(max_iter=2000)).fit(X, y)
    assert model.score(X, y) > 0.3
    frame = clone(gan).set_output(transform="pandas").fit_transform(X)
    assert frame.filter(like="_x").shape == (200, 3)


@pytest.mark.parametrize(
    "shape", [(16, 16), (16, 16, 1), (16, 16, 4), (6, 20, 3), (5, 5)]
)
def test_images_of_any_kind(shape):
    """Grey, RGBA, not square, smaller than the grid; one blob is enough."""
    X = np.random.default_rng(0).integers(256, size=(20, *shape)).astype(np.uint8)
    gan = BlobGAN(1, **TINY).fit(X)
    images, B = gan.sample(3, return_blobs=True)
    assert images.shape == (3, *shape)
    assert images.dtype == np.uint8
    assert B["x"].shape == (3, 1)
    assert gan.render(gan.find(X[:2])).shape == (2, *shape)


def test_flat_rows_are_signals():
    """Images of one pixel's height: blobs lie along the columns."""
    X = np.random.default_rng(0).normal(5, 2, size=(40, 20))
    gan = BlobGAN(2, **TINY).fit(X)
    assert gan.image_shape_ is None
    images, B = gan.sample(3, return_blobs=True)
    assert images.shape == (3, 20)
    assert gan.opacity_maps(B).shape == (3, 3, 1, 20)
    assert gan.render(gan.find(X)).shape == X.shape
    with pytest.raises(ValueError, match="fitted on flat X, which has no pictures"):
        BlobsDisplay.from_estimator(gan)


def test_other_perceptual_distances(digits, monkeypatch):
    """A function of two batches, or LPIPS where that is installed."""
    seen = []

    def distance(images, others):
        seen.append((images.shape[1:], others.shape))
        return (images - others).abs().flatten(1).mean(1)

    BlobGAN(2, **TINY, perceptual=distance).fit(digits[0][:40])
    assert seen[0] == ((1, 8, 8), (20, 1, 8, 8))
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ImportError, match="perceptual='lpips' needs the package lpips"):
        BlobGAN(2, **TINY, perceptual="lpips").fit(digits[0][:40])
    with pytest.raises(ValueError, match="perceptual='lpips' is for images"):
        BlobGAN(2, **TINY, perceptual="lpips").fit(np.eye(20))
    # As that package has it: a module of colour images, distances (n, 1, 1, 1).
    kinds = []

    class LPIPS(torch.nn.Module):
        def __init__(self, net, verbose):
            super().__init__()
            kinds.append(net)

        def forward(self, images, others):
            assert images.shape[1] == others.shape[1] == 3
            return (images - others).abs().mean((1, 2, 3), keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=LPIPS))
    BlobGAN(2, **TINY, perceptual="lpips").fit(digits[0][:40])
    assert kinds == ["vgg"]


def test_layouts_exchange_whole_blobs():
    """Each blob keeps its number and its fields, and comes from another layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = BlobGenerator(8, (1, 8, 8), 2, 3, 3, 2)
        blobs = generator.layout(torch.randn(40, 8))
        mixed = exchanged(blobs)
    sources = []
    for blob in range(3):
        distances = torch.cdist(mixed.feature[:, blob], blobs.feature[:, blob])
        rows = distances.argmin(1)
        for name in ("x", "y", "size", "aspect", "angle", "feature", "style"):
            before, after = getattr(blobs, name), getattr(mixed, name)
            assert torch.equal(after[:, blob], before[rows, blob])
        assert rows.sort().values.tolist() == list(range(40))
        sources.append(rows)
    assert (sources[0] == sources[1]).float().mean() < 0.2
    assert mixed.background_style is blobs.background_style


@pytest.mark.parametrize(("steps_taken", "weight"), [(0, 10.0), (50, 1.0), (100, 0.1)])
def test_the_inversion_loss_has_five_terms(steps_taken, weight):
    """Two of real images, two of fakes, and the error of the blobs, less and less."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = BlobGenerator(8, (1, 8, 8), 2, 2, 3, 2).eval()
        encoder = BlobEncoder((1, 8, 8), 2 * 11 + 5, 2)
        discriminator = BlobDiscriminator((1, 8, 8), 1, 2).eval()
        real = torch.rand(6, 1, 8, 8)
        parts, drawn = [], []

        def perceptual(images, others):
            drawn.append(others)
            parts.append(feature_distance(discriminator, images, others).mean())
            parts.append((images - others).square().mean())
            return feature_distance(discriminator, images, others)

        layouts, render = [], generator.render

        def render_and_keep(blobs):
            layouts.append(blobs)
            return render(blobs)

        generator.render = render_and_keep
        step = torch.tensor(steps_taken)
        loss = inversion_loss(
            encoder,
            real,
            generator=generator,
            latent_dim=8,
            perceptual=perceptual,
            step=step,
            n_steps=100,
        )
        found = generator.layout.read_numbers(encoder(drawn[1])[1])
        total = sum(parts) + weight * blob_distance(found, layouts[0])
    assert torch.equal(drawn[0], real)
    torch.testing.assert_close(render(layouts[0]), drawn[1])
    assert len(parts) == 4
    assert step == steps_taken + 1
    torch.testing.assert_close(loss, total)


def test_a_fit_goes_on_from_its_checkpoint(digits, tmp_path):
    """Broken off within the encoder's training, it ends as if it had not been."""
    X, calls = digits[0][:64], []
    params = {**TINY, "max_epochs": 2, "encoder_epochs": 3}

    def distance(images, others):
        calls.append(len(images))
        if len(calls) == stop:
            raise KeyboardInterrupt
        return (images - others).abs().flatten(1).mean(1)

    stop = None
    whole = BlobGAN(2, **params, perceptual=distance).fit(X)
    calls, stop = [], 7  # in the second epoch: two batches, two distances each
    gan = BlobGAN(
        2,
        **params,
        perceptual=distance,
        checkpoint=tmp_path,
        checkpoint_interval=0,
    )
    with pytest.raises(KeyboardInterrupt):
        gan.fit(X)
    assert len(gan.encoder_history_) == 1
    assert gan.transform(X).shape == (64, 25)
    calls, stop = [], None
    gan.fit(X)
    assert len(calls) == 8  # of two epochs
    assert len(gan.encoder_history_) == 3
    assert_array_equal(gan.transform(X), whole.transform(X))


def test_without_an_encoder_nothing_is_found(digits):
    """Where training diverges before its turn; samples are still to be had."""
    gan = BlobGAN(2, **{**TINY, "max_epochs": 3, "learning_rate": 1e30})
    with pytest.raises(TrainingDivergedError, match="Lower learning_rate"):
        gan.fit(digits[0])
    assert gan.sample(2).shape == (2, 8, 8)
    with pytest.raises(
        NotFittedError, match="before its encoder's turn.*Call fit again"
    ):
        gan.transform(digits[0])


def test_display_draws_blobs_where_they_are(gan, digits):
    """A column an image: ellipses over it, what is painted, opacities."""
    X = digits[0][:3]
    display = BlobsDisplay.from_estimator(gan, X)
    assert_array_equal(display.painted[..., 0], gan.render(gan.find(X)))
    grid = display.grid(np.eye(3))
    assert grid.shape == (3 * 8 + 2, 3 * 8 + 2, 3)
    assert_allclose(grid[:8, :8, 0], X[0] / 16, atol=1e-6)
    shown = gan.opacity_maps(gan.find(X))[0, 1:].transpose(1, 2, 0)
    assert_allclose(grid[18:, :8], shown, atol=1e-6)
    B = display.blobs.copy()
    B["size"], B["x"], B["y"], B["aspect"], B["angle"] = 0, 0.25, 0.5, 2, 0
    B["size"][1, 2] = 4
    display = BlobsDisplay(X, B, display.opacity_maps, data_range=(0, 16)).plot()
    (ellipse,) = display.ellipses_
    assert_allclose(ellipse.center, (9 + 0.25 * 8 - 0.5, 0.5 * 8 - 0.5))
    assert ellipse.width == pytest.approx(2 * ellipse.height)
    # The half-opaque ellipse of size 4: its area is 4 times 2 % of the image, times pi.
    area = np.pi * ellipse.width * ellipse.height / 4
    assert area == pytest.approx(4 * 0.02 * np.pi * 64, rel=0.05)
    assert BlobsDisplay.from_estimator(gan, n_samples=2).painted is None
    plt.close("all")


def test_display_draws_pictures_in_files(two_colours, tmp_path):
    """What find takes, the display takes."""
    X = two_colours[0][:20]
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for path, image in zip(paths, X, strict=False):
        Image.fromarray(image).save(path)
    display = BlobsDisplay.from_estimator(BlobGAN(2, **TINY).fit(X), paths)
    assert_array_equal(display.images, X[:3])
    plt.close("all")
