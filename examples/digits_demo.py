"""Few labels on real digits: what does a GAN see that labels alone do not show?

The 1,797 digits of scikit-learn (8x8 pixels) are split into 70 % for training and 30 %
for testing. A DCGAN learns from all training images without labels; then a linear SVM
learns from a few labelled ones, described by their raw pixels, by the features of an
untrained discriminator, and by those of the trained one. Then classifiers that are
given the unlabelled images as well: the semi-supervised GAN, the same network without
its generator and on labels alone, and scikit-learn's. All of it is done anew for each
of several splits, so that the figures have a spread::

    python examples/digits_demo.py

The settings of scikit-learn's estimators are chosen by cross-validation on the labelled
images alone, but for the rows that name theirs. The tables go to the terminal, a grid
of samples and the training history to the folder ``outputs``.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _digits_rivals import network_accuracies, rival_accuracies
from joblib import Parallel, delayed
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklgan import DCGANFeatureExtractor, SamplesDisplay, TrainingHistoryDisplay

GAN = {
    "network": "dcgan-deep",
    "n_filters": 16,
    "batch_size": 32,
    "precision": "float32",
}


def parse_arguments():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--epochs", type=int, default=35, help="of the GAN")
    add("--classifier-epochs", type=int, default=15, help="of the classifiers")
    add("--draws", type=int, default=3, help="splits, each with labels of its own")
    add("--labels", type=int, nargs="+", default=[20, 50, 100, 200])
    add("--classifier-labels", type=int, nargs="+", default=[20, 100])
    add("--jobs", type=int, default=2, help="draws at a time, a process each")
    add("--device", default="auto", help="auto, cpu, cuda")
    add("--output", type=Path, default=Path("outputs"), help="where to put pictures")
    args = parser.parse_args()
    fewest = min(args.labels + args.classifier_labels)
    if fewest < 20:
        parser.error(f"{fewest} labels are too few: at least 2 of each class, 20")
    return args


def pixels(X):
    """Return images as rows in [0, 1]."""
    return X.reshape(len(X), -1) / 16


def draw_labels(y, n_labels, seed):
    """Return indices of ``n_labels`` rows, the same number of each class."""
    rng = np.random.default_rng(seed)
    per_class = n_labels // 10
    return np.concatenate(
        [rng.permutation(np.flatnonzero(y == digit))[:per_class] for digit in range(10)]
    )


def accuracy(F_train, y_train, F_test, y_test):
    """Return the test accuracy of a linear SVM.

    C, and whether columns are standardised, are chosen on the training rows: pixels
    are better as they are, and no baseline shall be weaker than it has to be.
    """
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("svm", LinearSVC(random_state=0))]
    )
    search = GridSearchCV(
        pipeline,
        {"scale": ["passthrough", StandardScaler()], "svm__C": [1e-3, 1e-2, 1e-1, 1]},
        cv=min(3, np.bincount(y_train).min()),
    )
    with warnings.catch_warnings():
        # At large C and separable classes, more steps change nothing that is printed.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return search.fit(F_train, y_train).score(F_test, y_test)


def split(seed):
    """Return training and test images and labels of one draw."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(
        X.reshape(-1, 8, 8), y, test_size=0.3, stratify=y, random_state=seed
    )


def evaluate_features(seed, args):
    """Return {features: [accuracy a budget]} of one split, and the trained GAN."""
    X_train, X_test, y_train, y_test = split(seed)
    settings = {**GAN, "device": args.device, "random_state": seed}
    untrained = DCGANFeatureExtractor(**settings, max_epochs=0).fit(X_train)
    trained = DCGANFeatureExtractor(**settings, max_epochs=args.epochs).fit(X_train)
    descriptions = {
        "raw pixels": pixels,
        "untrained discriminator": untrained.transform,
        "trained discriminator": trained.transform,
    }
    figures = {}
    for name, describe in descriptions.items():
        F_train, F_test = describe(X_train), describe(X_test)
        figures[name] = []
        for n_labels in args.labels:
            chosen = slice(None)
            if n_labels < len(y_train):
                chosen = draw_labels(y_train, n_labels, seed)
            figures[name].append(
                accuracy(F_train[chosen], y_train[chosen], F_test, y_test)
            )
    return figures, trained


def evaluate_classifiers(seed, n_labels, args):
    """Return {classifier: accuracy} of one split and budget."""
    X_train, X_test, y_train, y_test = split(seed)
    masked = np.full(len(y_train), -1)
    chosen = draw_labels(y_train, n_labels, seed)
    masked[chosen] = y_train[chosen]
    data = X_train, masked, X_test, y_test
    settings = {
        "max_epochs": args.classifier_epochs,
        "device": args.device,
        "random_state": seed,
    }
    return {**rival_accuracies(*data), **network_accuracies(*data, settings)}


def print_table(title, figures, labels):
    """Print mean and standard deviation over the draws, in per cent."""
    print(f"\n{title}: test accuracy in %, by number of labels")
    print(" " * 28 + "".join(f"{n:>13}" for n in labels))
    for name in figures[0]:
        values = 100 * np.array([draw[name] for draw in figures])
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else 0 * values[0]
        cells = zip(values.mean(axis=0), spread, strict=True)
        print(f"{name:28}" + "".join(f"{mean:7.1f} ± {sd:3.1f}" for mean, sd in cells))
    print(f"mean ± standard deviation over {len(figures)} draws of split and labels")


def write_pictures(gan, folder):
    """Write samples and history of a fitted GAN as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = SamplesDisplay.from_estimator(gan, n_samples=64, random_state=0)
    samples.ax_.set_title("Digits that the generator drew")
    samples.figure_.savefig(folder / "digits_samples.png", dpi=100)
    history = TrainingHistoryDisplay.from_estimator(gan)
    history.figure_.savefig(folder / "digits_history.png", dpi=100)
    print(
        f"\nPictures: {folder / 'digits_samples.png'}, {folder / 'digits_history.png'}"
    )


def run(jobs, n_jobs):
    """Return the results of joblib's delayed calls, and say when each is done."""
    start, results = time.perf_counter(), []
    for result in Parallel(n_jobs=n_jobs, return_as="generator")(jobs):
        results.append(result)
        seconds = time.perf_counter() - start
        print(f"{len(results)} of {len(jobs)} jobs done, {seconds:.0f} s", flush=True)
    return results


def main():
    """Run all draws, print the tables and write the pictures."""
    args = parse_arguments()
    seeds, budgets = range(args.draws), args.classifier_labels
    print(
        f"{args.draws} draws of split and labels, {args.jobs} jobs at a time; in each, "
        f"a DCGAN trains for {args.epochs} epochs on 1,257 digits without labels, then "
        f"a semi-supervised GAN for {args.classifier_epochs} epochs with few",
        flush=True,
    )
    jobs = [delayed(evaluate_features)(seed, args) for seed in seeds]
    for seed in seeds:
        jobs += [delayed(evaluate_classifiers)(seed, n, args) for n in budgets]
    results = run(jobs, args.jobs)
    figures, gans = zip(*results[: args.draws], strict=True)
    cells = results[args.draws :]
    draws = [cells[k : k + len(budgets)] for k in range(0, len(cells), len(budgets))]
    classified = [
        {name: [cell[name] for cell in draw] for name in draw[0]} for draw in draws
    ]
    print_table("LinearSVC on features", figures, args.labels)
    print_table("Classifiers", classified, budgets)
    write_pictures(gans[-1], args.output)


if __name__ == "__main__":
    main()
