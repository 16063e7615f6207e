"""Evaluate a DCGAN's features on CIFAR-10, as section 5.1 of the DCGAN paper does.

A linear classifier is trained on several descriptions of the images: the pixels, the
features of an untrained discriminator, those of a trained one and, with --baselines,
k-means patches. What the trained one is worth is what it adds to the others::

    python examples/cifar10_evaluation.py --data ~/data --epochs 10

The GAN sees the training images without their labels. The classifier's C is chosen by
cross-validation on training images. The run can be stopped at any moment; the same
command goes on from where it was. Rows that are done stand in results.json and
results.csv of the output folder, beside the GAN, its samples and its history.

The paper's 82.8 % come from a network that was trained on ImageNet; this one sees
CIFAR-10 alone.
"""

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path

import joblib
import numpy as np
from _kmeans_patches import KMeansPatches
from _linear_evaluation import evaluate_features
from PIL import Image

from sklgan import DCGANFeatureExtractor, TrainingHistoryDisplay
from sklgan.datasets import load_cifar10

# What decides the figures: an output folder holds rows of one choice of these.
SETTINGS = (
    "network",
    "n_train",
    "n_test",
    "latent_dim",
    "n_filters",
    "batch_size",
    "augment",
    "loss",
    "precision",
    "cv_rows",
)
COLUMNS = ("features", "seed", "n_features", "C", "cv_accuracy", "accuracy", "seconds")


def count(text):
    """Return a number of the command line that must be at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def parse_arguments():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, help="folder or archive of CIFAR-10, or 'openml'")
    add(
        "--output", type=Path, default=Path("cifar10_evaluation"), help="where to write"
    )
    add("--network", default="dcgan", choices=["dcgan", "dcgan-deep"])
    add("--epochs", type=count, default=10, help="may grow later; training goes on")
    add(
        "--n-train", type=count, default=50_000, help="training images, drawn at random"
    )
    add("--n-test", type=count, default=10_000)
    add("--seed", "--seeds", dest="seeds", type=int, nargs="+", default=[0])
    add("--baselines", action="store_true", help="add k-means patches")
    add("--n-centroids", type=count, default=800, help="of the k-means patches")
    add("--device", default="auto", help="auto, cpu, cuda")
    add("--precision", default="auto", help="auto, float32, bfloat16")
    add("--batch-size", type=count, default=32)
    add("--latent-dim", type=count, default=100)
    add("--n-filters", type=count, default=64, help="width of the networks")
    add(
        "--augment",
        type=lambda text: text.split(",") if text else None,
        default=["flip"],
        help="such as flip,translation; '' for none",
    )
    add("--loss", default="nonsaturating")
    add("--checkpoint-every", type=count, default=1, metavar="EPOCHS")
    add("--cv-rows", type=count, default=10_000, help="rows on which C is chosen")
    return parser.parse_args()


def say(text):
    """Print a line of progress with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def write_whole(path, write):
    """Call `write` on a temporary file, then put that file in the place of `path`."""
    temporary = path.with_name(path.name + ".part")
    write(temporary)
    os.replace(temporary, path)


def write_json(path, content):
    """Write `content` as JSON, all of it or nothing."""
    write_whole(path, lambda part: part.write_text(json.dumps(content, indent=1)))


def open_output(args):
    """Return the rows that the output folder holds, if its settings are the same."""
    args.output.mkdir(parents=True, exist_ok=True)
    settings = {name: getattr(args, name) for name in SETTINGS}
    path = args.output / "settings.json"
    kept = json.loads(path.read_text()) if path.exists() else settings
    changed = [
        f"--{name.replace('_', '-')} was {kept.get(name)!r} and is {value!r}"
        for name, value in settings.items()
        if kept.get(name) != value
    ]
    if changed:
        sys.exit(
            f"{args.output} holds a run with other settings: {'; '.join(changed)}. "
            "Choose another folder with --output, or repeat those settings."
        )
    write_json(path, settings)
    path = args.output / "results.json"
    return json.loads(path.read_text()) if path.exists() else []


def save_results(args, rows):
    """Write the rows as JSON and as CSV."""

    def write_csv(path):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    write_json(args.output / "results.json", rows)
    write_whole(args.output / "results.csv", write_csv)


def load_images(args):
    """Return X_train, X_test, y_train, y_test, all of them or as many as asked."""
    try:
        X_train, y_train = load_cifar10(args.data, subset="train", return_X_y=True)
        X_test, y_test = load_cifar10(args.data, subset="test", return_X_y=True)
    except ValueError as error:
        sys.exit(f"--data {args.data}: {error}")
    return X_train, X_test[: args.n_test], y_train, y_test[: args.n_test]


def pixels(X):
    """Return X as rows of float32 in [-1, 1], the range that the network sees."""
    rows = X.reshape(len(X), -1).astype(np.float32)
    rows /= 127.5
    rows -= 1
    return rows


def make_gan(args, seed, max_epochs):
    """Return a new extractor with the settings of the command line."""
    return DCGANFeatureExtractor(
        args.latent_dim,
        network=args.network,
        n_filters=args.n_filters,
        loss=args.loss,
        batch_size=args.batch_size,
        max_epochs=max_epochs,
        augment=args.augment,
        precision=args.precision,
        device=args.device,
        warm_start=True,
        verbose=int(sys.stderr.isatty()),
        random_state=seed,
    )


def train_gan(X, args, seed):
    """Return the GAN trained for all epochs, from the last checkpoint on."""
    path = args.output / f"gan_seed{seed}.joblib"
    # The file is this script's own; never load one that somebody else made.
    gan = joblib.load(path) if path.exists() else make_gan(args, seed, 0)
    done = getattr(gan, "n_iter_", 0)
    if done > args.epochs:
        sys.exit(f"{path} has trained {done} epochs already; ask for --epochs {done}.")
    while done < args.epochs:
        n_epochs = min(args.checkpoint_every, args.epochs - done)
        gan.set_params(max_epochs=n_epochs, device=args.device).fit(X)
        done = gan.n_iter_
        write_whole(path, lambda part: joblib.dump(gan, part))
        last = gan.history_[-1]
        say(
            f"  epoch {done}/{args.epochs}: {last['duration']:.0f} s, "
            f"losses {last['d_loss']:.3f} and {last['g_loss']:.3f}; saved"
        )
    return gan


def draw_pictures(gan, args, seed):
    """Write a grid of samples and, where matplotlib is there, the history as PNG."""
    samples = gan.sample(100, random_state=seed)
    grid = samples.reshape(10, 10, *samples.shape[1:]).swapaxes(1, 2)
    height, width = 10 * samples.shape[1], 10 * samples.shape[2]
    picture = Image.fromarray(grid.reshape(height, width, 3))
    picture.resize((3 * width, 3 * height), Image.Resampling.NEAREST).save(
        args.output / f"samples_seed{seed}.png"
    )
    try:
        display = TrainingHistoryDisplay.from_estimator(gan)
    except ImportError:
        say("  no matplotlib, so no picture of the history")
    else:
        path = args.output / f"history_seed{seed}.png"
        display.figure_.savefig(path, bbox_inches="tight")


def describe_with(name, X, args, seed):
    """Return the function that describes images, and the seconds spent on learning."""
    if name == "raw pixels":
        return pixels, 0.0
    start = time.perf_counter()
    if name.startswith("k-means"):
        learner = KMeansPatches(args.n_centroids, device=args.device, random_state=seed)
    elif name.endswith("untrained"):
        learner = make_gan(args, seed, 0)
    else:
        gan = train_gan(X, args, seed)
        draw_pictures(gan, args, seed)
        # Of all starts, not of this one alone.
        return gan.transform, sum(epoch["duration"] for epoch in gan.history_)
    return learner.fit(X).transform, time.perf_counter() - start


def print_table(rows):
    """Print one line for each description: mean and spread over the seeds."""
    line = "{:28} {:>10} {:>9} {:>8} {:>16} {:>8}"
    print(
        "\n"
        + line.format("features", "n_features", "C", "CV acc.", "test accuracy", "s")
    )
    for name in dict.fromkeys(row["features"] for row in rows):
        same = [row for row in rows if row["features"] == name]
        mean = {key: np.mean([row[key] for row in same]) for key in COLUMNS[2:]}
        accuracy = f"{mean['accuracy']:.2%}"
        if len(same) > 1:
            accuracy += f" ± {100 * np.std([row['accuracy'] for row in same]):.2f}"
        print(
            line.format(
                name,
                same[0]["n_features"],
                f"{same[0]['C']:.1e}",
                f"{mean['cv_accuracy']:.2%}",
                accuracy,
                f"{mean['seconds']:.0f}",
            )
        )


def compute_row(name, images, args, seed):
    """Return the row of the table that belongs to one description of the images."""
    X_train, X_test, y_train, y_test = images
    say(f"{name}, seed {seed}: {len(X_train)} training images")
    describe, learning_seconds = describe_with(name, X_train, args, seed)
    start = time.perf_counter()
    F_train, F_test = describe(X_train), describe(X_test)
    say(f"  {F_train.shape[1]} features; choosing C by cross-validation")
    figures = evaluate_features(
        F_train, y_train, F_test, y_test, args.cv_rows, args.device, seed, say
    )
    seconds = learning_seconds + time.perf_counter() - start
    say(f"  test accuracy {figures['accuracy']:.2%}, {seconds:.0f} s in all")
    return {"features": name, "seed": seed, **figures, "seconds": round(seconds, 1)}


def run(args):
    """Compute the rows that are missing, keep each at once, and print them all."""
    rows = open_output(args)
    X_all, X_test, y_all, y_test = load_images(args)
    names = ["raw pixels", f"{args.network}, untrained"]
    names.append(f"{args.network}, {args.epochs} epochs")
    if args.baselines:
        names.insert(1, f"k-means patches, {args.n_centroids}")
    for seed in args.seeds:
        drawn = np.random.RandomState(seed).permutation(len(X_all))[: args.n_train]
        images = X_all[drawn], X_test, y_all[drawn], y_test
        for name in names:
            if any((name, seed) == (row["features"], row["seed"]) for row in rows):
                say(f"{name}, seed {seed}: kept from before")
                continue
            rows.append(compute_row(name, images, args, seed))
            save_results(args, rows)
    print_table(rows)


if __name__ == "__main__":
    arguments = parse_arguments()
    try:
        run(arguments)
    except KeyboardInterrupt:
        sys.exit("\nStopped. The same command goes on from the last finished epoch.")
