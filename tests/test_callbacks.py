"""Callbacks of skorch's, the progress bar, and grids of samples."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    TensorBoard,
)
from test_training import make_gan, same, weights

from sklgan import KeepBest, SampleGrid, TrainingDivergedError


class Recorder(Callback):
    """Note the learning rates at the beginning and the losses at the end of epochs."""

    def initialize(self):
        self.rates, self.losses, self.n_batches = [], [], 0
        return self

    def on_epoch_begin(self, net, **kwargs):
        self.rates.append([group["lr"] for group in net.optimizer_.param_groups])

    def on_batch_end(self, net, **kwargs):
        self.n_batches += 1

    def on_epoch_end(self, net, **kwargs):
        self.losses.append(net.history[-1, "d_loss"])


def test_callbacks_are_called(digits):
    """A skorch callback sees every batch and every epoch, with its losses."""
    recorder = Recorder()
    gan = make_gan(max_epochs=3, callbacks=[recorder]).fit(digits[0])
    assert recorder.n_batches == 3 * 4
    assert recorder.losses == [row["d_loss"] for row in gan.history_]


def test_learning_rate_schedule_reaches_both_networks(digits):
    """Skorch's LRScheduler halves the rate of either network."""
    recorder = Recorder()
    schedule = LRScheduler(policy="StepLR", step_size=1, gamma=0.5)
    make_gan(learning_rate=0.01, max_epochs=3, callbacks=[schedule, recorder]).fit(
        digits[0]
    )
    assert recorder.rates == [[0.01, 0.01], [0.005, 0.005], [0.0025, 0.0025]]


def test_scores_of_epochs_come_into_the_history(digits):
    """Skorch's scoring callbacks run; there are no predictions for them to see."""

    def n_epochs(net, X, y=None):
        return float(len(net.history))

    scoring = EpochScoring(n_epochs, on_train=True, name="score")
    gan = make_gan(max_epochs=2, callbacks=[("mine", scoring)]).fit(digits[0])
    assert [row["score"] for row in gan.history_] == [1, 2]


def test_early_stopping_ends_training(digits):
    """Skorch's way to stop is no Ctrl-C; n_iter_ counts the epochs that were run."""
    stop = EarlyStopping(monitor="d_loss", patience=2, threshold=1e9, sink=id)
    gan = make_gan(max_epochs=9, callbacks=[stop])
    try:
        gan.fit(digits[0])
    except KeyboardInterrupt:  # would end the test session
        pytest.fail("EarlyStopping was taken for Ctrl-C")
    assert gan.n_iter_ == len(gan.history_) == 3


def test_early_stopping_can_go_back_to_the_best_epoch(digits):
    """Its weights, of both networks, are what remains."""

    class Worsen(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 2:
                self.best = weights(net.discriminator_), weights(net.ema_generator_)
            net.history.record("figure", -1 if len(net.history) == 2 else 0)

    worsen = Worsen()
    stopping = EarlyStopping("figure", patience=2, load_best=True)
    gan = make_gan(max_epochs=9, ema_decay=0.5, callbacks=[worsen, stopping])
    gan.fit(digits[0])
    assert gan.n_iter_ == 4
    assert same(weights(gan.discriminator_), worsen.best[0])
    assert same(weights(gan.generator_), worsen.best[1])


def test_verbose_shows_one_progress_bar(digits, capsys):
    """verbose=1 writes a bar with the losses to stderr, verbose=0 nothing."""
    make_gan(max_epochs=2).fit(digits[0])
    assert capsys.readouterr() == ("", "")
    make_gan(max_epochs=2, verbose=1).fit(digits[0])
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "epoch 2/2" in shown.err
    assert "8/8" in shown.err
    assert "d_loss=" in shown.err


# Grids of samples, and TensorBoard --------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_sample_grid_writes_pictures(channels, digits, two_colours, tmp_path):
    """A PNG each second epoch, of the same latent vectors, as sample would draw."""
    X = digits[0] if channels == 1 else two_colours[0]
    grid = SampleGrid(tmp_path / "new" / "folder", every=2, n_samples=6, n_columns=3)
    gan = make_gan(latent_dim=4, max_epochs=4, learning_rate=0.01, callbacks=[grid])
    gan.fit(X)
    files = sorted((tmp_path / "new" / "folder").iterdir())
    assert [file.name for file in files] == ["epoch_0002.png", "epoch_0004.png"]
    second, fourth = (np.asarray(Image.open(file)) for file in files)
    assert second.shape[:2] == (2 * 9 - 1, 3 * 9 - 1)
    assert (second != fourth).any()
    samples = gan.generate(grid.Z_).reshape(6, 8, 8, channels)
    low, high = gan.data_range_
    expected = (samples[1] - low) / (high - low) * 255
    shown = fourth.reshape(*fourth.shape[:2], channels)[:8, 9:17]
    # The statistics of batch normalisation are drawn anew.
    assert np.abs(shown - expected).mean() < 10


def test_sample_grid_changes_nothing(digits, tmp_path):
    """The weights are those of a fit without it."""
    watched = make_gan(max_epochs=2, callbacks=[SampleGrid(tmp_path)]).fit(digits[0])
    alone = make_gan(max_epochs=2).fit(digits[0])
    for name in ("generator_", "discriminator_"):
        first = getattr(watched, name).state_dict()
        second = getattr(alone, name).state_dict()
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "needs a folder or a writer"),
        ({"folder": "x", "every": 0}, "every=0"),
        ({"folder": "x", "n_samples": 2.5}, "n_samples=2.5"),
        ({"folder": "x", "n_columns": 0}, "n_columns=0"),
    ],
)
def test_sample_grid_checks_its_parameters(params, message, digits):
    """In fit, as all parameters."""
    with pytest.raises(ValueError, match=message):
        make_gan(callbacks=[SampleGrid(**params)]).fit(digits[0])


def test_sample_grid_needs_images(digits, tmp_path):
    """Flat rows have no pictures; that is said before the first epoch."""
    flat, recorder = digits[0].reshape(-1, 64), Recorder()
    grid = SampleGrid(tmp_path / "new")
    with pytest.raises(ValueError, match=r"set image_shape=\(h, w\)"):
        make_gan(max_epochs=1, callbacks=[recorder, grid]).fit(flat)
    assert recorder.n_batches == 0
    assert not (tmp_path / "new").exists()


def test_sample_grid_shows_the_last_training(digits, tmp_path):
    """Each chunk of a stream is a training of one epoch, whose file it overwrites."""
    gan = make_gan(latent_dim=4, learning_rate=0.01, callbacks=[SampleGrid(tmp_path)])
    pictures = []
    for chunk in (digits[0][:100], digits[0][100:]):
        gan.partial_fit(chunk)
        [file] = tmp_path.iterdir()
        pictures.append((file.name, file.read_bytes()))
    assert [name for name, _ in pictures] == ["epoch_0001.png"] * 2
    assert pictures[0] != pictures[1]


def test_sample_grid_takes_images_of_every_network(digits, tmp_path):
    """Flattened images, and those of an mlp."""
    flat = digits[0].reshape(-1, 64)
    for network in ("dcgan", "mlp"):
        grid = SampleGrid(tmp_path / network)
        gan = make_gan(network=network, max_epochs=1, image_shape=(8, 8))
        gan.set_params(callbacks=[grid]).fit(flat)
        assert (tmp_path / network / "epoch_0001.png").exists()


def test_tensorboard_gets_losses_figures_and_pictures(digits, tmp_path):
    """All of it can be read back from the event file."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    from torch.utils.tensorboard import SummaryWriter

    X, writer = digits[0], SummaryWriter(str(tmp_path))
    gan = make_gan(
        latent_dim=4,
        max_epochs=3,
        callbacks=[
            KeepBest(X[100:]),
            SampleGrid(writer=writer, n_samples=4),
            TensorBoard(writer),
        ],
    ).fit(X[:100])
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    for name in ("d_loss", "g_loss", "kernel_distance"):
        values = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(row["epoch"], row[name]) for row in gan.history_]
        assert np.allclose(values, expected)
    images = events.Images("samples")
    assert [image.step for image in images] == [1, 2, 3]
    assert images[0].width == images[0].height == 2 * 9 - 1
    picture = Image.open(io.BytesIO(images[0].encoded_image_string))
    assert picture.size == (17, 17)


# When training goes wrong -----------------------------------------------------------


def test_callbacks_hear_of_a_divergence(digits):
    """The end of training is announced; the lost epoch is in no history."""

    class Spoil(Callback):
        def initialize(self):
            self.n_ends = 0
            return self

        def on_batch_end(self, net, **kwargs):
            if len(net.history) == 3:
                with torch.no_grad():
                    next(net.generator_.parameters()).fill_(np.inf)

        def on_train_end(self, net, **kwargs):
            self.n_ends += 1

    spoil, recorder = Spoil(), Recorder()
    gan = make_gan(max_epochs=9, callbacks=[spoil, recorder])
    with pytest.raises(TrainingDivergedError, match="weights of epoch 2 have been"):
        gan.fit(digits[0])
    assert spoil.n_ends == 1
    assert recorder.losses == [row["d_loss"] for row in gan.history_]
    assert gan.n_iter_ == 2
    assert np.isfinite(gan.sample(3)).all()


def test_figures_of_callbacks_are_in_the_checkpoint(digits, tmp_path):
    """A resumed fit has them for the epochs before too."""

    def n_epochs(net, X, y=None):
        return float(net.n_epochs)

    def fit(max_epochs):
        scoring = EpochScoring(n_epochs, on_train=True, name="score")
        return make_gan(
            max_epochs=max_epochs,
            callbacks=[scoring],
            checkpoint=tmp_path,
            checkpoint_interval=0,
        ).fit(digits[0])

    fit(2)
    assert [row["score"] for row in fit(3).history_] == [1, 2, 3]
