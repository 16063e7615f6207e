"""Augmentations: what they do to each image, and that gradients pass through."""

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from sklgan.augment import (
    AUGMENTATIONS,
    affine,
    color,
    compose,
    cutout,
    flip,
    noise,
    shift,
    translation,
)

NAMES = list(AUGMENTATIONS)


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


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (8, 12)])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", NAMES)
def test_shape_and_dtype_are_kept(name, channels, size):
    """Any size and number of channels is good."""
    images = make_images(3, channels, *size)
    changed = AUGMENTATIONS[name](images)
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert changed.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_images_are_left_alone(name):
    """The batch that was given is not written to."""
    images = make_images()
    before = images.clone()
    AUGMENTATIONS[name](images)
    assert_close(images, before, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name",
    [
        "flip",
        "translation",
        "cutout",
        "resized_crop",
        "color_jitter",
        "greyscale",
        "simclr",
    ],
)
def test_range_of_values_is_kept(name):
    """What moves pixels invents no values but 0, and new colours are clipped."""
    for images in (make_images(), make_images().sign()):
        assert AUGMENTATIONS[name](images).abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_images(name):
    """Each output is linear in the image: its sum's gradient is what it is made of."""
    images = make_images().double().requires_grad_()

    def repeatable(x):
        torch.manual_seed(2)
        return AUGMENTATIONS[name](x)

    repeatable(images).sum().backward()
    assert images.grad.isfinite().all()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    few = images[:2, :, :3, :3].detach().requires_grad_()
    assert torch.autograd.gradcheck(repeatable, few)


@pytest.mark.parametrize("name", NAMES)
def test_seed_decides(name):
    """The same seed does the same, another something else."""
    images = make_images()
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(AUGMENTATIONS[name](images))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("name", NAMES)
def test_each_image_has_its_own_draw(name):
    """Equal images in a batch become different ones."""
    images = make_images(1).expand(64, -1, -1, -1)
    changed = AUGMENTATIONS[name](images)
    assert len(torch.unique(changed, dim=0)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_memory_format_does_not_matter(name):
    """Channels-last memory gives the same values, and stays channels-last."""
    images = make_images()
    torch.manual_seed(5)
    expected = AUGMENTATIONS[name](images)
    torch.manual_seed(5)
    last = AUGMENTATIONS[name](images.to(memory_format=torch.channels_last))
    assert_close(last, expected)
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_flip_mirrors_about_half_of_the_images():
    """Each image is itself or its mirror image, left to right."""
    images = make_images(400)
    flipped = flip(images)
    mirrored = (flipped == images.flip(3)).flatten(1).all(1)
    same = (flipped == images).flatten(1).all(1)
    assert (mirrored ^ same).all()
    assert 140 < mirrored.sum() < 260


def test_flip_is_its_own_inverse():
    """The same draw twice gives the images back."""
    images = make_images()
    torch.manual_seed(6)
    once = flip(images)
    torch.manual_seed(6)
    assert torch.equal(flip(once), images)


def shifted(image, down, right):
    """Return image (c, h, w) moved by whole pixels, 0 where nothing came in."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (height, height), (width, width)))
    rows = slice(height - down, 2 * height - down)
    return padded[:, rows, width - right : 2 * width - right]


@pytest.mark.parametrize(("ratio", "most"), [(0.125, (1, 2)), (0.25, (2, 3))])
def test_translation_shifts_by_whole_pixels(ratio, most):
    """Every image is one of the possible shifts exactly, and all of them occur."""
    images = make_images(400)
    moved = translation(images, ratio).numpy()
    seen = set()
    for image, result in zip(images.numpy(), moved, strict=True):
        possible = [
            (down, right)
            for down in range(-most[0], most[0] + 1)
            for right in range(-most[1], most[1] + 1)
            if np.array_equal(shifted(image, down, right), result)
        ]
        assert len(possible) == 1
        seen.update(possible)
    assert len(seen) == (2 * most[0] + 1) * (2 * most[1] + 1)


def test_color_keeps_grey_images_grey():
    """Saturation means nothing for one channel; brightness and contrast change."""
    images = make_images(channels=1)
    colored = color(images)
    contrast = colored.flatten(1).std(1) / images.flatten(1).std(1)
    assert contrast.min() >= 0.499
    assert contrast.max() <= 1.501
    assert contrast.std() > 0.1
    change = (colored - images).flatten(1).mean(1)
    assert change.abs().max() <= 0.501
    assert change.std() > 0.1
    grey = images.expand(-1, 3, -1, -1)
    channels = color(grey)
    assert_close(channels[:, 0], channels[:, 2])


def test_color_scales_saturation():
    """Differences between channels grow by 0 to 2, times 0.5 to 1.5 for contrast."""
    images = make_images(400)
    colored = color(images)
    before = (images[:, 0] - images[:, 1]).flatten(1)
    after = (colored[:, 0] - colored[:, 1]).flatten(1)
    scale = (after * before).sum(1) / before.square().sum(1)
    assert_close(after, scale[:, None] * before)
    assert scale.min() >= 0
    assert scale.max() <= 3
    assert scale.std() > 0.3


@pytest.mark.parametrize(("ratio", "sides"), [(0.5, (4, 6)), (0.25, (2, 3))])
def test_cutout_sets_one_rectangle_to_zero(ratio, sides):
    """It has the asked size, less what lies outside, in all channels."""
    images = make_images(400)
    cut = cutout(images, ratio)
    hole = cut == 0
    assert torch.equal(hole.any(1), hole.all(1))
    assert torch.equal(cut[~hole], images[~hole])
    rows, columns = hole[:, 0].any(2), hole[:, 0].any(1)
    assert torch.equal(hole[:, 0], rows[:, :, None] & columns[:, None, :])
    for taken, side in ((rows, sides[0]), (columns, sides[1])):
        sizes = taken.sum(1)
        assert sizes.max() == side
        assert sizes.min() >= side // 2
        # One piece: it begins once.
        starts = taken[:, :1].sum(1) + (~taken[:, :-1] & taken[:, 1:]).sum(1)
        assert (starts == 1).all()


def test_compose_applies_in_the_given_order():
    """The names are applied one after the other, from the left."""
    images = make_images()
    torch.manual_seed(7)
    expected = cutout(color(flip(images)))
    torch.manual_seed(7)
    assert torch.equal(compose(["flip", "color", "cutout"])(images), expected)
    torch.manual_seed(7)
    assert not torch.equal(compose(["cutout", "color", "flip"])(images), expected)


@pytest.mark.parametrize("names", [[], ()])
def test_compose_of_nothing_changes_nothing(names):
    """No augmentation is the identity."""
    images = make_images()
    assert compose(names)(images) is images


def test_compose_takes_one_name_and_any_iterable():
    """A string is one name, not letters; an iterator can be used twice."""
    images = make_images()
    for augment in (compose("flip"), compose(iter(["flip"]))):
        for _ in range(2):
            torch.manual_seed(8)
            expected = flip(images)
            torch.manual_seed(8)
            assert torch.equal(augment(images), expected)


@pytest.mark.parametrize("names", ["rotate", ["flip", "rotate"], ("rotate",)])
def test_unknown_name_is_refused_with_the_known_ones(names):
    """The error comes before any image does."""
    with pytest.raises(ValueError, match=r"'rotate'.*'flip', 'translation'"):
        compose(names)


@pytest.mark.parametrize("size", [(65, 65), (65, 193), (193, 65)])
def test_affine_keeps_distances_on_any_shape(size, monkeypatch):
    """A turn by 20 degrees, without zoom or shear, moves a point as it should."""
    height, width = size
    images = torch.full((1, 1, height, width), -1.0)
    # 24 pixels to the right of the centre.
    images[..., height // 2, width // 2 + 24] = 1.0
    drawn = torch.tensor([[1.0], [0.5], [0.5]])  # in [0, 1): angle, zoom, shear
    monkeypatch.setattr(torch, "rand", lambda *shape, device=None: drawn)
    turned = affine(images)[0, 0] + 1
    rows, columns = torch.meshgrid(
        torch.arange(height) - height // 2,
        torch.arange(width) - width // 2,
        indexing="ij",
    )
    y = float((turned * rows).sum() / turned.sum())
    x = float((turned * columns).sum() / turned.sum())
    assert math.hypot(x, y) == pytest.approx(24, abs=0.5)
    assert abs(math.degrees(math.atan2(y, x))) == pytest.approx(20.05, abs=1)


def test_shift_moves_whole_pixels_and_repeats_the_edge():
    """Each image is some window of itself with its edge repeated."""
    torch.manual_seed(0)
    image = torch.arange(100.0).reshape(1, 1, 10, 10)
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")[0, 0]
    windows = {
        padded[i : i + 10, j : j + 10].contiguous().numpy().tobytes()
        for i in range(3)
        for j in range(3)
    }
    shifted = shift(image.expand(200, -1, -1, -1))
    assert {one.contiguous().numpy().tobytes() for one in shifted} == windows


def test_noise_has_its_scale():
    """On images and on flat rows."""
    torch.manual_seed(0)
    for shape in [(50, 1, 20, 20), (100, 200)]:
        added = noise(torch.ones(shape), scale=0.3) - 1
        assert float(added.std()) == pytest.approx(0.3, rel=0.05)
        assert abs(float(added.mean())) < 0.02


def test_affine_is_not_rounded_under_autocast():
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    plain = affine(images)
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(affine(images), plain)
