"""Which way an image is turned: a task that teaches the classifier without labels."""

import pickle
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sklgan import SemiSupervisedGANClassifier
from sklgan._class_losses import d_semi_supervised, g_semi_supervised
from sklgan._diagnosis import THRESHOLDS, _discriminator_won
from sklgan.losses import turns_cross_entropy

CHEAP = {"n_filters": 4, "max_epochs": 2, "random_state": 0, "device": "cpu"}


def make_classifier(**parameters):
    """Return a classifier that is trained in a moment."""
    return SemiSupervisedGANClassifier(**(CHEAP | parameters))


@pytest.fixture
def few(digits):
    """Return 200 digits with 40 labels."""
    X, y = digits
    return X, np.where(np.arange(len(y)) < 40, y, -1)


class Turns(torch.nn.Module):
    """Two logits of classes, the mean, and four that know where the light is."""

    def __init__(self, n_logits=6):
        super().__init__()
        self.n_logits = n_logits

    def forward(self, x):
        """Return no feature and the first logits."""
        sides = [x[..., 0, :], x[..., :, 0], x[..., -1, :], x[..., :, -1]]
        light = torch.stack([side.mean((1, 2)) for side in sides], dim=1)
        mean = x.mean((1, 2, 3))[:, None]
        return [], torch.cat([mean, -mean, 20 * light], dim=1)[:, : self.n_logits]


def loss_of(network, real, fake=None, **weights):
    """Return the classifier's loss of images, the first two of which are labelled."""
    weights = {f"{name}_weight": value for name, value in weights.items()}
    return d_semi_supervised(
        network,
        real,
        fake,
        torch.tensor([0, 1]),
        averaged=Turns(2),
        loss="nonsaturating",
        prior=torch.tensor([0.5, 0.5]),
        strong_augment=torch.neg,
        **(WEIGHTS | weights),
    ).item()


WEIGHTS = {
    "class_weight": torch.ones(2),
    "remembered": None,
    "adversarial_weight": 0.0,
    "consistency_weight": 0.0,
    "entropy_weight": 1.0,
    "balance_weight": 1.0,
    "rotation_weight": 0.0,
}


def lit_from_above():
    """Return images whose topmost row is bright."""
    real = torch.zeros(40, 1, 8, 8)
    real[:, :, 0] = 1.0
    return real


def test_turns_are_a_part_of_the_loss():
    """Light from above is told and costs nothing; from below it is always mistaken."""
    torch.manual_seed(0)
    real = lit_from_above()
    plain = loss_of(Turns(), real)
    assert loss_of(Turns(), real.flip(2)) == plain
    assert loss_of(Turns(), real, rotation=0.5) == pytest.approx(plain, abs=1e-3)
    once, thrice = (loss_of(Turns(), real.flip(2), rotation=w) for w in (1.0, 3.0))
    assert once - plain > 5
    assert thrice - plain == pytest.approx(3 * (once - plain), rel=1e-3)


def test_turns_are_no_classes():
    """All other losses see the logits of the classes alone."""
    real, fake = lit_from_above(), 2 * lit_from_above()
    every = {"adversarial": 1.0, "consistency": 1.0}
    expected = loss_of(Turns(2), real, fake, **every)
    assert loss_of(Turns(), real, fake, **every) == expected
    values = [
        g_semi_supervised(Turns(n), real, fake, loss="nonsaturating", n_classes=2)
        for n in (2, 6)
    ]
    assert_array_equal(*values)


def test_images_that_are_not_square_are_turned_by_half_a_turn():
    """A network that tells them is right, one that takes them for quarters is not."""
    torch.manual_seed(0)
    wide = torch.zeros(40, 1, 8, 12)
    wide[:, :, 0] = 1.0

    def quarters(x):
        features, logits = Turns()(x)
        return features, logits[:, [0, 1, 2, 4, 3, 5]]

    assert turns_cross_entropy(Turns(), wide) < 1e-3
    assert turns_cross_entropy(quarters, wide) > 5


@contextmanager
def batch_statistics(network):
    """Put a network in training mode, and back with the statistics that it had."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        yield network.train()
    finally:
        network.eval().load_state_dict(state)


@pytest.mark.parametrize("loss", ["feature_matching", "nonsaturating"])
def test_turned_images_teach_the_layers(few, loss):
    """Their head is there in training alone; all that is predicted has K columns."""
    X, masked = few
    gan = make_classifier(rotation_weight=1.0, loss=loss).fit(X, masked)
    plain = make_classifier(loss=loss).fit(X, masked)
    assert gan.predict_proba(X).shape == (len(X), 10)
    assert gan.history_[0]["d_loss"] > plain.history_[0]["d_loss"] + 0.5
    more = make_classifier(rotation_weight=3.0, loss=loss).fit(X, masked)
    assert more.history_[0]["d_loss"] > gan.history_[0]["d_loss"] + 1.0
    again = pickle.loads(pickle.dumps(gan))
    assert_array_equal(again.predict_proba(X), gan.predict_proba(X))
    assert_array_equal(
        again.set_params(warm_start=True).fit(X, masked).classes_, range(10)
    )
    assert len(again.history_) == 4


def test_turns_can_be_told_after_training(few):
    """What the head has learned is better than to guess."""
    X, masked = few
    gan = make_classifier(
        rotation_weight=1.0, adversarial_weight=0.0, n_filters=8, max_epochs=12
    ).fit(X, masked)
    images = torch.as_tensor(X, dtype=torch.float32)[:, None] / 8 - 1
    with batch_statistics(gan.discriminator_) as network, torch.no_grad():
        assert turns_cross_entropy(network, images) < 0.7 * np.log(4)


def test_turning_is_begun_and_ended_by_a_new_fit_alone(few):
    """Other heads are other networks."""
    X, masked = few
    gan = make_classifier(warm_start=True).fit(X, masked)
    with pytest.raises(ValueError, match="rotation_weight.* set it back"):
        gan.set_params(rotation_weight=1.0).fit(X, masked)
    gan.set_params(warm_start=False).fit(X, masked)
    with pytest.raises(ValueError, match="rotation_weight.* set it back"):
        gan.set_params(rotation_weight=0.0).partial_fit(X, masked)
    gan.set_params(rotation_weight=0.5).partial_fit(X, masked)
    assert len(gan.history_) == 3


def test_the_remedy_of_a_classifier_is_not_withheld(few):
    """The classifier's augmentation is the engine's, turns or not."""
    gan = make_classifier(rotation_weight=1.0, augment=None).fit(*few)
    remedy = _discriminator_won(gan, dict.fromkeys(THRESHOLDS, 0.0)).remedy
    assert remedy["augment"] == ("translation", "cutout")


def test_flat_rows_cannot_be_turned(few):
    """The remedy is named, and the last fit stays."""
    X, masked = few
    gan = make_classifier().fit(X.reshape(len(X), -1), masked)
    before = gan.predict(X.reshape(len(X), -1))
    with pytest.raises(ValueError, match=r"rotation_weight=1\.0 .* image_shape="):
        gan.set_params(rotation_weight=1.0).fit(X.reshape(len(X), -1), masked)
    assert_array_equal(gan.predict(X.reshape(len(X), -1)), before)
    gan.set_params(image_shape=(8, 8)).fit(X.reshape(len(X), -1), masked)
