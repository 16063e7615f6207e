"""diagnose() finds what went wrong, and leaves alone what is well."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from test_training import make_gan
from torch import nn

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    Diagnosis,
    SemiSupervisedGANClassifier,
    TrainingDivergedError,
    TrainingWarning,
)
from sklgan.networks import DCGANDiscriminator, DCGANGenerator


def learning_gan(**kwargs):
    """Return an estimator that learns the 200 digits in a second or two."""
    options = {
        "latent_dim": 16,
        "n_filters": 16,
        "batch_size": 40,
        "max_epochs": 50,
        "learning_rate": 3e-3,
        "ema_decay": 0.9,
        "random_state": 0,
        "device": "cpu",
    }
    return DCGANFeatureExtractor(**(options | kwargs))


@pytest.fixture(scope="module")
def healthy(digits):
    """Return a fitted estimator that has learned."""
    return learning_gan().fit(digits[0])


class FewImages(nn.Module):
    """A generator that knows so many latent vectors only."""

    def __init__(self, latent_dim, out_shape, n_images):
        super().__init__()
        self.generator = DCGANGenerator(latent_dim, out_shape, 16)
        self.register_buffer("known", torch.randn(n_images, latent_dim))

    def forward(self, z):
        index = (torch.distributions.Normal(0, 1).cdf(z[:, 0]) * len(self.known)).long()
        return self.generator(self.known[index.clamp(max=len(self.known) - 1)])


def few_images(n_images):
    """Return a pair of networks."""
    generator = partial(FewImages, n_images=n_images)
    return generator, partial(DCGANDiscriminator, n_filters=16)


class FreezeGenerator(Callback):
    """Let the discriminator learn alone."""

    def on_epoch_begin(self, net, **kwargs):
        net.optimizer_.param_groups[1]["lr"] = 0.0


# Findings ---------------------------------------------------------------------------


def test_a_training_that_is_well(healthy, digits):
    """Nothing is found, and every figure is there."""
    diagnosis = healthy.diagnose(digits[0])
    assert isinstance(diagnosis, Diagnosis)
    assert not diagnosis
    assert diagnosis.names == []
    assert diagnosis.figures.keys() == diagnosis.thresholds.keys()
    assert np.isfinite(list(diagnosis.figures.values())).all()
    assert str(diagnosis).startswith("Nothing wrong was found.")


@pytest.mark.parametrize("n_images", [2, 8])
def test_few_images_are_a_mode_collapse(n_images, digits):
    """Good samples, but only so many of them."""
    gan = learning_gan(network=few_images(n_images), max_epochs=10).fit(digits[0])
    diagnosis = gan.diagnose(digits[0])
    assert "mode_collapse" in diagnosis.names
    assert diagnosis.figures["distinctness"] == pytest.approx(n_images / 150, rel=0.4)


def test_one_image_is_a_mode_collapse_of_which_fit_warns(digits):
    """Whatever the latent vector."""
    gan = learning_gan(network=few_images(1), max_epochs=3)
    with pytest.warns(TrainingWarning, match="one and the same image"):
        gan.fit(digits[0])
    diagnosis = gan.diagnose(digits[0])
    assert "mode_collapse" in diagnosis.names
    assert diagnosis.figures["spread"] < 1e-3


def test_a_discriminator_that_has_won_and_of_which_fit_warns(digits):
    """The generator does not move, so that the discriminator learns all about it."""
    gan = learning_gan(learning_rate=0.01, callbacks=[FreezeGenerator])
    with pytest.warns(TrainingWarning, match="discriminator has won"):
        gan.fit(digits[0])
    diagnosis = gan.diagnose(digits[0])
    assert diagnosis.names == ["discriminator_won"]
    assert diagnosis.figures["separation"] > 0.98
    assert diagnosis.figures["d_saturation"] < 0.05


@pytest.mark.parametrize(
    "estimator",
    [
        DCGANFeatureExtractor(n_filters=8, max_epochs=4),
        SemiSupervisedGANClassifier(n_filters=8, max_epochs=4),
        CategoricalGANClusterer(10, n_filters=8, max_epochs=8, warmup=0),
    ],
    ids=["extractor", "classifier", "clusterer"],
)
def test_no_learning(estimator, digits):
    """A learning rate of next to nothing; the remedy is the usual one."""
    usual = estimator.learning_rate
    gan = estimator.set_params(learning_rate=1e-9, random_state=0).fit(*digits)
    [finding] = gan.diagnose(digits[0]).findings
    assert finding.name == "no_learning"
    assert finding.remedy == {"learning_rate": usual}
    estimator.set_params(learning_rate=usual)


def test_untrained_networks_have_learned_nothing(digits):
    """max_epochs=0 is told apart from a collapse."""
    gan = make_gan(max_epochs=0).fit(digits[0])
    [finding] = gan.diagnose(digits[0]).findings
    assert finding.name == "no_learning"
    assert finding.remedy == {"max_epochs": 25}


def test_a_classifier_without_generator(digits):
    """What has no samples is not judged by them."""
    gan = SemiSupervisedGANClassifier(
        n_filters=4, max_epochs=4, adversarial_weight=0, random_state=0
    )
    diagnosis = gan.fit(*digits).diagnose(digits[0])
    assert not diagnosis
    assert np.isnan(diagnosis.figures["spread"])
    assert diagnosis.figures["loss_movement"] > 0


@pytest.mark.parametrize(
    "estimator",
    [
        DCGANFeatureExtractor(objective="contrastive", adversarial_weight=0),
        SemiSupervisedGANClassifier(adversarial_weight=0, balance_weight=0),
    ],
)
def test_nothing_learned_without_generator(estimator, digits):
    """Then the losses alone tell."""
    estimator.set_params(n_filters=4, max_epochs=4, learning_rate=1e-9, random_state=0)
    [finding] = estimator.fit(*digits).diagnose(digits[0]).findings
    assert finding.name == "no_learning"
    assert "distance" not in finding.text


def test_text_tells_on_which_side_a_figure_is_bad(digits):
    """And has a dash where there is no figure."""
    gan = SemiSupervisedGANClassifier(
        n_filters=4, max_epochs=2, adversarial_weight=0, random_state=0
    )
    lines = str(gan.fit(*digits).diagnose(digits[0])).splitlines()
    assert " ".join(lines[-4].split()) == "separation - >= 0.95"
    assert lines[-1].split()[0] == "loss_movement"
    assert lines[-1].split()[2:] == ["<=", "0.006"]


# Use --------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [few_images(2), few_images(1)])
def test_remedies_are_parameters(network, digits):
    """They can be set as they are, and are named in the text."""
    gan = learning_gan(network=network, max_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrainingWarning)
        diagnosis = gan.fit(digits[0]).diagnose(digits[0])
    for finding in diagnosis.findings:
        assert finding.remedy
        gan.set_params(**finding.remedy)
        for name, value in finding.remedy.items():
            assert f"{name}={value!r}" in finding.text
        assert f"{finding.name}: {finding.text}" in str(diagnosis)


def test_the_seed_decides_the_figures(healthy, digits):
    """random_state, else the estimator's own; global generators are left alone."""
    X = digits[0]
    state = torch.get_rng_state()
    first, second = (healthy.diagnose(X, random_state=3).figures for _ in range(2))
    assert first == second != healthy.diagnose(X).figures
    assert torch.equal(torch.get_rng_state(), state)


def test_diagnosing_changes_nothing(healthy, digits):
    """Not a bit of the estimator."""
    before = pickle.dumps(healthy)
    healthy.diagnose(digits[0])
    assert pickle.dumps(healthy) == before


def test_copies_are_diagnosed_alike(healthy, digits):
    """History and networks travel."""
    copied = pickle.loads(pickle.dumps(healthy))
    figures = copied.diagnose(digits[0]).figures
    assert figures == pytest.approx(healthy.diagnose(digits[0]).figures)


def test_after_a_divergence(digits):
    """What was kept of the training can be diagnosed."""

    class Spoil(Callback):
        def on_batch_end(self, net, **kwargs):
            if len(net.history) == 3:
                with torch.no_grad():
                    next(net.generator_.parameters()).fill_(np.nan)

    gan = make_gan(callbacks=[Spoil])
    with pytest.raises(TrainingDivergedError):
        gan.fit(digits[0])
    assert np.isfinite(gan.diagnose(digits[0]).figures["distance_left"])


def test_data_frames_and_colours(digits, two_colours):
    """All that fit takes, without a warning."""
    frame = pd.DataFrame(digits[0].reshape(-1, 64)).add_prefix("pixel")
    make_gan(max_epochs=1).fit(frame).diagnose(frame)
    make_gan(max_epochs=1).fit(two_colours[0]).diagnose(two_colours[0])


def test_bad_input(healthy, digits):
    """Too few rows to say anything."""
    with pytest.raises(ValueError, match="10 rows or more"):
        healthy.diagnose(digits[0][:9])
    with pytest.raises(ValueError, match="n_samples=2"):
        healthy.diagnose(digits[0], n_samples=2)
    with pytest.raises(ValueError, match="not fitted"):
        DCGANFeatureExtractor().diagnose(digits[0])


def test_the_warning_is_of_a_kind_that_is_known():
    """Whoever filters scikit-learn's warnings of convergence filters ours."""
    assert issubclass(TrainingWarning, ConvergenceWarning)
