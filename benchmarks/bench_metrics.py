"""Time of the figures of quality on two sets of features, as on those of a network.

Prints wall-clock and CPU time of each: on a machine that is busy the first says little,
and the second, divided by the number of threads, is what it would take on idle cores at
best::

    python benchmarks/bench_metrics.py --n-samples 10000 --n-features 512
"""

import argparse
import resource
import time
from functools import partial

import numpy as np

from sklgan.metrics import (
    density_coverage,
    frechet_distance,
    kernel_distance,
    precision_recall,
)

FIGURES = {
    "frechet_distance": partial(frechet_distance, random_state=0),
    "kernel_distance": partial(kernel_distance, random_state=0),
    "precision_recall": precision_recall,
    "density_coverage": density_coverage,
}


def draw(n_samples, n_features):
    """Return real and generated rows, float32: rectified, correlated, of low rank."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(n_features // 8, n_features)) / np.sqrt(n_features // 8)
    sets = []
    for shift in (0.0, 0.1):
        rows = rng.normal(size=(n_samples, n_features // 8)) @ mixing
        rows += 0.3 * rng.normal(size=rows.shape) + shift
        sets.append(np.maximum(rows, 0).astype(np.float32))
    return sets


def peak_mebibytes():
    """Return the most memory that the process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    """Print a line for each figure, and the sum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-samples", type=int, default=10_000)
    parser.add_argument("--n-features", type=int, default=512)
    args = parser.parse_args()
    real, fake = draw(args.n_samples, args.n_features)
    before = peak_mebibytes()
    print(f"two sets of {real.shape[0]} x {real.shape[1]}, float32")
    print(f"{'figure':18} {'wall s':>7} {'CPU s':>7}  values")
    total = np.zeros(2)
    for name, figure in FIGURES.items():
        start = np.array([time.perf_counter(), time.process_time()])
        values = figure(real, fake)
        seconds = np.array([time.perf_counter(), time.process_time()]) - start
        total += seconds
        shown = " ".join(f"{value:.4g}" for value in values)
        print(f"{name:18} {seconds[0]:7.1f} {seconds[1]:7.1f}  {shown}")
    print(f"{'all':18} {total[0]:7.1f} {total[1]:7.1f}")
    print(f"peak memory beyond the two sets: {peak_mebibytes() - before:.0f} MiB")


if __name__ == "__main__":
    main()
