"""How much does an image depend on what is generated beside it?

Trains each network for an epoch on 1,000 MNIST images, and generates 500 images at
once and each alone: in float32 scaled to [0, 1], and in uint8.

    python benchmarks/check_generate.py --mnist DIR
"""

import argparse

import numpy as np

from sklgan import DCGANFeatureExtractor
from sklgan.datasets import load_mnist
from sklgan.networks import NETWORKS


def largest_difference(gan, Z):
    """Return the largest difference between an image alone and among all of Z."""
    among = gan.generate(Z).astype(float)
    alone = np.concatenate([gan.generate(Z[[row]]) for row in range(len(Z))])
    return abs(alone.astype(float) - among).max()


def main():
    """Print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", required=True, help="folder with MNIST's idx files")
    parser.add_argument("--filters", type=int, default=32)
    args = parser.parse_args()
    X = load_mnist(args.mnist).data[:1000]
    Z = np.random.default_rng(0).standard_normal((500, 100))
    for network in NETWORKS:
        gan = DCGANFeatureExtractor(
            network=network, n_filters=args.filters, max_epochs=1, random_state=0
        )
        in_float = largest_difference(gan.fit(X / np.float32(255)), Z)
        steps = largest_difference(gan.fit(X), Z)
        print(f"{network:<10} float32 {in_float:.1e}   uint8 {steps:.0f}", flush=True)


if __name__ == "__main__":
    main()
