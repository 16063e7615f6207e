"""What teaches a discriminator best: linear evaluation of its features by objective.

Every row describes the images in another way; the same classifiers (``--classifiers``)
then learn from few labels a class, more, and all::

    python benchmarks/representation.py --work cifar10 --data DIR --rows pixels patches
    python benchmarks/representation.py --work cifar10 --data DIR --rows contrastive
    python benchmarks/representation.py --work digits --rows all

A row whose name ends in ``-alone`` has the self-supervised task and no generator; what
the generator adds is the row without this ending. ``supervised`` is the same network
with all labels, and with the rotations' step and views, the ceiling; half of the rows
of its batches of 128 count as unlabelled, and teach nothing. All trained rows have the
same time, ``--minutes`` of the training alone, on a CPU those of the process, or the
same ``--epochs``. A run can be stopped, or killed, and goes on with the same command;
figures are kept in a JSON file in the output folder, and the table of all that is there
is printed at the end; another version of this file wants another folder. C is chosen by
cross-validation on ``--cv-rows`` training rows, of which few make it too small; test
rows are only scored. To choose a row's settings, ``--holdout`` scores 10,000 of the
training images instead, from which nothing learns. The adversarial row has batches of
32 and flips, which suited it best on training images; the others have batches of 128
and a step of 1e-3. ``--learning-rate``, ``--batch-size`` and ``--augment`` replace
these.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from skorch.callbacks import Callback

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from _kmeans_patches import KMeansPatches
from _label_evaluation import count
from _linear_evaluation import N_FOLDS, choose_strength, standardize

from sklgan import DCGANFeatureExtractor, SemiSupervisedGANClassifier, TorchLinearSVC
from sklgan._tensors import resolve_device
from sklgan.augment import AUGMENTATIONS
from sklgan.datasets import load_cifar10, load_mnist
from sklgan.model_selection import mask_labels

OBJECTIVES = ["contrastive", "rotation"]
ROWS = ["pixels", "patches", "untrained", "adversarial", "supervised"]
ROWS += [name + ending for name in OBJECTIVES for ending in ("", "-alone")]

# Views of digits: they have a handedness and no colours.
AUGMENT = {
    "cifar10": None,
    "mnist": ["resized_crop", "affine"],
    "digits": ["shift", "affine"],
}
PLAIN_AUGMENT = {"cifar10": ["flip"], "mnist": None, "digits": None}

# What the command line can put in place of the rows' own.
OVERRIDES = ["learning_rate", "batch_size", "augment"]


def parse_arguments(arguments):
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--work", choices=list(AUGMENT), default="digits")
    add("--data", help="folder of CIFAR-10 or MNIST")
    add("--rows", nargs="+", choices=[*ROWS, "all"], default=["all"])
    add("--output", type=Path, default=Path("representation"))
    add("--network", default="dcgan")
    add("--n-filters", type=count, default=32)
    add("--epochs", type=count, default=1000)
    add("--minutes", type=float, default=np.inf, help="time of a training")
    add("--layers", nargs="+", choices=["all", "last"], default=["all", "last"])
    labels = {"type": label_count, "default": ["10", "100", "all"]}
    add("--labels", nargs="+", **labels, help="a class")
    add("--classifiers", nargs="+", choices=list(CLASSIFIERS), default=["svm"])
    add("--learning-rate", type=step_size, help="in place of the rows' own")
    add("--batch-size", type=count, help="the same")
    add("--augment", nargs="+", choices=sorted(AUGMENTATIONS), help="the same")
    add("--n-train", type=count, help="training images, the first of them")
    add("--holdout", action="store_true", help="score on training images, to choose")
    add("--cv-rows", type=int, default=20_000, help="rows on which C is chosen")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--device", default="auto")
    args = parser.parse_args(arguments)
    if not args.minutes > 0:
        parser.error(f"--minutes {args.minutes:g} should be more than 0")
    if not np.isfinite(args.minutes) and args.epochs == 1000:
        parser.error("say how long to train: --minutes or --epochs")
    if args.work != "digits" and args.data is None:
        parser.error(f"--work {args.work} needs --data, the folder of its files")
    if args.holdout and args.work == "digits":
        parser.error("digits have no training images to spare for --holdout")
    args.rows = ROWS if "all" in args.rows else args.rows
    return args


def label_count(text):
    """Return a number of labels a class as the command line has it, or "all"."""
    if text != "all" and (not text.isdecimal() or int(text) < N_FOLDS):
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither 'all' nor {N_FOLDS} or more: C is chosen in "
            f"{N_FOLDS} folds"
        )
    return text


def step_size(text):
    """Return a learning rate as the command line has it."""
    step = float(text)
    if not 0 < step < np.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return step


def load_images(args, seed):
    """Return X_train, X_test, y_train, y_test."""
    rows = slice(args.n_train)
    if args.work == "digits":
        X, y = load_digits(return_X_y=True)
        X_train, X_test, y_train, y_test = train_test_split(
            X.reshape(-1, 8, 8), y, test_size=0.3, stratify=y, random_state=seed
        )
        return X_train[rows], X_test, y_train[rows], y_test
    load = load_cifar10 if args.work == "cifar10" else load_mnist
    train, test = (
        load(args.data, subset=subset, return_X_y=True) for subset in ("train", "test")
    )
    if args.holdout:
        X, X_held, y, y_held = train_test_split(
            *train, test_size=10_000, random_state=seed
        )
        train, test = (X, y), (X_held, y_held)
    return train[0][rows], test[0], train[1][rows], test[1]


class TimeLimit(Callback):
    """End a training after some minutes, those before a resumption included.

    What has been spent stands in the checkpoint, beside the weights that it led to. On
    a CPU it is the time of the process, which other processes do not lengthen.
    """

    def __init__(self, minutes):
        self.minutes, self.is_over = minutes, False

    def on_train_begin(self, net, **kwargs):
        """Look how long it has taken before, and train no more if that is enough."""
        on_cpu = torch.device(net.device).type == "cpu"
        self.clock_ = time.process_time if on_cpu else time.perf_counter
        before = net.notes_.get("minutes", 0.0)
        self.start_ = self.clock_() - 60 * before
        self._end_after(before)

    def on_epoch_end(self, net, **kwargs):
        """Note the time, and end the training if it is over."""
        spent = net.notes_["minutes"] = (self.clock_() - self.start_) / 60
        self._end_after(spent)

    def _end_after(self, spent):
        self.is_over = spent >= self.minutes
        if self.is_over:
            raise KeyboardInterrupt


def make_estimator(name, args):
    """Return the estimator of a row with what suits it."""
    plain, views = PLAIN_AUGMENT[args.work], AUGMENT[args.work]
    if name in ("untrained", "adversarial"):
        return DCGANFeatureExtractor(augment=plain, batch_size=32)
    if name == "supervised":
        losses = ("adversarial", "consistency", "entropy", "balance")
        return SemiSupervisedGANClassifier(
            **{f"{loss}_weight": 0.0 for loss in losses},
            augment=plain,
            batch_size=64,
            labeled_batch_size=64,
            learning_rate=1e-3,
        )
    return DCGANFeatureExtractor(
        objective=name.removesuffix("-alone"),
        adversarial_weight=float(not name.endswith("-alone")),
        augment=plain if name.startswith("rotation") else views,
        # A contrast needs many images; larger batches take larger steps.
        batch_size=128,
        learning_rate=1e-3,
    )


def checkpoint_folder(name, args, seed):
    """Return where a row's training is kept: each limit and choice has its own."""
    parts = [args.work, *["holdout"] * args.holdout]
    parts += [f"{args.network}{args.n_filters}", name, f"{args.minutes:g}min"]
    parts += [f"{args.epochs}epochs"] if args.epochs != 1000 else []
    parts += [f"{args.n_train}rows"] if args.n_train else []
    parts += [f"lr{args.learning_rate:g}"] if args.learning_rate else []
    parts += [f"batch{args.batch_size}"] if args.batch_size else []
    parts += args.augment or []
    return args.output / "_".join([*parts, f"seed{seed}"])


def overrides(args):
    """Return what the command line puts in place of the rows' own, by name."""
    return {name: getattr(args, name) for name in OVERRIDES if getattr(args, name)}


def own_overrides(name, args):
    """Return the same as parameters of a row's estimator."""
    params = overrides(args)
    if name == "supervised" and args.batch_size:
        half = args.batch_size // 2
        params |= {"labeled_batch_size": half, "batch_size": args.batch_size - half}
    return params


def train(name, X, y, args, seed):
    """Return the estimator of a row, trained until its time is over."""
    limit = TimeLimit(args.minutes)
    gan = make_estimator(name, args).set_params(
        network=args.network,
        n_filters=args.n_filters,
        max_epochs=0 if name == "untrained" else args.epochs,
        device=args.device,
        random_state=seed,
        checkpoint=None if name == "untrained" else checkpoint_folder(name, args, seed),
        callbacks=[limit],
        **own_overrides(name, args),
    )
    try:
        gan.fit(X, y)
    except KeyboardInterrupt:
        if not limit.is_over:
            raise
    return gan


def evaluate(F_train, y_train, F_test, y_test, args, seed):
    """Return accuracies in % by classifier and number of labels a class."""
    standardize(F_train, F_test)
    figures = {}
    for n_labels in args.labels:
        rows = np.arange(len(y_train))
        if n_labels != "all":
            labels = mask_labels(y_train, int(n_labels), random_state=seed)
            rows = np.flatnonzero(labels != -1)
        F, y = F_train[rows], y_train[rows]
        for kind in args.classifiers:
            classifier = CLASSIFIERS[kind](F, y, args, seed)
            accuracy = np.mean(classifier.fit(F, y).predict(F_test) == y_test)
            figures[f"{kind}, {n_labels}"] = 100 * float(accuracy)
    return figures


def linear_svm(F, y, args, seed):
    """Return a linear support vector machine, its C chosen on some of the rows."""
    return choose_linear(partial(TorchLinearSVC, device=args.device), F, y, args, seed)


def logistic_regression(F, y, args, seed):
    """Return a logistic regression, its C chosen on some of the rows."""
    return choose_linear(partial(LogisticRegression, max_iter=1000), F, y, args, seed)


def choose_linear(linear, F, y, args, seed):
    """Return a linear classifier with the C that suits these rows."""
    strength, _ = choose_strength(linear, F, y, args.cv_rows, seed, str)
    return linear(C=strength / len(F))


def nearest_neighbors(F, y, args, seed):
    """Return 20 nearest neighbours by cosine, fewer where there are few rows."""
    return KNeighborsClassifier(min(20, len(F) // 20 + 1), metric="cosine")


CLASSIFIERS = {
    "svm": linear_svm,
    "logistic": logistic_regression,
    "neighbors": nearest_neighbors,
}


def describe(name, images, args, seed):
    """Yield (name of the description, features of training rows, of test rows)."""
    X_train, X_test, y_train, _ = images
    if name == "pixels":
        rows = [X.reshape(len(X), -1).astype(np.float32) for X in (X_train, X_test)]
        yield name, *rows
    elif name == "patches":
        if args.work == "digits":
            return  # smaller than the patches
        grey = [X[..., None] if X.ndim == 3 else X for X in (X_train, X_test)]
        patches = KMeansPatches(800, random_state=seed).fit(grey[0])
        yield name, *map(patches.transform, grey)
    else:
        gan = train(name, X_train, y_train, args, seed)
        for layers in args.layers:
            gan.set_params(layers=layers)._choose_features()
            yield f"{name}, {layers}", gan.transform(X_train), gan.transform(X_test)


def compute(name, images, args, seed):
    """Return the figures of a row, by description."""
    if name == "supervised":
        gan = train(name, images[0], images[2], args, seed)
        accuracy = 100 * float(np.mean(gan.predict(images[1]) == images[3]))
        return {name: {"itself, all": accuracy}}
    return {
        description: evaluate(F_train, images[2], F_test, images[3], args, seed)
        for description, F_train, F_test in describe(name, images, args, seed)
    }


def settings(args):
    """Return what decides the figures beside row and seed, as text."""
    names = ["network", "n_filters", "epochs", "minutes", "layers", "labels"]
    names += ["classifiers", "n_train", "cv_rows"]
    # What is not set goes unnamed, as in figures of before.
    names += ["holdout"] if args.holdout else []
    values = {name: getattr(args, name) for name in names} | overrides(args)
    values["device"] = resolve_device(args.device).type
    return ", ".join(f"{name}={value}" for name, value in values.items())


def print_table(kept, args):
    """Print mean and standard deviation over seeds of all figures of these settings."""
    rows, work = {}, args.work
    for key, figures in kept.items():
        if key.startswith(f"{work}|") and key.endswith(f"|{settings(args)}"):
            for description, accuracies in figures.items():
                for figure, accuracy in accuracies.items():
                    cell = rows.setdefault(description, {}).setdefault(figure, [])
                    cell.append(accuracy)
    columns = dict.fromkeys(figure for row in rows.values() for figure in row)
    columns = sorted(columns, key=lambda column: column.split(", ")[0])
    part = "hold-out" if args.holdout else "test"
    print(f"\n{work}: {part} accuracy in %, by classifier and labels a class")
    for heading in zip(*(column.split(", ") for column in columns), strict=True):
        print(" " * 24 + "".join(f"{part:>13}" for part in heading))
    for description, row in rows.items():
        cells = [
            f"{np.mean(row[column]):.1f} ± {np.std(row[column]):.1f}"
            if column in row
            else "-"
            for column in columns
        ]
        print(f"{description:24}" + "".join(f"{cell:>13}" for cell in cells))


def main(arguments=None):
    """Compute what is missing, keep each row at once, and print all of them."""
    args = parse_arguments(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    path = args.output / "figures.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    for seed in args.seeds:
        images = load_images(args, seed)
        for name in args.rows:
            key = f"{args.work}|{name}|{seed}|{settings(args)}"
            if key not in kept:
                print(f"{time.strftime('%H:%M:%S')}  {key}", flush=True)
                kept[key] = compute(name, images, args, seed)
                print(json.dumps(kept[key]), flush=True)
                # Other rows may have been computed beside this one.
                if path.exists():
                    kept = {**json.loads(path.read_text()), **kept}
                part = path.with_suffix(".part")
                part.write_text(json.dumps(kept, indent=1))
                part.replace(path)
    print_table(kept, args)


if __name__ == "__main__":
    main()
