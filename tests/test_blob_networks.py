"""BlobGAN's networks: splatting as it is written down, sizes, gradients, training."""

from math import pi

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.utils.parametrizations import spectral_norm

from sklgan.losses import d_lazy_r1, d_nonsaturating, discriminator_loss
from sklgan.networks import BlobDiscriminator, BlobEncoder, BlobGenerator
from sklgan.networks._blobs import LayoutNetwork, layout_length, read_layout
from sklgan.networks._splatting import (
    Blobs,
    composed,
    covariances,
    jittered,
    opacities,
    resized,
    splat,
    squared_distances,
)


@pytest.fixture(autouse=True)
def _seed():
    """Building a network draws from torch's global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def make_blobs(n=1, k=1, *, dtype=torch.float32, **fields):
    """Return round blobs of size 1 in the middle, but for the given fields."""
    values = {"x": 0.5, "y": 0.5, "size": 1.0, "aspect": 1.0, "angle": 0.0, **fields}
    full = {
        name: torch.as_tensor(value, dtype=dtype).expand(n, k).clone()
        for name, value in values.items()
    }
    vectors = [torch.randn(n, k, 3, dtype=dtype), torch.randn(n, k, 2, dtype=dtype)]
    return Blobs(
        *(full[name] for name in ("x", "y", "size", "aspect", "angle")),
        *vectors,
        *(vector[:, 0].clone() for vector in vectors),
    )


def random_blobs(n, k, dtype=torch.float64):
    """Return any blobs."""
    numbers = torch.randn(n, layout_length(k, 3, 2), dtype=dtype)
    return read_layout(numbers, k, 3)


def test_gradients_of_splatting_are_right():
    """From a layout's numbers to the feature map, in float64."""
    numbers = torch.randn(2, layout_length(3, 2, 2), dtype=torch.float64)

    def paint(numbers):
        blobs = read_layout(numbers, 3, 2)
        scores = composed(opacities(blobs, (4, 5)))
        features = splat(scores, blobs.all_features())
        return resized(features, (8, 10)), splat(scores, blobs.all_styles())

    assert gradcheck(paint, numbers.requires_grad_())


def test_gradients_of_distances_and_composition_are_right():
    """Each on its own."""
    fields = [field.requires_grad_() for field in random_blobs(1, 2)[:5]]

    def distances(*fields):
        return squared_distances(Blobs(*fields, None, None, None, None), (3, 4))

    assert gradcheck(distances, fields)
    opacity = torch.rand(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(composed, opacity)


def test_distance_is_mahalanobis():
    """With the covariance that is written down, at any angle and aspect."""
    blobs, sides = random_blobs(3, 4), (6, 6)
    xx, xy, yy = covariances(blobs).mul(0.02).unbind(-1)
    matrix = torch.stack([xx, xy, xy, yy], -1).unflatten(-1, (2, 2))
    cells = (torch.arange(6, dtype=torch.float64) + 0.5) / 6
    row, column = torch.meshgrid(cells, cells, indexing="ij")
    places = torch.stack([column, row], -1)
    offset = places - torch.stack([blobs.x, blobs.y], -1)[:, :, None, None]
    expected = torch.einsum("nkhwi,nkij,nkhwj->nkhw", offset, matrix.inverse(), offset)
    torch.testing.assert_close(squared_distances(blobs, sides), expected)
    torch.testing.assert_close(
        torch.linalg.det(matrix), torch.full((3, 4), 4e-4).double()
    )


def test_composition_is_from_back_to_front():
    """Later blobs hide earlier ones, and what is seen sums to 1."""
    opacity = torch.rand(2, 3, 4, 4)
    first, second, third = opacity.unbind(1)
    expected = [
        (1 - first) * (1 - second) * (1 - third),
        first * (1 - second) * (1 - third),
        second * (1 - third),
        third,
    ]
    seen = composed(opacity)
    torch.testing.assert_close(seen, torch.stack(expected, dim=1))
    torch.testing.assert_close(seen.sum(1), torch.ones(2, 4, 4))


def test_size_is_area():
    """At 0 nothing is seen; the half-opaque part grows as the size, in the centre."""
    sides = (200, 200)
    assert opacities(make_blobs(size=0.0), sides).max() < 2e-6
    areas = [
        (opacities(make_blobs(size=size), sides) > 0.5).float().mean()
        for size in (2.0, 3.0)
    ]
    assert areas[0] == pytest.approx(2 * 0.02 * pi, rel=0.1)
    assert areas[1] == pytest.approx(3 * 0.02 * pi, rel=0.05)


@pytest.mark.parametrize(("angle", "upper"), [(0.0, "x"), (pi / 2, "y")])
def test_angle_turns_the_long_axis_from_x_to_y(angle, upper):
    """At 0 a blob lies, at a right angle it stands."""
    opacity = opacities(make_blobs(aspect=2.0, angle=angle), (20, 20))[0, 0]
    along_x, along_y = opacity[10, 3], opacity[3, 10]
    assert (along_x > along_y) == (upper == "x")


def test_a_turn_goes_from_x_towards_y():
    """Y points down: an eighth of a turn brings the end to the lower right."""
    opacity = opacities(make_blobs(aspect=3.0, angle=pi / 4), (20, 20))[0, 0]
    assert opacity[15, 15] > 2 * opacity[4, 15]


def test_round_blobs_are_round_in_any_image():
    """Distances count in the longer side, whichever that is."""
    wide = opacities(make_blobs(), (8, 16))[0, 0]
    tall = opacities(make_blobs(), (16, 8))[0, 0]
    torch.testing.assert_close(wide, tall.T)
    assert wide[0, 7] == pytest.approx(float(wide[4, 4]), rel=0.1)


def test_jitter_stays_within_its_bounds():
    """Places, sizes and angles move by as much as was allowed, and differ."""
    blobs = make_blobs(n=200, k=2, size=2.0)
    moved = jittered(blobs, place=0.04, size=0.5, angle=0.1)
    for name, bound in {"x": 0.04, "y": 0.04, "size": 1.0, "angle": 0.1}.items():
        shift = getattr(moved, name) - getattr(blobs, name)
        assert 0.9 * bound < shift.abs().max() <= bound + 1e-6
        assert shift[:, 0].sub(shift[:, 1]).abs().max() > bound / 2
    assert moved.feature is blobs.feature


def test_no_blob_is_small_in_all_images():
    """Each has the same sizes, whatever the last layer gives, and a gradient."""
    layout = LayoutNetwork(4, 3, 2, 2, 8)
    with torch.no_grad():
        layout.head.bias[2] = -1000.0  # the first blob's size
    z = torch.randn(500, 4)
    size = layout(z).size
    numbers = size.expm1().log()
    torch.testing.assert_close(numbers.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(numbers.std(0), torch.ones(3), atol=1e-2, rtol=0)
    weight = layout.head.weight
    (gradient,) = torch.autograd.grad(size[:, 0].square().sum(), weight)
    assert gradient[2].abs().max() > 0.1
    for _ in range(100):
        layout(z)
    torch.testing.assert_close(layout.eval()(z[:5]).size, size[:5], atol=1e-2, rtol=0)


def test_layouts_alone_are_run_for_statistics_where_that_is_enough():
    """Spectral norms and what users derive need the painting too."""

    class Derived(BlobGenerator):
        pass

    own, derived = (kind(4, (1, 8, 8), 1, 2, 3, 2) for kind in (BlobGenerator, Derived))
    assert own._normalizing_part is own.layout
    assert derived._normalizing_part is derived
    normed = BlobGenerator(4, (1, 8, 8), 1, 2, 3, 2)
    normed.stages.append(torch.nn.BatchNorm2d(1))
    assert normed._normalizing_part is normed
    spectral_norm(own.stages[0][0].conv)
    assert own._normalizing_part is own


@pytest.mark.parametrize(
    ("side", "grids"),
    [
        (32, [16, 32]),
        (64, [16, 32, 64]),
        (128, [16, 32, 64, 128]),
        (256, [16, 32, 64, 128, 256]),
        (28, [14, 28]),
        (8, [8]),
    ],
)
def test_sizes_follow_the_image(side, grids):
    """Splatted on at most 16x16, then doubled up to the image."""
    generator = BlobGenerator(4, (1, side, side), 1, n_blobs=1)
    assert [size[0] for size in generator.sides] == grids
    discriminator = BlobDiscriminator((1, side, side), 1, 1)
    images = generator(torch.randn(2, 4))
    assert images.shape == (2, 1, side, side)
    assert images.abs().max() <= 1
    features, logits = discriminator(images)
    assert logits.shape == (2, 1)
    assert max(features[-1].shape[2:]) <= 4


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (3, 9, 5), (4, 20, 33), (1,), (2,), (37,)]
)
def test_networks_keep_the_contract(shape):
    """For images of any shape, and for rows; every weight has a gradient."""
    generator = BlobGenerator(4, shape, 2, n_blobs=2, feature_dim=3, style_dim=2)
    discriminator = BlobDiscriminator(shape, 3, 2)
    images = generator(torch.randn(6, 4))
    assert images.shape == (6, *shape)
    features, logits = discriminator(images)
    assert logits.shape == (6, 3)
    assert all(feature.ndim == 4 and len(feature) == 6 for feature in features)
    logits.square().mean().backward()
    for module in (generator, discriminator):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    encoder = BlobEncoder(shape, layout_length(2, 3, 2), 2)
    _, numbers = encoder(images.detach())
    assert generator.render(read_layout(numbers, 2, 3)).shape == images.shape
    numbers.square().mean().backward()
    assert all(weight.grad.abs().max() > 0 for weight in encoder.parameters())


def test_nothing_is_drawn_in_evaluation():
    """Jitter and noise belong to training; the score does not depend on the batch."""
    generator = BlobGenerator(4, (1, 16, 16), 2, n_blobs=2)
    discriminator = BlobDiscriminator((1, 16, 16), 1, 2)
    z = torch.randn(8, 4)
    assert not torch.equal(generator(z), generator(z))
    in_training = discriminator(generator(z))[1]
    generator.eval()
    discriminator.eval()
    images = generator(z)
    assert torch.equal(images, generator(z))
    torch.testing.assert_close(images, generator.render(generator.layout(z)))
    torch.testing.assert_close(
        discriminator(images)[1][:3], discriminator(images[:3])[1]
    )
    assert in_training.isfinite().all()


def test_alike_images_are_seen_to_be_alike():
    """The deviation within the batch tells copies from different images."""
    discriminator = BlobDiscriminator((1, 8, 8), 1, 2)
    images = torch.randn(8, 1, 8, 8)
    copies = images[:1].expand(8, -1, -1, -1)
    seen = []
    discriminator.conv.register_forward_pre_hook(lambda _, x: seen.append(x[0][:, -1]))
    discriminator(images)
    discriminator(copies)
    assert seen[0].min() > 10 * seen[1].max()


def test_r1_is_lazy():
    """Each fourth step has the penalty, four times as heavy; the others have none."""
    discriminator = BlobDiscriminator((1, 8, 8), 1, 2)
    real, fake = torch.randn(2, 4, 1, 8, 8)
    step = torch.zeros((), dtype=torch.int64)
    options = {"step": step, "penalty_weight": 0.5, "interval": 4}
    values = [d_lazy_r1(discriminator, real, fake, **options).item() for _ in range(5)]
    plain = d_nonsaturating(discriminator(real)[1], discriminator(fake)[1]).item()
    whole = discriminator_loss(
        discriminator, real, fake, loss="nonsaturating", penalty_weight=2.0
    ).item()
    assert values == pytest.approx([whole, plain, plain, plain, whole])
    assert whole > plain
    assert step == 5
