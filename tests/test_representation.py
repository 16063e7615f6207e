"""The benchmark of objectives: what its time limit counts, at toy size on digits."""

import importlib
import json
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
TINY = "--rows rotation-alone --n-filters 2 --labels 10 --layers last".split()


@pytest.fixture(scope="module")
def script():
    """Return the benchmark as a module."""
    return import_benchmark("representation")


def import_benchmark(name):
    """Return a file of the benchmarks as a module."""
    folders = [str(ROOT / folder) for folder in ("examples", "benchmarks")]
    before = list(sys.path)
    sys.path[:0] = folders
    try:
        return importlib.import_module(name)
    finally:
        sys.path[:] = before


@pytest.fixture(autouse=True)
def _an_epoch_takes_a_minute(monkeypatch):
    """The clock is looked at when training begins, and after each epoch."""
    looks = count()
    monkeypatch.setattr(time, "process_time", lambda: 60.0 * next(looks))


def train(script, output, *options):
    """Return the estimator of a row."""
    arguments = [*TINY, f"--output={output}", "--device=cpu", *options]
    args = script.parse_arguments(arguments)
    X = np.random.default_rng(0).integers(17, size=(60, 8, 8)).astype(np.float32)
    return script.train("rotation-alone", X, None, args, seed=0), X


def test_a_time_that_is_over_trains_no_more(script, tmp_path):
    """The same command again has the same estimator: not an epoch is added to it."""
    first, X = train(script, tmp_path, "--minutes=2")
    again, _ = train(script, tmp_path, "--minutes=2")
    assert again.n_iter_ == first.n_iter_ == 2
    assert np.array_equal(again.transform(X), first.transform(X))


def test_a_shorter_time_is_not_that_of_a_longer_training(script, tmp_path):
    """Its epochs are fewer, whatever has been trained before it."""
    longer, _ = train(script, tmp_path, "--minutes=3")
    shorter, _ = train(script, tmp_path, "--minutes=1")
    assert (shorter.n_iter_, longer.n_iter_) == (1, 3)


def test_time_stands_in_one_file_with_the_weights(script, tmp_path):
    """A kill cannot part the two."""
    train(script, tmp_path, "--minutes=1")
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert [path.name for path in folder.iterdir()] == ["training_0.safetensors"]


def test_figures_are_kept_by_what_decides_them(script, tmp_path, capsys):
    """Another limit, or another device, has figures of its own."""
    for minutes in ("1", "2", "1"):
        script.main(
            [*TINY, "--device=cpu", f"--output={tmp_path}", f"--minutes={minutes}"]
        )
    kept = json.loads((tmp_path / "figures.json").read_text())
    assert sorted(key.partition("minutes=")[2][:3] for key in kept) == ["1.0", "2.0"]
    assert all("device=" in key for key in kept)
    assert "rotation-alone, last" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs=1", "--labels=2"], "'2' is neither 'all' nor 3 or more"),
        (["--epochs=1", "--labels=ten"], "'ten' is neither 'all' nor 3 or more"),
        (["--minutes=0"], "--minutes 0 should be more than 0"),
        (["--minutes=nan"], "--minutes nan should be more than 0"),
        (["--epochs=1", "--learning-rate=0"], "0 is not above 0"),
        ([], "say how long to train: --minutes or --epochs"),
        (["--epochs=1", "--work=mnist"], "--work mnist needs --data"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_anything(
    script, tmp_path, capsys, options, message
):
    """With what to say instead."""
    with pytest.raises(SystemExit):
        script.main([*TINY, f"--output={tmp_path}", *options])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_trainings_of_other_settings_have_other_folders(script, tmp_path):
    """None is refused as another's, and fewer images are fewer."""
    sizes = []
    for options in (
        ["--n-train=300"],
        ["--n-train=400"],
        ["--learning-rate=1e-4"],
        ["--batch-size=64", "--augment", "shift"],
    ):
        command = [*TINY, "--minutes=1", f"--output={tmp_path}", *options]
        script.main(command)
        sizes.append(len(script.load_images(script.parse_arguments(command), 0)[0]))
    assert sizes == [300, 400, 1257, 1257]
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 4
    assert len(json.loads((tmp_path / "figures.json").read_text())) == 4


def test_the_ceiling_is_supervised_and_nothing_else(script, tmp_path):
    """Its step and views are those of the rotations, and its losses of labels alone."""
    args = script.parse_arguments([*TINY, "--minutes=1", f"--output={tmp_path}"])
    ceiling, taught = (
        script.make_estimator(name, args).get_params()
        for name in ("supervised", "rotation-alone")
    )
    assert {name: ceiling[name] for name in ceiling if name.endswith("_weight")} == {
        "adversarial_weight": 0,
        "balance_weight": 0,
        "class_weight": None,
        "consistency_weight": 0,
        "entropy_weight": 0,
        "rotation_weight": 0,
    }
    for name in ("learning_rate", "augment"):
        assert ceiling[name] == taught[name]
    n_rows = ceiling["batch_size"] + ceiling["labeled_batch_size"]
    assert n_rows == taught["batch_size"]
    halves = script.own_overrides(
        "supervised", script.parse_arguments([*TINY, "--minutes=1", "--batch-size=33"])
    )
    assert halves == {"batch_size": 17, "labeled_batch_size": 16}


@pytest.mark.parametrize("kind", ["svm", "logistic"])
def test_the_search_for_c_goes_as_far_as_it_must(script, kind):
    """Classes that differ in the least part of the variance ask for a large C."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    F = np.repeat(rng.normal(size=(120, 1)), 3, axis=1) + 3e-3 * np.eye(3)[y]
    F = ((F - F.mean(axis=0)) / F.std(axis=0)).astype(np.float32)
    args = script.parse_arguments(["--epochs=1", "--device=cpu"])
    classifier = script.CLASSIFIERS[kind](F, y, args, 0)
    assert classifier.C * np.vdot(F, F) > 2e5
    assert classifier.fit(F, y).score(F, y) > 0.95


def test_samples_stand_beside_real_images(script, tmp_path, capsys):
    """Training images are like test images, and an untrained generator's are not."""
    samples = import_benchmark("bench_objective_samples")
    samples.main([*TINY, "--minutes=1", f"--output={tmp_path}", "--rows", "untrained"])
    args = script.parse_arguments([*TINY, "--minutes=1", f"--output={tmp_path}"])
    args.rows = ["untrained", "rotation-alone"]
    figures = {name: values for name, *values in samples.compute_seed(args, 0)}
    assert list(figures) == ["training images", "untrained"]
    assert min(figures["training images"]) > 0.9
    assert max(figures["untrained"]) < 0.1
    assert "coverage" in capsys.readouterr().out
