"""Kill a training again and again, and see whether it ends as if nothing had been.

A run of its own without interruption gives the expected weights. Then the same run,
with a checkpoint after each epoch, is killed (SIGKILL) at random instants, every other
time while a checkpoint is being written. After each kill a copy of its folder is
resumed to the end, and the folder itself up to the next kill::

    python benchmarks/check_kills.py --kills 20
"""

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sklearn.datasets import load_digits

from sklgan import CategoricalGANClusterer, DCGANFeatureExtractor

ESTIMATORS = {
    "extractor": DCGANFeatureExtractor,
    "clusterer": CategoricalGANClusterer,
}


def train(kind, epochs, folder):
    """Fit in this process, and print a checksum of the weights."""
    gan = ESTIMATORS[kind](
        n_filters=16,
        max_epochs=epochs,
        random_state=0,
        device="cpu",
        checkpoint=folder,
        checkpoint_interval=0,
    )
    gan.fit(load_digits().images[:500])
    digest = hashlib.sha256()
    for network in (gan.generator_, gan.discriminator_):
        for value in network.state_dict().values():
            digest.update(value.contiguous().numpy().tobytes())
    print(digest.hexdigest(), flush=True)


def start(args, kind, folder):
    """Start a training in a process of its own."""
    command = [sys.executable, __file__, "--child", kind, "--epochs", str(args.epochs)]
    return subprocess.Popen(
        [*command, "--folder", str(folder)], stdout=subprocess.PIPE, text=True
    )


def finish(process):
    """Return the checksum that a training prints, None if it was killed."""
    out, _ = process.communicate()
    return out.split()[-1] if process.returncode == 0 else None


def kill(process, seconds, writing, folder):
    """Kill a training after so many seconds, or when it writes next; tell if it ran."""
    part = f"training_0.safetensors.{process.pid}-*.part"
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.001)
    while writing and process.poll() is None and not any(folder.glob(part)):
        pass
    ran = process.poll() is None
    if ran:
        process.send_signal(signal.SIGKILL)
    finish(process)
    return ran


def check(kind, args, rng):
    """Kill one kind of training, and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        killed, copy = Path(folder) / "killed", Path(folder) / "copy"
        begin = time.perf_counter()
        expected = finish(start(args, kind, Path(folder) / "whole"))
        seconds = time.perf_counter() - begin
        n_kills, n_writing, n_same = 0, 0, 0
        while n_kills < args.kills:
            writing = n_kills % 2 == 1
            killed.mkdir(exist_ok=True)
            process = start(args, kind, killed)
            if not kill(process, rng.uniform(0.3, 1.0) * seconds, writing, killed):
                shutil.rmtree(killed)
                continue
            n_kills, n_writing = n_kills + 1, n_writing + writing
            shutil.copytree(killed, copy)
            n_same += finish(start(args, kind, copy)) == expected
            shutil.rmtree(copy)
        print(
            f"{kind}: {n_kills} kills, {n_writing} of them while writing; {n_same} of "
            f"{n_kills} resumed runs ended bitwise equal",
            flush=True,
        )


def main():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        train(args.child, args.epochs, args.folder)
        return
    rng = random.Random(args.seed)
    for kind in ESTIMATORS:
        check(kind, args, rng)


if __name__ == "__main__":
    main()
