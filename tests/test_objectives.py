"""Objectives of DCGANFeatureExtractor: what the discriminator teaches itself."""

import pickle
from functools import partial
from math import exp, log

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from torch import nn
from torch.nn.functional import one_hot
from torch.testing import assert_close

from sklgan import DCGANFeatureExtractor
from sklgan._diagnosis import THRESHOLDS, _discriminator_won, _mode_collapse
from sklgan._objectives import PROJECTIONS, bind_objective
from sklgan.augment import flip
from sklgan.losses import fakes_apart, nt_xent, turns_cross_entropy
from sklgan.networks import (
    NETWORKS,
    DCGANDiscriminator,
    MLPGenerator,
    SelfTaughtDiscriminator,
)

OTHERS = ["contrastive", "rotation"]


def close(value, expected):
    """Assert that a loss in float32 is what was worked out."""
    assert float(value) == pytest.approx(expected, rel=1e-5)


def make_gan(**kwargs):
    """Return an estimator that is trained in a moment."""
    options = {"n_filters": 8, "max_epochs": 2, "batch_size": 50, "random_state": 0}
    return DCGANFeatureExtractor(**(options | {"device": "cpu"} | kwargs))


def test_nt_xent_needs_two_views_of_the_same_images():
    """Partners would be others' otherwise."""
    with pytest.raises(ValueError, match=r"shape \(3, 2\) and second \(2, 2\)"):
        nt_xent(torch.ones(3, 2), torch.ones(2, 2))


def test_nt_xent_by_hand():
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    # Of four unit vectors each sees its partner at cosine 1 and the others at 0.
    expected = -log(exp(1 / 0.5) / (exp(1 / 0.5) + 2))
    close(nt_xent(torch.cat([a, b]), torch.cat([a, b]), 0.5), expected)
    # Swapped partners are at 0, and one of the others at 1.
    swapped = -log(1 / (exp(1 / 0.5) + 2))
    close(nt_xent(torch.cat([a, b]), torch.cat([b, a]), 0.5), swapped)
    same = torch.ones(7, 3)
    close(nt_xent(same, same), log(13))


def test_fakes_apart_by_hand():
    fake = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    real = torch.tensor([[0.0, 1.0], [-3.0, 0.0], [0.0, -1.0]])
    total = exp(1 / 0.5) + 2 * exp(0) + exp(-1 / 0.5)
    close(fakes_apart(fake, real, 0.5), -log(exp(1 / 0.5) / total))
    close(fakes_apart(torch.ones(4, 2), torch.ones(5, 2)), log(8))


@pytest.mark.parametrize(
    ("width", "ways", "n_seen"), [(6, [0, 1, 2, 3], 3), (7, [0, 2], 5)]
)
def test_images_are_turned_as_numpy_does(width, ways, n_seen):
    """A quarter of them by all quarters, or half of them by halves."""
    images = torch.randn(9, 2, 6, width, generator=torch.Generator().manual_seed(0))
    drawn = set()

    def discriminator(turned):
        upright = turned[:n_seen]
        rows = [(images == image).all((1, 2, 3)).nonzero().item() for image in upright]
        assert len(set(rows)) == n_seen
        drawn.update(rows)
        expected = [np.rot90(upright, way, (2, 3)) for way in ways]
        assert_array_equal(turned, np.concatenate(expected))
        return [], 50.0 * one_hot(torch.as_tensor(np.repeat(ways, n_seen)), 4)

    torch.manual_seed(0)
    for _ in range(20):
        assert turns_cross_entropy(discriminator, images) < 1e-6
    assert drawn == set(range(9))


@pytest.mark.parametrize(
    "loss", [lambda z: nt_xent(z[:4], z[4:]), lambda z: fakes_apart(z[:3], z[3:])]
)
def test_gradients_of_contrasts(loss):
    z = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    z.requires_grad_()
    loss(z).backward()
    direction = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    step = 1e-2
    ahead, behind = (loss(z.detach() + sign * step * direction) for sign in (1, -1))
    slope = (z.grad * direction).sum()
    assert_close((ahead - behind) / (2 * step), slope, rtol=2e-2, atol=1e-3)


def heads_of(shape=(3, 16, 16)):
    """Return a discriminator with two heads, and some images."""
    torch.manual_seed(0)
    network = SelfTaughtDiscriminator(
        lambda: DCGANDiscriminator(shape, n_filters=4), shape, (5, 6)
    )
    return network, torch.randn(10, *shape)


def test_heads_are_there_in_training_alone():
    network, images = heads_of()
    features, logits = network(images)
    assert logits.shape == (10, 2 + 5 + 6)
    assert_array_equal(logits[:, 0].detach(), logits[:, 1].detach())
    own, _ = network.network(images)
    for feature, other in zip(features, own, strict=True):
        assert_close(feature, other)
    assert network.eval()(images)[1].shape == (10, 1)


def test_heads_beside_the_logits_of_classes():
    torch.manual_seed(0)
    shape = (3, 16, 16)
    network = SelfTaughtDiscriminator(
        lambda: DCGANDiscriminator(shape, 3, n_filters=4), shape, (4, 2), True
    )
    images = torch.randn(10, *shape)
    features, logits = network(images)
    own_features, own = network.network(images)
    assert logits.shape == (10, 3 + 4 + 2)
    assert_close(logits[:, :3], own)
    assert_close(features[-1], own_features[-1])
    assert network.eval()(images)[1].shape == (10, 3)


def test_one_realness_reaches_the_layers_and_the_other_does_not():
    network, images = heads_of()
    images.requires_grad_()
    logits = network(images)[1]
    (stopped,) = torch.autograd.grad(logits[:, 1].sum(), images, retain_graph=True)
    assert not stopped.any()
    (reached,) = torch.autograd.grad(logits[:, 0].sum(), images, retain_graph=True)
    assert reached.abs().sum() > 0
    head = next(network.realness.parameters())
    (learned,) = torch.autograd.grad(logits[:, 1].sum(), head, retain_graph=True)
    assert learned.abs().sum() > 0
    (projected,) = torch.autograd.grad(logits[:, 2:].square().sum(), images)
    assert projected.abs().sum() > 0


def engine_losses(objective):
    """Return the pair of losses of an objective, as the engine is given it."""
    gan = make_gan(objective=objective, augment=flip)
    gan.image_shape_ = (16, 16, 3)
    losses = bind_objective(gan)
    return losses["discriminator_loss"], losses["generator_loss"]


@pytest.mark.parametrize(
    ("objective", "reaches"), [("contrastive", 0), ("rotation", 1)]
)
def test_what_the_adversarial_loss_teaches(objective, reaches):
    """Realness reaches the layers under "rotation", and stops above otherwise."""
    torch.manual_seed(0)
    shape = (3, 16, 16)
    network = SelfTaughtDiscriminator(
        lambda: DCGANDiscriminator(shape, n_filters=4), shape, PROJECTIONS[objective]
    )
    d_loss, g_loss = engine_losses(objective)
    real, fake = torch.randn(2, 10, *shape)

    def gradients(value, inputs):
        return torch.autograd.grad(value, inputs, allow_unused=True)

    head = next(network.realness.parameters())
    layers = next(network.network.parameters())
    # Heads that say nothing teach nothing: what is left is the adversarial loss.
    with torch.no_grad():
        for layer in network.heads.modules():
            if isinstance(layer, nn.Linear):
                layer.weight.zero_()
                layer.bias.fill_(1.0)
    of_head, of_layers = gradients(d_loss(network, real, fake), [head, layers])
    assert of_head.abs().max() > 0
    assert bool(of_layers.abs().max() > 1e-9) == bool(reaches)
    fake.requires_grad_()
    network.requires_grad_(False)
    (of_fake,) = gradients(g_loss(network, real, fake), [fake])
    assert of_fake.abs().max() > 0


@pytest.mark.parametrize("loss", [nt_xent, fakes_apart])
def test_contrasts_are_float32_under_autocast(loss):
    z = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    plain = loss(*z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_close(loss(*z), plain)


@pytest.mark.parametrize("objective", OTHERS)
def test_remedies_can_be_taken(objective, digits):
    X = digits[0][:60]
    gan = make_gan(objective=objective, max_epochs=1).fit(X)
    figures = dict.fromkeys(THRESHOLDS, 0.0)
    for find in (_mode_collapse, _discriminator_won):
        remedy = find(gan, figures).remedy
        assert "augment" not in remedy
        make_gan(objective=objective, max_epochs=1).set_params(**remedy).fit(X)


@pytest.mark.parametrize("objective", OTHERS)
def test_the_estimator_keeps_its_promises(objective, digits, tmp_path):
    X = digits[0][:150]
    gan = make_gan(objective=objective).fit(X)
    features = gan.transform(X)
    assert features.shape == (150, len(gan.get_feature_names_out()))
    assert gan.score_samples(X).shape == (150,)
    assert gan.sample(3).shape == (3, 8, 8)
    assert {"d_loss", "g_loss"} <= set(gan.history_[-1])
    assert abs(gan.diagnose(X).figures["d_saturation"]) < 10
    joblib.dump(gan, tmp_path / "gan.joblib")
    again = joblib.load(tmp_path / "gan.joblib")
    assert_array_equal(again.transform(X), features)
    assert_array_equal(again.score_samples(X), gan.score_samples(X))
    assert_array_equal(make_gan(objective=objective).fit_transform(X), features)


@pytest.mark.parametrize("objective", OTHERS)
def test_without_the_generator_it_has_no_part(objective, digits):
    X = digits[0][:100]
    gan = make_gan(objective=objective, adversarial_weight=0).fit(X)
    untrained = make_gan(objective=objective, max_epochs=0).fit(X)
    assert "g_loss" not in gan.history_[-1]
    for own, other in zip(
        gan.generator_.parameters(), untrained.generator_.parameters(), strict=True
    ):
        assert_array_equal(own.detach(), other.detach())
    assert not np.allclose(gan.transform(X), untrained.transform(X))


def test_flat_rows(digits):
    X = digits[0][:60].reshape(60, -1)
    assert make_gan(objective="contrastive").fit_transform(X).shape[0] == 60
    with pytest.raises(ValueError, match=r"objective='rotation' turns images"):
        make_gan(objective="rotation").fit(X)


@pytest.mark.parametrize("shape", [(8, 8), (4, 16)])
@pytest.mark.parametrize("objective", OTHERS)
def test_networks_of_ones_own_and_images_of_any_shape(objective, shape, digits):
    X = digits[0][:60].reshape(60, -1)
    pair = tuple(partial(network, n_filters=4) for network in NETWORKS["dcgan"])
    gan = make_gan(objective=objective, network=pair, image_shape=shape)
    assert gan.fit_transform(X).shape[0] == 60


def test_views_are_drawn_by_the_augmentation_that_is_named(digits):
    seen = []

    def augment(images):
        seen.append(len(images))
        return flip(images)

    gan = make_gan(objective="contrastive", augment=augment, max_epochs=1)
    gan.fit(digits[0][:50])
    # Two views of real images and one of fakes for the discriminator, one of fakes for
    # the generator.
    assert seen == [50] * 4


def test_layers_last(digits):
    X = digits[0][:60]
    # Of "dcgan" images of 8x8 have one layer alone.
    gan = make_gan(network="sndcgan", max_epochs=1).fit(X)
    last = make_gan(network="sndcgan", max_epochs=1, layers="last").fit(X)
    assert gan.layers_ == [1, 2, 3]
    assert last.layers_ == [3]
    n_features = last.transform(X).shape[1]
    assert_array_equal(last.transform(X), gan.transform(X)[:, -n_features:])


class Silent(nn.Module):
    """A discriminator without activations to show."""

    def __init__(self, in_shape, n_outputs):
        super().__init__()
        self.head = nn.Linear(in_shape[0], n_outputs)

    def forward(self, x):
        return [], self.head(x)


@pytest.mark.parametrize("options", [{"layers": "last"}, {"objective": "contrastive"}])
def test_a_network_that_shows_nothing_is_refused(options, digits):
    gan = make_gan(network=(MLPGenerator, Silent), **options)
    with pytest.raises(ValueError, match=r"empty list of features"):
        gan.fit(digits[0].reshape(200, -1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 7}, "batch_size=7 is too small for objective='contrastive'"),
        ({"augment": []}, r"augment=\[\] leaves nothing .* set None"),
        ({"loss": "wasserstein"}, "loss='wasserstein'"),
        ({"loss": "relativistic"}, "loss='relativistic'"),
        ({"gradient_penalty": 1.0}, "gradient_penalty=1.0"),
        ({"objective": "adversarial", "adversarial_weight": 0}, "nothing to learn"),
        ({"objective": "cubist"}, "objective"),
        ({"adversarial_weight": -1.0}, "adversarial_weight"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message, digits):
    gan = make_gan(objective="contrastive").fit(digits[0][:20])
    before = gan.sample(2, random_state=0)
    with pytest.raises(ValueError, match=message):
        gan.set_params(**options).fit(digits[0])
    assert_array_equal(gan.sample(2, random_state=0), before)


@pytest.mark.parametrize("fit", ["fit", "partial_fit"])
def test_too_few_rows_for_a_contrast(fit, digits):
    gan = make_gan(objective="contrastive").partial_fit(digits[0][:8])
    before = gan.sample(2, random_state=0)
    with pytest.raises(ValueError, match="X has 7 rows, too few .* at least 8"):
        getattr(gan, fit)(digits[0][:7])
    assert_array_equal(gan.sample(2, random_state=0), before)


@pytest.mark.parametrize(("batch_size", "n_rows"), [(8, 9), (14, 15), (10, 21)])
def test_batches_of_equal_size_may_be_too_small(batch_size, n_rows, digits):
    """Though batch_size is not; 16 is enough for any number of rows."""
    gan = make_gan(objective="contrastive", batch_size=batch_size)
    with pytest.raises(ValueError, match=rf"{n_rows} rows .* of \d, too .* least 16"):
        gan.fit(digits[0][:n_rows])
    assert not hasattr(gan, "discriminator_")
    gan.set_params(batch_size=16).fit(digits[0][:n_rows])


@pytest.mark.parametrize("augment", ["greyscale", ["greyscale"] * 2])
def test_views_of_grey_images_do_not_differ_in_colours(augment, digits):
    gan = make_gan(objective="contrastive", augment=augment)
    with pytest.raises(ValueError, match="changes nothing in grey images"):
        gan.fit(digits[0][:20])
    colours = np.repeat(digits[0][:20, ..., None], 3, axis=3)
    gan.set_params(adversarial_weight=0).fit(colours)
    gan.set_params(augment=["greyscale", "shift"]).fit(digits[0][:20])


def test_a_loss_that_has_no_part_needs_no_penalty(digits):
    """The same training, with batch normalisation, whatever the loss."""
    features = [
        make_gan(objective="contrastive", adversarial_weight=0, loss=loss)
        .set_params(network="cnn")
        .fit_transform(digits[0][:60])
        for loss in ("nonsaturating", "wasserstein")
    ]
    assert_array_equal(*features)


def test_another_objective_is_no_continuation(digits):
    gan = make_gan(warm_start=True).fit(digits[0])
    with pytest.raises(ValueError, match=r"_weight asks for was \(\) and is \(1"):
        gan.set_params(objective="contrastive").fit(digits[0])
    gan.set_params(objective="adversarial", spectral_norm=True)
    with pytest.raises(ValueError, match="spectral_norm was False and is True now"):
        gan.fit(digits[0])


def test_a_continuation_goes_on(digits):
    X = digits[0]
    whole = make_gan(objective="contrastive", max_epochs=2).fit(X)
    parts = make_gan(objective="contrastive", max_epochs=1, warm_start=True).fit(X)
    before = parts.discriminator_.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    parts.fit(X)
    assert parts.n_iter_ == whole.n_iter_ == 2
    # A few steps of Adam from where it was; other initial weights would be far off.
    for name, value in parts.discriminator_.named_parameters():
        assert (value - before[name]).abs().max() < 0.02, name


@pytest.mark.parametrize("options", [{}, {"adversarial_weight": 0}])
@pytest.mark.parametrize("objective", OTHERS)
def test_checkpoints_resume(objective, options, digits, tmp_path):
    """What is resumed ends as what was never broken off, and is of one objective."""
    pytest.importorskip("safetensors")
    X = digits[0][:60]
    whole = make_gan(objective=objective, **options).fit(X)
    part = {"objective": objective, "checkpoint": tmp_path, **options}
    make_gan(max_epochs=1, **part).fit(X)
    resumed = make_gan(**part).fit(X)
    assert_array_equal(resumed.transform(X), whole.transform(X))
    assert_array_equal(resumed.score_samples(X), whole.score_samples(X))
    with pytest.raises(ValueError, match="belongs to another training"):
        make_gan(**{**part, "adversarial_weight": 0.5}).fit(X)


def test_a_stream_goes_on_in_a_copy(digits):
    X = digits[0]
    gan = make_gan(objective="contrastive").partial_fit(X[:100])
    copy = pickle.loads(pickle.dumps(gan))
    for one in (gan, copy):
        one.partial_fit(X[100:])
    assert_array_equal(copy.transform(X), gan.transform(X))


@pytest.mark.parametrize("options", [{"spectral_norm": True}, {"network": "sndcgan"}])
def test_spectral_norms_of_the_discriminator(options, digits, tmp_path):
    X = digits[0]
    gan = make_gan(objective="contrastive", **options).fit(X)
    weights = [
        layer.weight.flatten(1)
        for layer in gan.discriminator_.network.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    for weight in weights:
        assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, rel=0.1)
    joblib.dump(gan, tmp_path / "gan.joblib")
    again = joblib.load(tmp_path / "gan.joblib")
    assert_array_equal(again.transform(X), gan.transform(X))


@pytest.mark.slow
@pytest.mark.parametrize("objective", OTHERS)
def test_it_teaches_more_than_no_training(objective):
    X, y = load_digits(return_X_y=True)
    X = X.reshape(-1, 8, 8)
    options = {"n_filters": 16, "layers": "last", "augment": ["shift", "affine"]}
    scores = [
        cross_val_score(
            LogisticRegression(max_iter=2000),
            make_gan(objective=objective, max_epochs=n, **options).fit_transform(X),
            y,
        ).mean()
        for n in (0, 15)
    ]
    assert scores[1] > scores[0] + 0.01
