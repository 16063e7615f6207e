"""Checkpoints: resumed runs end as uninterrupted ones, and nothing is ever lost."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from skorch.callbacks import Callback, EarlyStopping

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan._checkpoint import Checkpoint, CheckpointError, read_state, to_bytes
from sklgan._files import write_whole
from sklgan.networks import MLPDiscriminator, MLPGenerator

ESTIMATORS = {
    "extractor": DCGANFeatureExtractor,
    "classifier": SemiSupervisedGANClassifier,
    "clusterer": CategoricalGANClusterer,
}
FILE = "training_0.safetensors"


class Stop(Callback):
    """Press Ctrl-C at a batch of an epoch."""

    def __init__(self, epoch, batch=2):
        self.epoch, self.batch = epoch, batch

    def on_epoch_begin(self, net, **kwargs):
        self.n_batches = 0

    def on_batch_begin(self, net, **kwargs):
        self.n_batches += 1
        if (len(net.history), self.n_batches) == (self.epoch, self.batch):
            raise KeyboardInterrupt


def data():
    """Return digits and labels, half of them -1."""
    X, y = load_digits(return_X_y=True)
    return X[:100].reshape(-1, 8, 8), np.where(np.arange(100) < 50, y[:100], -1)


def make(kind, folder=None, **params):
    """Return a small estimator that writes after each epoch."""
    params = {"n_filters": 4, "batch_size": 32, "max_epochs": 4, **params}
    params.setdefault("random_state", 0)
    return ESTIMATORS[kind](checkpoint=folder, checkpoint_interval=0, **params)


def assert_same(a, b):
    """Both have bitwise the same networks and losses."""
    for name in ("generator_", "discriminator_"):
        first, second = getattr(a, name).state_dict(), getattr(b, name).state_dict()
        assert all(torch.equal(first[key], second[key]) for key in first)
    for one, other in zip(a.history_, b.history_, strict=True):
        assert {**one, "duration": 0} == {**other, "duration": 0}


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_fit_goes_on_as_if_nothing_had_been(kind, epoch, tmp_path):
    """Ctrl-C in the middle of an epoch; the next fit repeats that epoch alone."""
    X, y = data()
    whole = make(kind).fit(X, y)
    with pytest.raises(KeyboardInterrupt):
        make(kind, tmp_path, callbacks=[Stop(epoch)]).fit(X, y)
    counted = Stop(-1)
    resumed = make(kind, tmp_path, callbacks=[counted]).fit(X, y)
    assert_same(resumed, whole)
    assert [row["epoch"] for row in resumed.history_] == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_checkpoint_changes_nothing(kind, tmp_path):
    """Writing draws no random numbers; a second fit finds all done already."""
    X, y = data()
    plain = make(kind).fit(X, y)
    first = make(kind, str(tmp_path)).fit(X, y)
    before = (tmp_path / FILE).read_bytes()
    second = make(kind, tmp_path).fit(X, y)
    assert_same(first, plain)
    assert_same(second, plain)
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_every_start_of_n_init_is_kept(tmp_path):
    """Interrupted in its second start, a clustering repeats nothing of the first."""
    X, _ = data()
    whole = make("clusterer", n_init=3).fit(X)

    class StopSecond(Stop):
        n_trainings = 0

        def on_train_begin(self, net, **kwargs):
            self.epoch = 2 if (self.n_trainings == 1) else -1
            self.n_trainings += 1

    with pytest.raises(KeyboardInterrupt):
        make("clusterer", tmp_path, n_init=3, callbacks=[StopSecond(0)]).fit(X)
    resumed = make("clusterer", tmp_path, n_init=3).fit(X)
    assert_same(resumed, whole)
    assert resumed.objective_ == whole.objective_
    assert np.array_equal(resumed.labels_, whole.labels_)


def test_more_epochs_continue_a_training_that_has_ended(tmp_path):
    """As if max_epochs had been more from the start."""
    X, _ = data()
    make("extractor", tmp_path, max_epochs=2).fit(X)
    assert_same(make("extractor", tmp_path).fit(X), make("extractor").fit(X))
    with pytest.raises(CheckpointError, match="4 epochs behind it.*max_epochs=3"):
        make("extractor", tmp_path, max_epochs=3).fit(X)


def test_without_epochs_there_is_nothing_to_write(tmp_path):
    """The untrained baseline, with a checkpoint and without."""
    X, _ = data()
    untrained = make("extractor", tmp_path, max_epochs=0).fit(X)
    assert_same(untrained, make("extractor", max_epochs=0).fit(X))
    assert untrained.history_ == []
    assert list(tmp_path.iterdir()) == []


def test_early_stopping_stays_stopped(tmp_path):
    """A training that a callback ended is not taken up again."""
    X, _ = data()
    stopping = EarlyStopping("d_loss", patience=1, threshold=1e9)
    params = {"callbacks": [stopping], "max_epochs": 6}
    first = make("extractor", tmp_path, **params).fit(X)
    assert first.n_iter_ < 6
    assert_same(make("extractor", tmp_path, **params).fit(X), first)


def test_without_random_state_a_run_resumes_too(tmp_path):
    """What was drawn is in the checkpoint."""
    X, _ = data()
    first = make("extractor", tmp_path, random_state=None).fit(X)
    assert_same(make("extractor", tmp_path, random_state=None).fit(X), first)


def test_warm_start_goes_on_from_a_checkpoint_of_its_own(tmp_path):
    """Epochs are counted on, and the state of a second fit is another training's."""
    X, _ = data()
    plain = make("extractor", max_epochs=2, warm_start=True).fit(X)
    gan = make("extractor", tmp_path / "a", max_epochs=2, warm_start=True).fit(X)
    with pytest.raises(
        CheckpointError, match=r"before this fit \(warm_start\) was 0 and is 2"
    ):
        gan.fit(X)
    gan.set_params(checkpoint=tmp_path / "b").fit(X)
    assert_same(gan, plain.fit(X))
    assert [row["epoch"] for row in gan.history_] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"learning_rate": 0.01}, "learning_rate was 0.0002 and is 0.01"),
        ({"n_filters": 5}, "n_filters was 4 and is 5"),
        ({"random_state": 1}, "the seed drawn from random_state was"),
        ({"augment": "flip"}, "augment was None and is 'flip'"),
    ],
)
def test_other_parameters_are_refused_by_name(change, named, tmp_path):
    """And the checkpoint stays as it was."""
    X, _ = data()
    make("extractor", tmp_path).fit(X)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(CheckpointError, match=named):
        make("extractor", tmp_path, **change).fit(X)
    assert (tmp_path / FILE).read_bytes() == before


def test_other_data_and_estimators_are_refused_by_name(tmp_path):
    """One value or one label is enough."""
    X, y = data()
    make("classifier", tmp_path).fit(X, y)
    changed = X.copy()
    changed[-1, -1, -1] += 1
    with pytest.raises(CheckpointError, match="X was '100x64 float64 with checksum"):
        make("classifier", tmp_path).fit(changed, y)
    with pytest.raises(CheckpointError, match="y was '100 int64 with checksum"):
        make("classifier", tmp_path).fit(X, np.where(np.arange(100) < 49, y, -1))
    with pytest.raises(CheckpointError, match="estimator was 'SemiSupervised"):
        make("extractor", tmp_path).fit(X)


def test_a_class_that_has_changed_is_refused_by_the_shape_of_its_weights(tmp_path):
    """Its name tells nothing; what is in the folder stays."""
    X, _ = data()
    width = 4

    class Discriminator(MLPDiscriminator):
        def __init__(self, in_shape, n_outputs):
            super().__init__(in_shape, n_outputs, width)

    def fit():
        network = (MLPGenerator, Discriminator)
        return make("extractor", tmp_path, network=network).fit(X)

    fit()
    before, width = (tmp_path / FILE).read_bytes(), 5
    with pytest.raises(
        CheckpointError, match=r"discriminator's layers.*weight was \(16,"
    ):
        fit()
    assert (tmp_path / FILE).read_bytes() == before
    width = 4
    assert len(fit().history_) > 0


def test_what_was_fitted_survives_a_refusal(tmp_path):
    """The estimator is as it was before the fit that was refused."""
    X, _ = data()
    make("extractor", tmp_path).fit(X)
    gan = make("extractor", n_filters=5).fit(X)
    expected = gan.transform(X)
    with pytest.raises(CheckpointError):
        gan.set_params(checkpoint=tmp_path).fit(X)
    assert np.array_equal(gan.transform(X), expected)


@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_flipped_bit_is_found(where, tmp_path):
    """Anywhere in the file, the header included."""
    X, _ = data()
    make("extractor", tmp_path).fit(X)
    content = bytearray((tmp_path / FILE).read_bytes())
    content[int(where * (len(content) - 1))] ^= 4
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        make("extractor", tmp_path).fit(X)


@pytest.mark.parametrize("length", [0, 7, 1000, -1])
def test_a_file_that_was_cut_off_is_found(length, tmp_path):
    """Also an empty one."""
    X, _ = data()
    make("extractor", tmp_path).fit(X)
    content = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(content[:length])
    with pytest.raises(CheckpointError, match="damaged"):
        make("extractor", tmp_path).fit(X)


def test_another_format_is_named(tmp_path, monkeypatch):
    """A later version's file is not taken for a damaged one."""
    monkeypatch.setattr("sklgan._checkpoint._FORMAT", 99)
    # safetensors 0.4 cannot read a file without tensors.
    (tmp_path / FILE).write_bytes(to_bytes({"step": torch.zeros(1)}, {}))
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 99"):
        read_state(tmp_path / FILE, {})


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path, monkeypatch):
    """The earlier checkpoint stays; with room again the run goes on from it."""
    X, _ = data()
    whole = make("extractor").fit(X)
    sync, calls = os.fsync, []

    def fail(handle):
        calls.append(handle)
        # Each write syncs a file and its folder; the first is a trial.
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr("sklgan._files.os.fsync", fail)
    with pytest.raises(OSError, match="No space left on device.*still there") as caught:
        make("extractor", tmp_path).fit(X)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert_same(make("extractor", tmp_path).fit(X), whole)


def test_a_folder_that_cannot_be_written_is_an_error_at_once(tmp_path):
    """Before any training: here a file is in the way."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        make("extractor", tmp_path / "file", callbacks=[Stop(0)]).fit(data()[0])
    assert (tmp_path / "file").read_text() == "mine"


def test_two_trainings_do_not_write_to_one_file(tmp_path):
    """The one that comes second to writing says so, and leaves the other's state."""
    path = tmp_path / "training_0.safetensors"
    first, second, twin = (
        Checkpoint(path, {"random_state": seed}) for seed in (0, 1, 0)
    )
    first.save({"n": torch.ones(1)})
    with pytest.raises(CheckpointError, match="random_state was 0 and is 1.*search"):
        second.save({"n": torch.ones(2)})
    assert len(read_state(path, {"random_state": 0})["n"]) == 1
    twin.save({"n": torch.ones(3)})
    assert len(read_state(path, {"random_state": 0})["n"]) == 3
    assert list(tmp_path.iterdir()) == [path]


def test_a_training_whose_file_was_taken_keeps_what_it_has_learned(tmp_path):
    """Hours may lie in it; the other's file stays as it is."""

    class Other(Callback):
        """Another training writes to the folder in the meantime."""

        def on_epoch_begin(self, net, **kwargs):
            if net.n_epochs == 2:
                path = tmp_path / FILE
                path.write_bytes(to_bytes({"n": torch.ones(1)}, {"estimator": "other"}))

    gan = make("extractor", tmp_path, callbacks=[Other()])
    with pytest.raises(CheckpointError, match="belongs to another training"):
        gan.fit(data()[0])
    assert gan.n_iter_ == 2
    assert np.isfinite(gan.transform(data()[0])).all()
    assert len(read_state(tmp_path / FILE, {"estimator": "other"})["n"]) == 1


def test_two_trainings_may_write_at_one_moment(tmp_path, monkeypatch):
    """Neither takes away what the other is writing."""
    path = tmp_path / "training_0.safetensors"
    first, twin = (Checkpoint(path, {"random_state": 0}) for _ in range(2))
    replace = os.replace

    def replace_later(part, target):
        monkeypatch.setattr(os, "replace", replace)
        other = threading.Thread(target=twin.save, args=({"n": torch.ones(2)},))
        other.start()
        other.join()
        replace(part, target)

    monkeypatch.setattr(os, "replace", replace_later)
    first.save({"n": torch.ones(1)})
    assert len(read_state(path, {"random_state": 0})["n"]) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_states_come_back_as_they_were(tmp_path):
    """Nested dicts with numbers as keys, lists, tensors of all kinds, plain values."""
    state = {
        "a": {0: torch.arange(3), 1: [torch.tensor(2.5), None, True]},
        "b": [{"x": 1e-9, "y": "text"}],
        "shared": torch.zeros(4),
        "image": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    }
    write_whole(tmp_path / "file", to_bytes(state, {"n": 1}))
    read = read_state(tmp_path / "file", {"n": 1})
    assert torch.equal(read["a"][0], torch.arange(3))
    assert read["a"][1][1:] == [None, True]
    assert torch.equal(read["image"], state["image"])
    assert read["b"] == state["b"]


SCRIPT = """
import sys
from sklearn.datasets import load_digits
from sklgan import DCGANFeatureExtractor
X = load_digits().images[:200]
gan = DCGANFeatureExtractor(
    n_filters=4, batch_size=32, max_epochs=12, random_state=0,
    checkpoint=sys.argv[1], checkpoint_interval=0,
)
print("start", flush=True)
gan.fit(X)
import json
print(json.dumps([float(gan.transform(X).sum(dtype="float64")), len(gan.history_)]))
"""


def test_a_killed_run_goes_on(tmp_path):
    """SIGKILL twice, then a run to the end, in processes of their own."""

    def start(folder):
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def finish(folder):
        out, _ = start(folder).communicate(timeout=300)
        return json.loads(out.splitlines()[-1])

    expected = finish(tmp_path / "whole")
    n_killed = 0
    for n_bytes in (1, 2):
        process = start(tmp_path / "killed")
        while process.poll() is None:
            part = tmp_path / "killed" / FILE
            if part.exists() and time.time() - part.stat().st_mtime < 0.2 * n_bytes:
                process.send_signal(signal.SIGKILL)
                n_killed += 1
                break
            time.sleep(0.005)
        process.communicate(timeout=60)
    assert n_killed > 0
    assert finish(tmp_path / "killed") == expected
