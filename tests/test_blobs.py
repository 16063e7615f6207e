"""Arrays of blobs: their form, edits that change nothing in place, clear errors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklgan._blob_arrays import as_blobs
from sklgan.blobs import (
    blob_dtype,
    blobs_from_matrix,
    blobs_to_matrix,
    check_blobs,
    compose,
    edit,
)
from sklgan.networks._splatting import opacities


@pytest.fixture
def B():
    """Return blobs of 3 images, 4 each, with features of 3 and styles of 2 values."""
    rng = np.random.default_rng(0)
    B = np.empty(3, dtype=blob_dtype(4, 3, 2))
    for name in B.dtype.names:
        B[name] = rng.uniform(0.3, 0.7, size=B[name].shape)
    B.flags.writeable = False
    return B


def unchanged_but(before, after, blob, *names):
    """Tell whether nothing but these fields of a blob has changed."""
    others = [k for k in range(before.dtype["x"].shape[0]) if k != blob]
    for name in before.dtype.names:
        if name.startswith("background"):
            same = np.array_equal(before[name], after[name])
        elif name in names:
            same = np.array_equal(before[name][:, others], after[name][:, others])
        else:
            same = np.array_equal(before[name], after[name])
        if not same:
            return False
    return True


def test_matrix_and_back(B):
    """Flattened blobs are rows in the order of the names; nothing is lost."""
    M = blobs_to_matrix(B)
    assert M.shape == (3, 4 * (5 + 3 + 2) + 3 + 2)
    assert M.dtype == np.float32
    assert_array_equal(M[:, 10:15].T, [B[name][:, 1] for name in B.dtype.names[:5]])
    again = blobs_from_matrix(M, B.dtype)
    assert again.dtype == B.dtype
    assert_array_equal(again, B)
    again["x"] = 0
    assert_array_equal(blobs_to_matrix(B), M)


def test_move(B):
    """By one pair for all, or by one an image."""
    moved = edit(B, 2, move=(0.1, -0.2))
    assert_allclose(moved["x"][:, 2], B["x"][:, 2] + 0.1, rtol=1e-6)
    assert_allclose(moved["y"][:, 2], B["y"][:, 2] - 0.2, rtol=1e-6)
    assert unchanged_but(B, moved, 2, "x", "y")
    each = edit(B, -1, move=(np.array([0.0, 0.1, 0.2]), 0.0))
    assert_allclose(each["x"][:, 3] - B["x"][:, 3], [0, 0.1, 0.2], atol=1e-6)


def test_scale_and_rotate(B):
    """Lengths grow by the factor, so that the size does by its square."""
    larger = edit(B, 0, scale=2)
    assert_allclose(larger["size"][:, 0], 4 * B["size"][:, 0])
    assert unchanged_but(B, larger, 0, "size")
    turned = edit(B, 0, rotate=np.pi)
    assert_allclose(turned["angle"], B["angle"], atol=1e-6)
    turned = edit(B, 0, rotate=np.pi / 2)["angle"][:, 0]
    assert_allclose(turned, B["angle"][:, 0] - np.pi / 2, atol=1e-6)


def test_an_amount_for_each_image(B):
    """Factors and angles, as moves, may differ from image to image."""
    factors = np.array([1.0, 2.0, 3.0])
    sizes = edit(B, 0, scale=factors)["size"][:, 0]
    assert_allclose(sizes, B["size"][:, 0] * factors**2, rtol=1e-6)
    angles = edit(B, 0, rotate=[0.0, 0.1, 0.2])["angle"][:, 0]
    assert_allclose(angles - B["angle"][:, 0], [0, 0.1, 0.2], atol=1e-6)


@pytest.mark.parametrize("counts", [(0, 3, 3), (2, -1, 3), (2, 3, 1.5)])
def test_counts_of_nothing_are_refused(counts):
    """Of blobs, and of values of their vectors."""
    with pytest.raises(ValueError, match="should be an int of at least 1"):
        blob_dtype(*counts)


def test_remove(B):
    """What is not there has size 0."""
    removed = edit(B, 1, remove=True)
    assert (removed["size"][:, 1] == 0).all()
    assert unchanged_but(B, removed, 1, "size")


def test_copy_goes_before_all_and_takes_the_other_edits(B):
    """The blob itself stays as it is."""
    copied = edit(B, 1, copy=True, move=(0.1, 0.0), style_from=0)
    assert copied["x"].shape == (3, 5)
    for name in B.dtype.names[:7]:
        assert_array_equal(copied[name][:, :4], B[name])
    assert_allclose(copied["x"][:, 4], B["x"][:, 1] + 0.1, rtol=1e-6)
    assert_array_equal(copied["feature"][:, 4], B["feature"][:, 1])
    assert_array_equal(copied["style"][:, 4], B["style"][:, 0])


def test_vectors_come_from_another_blob_or_from_outside(B):
    """By its number, or as they are."""
    restyled = edit(B, 0, style_from=3)
    assert_array_equal(restyled["style"][:, 0], B["style"][:, 3])
    assert unchanged_but(B, restyled, 0, "style")
    given = edit(B, 0, feature_from=[1.0, 2.0, 3.0])
    assert_array_equal(given["feature"][:, 0], np.tile([1, 2, 3], (3, 1)))
    each = edit(B, 0, feature_from=B["feature"][:, 1])
    assert_array_equal(each["feature"][:, 0], B["feature"][:, 1])


def test_compose(B):
    """Blobs of the others stand before those of the first, whose ground stays."""
    other = B[::-1].copy()
    both = compose(B, other, [2, 0])
    assert_array_equal(both["x"][:, :4], B["x"])
    assert_array_equal(both["style"][:, 4:], other["style"][:, [2, 0]])
    assert_array_equal(both["background_style"], B["background_style"])
    assert compose(B, other)["x"].shape == (3, 8)
    assert_array_equal(compose(B, B[:1])["y"][2, 4:], B["y"][0])


@pytest.mark.parametrize("blob", [4, -5, 1.0, True, None, "0"])
def test_a_blob_that_is_not_there_is_named(B, blob):
    """Numbers count from 0, or from the last."""
    with pytest.raises(ValueError, match=r"blob=.* count from 0 to 3"):
        edit(B, blob, remove=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"move": 0.1}, "pair"),
        ({"move": (0.1, 0.2, 0.3)}, "pair"),
        ({"move": (0.5, 0.0)}, "x=1.1.* of blob 1 of image 1 lies outside the image"),
        ({"move": (np.nan, 0.0)}, "dx of move=nan should be finite"),
        ({"scale": 0}, "scale=0 should be positive; remove=True"),
        ({"scale": np.nan}, "scale=nan should be finite"),
        ({"scale": 1e200}, r"scale=1e\+200 should be finite in float32"),
        ({"scale": 1e30}, r"scale=1e\+30 makes of size=0.4.* in image 0 one of inf"),
        (
            {"scale": [1, 1e-30, 1]},
            "scale=1e-30 .* in image 1 one of 0; .* remove=True",
        ),
        ({"scale": [1.0, 2.0]}, "scale=.*one for each of the 3 images"),
        ({"rotate": "a"}, "rotate='a' should be a number"),
        ({"rotate": np.inf}, "rotate=inf should be finite"),
        ({"move": np.zeros((2, 2))}, r"a pair, \(dx, dy\) or \(steps\[:, 0\]"),
        ({"remove": 2}, "remove=2 and copy=False should be True or False"),
        ({"copy": 3}, "copy=3 should be True or False"),
        ({"move": (0.1, "b")}, "dy of move='b' should be a number"),
        ({"move": (np.zeros(5), 0.0)}, "dx of move=.*one for each of the 3 images"),
        ({"style_from": 7}, "style_from=7 is no blob"),
        ({"style_from": [1.0, 2.0, 3.0]}, r"shape \(3,\).* style of 2 values"),
        ({"style_from": ["a", "b"]}, r"style_from=\['a', 'b'\] should be the number"),
        ({"feature_from": np.zeros((2, 3))}, r"shape \(2, 3\).* feature of 3 values"),
    ],
)
def test_edits_that_make_no_sense_are_refused(B, options, message):
    """Before anything is changed."""
    with pytest.raises(ValueError, match=message):
        edit(B, 1, **options)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("size", -0.1, "size=-0.1.* of blob 2 of image 1 is negative; 0 removes"),
        ("size", np.nan, "size=nan of blob 2 of image 1 is not finite"),
        ("angle", np.inf, "angle=inf of blob 2 of image 1 is not finite"),
        ("aspect", 0.0, "aspect=0.0 of blob 2 of image 1 is not positive"),
        ("y", 1.5, "y=1.5 of blob 2 of image 1 lies outside the image"),
        ("background_style", np.nan, "background_style=nan of image 1 is not finite"),
        ("feature", np.nan, "feature=nan of blob 2 of image 1 is not finite"),
    ],
)
def test_blobs_that_cannot_be_painted_are_named(B, name, value, message):
    """Field, blob and image."""
    B = B.copy()
    B[name][(1,) if name.startswith("background") else (1, 2)] = value
    with pytest.raises(ValueError, match=message):
        check_blobs(B)


def test_a_blob_outside_can_be_moved_back_or_removed(B):
    """As the message says, one after another; all else leaves them refused."""
    B = B.copy()
    B["x"][0, 2] = B["y"][1, 0] = 1.2
    moved = edit(B, 2, move=(-0.5, 0.0))
    assert_allclose(moved["x"][0, 2], 0.7, rtol=1e-6)
    assert check_blobs(edit(moved, 0, remove=True))["size"][1, 0] == 0
    with pytest.raises(ValueError, match="x=1.2.* of blob 2 of image 0 lies outside"):
        edit(B, 2, scale=0.5)
    with pytest.raises(ValueError, match="x=1.2.* of blob 2 of image 0 lies outside"):
        check_blobs(edit(B, 1, scale=0.5))


def test_a_blob_that_is_not_there_may_lie_anywhere(B):
    """It is not seen."""
    B = B.copy()
    B["x"][0, 0], B["size"][0, 0] = 2.0, 0.0
    assert check_blobs(B) is B


@pytest.mark.parametrize("wrong", [None, np.zeros((3, 4)), np.zeros(3, "f4,f4")])
def test_what_is_no_array_of_blobs_is_refused(B, wrong):
    """With what to pass instead."""
    for function in (check_blobs, blobs_to_matrix, lambda x: edit(x, 0)):
        with pytest.raises(TypeError, match="blobs_from_matrix"):
            function(wrong)


@pytest.mark.parametrize("dtype", [np.float32, "f4,f4", [("x", "f4", (2,))]])
def test_a_dtype_that_is_not_of_blobs_is_refused(dtype):
    """With where to take one from."""
    with pytest.raises(TypeError, match=r"dtype=.* is not one of blobs; pass gan.blob"):
        blobs_from_matrix(np.zeros((2, 9)), dtype)


def test_sizes_are_areas_that_count_by_opacity():
    """What the module says of them, on a fine grid about a blob of each size."""
    sizes = np.array([0.1, 0.7, 1.0, 2.0, 4.0], dtype=np.float32)
    B = np.zeros(5, dtype=blob_dtype(1, 1, 1))
    B["x"], B["y"], B["size"], B["aspect"] = 0.5, 0.5, sizes[:, None], 1.7
    seen = opacities(as_blobs(B, "cpu"), (400, 400))[:, 0].numpy()
    assert_allclose(seen.mean((1, 2)), 0.063 * sizes, rtol=0.01)
    assert_allclose(seen.max((1, 2)), 1 - np.exp(-sizes), rtol=0.01)


def test_fields_of_other_numbers_are_refused(B):
    """They would be painted wrongly, or not at all."""
    fields = {name: (np.float32, B.dtype[name].shape) for name in B.dtype.names}
    for name, other in {
        "x": (np.float64, (4,)),
        "y": (np.float32, (2,)),
        "feature": (np.float32, ()),
        "style": (np.float32, (4, 0)),
        "background_style": (np.float32, (5,)),
    }.items():
        dtype = np.dtype(
            [(field, *kind) for field, kind in {**fields, name: other}.items()]
        )
        with pytest.raises(TypeError, match=r"float32.*B\.astype"):
            check_blobs(np.ones(3, dtype=dtype))
    doubles = B.astype([(name, "f8", B.dtype[name].shape) for name in fields])
    assert_array_equal(check_blobs(doubles.astype(B.dtype)), B)
    assert check_blobs(B.view(np.recarray)).shape == (3,)


def test_one_image_is_a_slice(B):
    """A single value of the array has no images to count."""
    with pytest.raises(TypeError, match=r"of one image pass B\[:1\]"):
        edit(B[0], 0, remove=True)


def test_blobs_of_several_models_do_not_mix(B):
    """Their features mean different things."""
    other = np.zeros(3, dtype=blob_dtype(4, 5, 2))
    other["aspect"] = 1
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(5, 2\).*one model"):
        compose(B, other)
    with pytest.raises(ValueError, match="blobs=1 should be a list of ints"):
        compose(B, B, 1)
    with pytest.raises(ValueError, match="B has 3 images and other 2"):
        compose(B, B[:2])
    with pytest.raises(ValueError, match=r"M has shape \(3, 45\)"):
        blobs_from_matrix(blobs_to_matrix(B), other.dtype)
