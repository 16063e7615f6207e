"""Callbacks of skorch's, and the progress bar."""

import pytest
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from test_training import make_gan, same, weights


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
