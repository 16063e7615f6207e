"""Parameters of the networks for images, and milliseconds of a step of training.

A step updates discriminator and generator once on a batch of noise. It is timed in
processor time, which other work on the machine changes little; networks take turns::

    OMP_NUM_THREADS=1 python benchmarks/bench_networks.py
"""

import argparse
import statistics
import time
from functools import partial

import numpy as np
import torch

from sklgan import DCGANFeatureExtractor
from sklgan._engine import build_net
from sklgan._tensors import torch_seed
from sklgan.losses import discriminator_loss, generator_loss
from sklgan.networks import NETWORKS


def make_net(network, n_filters, X):
    """Return the engine, ready for steps."""
    gan = DCGANFeatureExtractor(
        network=network, n_filters=n_filters, batch_size=len(X), precision="float32"
    )
    losses = {
        "discriminator_loss": partial(discriminator_loss, loss="nonsaturating"),
        "generator_loss": partial(generator_loss, loss="nonsaturating"),
    }
    X = gan._prepare_fit(X)
    net = build_net(gan, X, torch.device("cpu"), max_epochs=1, **losses)
    with torch_seed(0):
        net.initialize()
    return net, torch.from_numpy(X)


def seconds(net, rows):
    """Return the processor time of a step."""
    start = time.process_time()
    net.train_step((rows, None))
    return time.process_time() - start


def n_parameters(module):
    """Count the parameters of a network."""
    return sum(parameter.numel() for parameter in module.parameters())


def main():
    """Print a line for each network and width."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [name for name in NETWORKS if name != "mlp"]
    parser.add_argument("--networks", nargs="+", default=names)
    parser.add_argument("--filters", nargs="+", type=int, default=[16, 32])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    shape = args.batch_size, args.size, args.size, 3
    X = np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)
    nets = {
        (network, n_filters): make_net(network, n_filters, X)
        for n_filters in args.filters
        for network in args.networks
    }
    for net in nets.values():
        seconds(*net)
    times = {key: [] for key in nets}
    for _ in range(args.rounds):
        for key, net in nets.items():
            times[key].append(seconds(*net))
    print(
        f"{args.size}x{args.size}, batch {args.batch_size}, torch {torch.__version__}"
    )
    print("network     filters   generator  discriminator  ms a step  range")
    for (network, n_filters), (net, _) in nets.items():
        taken = [1000 * second for second in times[network, n_filters]]
        print(
            f"{network:<12}{n_filters:7}{n_parameters(net.generator_):12,}"
            f"{n_parameters(net.discriminator_):15,}{statistics.median(taken):11.0f}"
            f"  {min(taken):.0f} - {max(taken):.0f}"
        )


if __name__ == "__main__":
    main()
