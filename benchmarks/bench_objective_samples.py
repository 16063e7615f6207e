"""What an objective costs in samples: those that representation.py's trainings draw.

As many samples as there are test images, 2,000 at most, are compared with these, pixel
by pixel, after the same trainings with the same arguments, taken from the same output
folder where they are there; rows without a generator draw nothing, and are left out::

    python benchmarks/bench_objective_samples.py --minutes 0.4 --output DIR --seeds 0 1

Density says how near to real images samples are, coverage how much of the variety of
real images they have. As many training images, and an untrained generator, stand beside
them. Pixels are compared as they are, so that it is for digits rather than photographs.
"""

import numpy as np
from representation import load_images, parse_arguments, train

from sklgan.metrics import density_coverage

GENERATING = ["untrained", "adversarial", "contrastive", "rotation"]
AT_MOST = 2000


def compute_seed(args, seed):
    """Yield (name, density, coverage) for each kind of images."""
    X_train, X_test, y_train, _ = load_images(args, seed)
    rng = np.random.default_rng(seed)
    n_images = min(AT_MOST, len(X_test), len(X_train))
    real, some = (flatten(rng.permutation(X)[:n_images]) for X in (X_test, X_train))
    yield "training images", *density_coverage(real, some)
    for name in GENERATING:
        if name in args.rows:
            gan = train(name, X_train, y_train, args, seed)
            samples = gan.sample(n_images, random_state=seed)
            yield name, *density_coverage(real, flatten(samples))


def flatten(images):
    """Return images as rows of pixels."""
    return images.reshape(len(images), -1).astype(np.float32)


def main(arguments=None):
    """Print mean and standard deviation over seeds."""
    args = parse_arguments(arguments)
    figures = {}
    for seed in args.seeds:
        for name, *values in compute_seed(args, seed):
            figures.setdefault(name, []).append(values)
            print(seed, name, *(f"{value:.4g}" for value in values), flush=True)
    print(f"\n{'images of ' + args.work:24}{'density':>15}{'coverage':>15}")
    for name, rows in figures.items():
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0)
        cells = [f"{m:.2f} ± {s:.2f}" for m, s in zip(mean, spread, strict=True)]
        print(f"{name:24}{cells[0]:>15}{cells[1]:>15}")


if __name__ == "__main__":
    main()
