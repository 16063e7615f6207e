"""Filters of a discriminator: top images, a classifier's weights, pictures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from image_files import encode
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklgan import (
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan.datasets import ImageFolder
from sklgan.inspection import (
    GuidedBackpropDisplay,
    TopImagesDisplay,
    decision_map,
    filter_importance,
    guided_backprop,
    receptive_fields,
    top_images,
    untrained_copy,
)


def make_gan(**kwargs):
    """Return an estimator that is trained in a moment."""
    options = {"n_filters": 4, "max_epochs": 1, "batch_size": 50, "random_state": 0}
    return DCGANFeatureExtractor(**(options | kwargs))


@pytest.fixture(scope="module")
def deep(digits):
    """Return an extractor with two convolutions, the second normalised."""
    return make_gan(network="dcgan-deep").fit(digits[0])


@pytest.fixture(scope="module")
def classifier(digits):
    """Return a classifier, whose discriminator pools between convolutions."""
    return SemiSupervisedGANClassifier(
        n_filters=4, max_epochs=1, batch_size=50, random_state=0
    ).fit(*digits)


# Receptive fields -------------------------------------------------------------------


def test_receptive_fields_are_those_of_kernels_and_strides(deep):
    """3x3 and stride 1, then 3x3 and stride 2, cut off at the borders."""
    for layer, reach, stride, side in ((1, 1, 1, 8), (2, 2, 2, 4)):
        centers = stride * np.arange(side)
        first, last = np.maximum(centers - reach, 0), np.minimum(centers + reach, 7) + 1
        boxes = receptive_fields(deep, layer)
        assert_array_equal(boxes[:, 0, [0, 2]], np.stack([first, last], axis=1))
        assert_array_equal(boxes[0, :, [1, 3]], np.stack([first, last]))


def test_pixels_outside_a_receptive_field_do_not_matter(classifier, digits):
    """Pooling included; pixels at its corners do matter."""
    X = digits[0][:20]
    network = classifier.discriminator_

    def position(images):
        with torch.inference_mode():
            batch = torch.from_numpy(images[:, None] / 8 - 1).float()
            return network(batch)[0][1][:, :, 1, 2].numpy()

    top, left, bottom, right = receptive_fields(classifier, 2)[1, 2]
    assert (bottom - top, right - left) == (6, 6)
    inside = np.zeros((8, 8), dtype=bool)
    inside[top:bottom, left:right] = True
    noise = np.random.default_rng(0).normal(size=X.shape).astype(np.float32) * 9
    assert_array_equal(position(X), position(np.where(inside, X, noise)))
    for corner in ((top, left), (bottom - 1, right - 1)):
        changed = X.copy()
        changed[:, corner[0], corner[1]] += 50
        assert (position(changed) != position(X)).any()


def test_fully_connected_layers_see_the_whole_image(digits):
    """One position; rows of flat X have no rectangles."""
    gan = make_gan(network="mlp").fit(digits[0])
    assert_array_equal(receptive_fields(gan, 2), [[[0, 0, 8, 8]]])
    flat = make_gan().fit(digits[0].reshape(-1, 64))
    with pytest.raises(ValueError, match="flat X.*image_shape"):
        receptive_fields(flat, 1)
    with pytest.raises(ValueError, match="layers 1 to 2"):
        receptive_fields(gan, 3)


# Top images -------------------------------------------------------------------------


def test_top_images_are_those_with_the_largest_maximum(deep, digits):
    """Found again among the features pooled to one value a filter."""
    X = digits[0]
    pooled = make_gan(network="dcgan-deep", pool_size=1).fit(X)
    features = pooled.transform(X)
    filters = [(1, 2), (2, 5), "conv2_ch000"]
    columns = [2, 8 + 5, 8]
    top = top_images(deep, X, filters, n_images=4)
    assert top.names == ["conv1_ch002", "conv2_ch005", "conv2_ch000"]
    for k, column in enumerate(columns):
        order = np.argsort(-features[:, column], kind="stable")[:4]
        assert_array_equal(top.indices[k], order)
        assert_allclose(top.responses[k], features[order, column])
        assert_array_equal(top.images[k], X[order])
        assert top.images.dtype == X.dtype


def test_position_and_crop_are_where_the_response_is(deep, digits):
    """The crop alone, elsewhere black, gives the same response at the position."""
    X = digits[0]
    top = top_images(deep, X, [(2, 4)], n_images=6)
    for image, (y0, x0, y1, x1), crop, position, response in zip(
        top.images[0],
        top.boxes[0],
        top.crops[0],
        top.positions[0],
        top.responses[0],
        strict=True,
    ):
        assert_array_equal(crop, image[y0:y1, x0:x1])
        alone = np.zeros_like(image)
        alone[y0:y1, x0:x1] = crop
        name = "conv2_ch004_r{}_c{}".format(*position)
        _, [[value]] = guided_backprop(deep, alone[None], name)
        assert value == pytest.approx(response, rel=1e-5)


def test_a_feature_of_a_cell_is_looked_for_there(deep, digits):
    """The cell of a 4x4 grid on the 8x8 map, and no other."""
    top = top_images(deep, digits[0], "conv1_ch001_r2_c0", n_images=20)
    assert set(map(tuple, top.positions[0])) <= {(4, 0), (4, 1), (5, 0), (5, 1)}
    names = deep.get_feature_names_out().tolist()
    column = deep.transform(digits[0])[:, names.index("conv1_ch001_r2_c0")]
    assert_array_equal(top.responses[0], np.sort(column)[::-1][:20])


def test_equals_are_in_the_order_of_X(deep, digits):
    """Whatever batch they come in; and there are no more images than X has."""
    X = np.repeat(digits[0][:1], 300, axis=0)
    top = top_images(deep, X, [(1, 0)], n_images=150)
    assert_array_equal(top.indices[0], np.arange(150))
    assert top_images(deep, X[:5], [(1, 0)]).images.shape == (1, 5, 8, 8)


def test_images_on_disk_are_decoded_only_in_batches(tmp_path, two_colours):
    """What a folder gives is what the array gives, never all of it at once."""
    X, y = two_colours
    X = np.concatenate([X, X[::-1], X // 2, X // 3])
    for k, image in enumerate(X):
        (tmp_path / f"{k:03d}.png").write_bytes(encode(image))
    decoded = []

    class Watched(ImageFolder):
        def _pictures(self, rows):
            decoded.append(len(rows))
            return super()._pictures(rows)

    folder = Watched(tmp_path)
    gan = make_gan().fit(X)
    decoded.clear()
    top = top_images(gan, folder, [(1, 0), (1, 2)], n_images=3)
    assert max(decoded) <= 128 < len(X) == 256
    expected = top_images(gan, X, [(1, 0), (1, 2)], n_images=3)
    for name in ("indices", "responses", "positions", "boxes", "images"):
        assert_array_equal(top[name], expected[name])
    assert top.images.dtype == np.uint8


def test_flattened_images_have_crops(digits):
    """Images stay rows, crops have rows and columns."""
    X = digits[0].reshape(-1, 64)
    gan = make_gan(image_shape=(8, 8)).fit(X)
    top = top_images(gan, X, [(1, 0)], n_images=2)
    assert top.images.shape == (1, 2, 64)
    y0, x0, y1, x1 = top.boxes[0, 0]
    assert_array_equal(top.crops[0][0], top.images[0, 0].reshape(8, 8)[y0:y1, x0:x1])


@pytest.mark.parametrize("n_images", [0, -1, 2.5, None])
def test_number_of_images_is_checked(n_images, deep, digits):
    with pytest.raises(ValueError, match="n_images=.* should be an int of at least 1"):
        top_images(deep, digits[0], (1, 0), n_images=n_images)


# A linear classifier's weights ------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(deep, digits):
    """Return a scaler and a classifier fitted on the features."""
    X, y = digits
    features = deep.transform(X)
    pipeline = make_pipeline(StandardScaler(), LinearSVC(C=0.01)).fit(features, y)
    return pipeline[0], pipeline[1]


def test_importance_is_the_norm_over_a_filter_s_cells(deep, fitted):
    """For each class, in the order of the features; layers keep their names."""
    coef = fitted[1].coef_
    importance, filters = filter_importance(deep, coef)
    assert importance.shape == (10, 16)
    assert filters[:2] == ["conv1_ch000", "conv1_ch001"]
    assert filters[8:] == [f"conv2_ch{k:03d}" for k in range(8)]
    norms = np.linalg.norm(coef.reshape(10, 16, 16), axis=2)
    assert_allclose(importance, norms)
    assert_allclose(filter_importance(deep, coef[3])[0], norms[3:4])


def test_importance_of_chosen_features(deep, digits, fitted):
    """After a selection, names tell which features the weights belong to."""
    X, y = digits
    features = deep.transform(X)
    selection = SelectKBest(k=30).fit(features, y)
    names = selection.get_feature_names_out(deep.get_feature_names_out())
    svm = LinearSVC(C=0.01).fit(selection.transform(features), y)
    coef = np.zeros((10, 256))
    coef[:, selection.get_support()] = svm.coef_
    expected, all_filters = filter_importance(deep, coef)
    importance, filters = filter_importance(deep, svm.coef_, names=names)
    assert_allclose(importance, expected[:, [all_filters.index(f) for f in filters]])
    assert_allclose(
        decision_map(deep, X[:4], svm.coef_, names=names)[0],
        decision_map(deep, X[:4], coef)[0],
        atol=1e-7,
    )


def test_weights_of_the_same_feature_add_up(deep, digits):
    """A single name may be a string."""
    X, name = digits[0][:4], deep.get_feature_names_out()[9]
    twice = decision_map(deep, X, np.ones((1, 2)), names=[name, name])
    once = decision_map(deep, X, 2 * np.ones((1, 1)), names=name)
    assert_allclose(twice[0], once[0])
    assert_allclose(twice[1], 2 * deep.transform(X)[:, [9]], rtol=1e-6)


def test_decision_map_is_the_gradient_of_the_pipeline(deep, digits, fitted):
    """By finite differences of decision_function, scaler and all, in units of X."""
    scaler, svm = fitted
    X = digits[0][7:8].astype(float)

    def decide(images):
        return svm.decision_function(scaler.transform(deep.transform(images)))

    maps, decisions = decision_map(
        deep, X, svm.coef_, scale=scaler.scale_, guided=False
    )
    assert maps.shape == (1, 10, 8, 8)
    step = 0.02 * np.eye(64).reshape(64, 8, 8)
    change = ((decide(X + step) - decide(X - step)) / 0.04).T.reshape(10, 8, 8)
    difference = np.abs(change - maps[0])
    # Where a rectifier or a maximum bends within the step they differ.
    assert np.quantile(difference, 0.9) < 0.02 * np.abs(change).max()
    constant = svm.intercept_ - svm.coef_ @ (scaler.mean_ / scaler.scale_)
    assert_allclose(decisions + constant, decide(X), rtol=1e-3, atol=1e-4)


def test_guided_decision_map_is_the_sum_over_features(deep, digits):
    """One weight alone is guided backpropagation of its feature."""
    coef = np.zeros(256)
    coef[130] = 2.5
    name = deep.get_feature_names_out()[130]
    gradients, responses = guided_backprop(deep, digits[0], name)
    maps, decisions = decision_map(deep, digits[0], coef)
    assert np.abs(maps).max() > 0
    assert_allclose(maps, 2.5 * gradients, atol=1e-7)
    assert_allclose(decisions, 2.5 * responses, rtol=1e-5)


def test_decision_may_be_the_network_s_own(classifier, deep, digits):
    """Without coef: how real, or a logit for each class."""
    maps, logits = decision_map(deep, digits[0][:5])
    assert maps.shape == (5, 1, 8, 8)
    assert_allclose(logits[:, 0], deep.score_samples(digits[0][:5]), rtol=1e-5)
    maps, logits = decision_map(classifier, digits[0][:5])
    assert maps.shape == (5, 10, 8, 8)
    assert_allclose(
        logits, classifier.decision_function(digits[0][:5]), rtol=1e-4, atol=1e-6
    )


def test_weights_that_do_not_match_are_refused(classifier, deep, digits):
    """The message says what was found and what is needed."""
    X, coef = digits[0], np.ones((2, 256))
    with pytest.raises(ValueError, match="3 columns, but there are 256 features"):
        filter_importance(deep, np.ones((10, 3)))
    with pytest.raises(ValueError, match="'x0' is not among"):
        decision_map(deep, X, np.ones((1, 1)), names=["x0"])
    with pytest.raises(ValueError, match=r"scale of shape \(3,\)"):
        decision_map(deep, X, coef, scale=np.ones(3))
    with pytest.raises(ValueError, match="positive number"):
        decision_map(deep, X, coef, scale=np.zeros(256))
    with pytest.raises(ValueError, match="NaN"):
        decision_map(deep, X, coef * np.nan)
    with pytest.raises(ValueError, match="belong to coef"):
        decision_map(deep, X, scale=np.ones(256))
    with pytest.raises(TypeError, match="DCGANFeatureExtractor"):
        decision_map(classifier, X, coef)


# Displays ---------------------------------------------------------------------------


def test_guided_backprop_is_drawn_beside_the_untrained(deep, digits):
    """Top images and their gradients, of the network and of one as it began."""
    X = digits[0]
    display = GuidedBackpropDisplay.from_estimator(deep, X, n_images=2)
    top = top_images(deep, X, [(2, k) for k in range(6)], n_images=2)
    assert_array_equal(display.images[..., 0], top.images)
    expected, _ = guided_backprop(deep, top.images[5], (2, 5))
    assert_array_equal(display.gradients[5, ..., 0], expected[:, 0])
    untrained = untrained_copy(deep, X)
    others = top_images(untrained, X, [(2, k) for k in range(6)], n_images=2)
    assert_array_equal(display.untrained_images[..., 0], others.images)
    expected, _ = guided_backprop(untrained, others.images[1], (2, 1))
    assert_array_equal(display.untrained_gradients[1, ..., 0], expected[:, 0])
    assert display.im_.get_array().shape == (6 * 9 - 1, 2 * (4 * 9 - 1) + 4)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == top.names
    given = GuidedBackpropDisplay.from_estimator(
        deep, X, filters=(1, 0), untrained=deep, ax=display.ax_
    )
    assert given.ax_ is display.ax_
    assert_array_equal(given.untrained_gradients, given.gradients)


def test_gradients_are_drawn_to_their_own_scale():
    """Grey is none, the largest is white or black; images have their range."""
    images = np.full((1, 2, 1, 2), 4.0)
    gradients = np.array([[[[0.0, 0.5]], [[-8.0, 4.0]]]])
    grid = GuidedBackpropDisplay(images, gradients, data_range=(0, 16)).grid()
    white = 1.0
    expected = [0.25, 0.25, white, 0.25, 0.25, white, 0.5, 1, white, 0, 0.75]
    assert_allclose(grid[0, :, 0], expected)
    display = GuidedBackpropDisplay(
        np.zeros((1, 1, 2, 2, 4)), np.zeros((1, 1, 2, 2, 4))
    )
    assert_allclose(display.grid()[:, -2:], np.full((2, 2, 4), [0.5, 0.5, 0.5, 1]))


def test_top_images_are_drawn_with_their_boxes(deep, two_colours, digits):
    """A rectangle round the pixels of each box; colour and flattened images too."""
    display = TopImagesDisplay.from_estimator(
        deep, digits[0], filters=[(1, 1), (2, 3)], n_images=4
    )
    assert display.im_.get_array().shape == (17, 4 * 9 - 1)
    top, left, bottom, right = display.boxes[1, 2]
    rectangle = display.rectangles_[4 + 2]
    assert rectangle.get_xy() == (2 * 9 + left - 0.5, 9 + top - 0.5)
    assert rectangle.get_width() == right - left
    assert rectangle.get_height() == bottom - top
    X = two_colours[0]
    colour = make_gan(image_shape=(8, 8, 3)).fit(X.reshape(64, -1))
    display = TopImagesDisplay.from_estimator(colour, X.reshape(64, -1))
    assert display.im_.get_array().shape == (4 * 9 - 1, 9 * 9 - 1, 3)
    display = GuidedBackpropDisplay.from_estimator(colour, X.reshape(64, -1))
    assert display.images.shape == (4, 3, 8, 8, 3)


def test_data_frames_have_pictures(digits):
    """Rows of pixels with names, of which nobody is warned."""
    X = pd.DataFrame(digits[0].reshape(-1, 64)).rename(columns=str)
    gan = make_gan(image_shape=(8, 8)).fit(X)
    display = GuidedBackpropDisplay.from_estimator(gan, X, filters=[(1, 2)])
    top = top_images(gan, X, (1, 2), n_images=3)
    expected, _ = guided_backprop(gan, X.iloc[top.indices[0]], (1, 2))
    assert_array_equal(display.gradients.reshape(3, 1, 64), expected)


@pytest.mark.parametrize("display", [GuidedBackpropDisplay, TopImagesDisplay])
def test_what_cannot_be_drawn_is_refused(display, digits):
    """Flat rows, estimators that are not fitted, arrays of other shapes."""
    rows = digits[0].reshape(-1, 64)
    with pytest.raises(ValueError, match=r"flat X.*image_shape"):
        display.from_estimator(make_gan().fit(rows), rows)
    with pytest.raises(NotFittedError):
        display.from_estimator(make_gan(), rows)
    with pytest.raises(ValueError, match=r"cannot be drawn.*\(n_filters, n_images"):
        display(np.zeros((2, 8, 8)), np.zeros((2, 8, 8))).grid()
    assert not plt.get_fignums()
