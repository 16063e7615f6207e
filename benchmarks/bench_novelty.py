"""Compare score_samples, as a detector of novelties, with scikit-learn's on features.

One class is left out of the training rows in turn. The score of a detector is the
area under the ROC curve between that class and held-out rows of the others, 0.5 being
chance. IsolationForest and LocalOutlierFactor, with their defaults, see the pixels, the
features of the untrained discriminator and those of the trained one::

    python benchmarks/bench_novelty.py --out novelty.jsonl --seeds 3
    python benchmarks/bench_novelty.py --mnist FOLDER --out novelty.jsonl --seeds 1

Each run is a line of the file that --out names; those that are there are not repeated.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor

from sklgan import DCGANFeatureExtractor
from sklgan.datasets import load_mnist

# Of benchmarks/check_diagnosis.py, where they train well; nothing was chosen here.
SETTINGS = {
    "digits": {
        "n_filters": 32,
        "max_epochs": 40,
        "learning_rate": 2e-3,
        "ema_decay": 0.9,
    },
    "MNIST": {
        "n_filters": 16,
        "max_epochs": 12,
        "batch_size": 64,
        "learning_rate": 5e-4,
        "ema_decay": 0.99,
    },
}
ROWS = [
    "score_samples",
    *(
        f"{detector}, {space}"
        for detector in ("IsolationForest", "LocalOutlierFactor")
        for space in ("pixels", "untrained features", "trained features")
    ),
]


def load(name, folder, n_rows):
    """Return images and labels, MNIST's at 14 x 14."""
    if name == "digits":
        digits = load_digits()
        return digits.images, digits.target
    data = load_mnist(folder)
    X = data.data[:n_rows].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    return X.astype(np.uint8), data.target[:n_rows]


def areas(X, y, left_out, seed, settings):
    """Return the area under the ROC curve of each detector."""
    rows, held_out = train_test_split(
        np.arange(len(X)), test_size=0.3, stratify=y, random_state=seed
    )
    train = X[rows[y[rows] != left_out]]
    is_novel = y[held_out] == left_out
    untrained, gan = (
        DCGANFeatureExtractor(**{**settings, **more}, random_state=seed).fit(train)
        for more in ({"max_epochs": 0}, {})
    )
    spaces = {
        "pixels": lambda X: X.reshape(len(X), -1).astype(np.float32),
        "untrained features": untrained.transform,
        "trained features": gan.transform,
    }
    found = {"score_samples": roc_auc_score(is_novel, -gan.score_samples(X[held_out]))}
    for space, transform in spaces.items():
        known, new = transform(train), transform(X[held_out])
        for detector in (
            IsolationForest(random_state=seed),
            LocalOutlierFactor(novelty=True),
        ):
            score = -detector.fit(known).score_samples(new)
            name = f"{type(detector).__name__}, {space}"
            found[name] = roc_auc_score(is_novel, score)
    return {name: float(area) for name, area in found.items()}


def show(runs, data):
    """Print the mean over seeds by class left out, and mean and least of all runs."""
    runs = [run for run in runs if run["data"] == data]
    classes = sorted({run["left_out"] for run in runs})
    print(f"\n{data}, {len(runs)} runs, area under the ROC curve by class left out")
    print(f"{'':38}" + "".join(f"{c:5}" for c in classes) + "  mean   least")
    for row in ROWS:
        by_class = [
            np.mean([run["areas"][row] for run in runs if run["left_out"] == c])
            for c in classes
        ]
        values = [run["areas"][row] for run in runs]
        print(
            f"{row:38}"
            + "".join(f"{area:5.2f}" for area in by_class)
            + f"  {np.mean(values):.3f}  {np.min(values):.2f}",
        )


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="folder with MNIST's idx files; else digits")
    parser.add_argument("--rows", type=int, default=4000, help="rows of MNIST")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("novelty.jsonl"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    name = "MNIST" if args.mnist else "digits"
    data = f"{name} {args.rows}" if args.mnist else name
    X, y = load(name, args.mnist, args.rows)
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    runs = [json.loads(line) for line in lines]
    done = {(run["data"], run["left_out"], run["seed"]) for run in runs}
    for seed in range(args.seeds):
        for left_out in range(10):
            if (data, left_out, seed) in done:
                continue
            run = {"data": data, "left_out": left_out, "seed": seed}
            run["areas"] = areas(X, y, left_out, seed, SETTINGS[name])
            runs.append(run)
            with args.out.open("a") as file:
                file.write(json.dumps(run) + "\n")
    show(runs, data)


if __name__ == "__main__":
    main()
