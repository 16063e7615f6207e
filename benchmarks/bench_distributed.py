"""Time of a training step: one process against two, each with one thread.

    python benchmarks/bench_distributed.py --steps 20

32x32x3, network "dcgan", the joined batch the same. Prints seconds a step, their ratio,
and the largest differences of weights after training without batch normalisation:
between the ranks, and from one process.
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


def train(args, out):
    """Fit with and without batch normalisation; write seconds a step and weights."""
    torch.set_num_threads(1)
    shape = (args.batch_size * args.steps, 32, 32, 3)
    X = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    params = {"n_filters": args.filters, "batch_size": args.batch_size}
    params.update(random_state=0, device="cpu", precision="float32")
    timed = DCGANFeatureExtractor(network="dcgan", max_epochs=2, **params).fit(X)
    plain = DCGANFeatureExtractor(
        network=(Generator, Discriminator), max_epochs=1, **params
    ).fit(X[: 3 * args.batch_size])
    weights = [
        value.flatten().numpy()
        for network in (plain.generator_, plain.discriminator_)
        for value in network.state_dict().values()
    ]
    # The first epoch warms up.
    seconds = timed.history_[-1]["duration"] / args.steps
    np.savez(out, seconds=seconds, weights=np.concatenate(weights))


def run(n_processes, folder):
    """Run this file in so many processes; return what each has written."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    if n_processes > 1:
        env.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        env["WORLD_SIZE"] = str(n_processes)
    paths = [folder / f"{n_processes}-{rank}.npz" for rank in range(n_processes)]
    processes = []
    for rank, path in enumerate(paths):
        ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if n_processes > 1 else {}
        command = [sys.executable, __file__, *sys.argv[1:], "--out", str(path)]
        processes.append(subprocess.Popen(command, env={**env, **ranks}))
    if any([process.wait() for process in processes]):
        raise SystemExit("A process has failed.")
    return [np.load(path) for path in paths]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.out is not None:
        train(args, args.out)
        return
    with tempfile.TemporaryDirectory() as folder:
        (alone,), ranks = (run(n, Path(folder)) for n in (1, 2))
    one, two = (float(result["seconds"]) for result in (alone, ranks[0]))
    between = np.abs(ranks[0]["weights"] - ranks[1]["weights"]).max()
    apart = np.abs(ranks[0]["weights"] - alone["weights"]).max()
    print(f"one process    {one:.3f} s a step\ntwo processes  {two:.3f} s a step")
    print(f"ratio          {one / two:.2f}")
    print(f"largest difference of weights: {between:.1e} between ranks,")
    print(f"{apart:.1e} from one process (without batch normalisation)")


if __name__ == "__main__":
    main()
