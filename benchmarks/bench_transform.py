"""Speed of ``transform`` against a bare forward pass with the same pooling.

The bare pass gets float32 batches that are ready and throws its features away; both
take turns in one run::

    python benchmarks/bench_transform.py --network dcgan dcgan-deep
"""

import argparse
import statistics
import time

import numpy as np
import torch

from sklgan import DCGANFeatureExtractor
from sklgan._features import pool


def bare_pass(estimator, batches):
    """Run the discriminator and its pooling over batches."""
    with torch.inference_mode():
        for batch in batches:
            features, _ = estimator.discriminator_(batch)
            for feature, shape in zip(features, estimator._feature_shapes, strict=True):
                pool(feature, shape)


def seconds(function, *arguments):
    """Return how long a call takes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    function(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    """Alternate both and print images a second and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", nargs="+", default=["dcgan", "dcgan-deep"])
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--n-images", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (args.n_images, args.size, args.size, 3), dtype=np.uint8)
    print(
        f"{'network':12} {'bare img/s':>11} {'transform img/s':>16} {'ratio':>7} range"
    )
    for network in args.network:
        estimator = DCGANFeatureExtractor(
            network=network, max_epochs=0, device=args.device, random_state=0
        ).fit(X[:256])
        device = next(estimator.discriminator_.parameters()).device
        images = torch.from_numpy(X).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        batches = images.split(128)
        seconds(bare_pass, estimator, batches)
        seconds(estimator.transform, X)
        turns = [
            (seconds(bare_pass, estimator, batches), seconds(estimator.transform, X))
            for _ in range(args.rounds)
        ]
        bare, ours = (
            args.n_images / statistics.median(column)
            for column in zip(*turns, strict=True)
        )
        ratios = [bare_time / our_time for bare_time, our_time in turns]
        print(
            f"{network:12} {bare:11.0f} {ours:16.0f} "
            f"{statistics.median(ratios):7.3f} {min(ratios):.3f} - {max(ratios):.3f}"
        )


if __name__ == "__main__":
    main()
