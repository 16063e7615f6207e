"""BlobGAN: blobs of noise and of images, painted again, edited and saved."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from small_blobgan import TINY

from sklgan import BlobGAN, BlobsDisplay, TrainingDivergedError
from sklgan.blobs import blob_dtype, blobs_to_matrix, compose, edit
from sklgan.datasets import ImageFolder


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
    for paint in (gan.render, gan.opacity_maps):
        with pytest.raises(ValueError, match="blobs of no image"):
            paint(B[:0])
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


def test_without_an_encoder_nothing_is_found(digits):
    """Where training diverges before its turn; samples are still to be had."""
    gan = BlobGAN(2, **TINY).fit(digits[0][:40])
    gan.set_params(max_epochs=3, learning_rate=1e30)
    with pytest.raises(TrainingDivergedError, match="Lower learning_rate"):
        gan.fit(digits[0])
    assert gan.sample(2).shape == (2, 8, 8)
    with pytest.raises(
        NotFittedError, match="before an epoch of its encoder.*Call fit again"
    ):
        gan.transform(digits[0])
    assert not hasattr(gan, "encoder_history_")


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
    (number,) = display.numbers_
    assert number.get_text() == "2"
    assert_allclose(number.get_position(), ellipse.center)
    # The half-opaque ellipse of size 4: its area is 4 times 2 % of the image, times pi.
    area = np.pi * ellipse.width * ellipse.height / 4
    assert area == pytest.approx(4 * 0.02 * np.pi * 64, rel=0.05)
    assert BlobsDisplay.from_estimator(gan, n_samples=2).painted is None


def test_display_refuses_maps_of_others(gan, digits):
    """Of more images, of other sides, or without the background."""
    X = digits[0][:3]
    B = gan.find(X)
    maps = gan.opacity_maps(B)
    for wrong in (maps[:2], maps[:, 1:], maps[0], maps[..., :4]):
        with pytest.raises(ValueError, match="not belong to 3 images 8x8 of 3 blobs"):
            BlobsDisplay(X, B, wrong).grid(np.eye(3))
    for blobs in (B[:2], np.concatenate([B, B])):
        with pytest.raises(ValueError, match=r"those of \d images, but there are 3"):
            BlobsDisplay(X, blobs, maps).plot()
    for painted in (X[:2], X[:, :4]):
        with pytest.raises(ValueError, match=r"painted of shape .* pass gan.render"):
            BlobsDisplay(X, B, maps, painted=painted).plot()
    with pytest.raises(ValueError, match=r"data_range=\(3, 3\) should be"):
        BlobsDisplay(X, B, maps, data_range=(3, 3)).plot()


def test_display_takes_what_fit_takes(tmp_path):
    """Files and pictures of any size, which are cropped as in ``fit``."""
    X = np.random.default_rng(0).integers(256, size=(6, 8, 12, 3), dtype=np.uint8)
    pictures = [Image.fromarray(image) for image in X]
    paths = [tmp_path / f"{k}.png" for k in range(len(X))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.resize((24, 16), Image.Resampling.NEAREST).save(path)
    gan = BlobGAN(2, **TINY, image_shape=(8, 12, 3)).fit(X)
    sequence = ImageFolder(tmp_path, image_shape=(8, 12, 3))
    for given in (X, X.reshape(6, -1), pictures, paths, sequence):
        display = BlobsDisplay.from_estimator(gan, given)
        assert display.images.shape == display.painted.shape == X.shape
        if given is not paths and given is not sequence:
            assert_array_equal(display.images, X)
