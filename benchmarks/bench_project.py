"""``project`` on MNIST at 32x32: how near images come, at what cost.

Trains a DCGAN on 20,000 training rows, keeps it in the output folder, and projects its
own samples and digits of the test set. Beside them stands what needs no search: the
nearest of 512 samples, and for real digits the nearest of the 20,000 training images,
and as many principal components of these as there are latent variables.
``label kept`` is how often a support vector machine, fitted on other training rows,
gives the projection the class of the image (of a real one the true class)::

    python benchmarks/bench_project.py --data DIR

Prints means and spreads over seeds; a seed decides which images, the encoder and the
starts. Rows that are done stand in results.json of the output folder, and the same
command goes on after them.
"""

import argparse
import sys
import time
from pathlib import Path

import joblib
import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin_min
from sklearn.svm import SVC

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from _label_evaluation import fill_in, pixels, print_table, say, write_whole

from sklgan import DCGANFeatureExtractor
from sklgan.datasets import load_mnist
from sklgan.inspection import fit_encoder, project

N_TRAIN, N_SVC = 20_000, 6_000
METHODS = {
    "optimize": {},
    "nearest-training": None,
    "pca": None,
    "nearest-sample": {"n_starts": 1, "n_steps": 0, "perceptual": None},
    "encoder": {"method": "encoder"},
    "hybrid-1": {"method": "hybrid", "n_starts": 1},
    "pixels-only": {"perceptual": None},
}
# Figure: heading, factor and decimals of the table.
FIGURES = {
    "below": ("below 0.01, %", 100, 1),
    "mean": ("mean error", 1, 4),
    "largest": ("largest", 1, 4),
    "label_kept": ("label kept, %", 100, 1),
    "seconds": ("CPU s/image", 1, 3),
    "encoder": ("CPU s/encoder", 1, 0),
}


def parse_arguments(argv):
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, help="the folder of MNIST")
    add("--images", type=int, default=100, help="of each kind (100)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(0 to 2)")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    add("--output", type=Path, default=Path("projection"), help="where to write")
    return parser.parse_args(argv)


def load(folder, subset):
    """Return digits padded to 32x32, and their classes."""
    X, y = load_mnist(folder, subset=subset, return_X_y=True)
    return np.pad(X, ((0, 0), (2, 2), (2, 2))), y


def kept(path, make):
    """Return what a file holds, after making it if there is none."""
    if not path.exists():
        say(f"making {path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        made = make()
        write_whole(path, lambda part: joblib.dump(made, part))
    return joblib.load(path)


def train(X):
    """Return a DCGAN, trained on images."""
    return DCGANFeatureExtractor(
        n_filters=32, batch_size=64, max_epochs=10, random_state=0
    ).fit(X)


def train_encoder(gan, seed):
    """Return an encoder and the CPU seconds that its training took."""
    start = time.process_time()
    return fit_encoder(gan, random_state=seed), time.process_time() - start


def prepare(args):
    """Return training images, test digits with classes, a GAN and a classifier."""
    X, y = load(args.data, "train")
    training, others = X[:N_TRAIN], slice(N_TRAIN, N_TRAIN + N_SVC)
    gan = kept(args.output / "mnist_gan.joblib", lambda: train(training))
    svc = SVC(C=10).fit(pixels(X[others]), y[others])
    return training, load(args.data, "test"), gan, svc


def draw_images(kind, n_images, seed, task):
    """Return images, and the classes that their projections should have."""
    _, (X, y), gan, svc = task
    if kind == "own samples":
        X = gan.sample(n_images, random_state=seed)
        return X, svc.predict(pixels(X))
    chosen = np.random.default_rng(seed).choice(len(X), n_images, replace=False)
    return X[chosen], y[chosen]


def compute_row(kind, method, seed, args, task):
    """Project images once, and return the figures."""
    training, _, gan, svc = task
    X, y = draw_images(kind, args.images, seed, task)
    settings, encoder_seconds = METHODS[method], None
    if settings is not None and "method" in settings:
        path = args.output / f"encoder{seed}.joblib"
        encoder, encoder_seconds = kept(path, lambda: train_encoder(gan, seed))
        settings = {**settings, "encoder": encoder}
    start = time.process_time()
    if settings is None:
        baseline = nearest if method == "nearest-training" else reconstruct
        projections, errors = baseline(X, training)
    else:
        settings = {**settings, "random_state": seed, "return_errors": True}
        Z, errors = project(gan, X, **settings)
        projections = gan.generate(Z)
    seconds = time.process_time() - start
    return {
        "below": float(np.mean(errors < 0.01)),
        "mean": float(errors.mean()),
        "largest": float(errors.max()),
        "label_kept": svc.score(pixels(projections), y),
        "seconds": seconds / len(X),
        "encoder": encoder_seconds,
    }


def nearest(X, training):
    """Return the nearest training images, and their mean squared differences."""
    rows, others = pixels(X), pixels(training)
    indices, distances = pairwise_distances_argmin_min(rows, others)
    return training[indices], np.square(distances) / rows.shape[1]


def reconstruct(X, training):
    """Return images made of principal components, and mean squared differences."""
    rows = pixels(X)
    pca = PCA(100, random_state=0).fit(pixels(training))
    projections = pca.inverse_transform(pca.transform(rows)).clip(0, 1)
    return projections * 255, np.square(projections - rows).mean(axis=1)


def main(argv=None):
    """Compute the rows that are missing, and print them all."""
    args = parse_arguments(argv)
    try:
        task = prepare(args)
    except ValueError as error:
        sys.exit(f"--data {args.data}: {error}")
    wanted = [
        ((kind, method), f"{kind}: {method}", seed)
        for seed in args.seeds
        for method in args.methods
        for kind in ("own samples", "test digits")
        if kind == "test digits" or METHODS[method] is not None
    ]
    rows = fill_in(
        args.output,
        {"images": args.images},
        wanted,
        lambda row, seed: compute_row(*row, seed, args, task),
        seed_name="seed",
    )
    print_table(rows, FIGURES, seed_name="seed")


if __name__ == "__main__":
    main()
