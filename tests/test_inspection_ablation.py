"""Filters of a generator that draw something, and images without them."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from torch import nn

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan.inspection import generate_without, object_filters
from sklgan.networks import DCGANDiscriminator

# Channels of the hand-made generator that draw the patch.
PATCH = [(1, 2), (1, 5)]


class Painter(nn.Module):
    """Draw a grey image, and on it a white patch whose corner the latent vector says.

    The first hidden layer has 8 channels of 8x8: two are the patch, two are all but the
    patch, the rest are noise outside of it. A transposed convolution makes it
    16x16, a second hidden layer that another convolution turns into colours.
    """

    def __init__(self, latent_dim, out_shape):
        super().__init__()
        self.widen = nn.ConvTranspose2d(8, 3, 2, stride=2, bias=False)
        self.colour = nn.Conv2d(3, out_shape[0], 1, bias=False)
        weights = torch.tensor([0.1, 0.1, 0.9, 0.1, 0.1, 0.9, 0.1, 0.1])
        with torch.no_grad():
            self.widen.weight.copy_(weights[:, None, None, None])
            self.colour.weight.fill_(1 / 3)

    def corners(self, z):
        """Return top and left of the patch on the 8x8 map, 0 to 4."""
        return [((z[:, k].tanh() + 1) * 2.49).long().tolist() for k in (0, 1)]

    def forward(self, z):
        """Return images (n, c, 16, 16)."""
        patch = torch.zeros(len(z), 1, 8, 8, device=z.device)
        for image, top, left in zip(patch, *self.corners(z), strict=True):
            image[:, top : top + 3, left : left + 3] = 1
        positions = torch.arange(64.0, device=z.device).reshape(1, 1, 8, 8)
        noise = (positions * (z[:, 2, None, None, None] + 3)).sin().abs()
        noise = noise * (1 - patch)
        maps = [noise, 1 - patch, patch, noise.sqrt(), 2 - 2 * patch, 0.7 * patch]
        maps = torch.cat([*maps, noise**2, noise**3], dim=1)
        return self.colour(self.widen(maps)).clamp(-1, 1)


def make_painter(X, **kwargs):
    """Return an estimator whose generator is that one, untrained."""
    return DCGANFeatureExtractor(
        5, network=(Painter, DCGANDiscriminator), max_epochs=0, **kwargs
    ).fit(X)


@pytest.fixture(scope="module")
def painter():
    """Return it, for grey images in [0, 1]."""
    return make_painter(np.random.default_rng(0).random((20, 16, 16)))


@pytest.fixture(scope="module")
def Z():
    """Return 60 latent vectors."""
    return np.random.default_rng(1).standard_normal((60, 5))


def boxes_of(painter, Z):
    """Return a list with one box for each image: where the patch is."""
    tops, lefts = painter.generator_.corners(torch.from_numpy(Z))
    return [
        [(2 * top, 2 * left, 2 * top + 6, 2 * left + 6)]
        for top, left in zip(tops, lefts, strict=True)
    ]


@pytest.fixture(scope="module")
def gan(digits):
    """Return a small trained DCGAN."""
    return DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0).fit(
        digits[0]
    )


def test_filters_that_draw_the_patch_are_found(painter, Z):
    """Just these: what is drawn elsewhere has negative weights."""
    boxes = boxes_of(painter, Z)
    found = object_filters(painter, Z, boxes=boxes, random_state=0)
    assert sorted(found.filters) == PATCH
    assert found.weights.shape == (8,)
    assert found.weights[found.filters[0][1]] == found.weights.max()
    assert found.n_positive == found.n_negative == 60 * 9
    best = object_filters(painter, Z, boxes=boxes, n_filters=1, random_state=0)
    assert best.filters == found.filters[:1]


def test_another_classifier_may_choose(painter, Z):
    """Any linear one; it is cloned."""
    svm = LinearSVC(C=0.01)
    found = object_filters(
        painter, Z, boxes=boxes_of(painter, Z), classifier=svm, n_filters=2
    )
    assert sorted(found.filters) == PATCH
    assert not hasattr(svm, "coef_")


def test_without_its_filters_the_patch_is_gone(painter, Z):
    """Where it was is nothing, all else is as it was."""
    boxes = boxes_of(painter, Z)
    found = object_filters(painter, Z, boxes=boxes, random_state=0)
    others = np.random.default_rng(2).standard_normal((300, 5))
    images = painter.generate(others)
    without = generate_without(painter, others, found.filters)
    for [(top, left, bottom, right)], image, changed in zip(
        boxes_of(painter, others), images, without, strict=True
    ):
        patch = np.s_[top:bottom, left:right]
        assert image[patch].min() > 0.99
        assert (changed[patch] == 0.5).all()  # 0 in [-1, 1]
        image[patch] = changed[patch] = 0
        assert_array_equal(changed, image)


def test_masks_say_what_boxes_say(painter, Z):
    """Of bool or of 0 and 1; the order of things in an image does not matter."""
    boxes = boxes_of(painter, Z)
    masks = np.zeros((60, 16, 16), dtype=int)
    for mask, [(top, left, bottom, right)] in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    boxes[0] = np.array([[*boxes[0][0][:3], boxes[0][0][1] + 2], boxes[0][0]])
    expected = object_filters(painter, Z, boxes=boxes, random_state=3).weights
    for marked in (masks, masks.astype(bool)):
        found = object_filters(painter, Z, masks=marked, random_state=3)
        assert_array_equal(found.weights, expected)


def test_small_things_count_where_most_of_them_is(painter, Z):
    """A single pixel marks its cell; images without a mark have only negatives."""
    masks = np.zeros((60, 16, 16), dtype=bool)
    for mask, [(top, left, _, _)] in zip(
        masks[:30], boxes_of(painter, Z), strict=False
    ):
        mask[top, left] = True
    found = object_filters(painter, Z, masks=masks, n_filters=2, random_state=0)
    assert found.n_positive == 30
    assert sorted(found.filters) == PATCH


def test_the_second_highest_layer_is_taken(painter, Z, digits):
    """Of one, the only one; another may be chosen."""
    boxes = boxes_of(painter, Z)
    assert object_filters(painter, Z, boxes=boxes).filters[0][0] == 1
    higher = object_filters(painter, Z, boxes=boxes, layer=2)
    assert higher.weights.shape == (3,)
    assert higher.n_positive == 60 * 36
    X = np.random.default_rng(0).random((20, 32, 32))
    gan = DCGANFeatureExtractor(10, n_filters=2, max_epochs=0, random_state=0).fit(X)
    found = object_filters(gan, np.eye(10), boxes=[[(0, 0, 32, 16)]] * 10)
    assert found.weights.shape == (4,)  # of 8, 4 and 2 on 4x4, 8x8 and 16x16 maps
    assert found.n_positive == 10 * 32


def test_random_state_decides_what_is_drawn(painter, Z):
    """The same examples again, and torch's generator as it was."""
    boxes = boxes_of(painter, Z)
    state = torch.get_rng_state()
    one, again, other = (
        object_filters(painter, Z, boxes=boxes, random_state=seed).weights
        for seed in (0, 0, 1)
    )
    assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    alike = copy.copy(painter).set_params(random_state=1)
    assert_array_equal(object_filters(alike, Z, boxes=boxes).weights, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("network", ["dcgan", "dcgan-deep"])
def test_a_filter_switched_off_is_one_whose_weights_are_zero(network, digits):
    """As if the next convolution gave it no weight; the estimator is left alone."""
    gan = DCGANFeatureExtractor(
        n_filters=4, max_epochs=1, network=network, random_state=0
    ).fit(digits[0])
    Z = np.random.default_rng(0).standard_normal((150, 100))
    before = gan.generate(Z)
    without = generate_without(gan, Z, [(1, 1), (1, 3), (1, 3)])
    assert_array_equal(generate_without(gan, Z, []), before)
    assert_array_equal(gan.generate(Z), before)
    second = gan.generator_.layers[1]
    conv = second[0] if isinstance(second, nn.Sequential) else second
    with torch.no_grad():
        conv.weight[[1, 3]] = 0
    assert not np.allclose(without, before)
    assert_allclose(without, gan.generate(Z), atol=1e-4)


def test_images_have_the_layout_of_X(two_colours, digits):
    """Colour in bytes, flattened rows; classifiers and clusterers as well."""
    X, y = two_colours
    options = {"n_filters": 4, "max_epochs": 1, "random_state": 0, "latent_dim": 6}
    Z = np.random.default_rng(0).standard_normal((9, 6))
    left = [[(0, 0, 8, 4)]] * 9
    classifier = SemiSupervisedGANClassifier(**options).fit(X, y)
    clusterer = CategoricalGANClusterer(2, **options).fit(X.reshape(64, -1)[:, :64])
    flattened = CategoricalGANClusterer(
        2, network="dcgan", image_shape=(8, 8, 3), **options
    ).fit(X.reshape(64, -1))
    for estimator, shape in ((classifier, (9, 8, 8, 3)), (flattened, (9, 192))):
        found = object_filters(estimator, Z, boxes=left, n_filters=1)
        assert len(found.filters) <= 1
        images = generate_without(estimator, Z, [(1, 0)])
        assert images.shape == shape
        assert images.dtype == np.uint8
    with pytest.raises(ValueError, match="flat X.*image_shape"):
        generate_without(clusterer, Z, [])


def test_a_generator_without_maps_is_refused(digits, Z):
    """Fully connected layers have no places."""
    gan = DCGANFeatureExtractor(5, network="mlp", n_filters=4, max_epochs=0)
    with pytest.raises(NotFittedError):
        generate_without(gan, Z, [])
    gan.fit(digits[0])
    for call in (
        lambda: generate_without(gan, Z, [(1, 0)]),
        lambda: object_filters(gan, Z, masks=np.ones((60, 8, 8))),
    ):
        with pytest.raises(ValueError, match="no hidden maps.*network='dcgan'"):
            call()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either masks or boxes"),
        ({"masks": 1, "boxes": 1}, "either masks or boxes"),
        ({"masks": np.zeros((60, 8, 8))}, r"masks of shape \(60, 8, 8\)"),
        (
            {"masks": np.full((60, 16, 16), 0.5)},
            "dtype float64 should be True or False",
        ),
        ({"masks": np.zeros((60, 16, 16))}, "Nothing is marked"),
        ({"masks": np.ones((60, 16, 16))}, "Everything is marked"),
        ({"boxes": [[]] * 60}, "Nothing is marked"),
        ({"boxes": [[(0, 0, 4, 4)]]}, "boxes are for 1 samples, but Z has 60"),
        ({"boxes": [[(0, 0, 4, 17)]] * 60}, r"box \(0, 0, 4, 17\) is not a .*16 rows"),
        ({"boxes": [[(4, 0, 4, 8)]] * 60}, r"box \(4, 0, 4, 8\) is not a"),
        ({"boxes": [[(0, 0, 4.5, 8)]] * 60}, r"4\.5, 8\.0\) is not .* whole pixels"),
        ({"boxes": [[(0, 0, 4)]] * 60}, r"\[\(0, 0, 4\)\]; they should be a list"),
        ({"layer": 3}, "layer=3, but the generator has hidden layers 1 to 2"),
        ({"layer": 0}, "layer=0"),
        ({"n_filters": 0}, "n_filters=0 should be an int of at least 1"),
    ],
)
def test_marks_that_make_no_sense_are_refused(options, message, painter, Z):
    """The message says what was found and what is needed."""
    if not {"masks", "boxes"} & set(options) and options:
        options = {"boxes": boxes_of(painter, Z), **options}
    with pytest.raises(ValueError, match=message):
        object_filters(painter, Z, **options)


def test_a_classifier_without_weights_is_refused(painter, Z):
    """What is not linear has none for the filters."""
    boxes = boxes_of(painter, Z)
    with pytest.raises(TypeError, match="KNeighborsClassifier.*no coef_"):
        object_filters(painter, Z, boxes=boxes, classifier=KNeighborsClassifier())


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        ([(3, 0)], ValueError, "layer=3.*layers 1 to 2"),
        ([(1, 8)], ValueError, r"\(1, 8\) does not exist.*8 filters"),
        ([(1, -1)], ValueError, "does not exist"),
        ([4], TypeError, "4 is no filter"),
    ],
)
def test_filters_that_do_not_exist_are_refused(filters, error, message, painter, Z):
    """The message says which there are."""
    with pytest.raises(error, match=message):
        generate_without(painter, Z, filters)


def test_latent_vectors_are_checked(painter, Z):
    """As in generate."""
    with pytest.raises(ValueError, match="Z has 4 columns.*latent_dim=5"):
        generate_without(painter, Z[:, :4], [])
    with pytest.raises(ValueError, match="Z contains NaN"):
        object_filters(painter, Z * np.nan, boxes=[])
