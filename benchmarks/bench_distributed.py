"""Time of a training step: one process against two, each with one thread.

    python benchmarks/bench_distributed.py --steps 20

32x32x3, network "dcgan", the joined batch the same. Two processes that train apart, on
half the batch each, show what the machine has to give: the slower of them. The three
take turns. Prints seconds a step, medians of all rounds and their ratios, and the
largest differences of weights after training without batch normalisation: between the
ranks, and from one process.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sklgan import DCGANFeatureExtractor, networks


def strip(module):
    """Replace batch normalisation by nothing."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, nn.Identity())
        strip(child)


class Generator(networks.DCGANGenerator):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        strip(self)


class Discriminator(networks.DCGANDiscriminator):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        strip(self)


def train(args, batch_size, out):
    """Fit with and without batch normalisation; write seconds a step and weights."""
    torch.set_num_threads(1)
    shape = (batch_size * args.steps, 32, 32, 3)
    X = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    params = {"n_filters": args.filters, "batch_size": batch_size}
    params.update(random_state=0, device="cpu", precision="float32")
    timed = DCGANFeatureExtractor(network="dcgan", max_epochs=2, **params).fit(X)
    plain = DCGANFeatureExtractor(
        network=(Generator, Discriminator), max_epochs=1, **params
    ).fit(X[: 3 * batch_size])
    weights = [
        value.flatten().numpy()
        for network in (plain.generator_, plain.discriminator_)
        for value in network.state_dict().values()
    ]
    # The first epoch warms up.
    seconds = timed.history_[-1]["duration"] / args.steps
    np.savez(out, seconds=seconds, weights=np.concatenate(weights))


def run(n_processes, folder, *, batch_size, joined=True):
    """Run this file in so many processes at once; return what each has written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    joined = joined and n_processes > 1
    if joined:
        env.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        env["WORLD_SIZE"] = str(n_processes)
    paths = [folder / f"{rank}.npz" for rank in range(n_processes)]
    processes = []
    for rank, path in enumerate(paths):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if joined else {}
        child = ["--child", str(path), "--child-batch", str(batch_size)]
        command = [sys.executable, __file__, *sys.argv[1:], *child]
        processes.append(subprocess.Popen(command, env={**env, **ranks}))
    if any([process.wait() for process in processes]):
        raise SystemExit("A process has failed.")
    return [dict(np.load(path)) for path in paths]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child-batch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        train(args, args.child_batch, args.child)
        return
    batch, half = args.batch_size, args.batch_size // 2
    times = {"one process": [], "two apart": [], "two joined": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            (alone,) = run(1, Path(folder), batch_size=batch)
            apart = run(2, Path(folder), batch_size=half, joined=False)
            ranks = run(2, Path(folder), batch_size=batch)
            for name, results in zip(times, ([alone], apart, ranks), strict=True):
                times[name].append(max(float(result["seconds"]) for result in results))
            print(*(f"{name} {t[-1]:.3f}" for name, t in times.items()), flush=True)
    medians = {name: float(np.median(t)) for name, t in times.items()}
    for name, seconds in medians.items():
        ratio = medians["one process"] / seconds
        print(f"{name:12} {seconds:.3f} s a step, {ratio:.2f} times the speed")
    between = np.abs(ranks[0]["weights"] - ranks[1]["weights"]).max()
    distance = np.abs(ranks[0]["weights"] - alone["weights"]).max()
    print(f"largest difference of weights: {between:.1e} between ranks,")
    print(f"{distance:.1e} from one process (without batch normalisation)")


if __name__ == "__main__":
    main()
