"""Kill a training again and again, and see whether it ends as if nothing had been.

A run of its own without interruption gives the expected weights. Then the same run,
with a checkpoint after each epoch, is killed (SIGKILL) at random instants, some of them
while a checkpoint is being written, and started again until it has ended::

    python benchmarks/check_kills.py --kills 20
"""

import argparse
import hashlib
import random
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


def check(kind, args, rng):
    """Kill one kind of training, and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        begin = time.perf_counter()
        expected = finish(start(args, kind, whole))
        seconds = time.perf_counter() - begin
        n_kills, n_writing, n_ended, n_same = 0, 0, 0, 0
        while n_kills < args.kills:
            process = start(args, kind, killed)
            part = killed / "training_0.safetensors.part"
            until = time.monotonic() + rng.uniform(0.3, 1.0) * seconds
            # Every other one waits for the next write to begin.
            in_writing = n_kills % 2 == 1
            while process.poll() is None and time.monotonic() < until:
                time.sleep(0.001)
            while in_writing and process.poll() is None and not part.exists():
                pass
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                n_kills, n_writing = n_kills + 1, n_writing + in_writing
            result = finish(process)
            if result is not None:
                n_ended, n_same = n_ended + 1, n_same + (result == expected)
                for file in killed.iterdir():
                    file.unlink()
        result = finish(start(args, kind, killed))
        n_ended, n_same = n_ended + 1, n_same + (result == expected)
        print(
            f"{kind}: {n_kills} kills, {n_writing} of them while writing; "
            f"{n_same} of {n_ended} runs ended bitwise equal",
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
