"""Augmentations for contrastive views: rectangles, colours, and their composition."""

import colorsys
import math

import pytest
import torch
from torch.testing import assert_close

from sklgan.augment import (
    AUGMENTATIONS,
    color_jitter,
    compose,
    greyscale,
    resized_crop,
    simclr,
)

VIEWS = ["resized_crop", "color_jitter", "greyscale", "simclr"]


@pytest.fixture(autouse=True)
def _seed():
    """Augmentations draw from torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def make_images(n=64, channels=3, height=8, width=12):
    """Draw images (n, c, h, w) in [-1, 1], from a generator of their own."""
    rng = torch.Generator().manual_seed(1)
    return 2 * torch.rand(n, channels, height, width, generator=rng) - 1


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_twice_differentiable(name):
    """A penalty on gradients can be taken through them."""
    images = make_images(2, 3, 2, 2).double().requires_grad_()

    def repeatable(x):
        torch.manual_seed(2)
        return AUGMENTATIONS[name](x)

    assert torch.autograd.gradgradcheck(repeatable, images)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", VIEWS)
def test_views_in_half_precision(name, channels):
    """Neither images in bfloat16 nor autocast change more than the last bits."""
    images = make_images(channels=channels).bfloat16()
    results = []
    for autocast, dtype in ((False, None), (False, torch.float32), (True, None)):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            given = images.to(dtype or (torch.float32 if autocast else images.dtype))
            results.append(AUGMENTATIONS[name](given))
    half, full, cast = results
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), full, rtol=0, atol=0.02)
    assert torch.equal(cast, full)


def find_crops(height, width, scale, ratio, n=64, channels=2):
    """Return images, their crops, and the rectangles, read off channels that count.

    Rectangles (4, n): left, width, top and height, as parts of the image's sides.
    """
    images = make_images(n, channels + 2, height, width).double()
    images[:, -2] = (torch.arange(width).double() + 0.5) / width
    images[:, -1] = ((torch.arange(height).double() + 0.5) / height)[:, None]
    cropped = resized_crop(images, scale, ratio)
    sides = []
    for line, side in (
        (cropped[:, -2, height // 2], width),
        (cropped[:, -1, :, width // 2], height),
    ):
        # In the middle the edge, which is repeated, is out of reach.
        step = line[:, side // 2] - line[:, side // 2 - 1]
        sides += [line[:, side // 2] - step * (side // 2 + 0.5), step * side]
    return images, cropped, torch.stack(sides)


@pytest.mark.parametrize("size", [(16, 16), (9, 24)])
def test_resized_crop_is_grid_sample_of_a_rectangle(size):
    """The rectangle is enlarged as PyTorch would do it, in all channels alike."""
    images, cropped, (left, wide, top, high) = find_crops(*size, (0.2, 0.7), (0.5, 2))
    zero = torch.zeros_like(left)
    matrix = [wide, zero, 2 * left + wide - 1, zero, high, 2 * top + high - 1]
    grid = torch.nn.functional.affine_grid(
        torch.stack(matrix, 1).view(-1, 2, 3), images.shape, align_corners=False
    )
    expected = torch.nn.functional.grid_sample(
        images, grid, padding_mode="border", align_corners=False
    )
    assert_close(cropped, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [(16, 16), (9, 24)])
def test_resized_crop_draws_areas_and_ratios_in_their_ranges(size):
    """Areas are uniform, ratios spread, and rectangles lie anywhere in the image."""
    _, _, (left, wide, top, high) = find_crops(*size, (0.2, 1.0), (3 / 4, 4 / 3), 2000)
    area, ratio = wide * high, wide / high
    expected = torch.linspace(0.2, 1, 11, dtype=area.dtype)
    assert_close(area.quantile((expected - 0.2) / 0.8), expected, rtol=0, atol=0.05)
    assert ratio.min() >= 3 / 4 - 1e-6
    assert ratio.max() <= 4 / 3 + 1e-6
    small = area < 0.5
    assert_close(
        ratio[small].log().quantile(torch.tensor([0.1, 0.5, 0.9]).double()),
        math.log(4 / 3) * torch.tensor([-0.8, 0, 0.8]).double(),
        rtol=0,
        atol=0.06,
    )
    for start, length in ((left, wide), (top, high)):
        assert start.min() >= -1e-6
        assert (start + length).max() <= 1 + 1e-6
        place = start[small] / (1 - length[small])
        assert place.min() < 0.05
        assert place.max() > 0.95
        assert abs(place.mean() - 0.5) < 0.05


@pytest.mark.parametrize("ratio", [(1, 1), (3 / 4, 4 / 3), (2, 3)])
def test_resized_crop_of_everything_changes_nothing(ratio):
    """The whole image is the only rectangle of its area."""
    images = make_images()
    assert torch.equal(resized_crop(images, (1, 1), ratio), images)


@pytest.mark.parametrize("scale", [(0, 1), (0.5, 0.2), (0.2, 1.1)])
def test_resized_crop_refuses_areas(scale):
    """An empty rectangle, or one larger than the image, is none."""
    with pytest.raises(ValueError, match=rf"scale should be .* got \({scale[0]}"):
        resized_crop(make_images(), scale)


@pytest.mark.parametrize("ratio", [(0, 1), (4 / 3, 3 / 4)])
def test_resized_crop_refuses_ratios(ratio):
    """The ends must be positive, the smaller one first."""
    with pytest.raises(ValueError, match="ratio should be two positive numbers"):
        resized_crop(make_images(), ratio=ratio)


def luma(images):
    """Return ITU-R BT.601's weighted sum of red, green and blue."""
    return (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1)


def only(**strength):
    """Return ``color_jitter`` of all images with a single strength above 0."""
    none = dict.fromkeys(["brightness", "contrast", "saturation", "hue"], 0.0)
    return lambda images: color_jitter(images, **{**none, **strength}, p=1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_color_jitter_without_strength_changes_nothing(channels):
    """Exactly; nor does one that no image is chosen for."""
    images = make_images(channels=channels)
    assert torch.equal(color_jitter(images, 0, 0, 0, 0), images)
    assert torch.equal(color_jitter(images, p=0), images)


def test_color_jitter_changes_images_with_probability_p():
    """The others stay exactly what they were."""
    images = make_images(1000)
    same = (color_jitter(images, p=0.3) == images).flatten(1).all(1)
    assert 640 < same.sum() < 760


def slopes(before, after):
    """Return by what ``after`` is ``before`` multiplied, image by image, exactly."""
    before, after = before.flatten(1), after.flatten(1)
    scale = (after * before).sum(1) / before.square().sum(1)
    assert_close(after, scale[:, None] * before, rtol=1e-4, atol=1e-5)
    return scale


@pytest.mark.parametrize(
    ("strength", "ends"), [(0.4, (0.6, 1.4)), (1.5, (0.0, 2.5))], ids=str
)
@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_color_jitter_multiplies(kind, strength, ends):
    """Black, mean luma or each pixel's luma stays; what is beside it is multiplied."""
    images = make_images(500) * 0.1 - 0.3  # far from where values are clipped
    changed = only(**{kind: strength})(images)
    if kind == "brightness":
        scale = slopes(images + 1, changed + 1)
    else:
        still = luma(images)[:, None]
        if kind == "contrast":
            still = still.mean((2, 3), keepdim=True)
        scale = slopes(images - still, changed - still)
    low, high = ends
    assert low - 1e-4 <= scale.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < scale.max() <= high + 1e-4
    assert abs(scale.mean() - (low + high) / 2) < 0.1 * (high - low)


def test_color_jitter_turns_hue_and_keeps_luma():
    """All pixels of an image by one angle, within 2.3 degrees of HSV's hue."""
    images = make_images(50, height=4, width=4) * 0.25
    changed = only(hue=0.1)(images)
    assert_close(luma(changed), luma(images))
    turns = torch.empty(50, 16)
    for i, (before, after) in enumerate(zip(images, changed, strict=True)):
        pairs = zip(before.flatten(1).T, after.flatten(1).T, strict=True)
        for j, pair in enumerate(pairs):
            old, new = (colorsys.rgb_to_hsv(*((x + 1) / 2).tolist())[0] for x in pair)
            turns[i, j] = 360 * ((new - old + 0.5) % 1 - 0.5)
    # The angle itself is unknown: it is within 2.3 degrees of each pixel's.
    assert (turns.amax(1) - turns.amin(1)).max() <= 4.6
    turns = turns.mean(1)
    assert -37 < turns.min() < -28
    assert 28 < turns.max() < 37


def test_color_jitter_turns_one_primary_colour_into_another():
    """A third of the circle takes red to green or to blue, but for luma."""
    red = torch.tensor([0.2, -0.2, -0.2]).view(1, 3, 1, 1).expand(500, -1, 2, 2)
    changed = only(hue=1 / 3)(red)[:, :, 0, 0]
    for k in (1, 2):
        end = changed[(changed[:, k] - changed[:, 0]).argmax()].tolist()
        assert end[0] == pytest.approx(end[3 - k], abs=0.02)
        assert end[k] - end[0] == pytest.approx(0.4, abs=0.02)


def test_color_jitter_of_grey_images():
    """Saturation and hue have no effect on one channel, nor on three equal ones."""
    images = make_images(channels=1)
    assert torch.equal(only(saturation=0.4, hue=0.5)(images), images)
    torch.manual_seed(9)
    one = color_jitter(images)
    torch.manual_seed(9)
    three = color_jitter(images.expand(-1, 3, -1, -1))
    assert_close(three, one.expand(-1, 3, -1, -1))
    assert len(torch.unique((one - images).flatten(1).mean(1))) > 30


@pytest.mark.parametrize("augment", [color_jitter, greyscale])
def test_alpha_is_no_colour(augment):
    """It stays, and the colours beside it change as they would without it."""
    images = make_images(channels=4)
    torch.manual_seed(4)
    changed = augment(images)
    torch.manual_seed(4)
    assert torch.equal(changed[:, :3], augment(images[:, :3]))
    assert torch.equal(changed[:, 3], images[:, 3])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"brightness": -0.1}, "brightness should be between 0 and inf, got -0.1"),
        ({"hue": 0.6}, "hue should be between 0 and 0.5, got 0.6"),
        ({"p": 1.5}, "p should be between 0 and 1, got 1.5"),
    ],
    ids=str,
)
def test_color_jitter_refuses_strengths(parameters, message):
    """What means nothing is named, with its range."""
    with pytest.raises(ValueError, match=message):
        color_jitter(make_images(), **parameters)


def test_greyscale_leaves_luma_only():
    """In each channel of a fifth of the images; the others are as they were."""
    images = make_images(1000)
    changed = greyscale(images)
    same = (changed == images).flatten(1).all(1)
    assert 750 < same.sum() < 850
    expected = luma(images[~same])[:, None].expand(-1, 3, -1, -1)
    assert_close(changed[~same], expected)
    assert torch.equal(changed[~same][:, 0], changed[~same][:, 2])
    with pytest.raises(ValueError, match="p should be between 0 and 1, got 2"):
        greyscale(images, p=2)


def test_simclr_is_its_four_parts():
    """The name stands for them, alone and among others."""
    images = make_images()
    parts = ["resized_crop", "flip", "color_jitter", "greyscale"]
    results = []
    for names in ([*parts, "cutout"], ["simclr", "cutout"]):
        torch.manual_seed(10)
        results.append(compose(names)(images))
    assert_close(*results)


def test_simclr_leaves_colour_out_of_grey_images():
    """What is left is the crop, its mirror image, brightness and contrast."""
    images = make_images(channels=1)
    torch.manual_seed(11)
    changed = simclr(images)
    torch.manual_seed(11)
    assert_close(changed, compose(["resized_crop", "flip", "color_jitter"])(images))
