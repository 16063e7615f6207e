"""Tests of the CIFAR-10 evaluation: the example is run as users run it."""

import csv
import json
import os
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "cifar10_evaluation.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder like CIFAR-10's, of 200 and 100 images, a colour to a class."""
    folder = tmp_path_factory.mktemp("data") / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, size=(10, 3, 1))
    sizes = {f"data_batch_{i}": 40 for i in range(1, 6)} | {"test_batch": 100}
    for name, n_rows in sizes.items():
        labels = np.arange(n_rows) % 10
        noise = rng.integers(-40, 40, size=(n_rows, 3, 1024))
        rows = (colours[labels] + noise).astype(np.uint8).reshape(n_rows, 3072)
        batch = {b"data": rows, b"labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


def command(data, output, *options):
    """Return the command line of the example at toy size."""
    options = [
        *"--epochs 1 --n-filters 4 --device cpu --cv-rows 100".split(),
        *"--baselines --n-centroids 10".split(),
        *options,
    ]
    return [str(EXAMPLE), f"--data={data}", f"--output={output}", *options]


@pytest.fixture
def evaluate(monkeypatch, capsys):
    """Return a function that runs the example in this process, and what it printed."""

    def run(*arguments):
        monkeypatch.syspath_prepend(EXAMPLE.parent)
        monkeypatch.setattr(sys, "argv", command(*arguments))
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def first_run(data, tmp_path_factory):
    """Return the output folder of one whole run, and what it printed."""
    output = tmp_path_factory.mktemp("output") / "evaluation"
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    process = subprocess.run(
        [sys.executable, *command(data, output)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    return output, process.stdout


def test_evaluation_prints_and_writes_every_row(first_run):
    """Each description has a line in the table and a row in both files."""
    output, text = first_run
    rows = json.loads((output / "results.json").read_text())
    assert [row["features"] for row in rows] == [
        "raw pixels",
        "k-means patches, 10",
        "dcgan, untrained",
        "dcgan, 1 epochs",
    ]
    assert [row["n_features"] for row in rows] == [3072, 40, 448, 448]
    table = text[text.index("\nfeatures ") :]
    for row in rows:
        assert row["features"] in table
        assert f"{row['accuracy']:.2%}" in table
        assert row["C"] > 0
    # The classes differ by colour, which pixels show: 0.1 would be chance.
    assert rows[0]["accuracy"] > 0.5
    with (output / "results.csv").open(newline="") as file:
        assert [row["features"] for row in csv.DictReader(file)] == [
            row["features"] for row in rows
        ]


def test_evaluation_writes_a_sample_grid(first_run):
    """The samples are a picture of 10 x 10 images."""
    output, _ = first_run
    with Image.open(output / "samples_seed0.png") as picture:
        assert picture.size == (960, 960)
    assert not list(output.glob("*.part"))


def test_second_run_keeps_rows_and_continues_training(data, first_run, evaluate):
    """A second start recomputes no row, and trains on from the saved GAN."""
    output, _ = first_run
    before = json.loads((output / "results.json").read_text())
    text = evaluate(data, output, "--epochs=2")
    assert text.count("kept from before") == 3
    assert "epoch 2/2" in text
    assert "epoch 1/2" not in text
    rows = json.loads((output / "results.json").read_text())
    assert rows[:4] == before
    assert rows[4]["features"] == "dcgan, 2 epochs"


def test_other_settings_in_the_same_folder_are_refused(data, first_run, evaluate):
    """What differs is named, and nothing in the folder changes."""
    output, _ = first_run
    before = (output / "settings.json").read_text()
    with pytest.raises(SystemExit, match="--n-filters was 4 and is 5"):
        evaluate(data, output, "--n-filters=5")
    assert (output / "settings.json").read_text() == before


def test_missing_data_are_named(tmp_path, evaluate):
    """A folder without CIFAR-10 ends with the remedy, not with a traceback."""
    with pytest.raises(SystemExit, match=r"lacks data_batch_1\b.*https://"):
        evaluate(tmp_path, tmp_path / "output")


def test_kmeans_patches_agree_with_their_definition(monkeypatch):
    """Features are the quadrants' sums of max(0, mean distance - distance)."""
    monkeypatch.syspath_prepend(EXAMPLE.parent)
    from _kmeans_patches import KMeansPatches

    X = np.random.default_rng(0).integers(0, 256, size=(9, 10, 11, 3), dtype=np.uint8)
    kmeans = KMeansPatches(4, batch_size=4, device="cpu", random_state=0).fit(X)
    near = np.empty((5, 6, 4))
    for top, left in np.ndindex(5, 6):
        patch = X[7, top : top + 6, left : left + 6].transpose(2, 0, 1).ravel()
        patch = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 10)
        whitened = (patch - kmeans.mean_) @ kmeans.whitening_
        distances = np.linalg.norm(whitened - kmeans.centroids_, axis=1)
        near[top, left] = np.maximum(0, distances.mean() - distances)
    quadrants = [near[:2, :3], near[:2, 3:], near[2:, :3], near[2:, 3:]]
    expected = np.concatenate([part.sum(axis=(0, 1)) for part in quadrants])
    np.testing.assert_allclose(kmeans.transform(X)[7], expected, rtol=1e-4, atol=1e-4)
