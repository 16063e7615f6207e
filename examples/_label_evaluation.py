"""How well a classifier does with few labels, beside what would explain it away.

A task is a set of images of which each draw labels a few. For every draw there are
rows for a support vector machine and for the network on the labelled images alone, for
the network that has all images but no generator, and for the classifier itself. A row
is kept as soon as it is done, and a network's training at the ends of its epochs: the
same command goes on from there.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

import joblib
import numpy as np
from cifar10_evaluation import count, say, write_json, write_whole
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from sklgan import SemiSupervisedGANClassifier

METHODS = {
    "svc": "SVC, labels only",
    "labels-only": "network, labels only",
    "no-generator": "network, no generator",
    "gan": "SemiSupervisedGANClassifier",
}
# Figure: heading, factor and decimals of the table.
FIGURES = {
    "accuracy": ("accuracy, %", 100, 1),
    "log_loss": ("log loss", 1, 3),
    "calibration_error": ("ECE, %", 100, 1),
    "seconds": ("fit, s", 1, 0),
}
# Parameters that are no choice of the training: images are images, the seed is the
# draw's, and each row has a checkpoint of its own.
_NOT_SET = {
    "callbacks",
    "checkpoint",
    "checkpoint_interval",
    "data_range",
    "image_shape",
    "n_clusters",
    "random_state",
    "verbose",
    "warm_start",
}


# The command line -------------------------------------------------------------------


def names(text):
    """Return a comma-separated list of the command line; "none" as None."""
    if text in ("auto", "none"):
        return {"auto": "auto", "none": None}[text]
    return text.split(",")


def training_settings(estimator):
    """Return the parameters of an estimator that the command line may set."""
    params = estimator.get_params()
    return {name: params[name] for name in params if name not in _NOT_SET}


def add_training_options(parser, estimator):
    """Add an option for each parameter of the training, with the same default."""
    group = parser.add_argument_group("training, as the estimator documents it")
    kinds = {int: count, float: float}
    for name, default in training_settings(estimator).items():
        kind = names if name.endswith("augment") else kinds.get(type(default), str)
        option = f"--{name.replace('_', '-')}"
        group.add_argument(option, type=kind, default=default, help=f"({default})")


def make_parser(description, output, **defaults):
    """Return a parser with the options that all tasks share.

    Parameters
    ----------
    description : str
        The script's docstring.
    output : str
        The folder to write into, unless told otherwise.
    **defaults
        Parameters of the classifier in which the task differs from its defaults.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, help="folder of the data set")
    add("--output", type=Path, default=Path(output), help="where to write")
    add("--draws", type=int, nargs="+", default=list(range(5)), help="(0 to 4)")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    add(
        "--holdout",
        action="store_true",
        help="score on training rows that take no part in the fit, to choose settings "
        "without a look at test rows; take draws that you do not report",
    )
    add("--keep", action="store_true", help="keep the fitted classifiers too")
    add("--curve", action="store_true", help="score networks after every epoch")
    add_training_options(parser, SemiSupervisedGANClassifier(**defaults))
    return parser


# Results that are kept --------------------------------------------------------------


def open_output(output, settings):
    """Return the rows that the output folder holds, if its settings are the same."""
    output.mkdir(parents=True, exist_ok=True)
    path = output / "settings.json"
    kept = json.loads(path.read_text()) if path.exists() else settings
    changed = [
        f"--{name.replace('_', '-')} was {kept.get(name)!r} and is {value!r}"
        for name, value in settings.items()
        if kept.get(name) != value
    ]
    if changed:
        sys.exit(
            f"{output} holds a run with other settings: {'; '.join(changed)}. "
            "Choose another folder with --output, or repeat those settings."
        )
    write_json(path, settings)
    path = output / "results.json"
    return json.loads(path.read_text()) if path.exists() else []


def fill_in(output, settings, wanted, compute, seed_name="draw"):
    """Compute the wanted rows that are missing, and keep each as soon as it is done.

    Parameters
    ----------
    output : Path
        Folder of settings.json and results.json.
    settings : dict
        What decides the figures: the folder holds rows of one choice of it.
    wanted : iterable of (method, row, seed)
        The method's short name, that of its row in the table, and the seed.
    compute : callable
        ``(method, seed) -> dict`` of figures.
    seed_name : str
        What the seed is called.

    Returns
    -------
    rows : list of dict
        Those that were kept and those that are new.
    """
    rows = open_output(output, settings)
    try:
        for method, name, seed in wanted:
            if any((name, seed) == (row["row"], row[seed_name]) for row in rows):
                say(f"{name}, {seed_name} {seed}: kept from before")
                continue
            say(f"{name}, {seed_name} {seed}")
            rows.append({"row": name, seed_name: seed, **compute(method, seed)})
            write_json(output / "results.json", rows)
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from what is kept.")
    return rows


def print_table(rows, figures, seed_name="draw"):
    """Print a line for each row: mean and sample standard deviation over the seeds."""
    cells = [["", f"{seed_name}s", *(heading for heading, _, _ in figures.values())]]
    for name in dict.fromkeys(row["row"] for row in rows):
        same = [row for row in rows if row["row"] == name]
        cells.append([name, str(len(same))])
        for key, (_, factor, decimals) in figures.items():
            values = [factor * row[key] for row in same if row[key] is not None]
            cell = f"{np.mean(values):.{decimals}f}" if values else "-"
            if len(values) > 1:
                cell += f" ± {np.std(values, ddof=1):.{decimals}f}"
            cells[-1].append(cell)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print()
    for first, *others in cells:
        line = [first.ljust(widths[0])]
        line += [cell.rjust(w) for cell, w in zip(others, widths[1:], strict=True)]
        print("  ".join(line))
    print(f"mean ± sample standard deviation over {seed_name}s")


# Labels and figures -----------------------------------------------------------------


def draw_per_class(y, n_per_class, draw):
    """Return the indices of rows to label, as many of each class."""
    rng = np.random.default_rng(draw)
    drawn = []
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))[:n_per_class]
        if len(members) < n_per_class:
            sys.exit(f"Class {label} has {len(members)} rows, not {n_per_class}.")
        drawn.append(members)
    return np.concatenate(drawn)


def calibration_error(correct, confidence, n_bins=15):
    """Return the expected calibration error of predictions.

    The mean over rows of |accuracy - mean confidence| of their bin, among bins of
    confidence of equal width (Guo et al. 2017, "On Calibration of Modern Neural
    Networks", section 2, arXiv:1706.04599).

    Parameters
    ----------
    correct : ndarray of shape (n_samples,), bool
        Whether each prediction is right.
    confidence : ndarray of shape (n_samples,)
        Its probability.
    n_bins : int
        Number of bins.
    """
    # Bins are open to the left, closed to the right.
    bins = np.ceil(confidence * n_bins).astype(int).clip(1, n_bins)
    gaps = np.bincount(bins, weights=correct - confidence)
    return float(np.abs(gaps).sum() / len(correct))


def score(classifier, X, y):
    """Return accuracy and, of what predicts probabilities, the other figures."""
    if not hasattr(classifier, "predict_proba"):
        accuracy = float(np.mean(classifier.predict(X) == y))
        return {"accuracy": accuracy, "log_loss": None, "calibration_error": None}
    # In float64: the log loss clips probabilities at the precision of their dtype.
    p = classifier.predict_proba(X).astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    correct = classifier.classes_[p.argmax(axis=1)] == y
    return {
        "accuracy": float(correct.mean()),
        "log_loss": float(log_loss(y, p, labels=classifier.classes_)),
        "calibration_error": calibration_error(correct, p.max(axis=1)),
    }


def pixels(X):
    """Return images as rows in [0, 1], without any other scaling."""
    return X.reshape(len(X), -1).astype(np.float32) / 255


# Rows of the table ------------------------------------------------------------------


def make_classifier(method, args, draw):
    """Return the classifier of a row, not yet fitted."""
    if method == "svc":
        return make_pipeline(FunctionTransformer(pixels), SVC(C=10))
    settings = training_settings(SemiSupervisedGANClassifier())
    settings = {name: getattr(args, name) for name in settings}
    if method in ("no-generator", "labels-only"):
        settings["adversarial_weight"] = 0.0
    return SemiSupervisedGANClassifier(
        **settings,
        checkpoint=checkpoint_folder(method, draw, args),
        random_state=draw,
        verbose=int(sys.stderr.isatty()),
    )


def checkpoint_folder(method, draw, args):
    """Return where the training of a row is kept until all rows are done."""
    kind = "curve" if args.curve else "training"
    return args.output / f"{method}_draw{draw}_{kind}"


def rows_to_fit(method, y, labeled):
    """Return the indices of the rows that a method sees, and their labels."""
    if method == "svc":
        return labeled, y[labeled]
    if method == "labels-only":
        # Repeated until they are as many as all rows: so the network takes as many
        # steps, on batches as large, and batch normalisation sees labelled rows only.
        repeated = np.resize(labeled, len(y))
        return repeated, y[repeated]
    masked = np.full_like(y, -1)
    masked[labeled] = y[labeled]
    return slice(None), masked


def fit(classifier, X, y):
    """Fit, and return the seconds it took, those before a resumption included."""
    start = time.perf_counter()
    classifier.fit(X, y)
    seconds = time.perf_counter() - start
    epochs = getattr(classifier, "history_", [])
    return max(seconds, sum(epoch["duration"] for epoch in epochs))


def fit_by_epochs(classifier, X, y, X_test, y_test):
    """Fit with a score after every epoch, and return seconds and the accuracies.

    A fit that goes on from its checkpoint ends with the weights of one that was never
    broken off.
    """
    path = classifier.checkpoint / "curve.json"
    curve = json.loads(path.read_text()) if path.exists() else []
    last = classifier.max_epochs
    # The last epoch, once more, is not trained again: it fits the classifier.
    del curve[last - 1 :]
    for n_epochs in range(len(curve) + 1, last + 1):
        seconds = fit(classifier.set_params(max_epochs=n_epochs), X, y)
        curve.append(score(classifier, X_test, y_test)["accuracy"])
        write_json(path, curve)
        say(f"  epoch {n_epochs}: {curve[-1]:.2%}")
    return seconds, curve


def compute_row(method, draw, args, images, labeled):
    """Fit one classifier on one draw of labels, and return its figures."""
    X, y, X_test, y_test = images
    classifier = make_classifier(method, args, draw)
    rows, labels = rows_to_fit(method, y, labeled)
    figures = {}
    if args.curve and method != "svc":
        training = classifier, X[rows], labels, X_test, y_test
        seconds, figures["curve"] = fit_by_epochs(*training)
    else:
        seconds = fit(classifier, X[rows], labels)
    if args.keep:
        path = args.output / f"{method}_draw{draw}.joblib"
        write_whole(path, lambda part: joblib.dump(classifier, part))
    figures |= {**score(classifier, X_test, y_test), "seconds": round(seconds, 2)}
    say(f"  accuracy {figures['accuracy']:.2%}, fitted in {seconds:.0f} s")
    return figures


def evaluate(args, load, draw_labels, task_settings=()):
    """Compute the rows of a task that are missing, and print them all.

    Parameters
    ----------
    args : argparse.Namespace
        Of the parser that ``make_parser`` returns.
    load : callable
        ``args -> (X, y, X_test, y_test)``: all rows to fit on with their true labels,
        and the rows to score on, which are training rows too with ``args.holdout``.
    draw_labels : callable
        ``(y, draw) -> indices`` of the rows that are labelled.
    task_settings : iterable of str
        Further arguments that decide the figures.
    """
    guarded = {"holdout", *task_settings}
    # The device changes nothing but rounding, so a run may move to another.
    guarded |= training_settings(SemiSupervisedGANClassifier()).keys() - {"device"}
    settings = {name: getattr(args, name) for name in sorted(guarded)}
    try:
        images = load(args)
    except ValueError as error:
        sys.exit(f"--data {args.data}: {error}")
    X, y, X_test, _ = images
    kind = "held-out training" if args.holdout else "test"
    say(f"{len(X)} rows to fit on, {len(X_test)} {kind} rows to score on")
    labeled = {draw: draw_labels(y, draw) for draw in args.draws}
    wanted = [(m, METHODS[m], draw) for draw in args.draws for m in args.methods]
    rows = fill_in(
        args.output,
        settings,
        wanted,
        lambda method, draw: compute_row(method, draw, args, images, labeled[draw]),
    )
    for method, _, draw in wanted:
        shutil.rmtree(checkpoint_folder(method, draw, args), ignore_errors=True)
    print_table(rows, FIGURES)
