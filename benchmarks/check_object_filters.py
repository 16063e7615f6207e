"""See whether object_filters finds the filters that draw lying strokes of MNIST.

Lying strokes are marked in samples of a DCGAN by a rule, the filters that are found are
switched off, and the ink that is left is counted in other samples, where lying and
where upright strokes were; beside it, as many filters of the layer at random::

    python benchmarks/check_object_filters.py --data FOLDER --seeds 3
    python benchmarks/check_object_filters.py --model FILE --seeds 3

The second takes a fitted estimator that joblib has written, for all seeds.
"""

import argparse

import joblib
import numpy as np
from scipy.ndimage import uniform_filter1d

from sklgan import DCGANFeatureExtractor
from sklgan.datasets import load_mnist
from sklgan.inspection import generate_without, object_filters

N_MARKED, N_NEW, N_RANDOM = 150, 500, 10


def strokes(images, length=9):
    """Return masks of lying and of upright strokes of images (n, h, w) in 0 to 255."""
    ink = images / 255
    along_row = uniform_filter1d(ink, length, axis=2)
    along_column = uniform_filter1d(ink, length, axis=1)
    lying = (ink > 0.5) & (along_row > 0.7) & (along_column < 0.5)
    upright = (ink > 0.5) & (along_column > 0.7) & (along_row < 0.5)
    return lying, upright


def ink_left(gan, Z, filters):
    """Return the part of the ink that is left of lying and of upright strokes."""
    before = gan.generate(Z).astype(float)
    after = generate_without(gan, Z, filters).astype(float)
    return np.array([after[m].sum() / before[m].sum() for m in strokes(before)])


def check(gan, seed):
    """Print a row for each layer and number of filters."""
    rng = np.random.default_rng(seed)
    latent_dim = gan.latent_dim
    Z = rng.normal(size=(N_MARKED, latent_dim))
    others = rng.normal(size=(N_NEW, latent_dim))
    lying, _ = strokes(gan.generate(Z).astype(float))
    for layer in (1, 2, 3):
        for n_filters in (5, 10, 20, None):
            found = object_filters(
                gan, Z, masks=lying, layer=layer, n_filters=n_filters, random_state=seed
            )
            n, n_channels = len(found.filters), len(found.weights)
            chosen = ink_left(gan, others, found.filters)
            draws = [rng.choice(n_channels, n, replace=False) for _ in range(N_RANDOM)]
            random = np.mean(
                [ink_left(gan, others, [(layer, k) for k in draw]) for draw in draws],
                axis=0,
            )
            print(
                f"seed {seed} layer {layer} {n:3d} of {n_channels:3d} filters: "
                f"lying {chosen[0]:.2f} upright {chosen[1]:.2f}, at random "
                f"lying {random[0]:.2f} upright {random[1]:.2f}",
                flush=True,
            )


def train(options, seed):
    """Return a DCGAN fitted on MNIST, padded to 32 x 32."""
    X = load_mnist(options.data).data[: options.images]
    X = np.pad(X, ((0, 0), (2, 2), (2, 2)))
    return DCGANFeatureExtractor(
        n_filters=32, max_epochs=options.epochs, batch_size=64, random_state=seed
    ).fit(X)


def main():
    """Train a DCGAN for each seed, or load one, and check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="folder of MNIST's idx files")
    source.add_argument("--model", help="file of a DCGAN fitted on MNIST in 0 to 255")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    for seed in range(options.seeds):
        model = options.model
        check(joblib.load(model) if model else train(options, seed), seed)


if __name__ == "__main__":
    main()
