"""CategoricalGANClusterer against clusterings of pixels: 10 clusters of digits.

Prints the accuracy under the best matching of clusters with classes, the normalised
mutual information and the seconds, as mean and spread over seeds. Labels are used for
these figures alone. The clusterer of which the generator takes no part is the baseline
that tells what the generator adds. In two stages, as RIM-DCGAN does, features of a GAN
are clustered by a network of their own; dropout stands for its virtual adversarial
perturbation::

    python benchmarks/bench_clustering.py --data digits --n-init 5
    python benchmarks/bench_clustering.py --data DIR --rows 10000

Rows that are done stand in results.json of the output folder, and the same command
goes on after them.
"""

import argparse
import sys
import time
from pathlib import Path

from sklearn.cluster import KMeans, SpectralClustering
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import dropout

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from _label_evaluation import (
    add_training_options,
    count,
    fill_in,
    print_table,
    training_settings,
)

from sklgan import CategoricalGANClusterer, DCGANFeatureExtractor
from sklgan.datasets import load_mnist
from sklgan.metrics import cluster_accuracy

N_CLUSTERS = 10
METHODS = {
    "kmeans": "KMeans(n_init=10)",
    "gmm": "PCA + GaussianMixture(n_init=3)",
    "spectral": "SpectralClustering(kmeans)",
    "spectral-qr": "SpectralClustering(cluster_qr)",
    "two-stage": "DCGAN features, then information maximisation",
    "no-generator": "CategoricalGANClusterer, no generator",
    "gan": "CategoricalGANClusterer",
}
FIGURES = {
    "accuracy": ("accuracy, %", 100, 1),
    "nmi": ("NMI", 1, 3),
    "objective": ("objective", 1, 3),
    "seconds": ("fit, s", 1, 2),
}


def parse_arguments(argv):
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", default="digits", help="'digits', or the folder of MNIST")
    add("--rows", type=count, help="the first so many (digits: all, MNIST: 10000)")
    add("--seeds", type=int, nargs="+", default=list(range(5)), help="(0 to 4)")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    add("--output", type=Path, default=Path("clustering"), help="where to write")
    add_training_options(parser, CategoricalGANClusterer())
    return parser.parse_args(argv)


def load(args):
    """Return images, classes, the value of white and the columns of the PCA."""
    if args.data == "digits":
        digits = load_digits()
        return digits.images[: args.rows], digits.target[: args.rows], 16, 20
    X, y = load_mnist(args.data, return_X_y=True)
    n_rows = args.rows or 10_000
    return X[:n_rows], y[:n_rows], 255, 50


def make_rival(method, n_components, seed):
    """Return a clusterer of scikit-learn's, for rows of pixels."""
    if method == "kmeans":
        return KMeans(N_CLUSTERS, n_init=10, random_state=seed)
    if method == "gmm":
        mixture = GaussianMixture(
            N_CLUSTERS, n_init=3, reg_covar=1e-3, random_state=seed
        )
        return make_pipeline(PCA(n_components, random_state=seed), mixture)
    return SpectralClustering(
        N_CLUSTERS,
        affinity="nearest_neighbors",
        n_neighbors=10,
        assign_labels="kmeans" if method == "spectral" else "cluster_qr",
        random_state=seed,
    )


def make_gan(method, args, seed):
    """Return the clusterer with the settings of the command line."""
    settings = training_settings(CategoricalGANClusterer())
    settings = {name: getattr(args, name) for name in settings}
    if method == "no-generator":
        settings["adversarial_weight"] = 0.0
    return CategoricalGANClusterer(
        N_CLUSTERS,
        **settings,
        random_state=seed,
        verbose=int(sys.stderr.isatty()),
    )


def drop(features):
    """Drop a tenth of the features, as the two-stage recipe does."""
    return dropout(features, 0.1)


def make_two_stages(args, seed):
    """Return a pipeline of a GAN's features and a clusterer of flat rows."""
    settings = {"random_state": seed, "verbose": int(sys.stderr.isatty())}
    return make_pipeline(
        DCGANFeatureExtractor(
            n_filters=args.n_filters, batch_size=32, max_epochs=20, **settings
        ),
        StandardScaler(),
        CategoricalGANClusterer(
            N_CLUSTERS,
            n_filters=64,
            adversarial_weight=0.0,
            strong_augment=drop,
            n_init=args.n_init,
            max_epochs=args.max_epochs,
            **settings,
        ),
    )


def compute_row(method, seed, args, task):
    """Cluster once, and return the figures."""
    X, y, white, n_components = task
    if method in ("gan", "no-generator"):
        clusterer = make_gan(method, args, seed)
    elif method == "two-stage":
        clusterer = make_two_stages(args, seed)
    else:
        clusterer = make_rival(method, n_components, seed)
        X = X.reshape(len(X), -1).astype("float32") / white
    start = time.perf_counter()
    clusters = clusterer.fit_predict(X)
    seconds = time.perf_counter() - start
    last = clusterer[-1] if isinstance(clusterer, Pipeline) else clusterer
    return {
        "accuracy": cluster_accuracy(y, clusters),
        "nmi": float(normalized_mutual_info_score(y, clusters)),
        "objective": getattr(last, "objective_", None),
        "seconds": round(seconds, 3),
    }


def main(argv=None):
    """Compute the rows that are missing, and print them all."""
    args = parse_arguments(argv)
    try:
        task = load(args)
    except ValueError as error:
        sys.exit(f"--data {args.data}: {error}")
    settings = training_settings(CategoricalGANClusterer()).keys() - {"device"}
    settings = {name: getattr(args, name) for name in sorted(settings)}
    settings["data"] = "digits" if args.data == "digits" else "MNIST"
    settings["rows"] = len(task[0])
    rows = fill_in(
        args.output,
        settings,
        [(m, METHODS[m], seed) for seed in args.seeds for m in args.methods],
        lambda method, seed: compute_row(method, seed, args, task),
        seed_name="seed",
    )
    print_table(rows, FIGURES, seed_name="seed")


if __name__ == "__main__":
    main()
