"""Which way an image is turned: a task that teaches the classifier without labels."""

import pickle
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from sklgan import SemiSupervisedGANClassifier
from sklgan._class_losses import d_semi_supervised
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

    def forward(self, x):
        """Return no feature and six logits."""
        sides = [x[..., 0, :], x[..., :, 0], x[..., -1, :], x[..., :, -1]]
        light = torch.stack([side.mean((1, 2)) for side in sides], dim=1)
        mean = x.mean((1, 2, 3))[:, None]
        return [], torch.cat([mean, -mean, 20 * light], dim=1)


def test_turns_are_a_part_of_the_loss_and_no_class():
    """Light from above: told, it costs nothing; from below as much as can be."""
    torch.manual_seed(0)
    real = torch.zeros(40, 1, 8, 8)
    real[:, :, 0] = 1.0
    losses = {}
    for weight in (0.0, 0.5):
        for name, images in (("told", real), ("wrong", real.flip(2))):
            losses[name, weight] = d_semi_supervised(
                Turns(),
                images,
                None,
                torch.tensor([0, 1]),
                averaged=None,
                loss="nonsaturating",
                class_weight=None,
                adversarial_weight=0.0,
                consistency_weight=0.0,
                entropy_weight=1.0,
                balance_weight=1.0,
                rotation_weight=weight,
                prior=torch.tensor([0.5, 0.5]),
                strong_augment=None,
            ).item()
    assert losses["told", 0.0] == losses["wrong", 0.0]
    assert losses["told", 0.5] - losses["told", 0.0] == pytest.approx(0, abs=1e-3)
    assert losses["wrong", 0.5] - losses["wrong", 0.0] > 5


@contextmanager
def batch_statistics(network):
    """Put a network in training mode, and back with the statistics that it had."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    yield network.train()
    network.eval().load_state_dict(state)


@pytest.mark.parametrize("loss", ["feature_matching", "nonsaturating"])
def test_turned_images_teach_the_layers(few, loss):
    """Their head is there in training alone; all that is predicted has K columns."""
    X, masked = few
    gan = make_classifier(rotation_weight=1.0, loss=loss).fit(X, masked)
    plain = make_classifier(loss=loss).fit(X, masked)
    assert gan.predict_proba(X).shape == (len(X), 10)
    assert abs(gan.predict_proba(X) - plain.predict_proba(X)).max() > 1e-3
    assert gan.history_[0]["d_loss"] > plain.history_[0]["d_loss"] + 0.5
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
        rotation_weight=1.0, adversarial_weight=0.0, n_filters=8, max_epochs=10
    ).fit(X, masked)
    images = torch.as_tensor(X[:500], dtype=torch.float32)[:, None] / 8 - 1
    with batch_statistics(gan.discriminator_) as network, torch.no_grad():
        assert turns_cross_entropy(network, images) < 0.7 * np.log(4)


def test_turning_is_begun_and_ended_by_a_new_fit_alone(few):
    """Other heads are other networks."""
    X, masked = few
    gan = make_classifier(warm_start=True).fit(X, masked)
    with pytest.raises(ValueError, match="heads.*set it back"):
        gan.set_params(rotation_weight=1.0).fit(X, masked)
    gan.set_params(warm_start=False).fit(X, masked)


def test_flat_rows_cannot_be_turned(few):
    """The remedy is named, and the last fit stays."""
    X, masked = few
    gan = make_classifier().fit(X.reshape(len(X), -1), masked)
    before = gan.predict(X.reshape(len(X), -1))
    with pytest.raises(ValueError, match=r"rotation_weight=1\.0 .* image_shape="):
        gan.set_params(rotation_weight=1.0).fit(X.reshape(len(X), -1), masked)
    assert_array_equal(gan.predict(X.reshape(len(X), -1)), before)
    gan.set_params(image_shape=(8, 8)).fit(X.reshape(len(X), -1), masked)
