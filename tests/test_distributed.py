"""Several processes that train as one: same weights, and errors on all of them.

Two spawns of two processes in all, because each imports torch: one in which everything
goes well, one in which everything fails on one rank.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from distributed_script import fit_all
from numpy.testing import assert_array_equal

from sklgan._tensors import process_number
from sklgan._training._distributed import check_shares, is_main_process

SCRIPT = Path(__file__).with_name("distributed_script.py")
# Of a spawn, in seconds: nothing here may hang.
LIMIT = 500


def run(mode, folder):
    """Run the script on two ranks with torchrun's variables; return their stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), mode, str(folder)],
            env={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        return [process.communicate(timeout=LIMIT)[1] for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def load(path):
    """Return what a rank has written: name of the estimator -> arrays by name."""
    assert path.exists(), f"{path.name} was not written"
    results = {}
    for key, array in np.load(path).items():
        name, _, rest = key.partition("/")
        results.setdefault(name, {})[rest] = array
    return results


def assert_same(one, other):
    """The arrays of both are equal."""
    assert one.keys() == other.keys()
    for key, array in one.items():
        assert_array_equal(array, other[key], err_msg=key)


def assert_close(one, other, outliers=0.0):
    """The arrays of both are equal but for rounding, up to a share of outliers.

    Adam moves a weight by the learning rate however small its gradient is. Where that
    is 0 but for rounding, the rounding decides which way.
    """
    assert one.keys() == other.keys()
    for key, array in one.items():
        apart = np.abs(array - other[key])
        assert np.mean(~(apart <= 1e-5 * (1 + np.abs(other[key])))) <= outliers, key
        assert apart.max() < 0.01, key


# One weight in 600 of its generator, on a CPU with AVX-512; gradients through a whole
# generator, of which one in 20 is apart by a little more than 1e-5 of itself.
OUTLIERS = {"classifier": 0.02, "noise of blobs": 0.1}


def test_two_processes_train_as_one(tmp_path):
    """61 rows in batches of 20 or 21, of which the ranks have unequal shares."""
    first_errors, second_errors = run("fit", tmp_path)
    first, second = (load(tmp_path / f"rank{rank}.npz") for rank in range(2))
    alone = fit_all(tmp_path / "alone")
    assert first.keys() == second.keys() == alone.keys()
    for name in alone:
        assert_same(first[name], second[name])
        # Where there is no random_state, all have that of rank 0.
        if name not in ("unseeded", "blobs"):
            assert_close(first[name], alone[name], OUTLIERS.get(name, 0.0))
    # One rank has written the checkpoint, and both have gone on from it.
    assert_same(first["resumed"], first["batch_norm"])
    assert "epoch 2/2" in first_errors
    assert "epoch" not in second_errors


# How fits end on rank 0 and on rank 1, where something else happens on rank 1.
LOST = "DistributedTrainingError: Another process of this training has failed"
DIFFER = "ValueError: The processes of one training differ: "
ENDINGS = {
    "parameters": [f"{DIFFER}learning_rate is 0.001 on rank 0 and 0.002 on"] * 2,
    "epochs": [f"{DIFFER}max_epochs is 1 on rank 0 and 2 on rank 1"] * 2,
    "data": [f"{DIFFER}X is '61x64 float32 with checksum "] * 2,
    "rows": [f"{DIFFER}X is '50x64 float32 with checksum "] * 2,
    "noise": ["ValueError: The processes have drawn unequal random numbers"] * 2,
    "own callback": [f"{DIFFER}callbacks is [] on rank 0 and ['sklgan."] * 2,
    "held out": [f"{DIFFER}X of KeepBest is "] * 2,
    "best": ["3 epochs"] * 2,
    "diverged": ["TrainingDivergedError: "] * 2,
    "early stop": ["2 epochs"] * 2,
    "bad data": [LOST, "ValueError: Input X contains NaN"],
    "callback": [LOST, "ValueError: a callback's own"],
    "ctrl-c": [LOST, "KeyboardInterrupt"],
    "memory": [LOST, "OutOfMemoryError: The device's memory does not suffice"],
    "afterwards": ["3 epochs"] * 2,
    "file": [LOST, "ValueError: cut"],
    "file again": ["3 epochs, from 1"] * 2,
    "encoder": [LOST, "ValueError: a distance's own"],
    "kept": [
        "DistributedTrainingError, of which both know",
        "ValueError, of which both know",
    ],
    "death": [LOST],
}


def test_what_happens_to_one_process_ends_the_training_of_all(tmp_path):
    """Nobody waits for ever, and the same processes can then train again."""
    run("fail", tmp_path)
    for rank in range(2):
        lines = (tmp_path / f"lines{rank}.txt").read_text().splitlines()
        endings = dict(line.split("| ", 1) for line in lines)
        expected = {k: v[rank] for k, v in ENDINGS.items() if rank < len(v)}
        assert endings.keys() == expected.keys()
        for name, ending in endings.items():
            assert ending.startswith(expected[name]), name


def test_batches_must_have_a_row_for_each_process():
    check_shares(n_rows=10, batch_size=4, n_processes=3)
    with pytest.raises(ValueError, match="batch of 3 rows .* by 4 processes; increase"):
        check_shares(n_rows=10, batch_size=4, n_processes=4)


def test_a_process_alone_writes_and_has_number_0(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert is_main_process()
    assert process_number() == 0


def test_under_torchrun_a_process_has_its_local_rank(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert process_number() == 3
