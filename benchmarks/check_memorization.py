"""See whether memorization_report() catches GANs that memorise, and accuses no others.

The thresholds were set on scikit-learn's digits; MNIST, shrunk to 14 x 14 to be quick,
tests them. Each seed draws other images, and trains other networks::

    python benchmarks/check_memorization.py --out memory.jsonl --seeds 10
    python benchmarks/check_memorization.py --mnist FOLDER --out memory.jsonl --seeds 10

Each run is a line of the file that --out names; those that are there are not repeated.
--pictures FOLDER writes the worst samples of each run beside their nearest images.
"""

import argparse
import json
import time
import warnings
from copy import copy
from pathlib import Path

import numpy as np
import torch
from scipy.stats import mannwhitneyu
from sklearn.datasets import load_digits
from sklearn.utils import check_random_state
from torch import nn

from sklgan import DCGANFeatureExtractor
from sklgan.datasets import load_mnist
from sklgan.inspection import MemorizationDisplay, memorization_report

N_HELD_OUT = 500
N_SAMPLES = 500

# Runs that cannot be right or wrong are not repeated as often.
N_SEEDS_UNJUDGED = 2

# Fully connected networks with few latent variables memorise soon. Images are repeated,
# since an epoch has a cost of its own: so many epochs are 20 times as many.
N_REPEATS = 20
MEMORIZING = {
    "network": "mlp",
    "latent_dim": 5,
    "n_filters": 64,
    "max_epochs": 75,
    "ema_decay": 0.99,
    "batch_size": 50,
}
# At 1e-3, one training of two on MNIST ends in noise.
MEMORIZING_RATE = {"digits": 1e-3, "MNIST": 5e-4}
HEALTHY = {
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
N_IMAGES = {"digits": 1200, "MNIST": 3000}

# Name, whether it must be caught (None: no right answer is known).
RUNS = {
    "trained on 50": True,
    "trained on 200": None,
    "trained on thousands": False,
    "untrained": False,
    "other real images": False,
    "the same, blurred": False,
    "blurred": False,
    "collapsed to 5": False,
    "10 % copies": True,
    "only copies of 5": True,
}


def altered(gan, sample):
    """Return a copy of a fitted estimator that draws something else."""
    gan = copy(gan)
    gan.sample = sample
    return gan


def drawing(gan, images):
    """Return an estimator that draws some images: as good as a generator can be."""

    def sample(n_samples, random_state):
        rng = check_random_state(random_state)
        return images[rng.randint(len(images), size=n_samples)]

    return altered(gan, sample)


def copying(gan, X, share, n_images):
    """Return an estimator that draws noisy copies of some images now and then."""
    noise = 0.02 * (gan.data_range_[1] - gan.data_range_[0])

    def sample(n_samples, random_state):
        rng = check_random_state(random_state)
        images = gan.sample(n_samples, random_state=rng)
        n_copies = round(share * n_samples)
        copies = X[:n_images][rng.randint(n_images, size=n_copies)]
        copies = copies + rng.normal(0, noise, copies.shape)
        images[:n_copies] = np.clip(copies, *gan.data_range_).astype(images.dtype)
        return images

    return altered(gan, sample)


def blurring(gan):
    """Return an estimator whose samples are smoothed: nearer to all images."""
    row = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.outer(row, row)[None, None]

    def sample(n_samples, random_state):
        rng = check_random_state(random_state)
        images = gan.sample(n_samples, random_state=rng)
        pixels = torch.from_numpy(images.astype(np.float32))[:, None]
        smooth = nn.functional.conv2d(pixels, kernel, padding=1)[:, 0]
        return smooth.numpy().astype(images.dtype)

    return altered(gan, sample)


def collapsing(gan, n_images):
    """Return an estimator that draws few images of its own, with little variation."""

    def sample(n_samples, random_state):
        rng = check_random_state(random_state)
        few = rng.standard_normal((n_images, gan.latent_dim))
        Z = few[rng.randint(n_images, size=n_samples)]
        return gan.generate(Z + 0.02 * rng.standard_normal(Z.shape))

    return altered(gan, sample)


def make(name, X, data, seed, fitted):
    """Return the estimator of a run, and the images that it was trained on."""
    settings = {**HEALTHY[data], "random_state": seed}
    if name in ("trained on 50", "trained on 200"):
        n = int(name.split()[-1])
        rate = MEMORIZING_RATE[data]
        settings = {**MEMORIZING, "learning_rate": rate, "random_state": seed}
        repeated = np.repeat(X[:n], N_REPEATS * 50 // n, axis=0)
        return DCGANFeatureExtractor(**settings).fit(repeated), X[:n]
    if name in ("untrained", "other real images", "the same, blurred"):
        n = len(X) if name == "untrained" else 2 * len(X) // 3
        gan = DCGANFeatureExtractor(**{**settings, "max_epochs": 0}).fit(X[:n])
        gan = gan if name == "untrained" else drawing(gan, X[n:])
        return blurring(gan) if "blurred" in name else gan, X[:n]
    if "gan" not in fitted:
        fitted["gan"] = DCGANFeatureExtractor(**settings).fit(X)
    gan = fitted["gan"]
    runs = {
        "trained on thousands": gan,
        "blurred": blurring(gan),
        "collapsed to 5": collapsing(gan, 5),
        "10 % copies": copying(gan, X, 0.1, len(X)),
        "only copies of 5": copying(gan, X, 1.0, 5),
    }
    return runs[name], X


def judge(gan, X, held_out, seed):
    """Return the report, and its figures as a row."""
    started = time.process_time()
    report = memorization_report(
        gan, X, held_out, n_samples=N_SAMPLES, random_state=seed
    )
    row = {"memorized": report.memorized, "seconds": time.process_time() - started}
    for name, space in report.spaces.items():
        row[name] = {
            "copied": space.copied,
            "low": space.interval[0],
            "p": space.p_value,
            "closeness": space.closeness,
            "train_share": space.train_share,
            # What a plain test of nearest distances would have said.
            "plain_p": mannwhitneyu(
                space.distances[:, 0], space.held_out_distances, alternative="less"
            ).pvalue,
        }
    return report, row


def draw(report, gan, X, path):
    """Write the worst samples beside their nearest images."""
    display = MemorizationDisplay.from_report(report, gan, X)
    display.figure_.savefig(path, dpi=60)
    display.figure_.clear()


def show(rows, data):
    """Print how many runs were taken for memorised, and the figures in pixels."""
    print(f"\n{data}: runs taken for memorised, by the report and by a plain test")
    print(
        f"{'':24}{'caught':>9}{'plain':>9}{'copied':>16}{'largest p':>11}{'right':>7}"
    )
    for name, expected in RUNS.items():
        runs = [r for r in rows if r["data"] == data and r["name"] == name]
        if not runs:
            continue
        n_caught = sum(r["memorized"] for r in runs)
        n_plain = sum(r["pixels"]["plain_p"] <= 0.01 for r in runs)
        copied = [r["pixels"]["copied"] for r in runs]
        right = "" if expected is None else n_caught == expected * len(runs)
        print(
            f"{name:24}{n_caught:4} of {len(runs)}{n_plain:4} of {len(runs)}"
            f"{min(copied):8.1%} -{max(copied):6.1%}"
            f"{max(r['pixels']['p'] for r in runs):11.2g}{right!s:>7}"
        )


def load(name, folder):
    """Return all images, MNIST's at 14 x 14."""
    if name == "digits":
        return load_digits().images
    X = load_mnist(folder).data[:10_000].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
    return X.astype(np.uint8)


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="folder with MNIST's idx files; else digits")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("memory.jsonl"))
    parser.add_argument("--pictures", type=Path, help="folder for pictures")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # trainings that fail on purpose
    data = "MNIST" if args.mnist else "digits"
    images = load(data, args.mnist)
    lines = args.out.read_text().splitlines() if args.out.exists() else []
    rows = [json.loads(line) for line in lines]
    done = {(row["data"], row["name"], row["seed"]) for row in rows}
    for seed in range(args.seeds):
        shuffled = images[np.random.default_rng(seed).permutation(len(images))]
        held_out, X = shuffled[:N_HELD_OUT], shuffled[N_HELD_OUT:][: N_IMAGES[data]]
        fitted = {}
        for name in RUNS:
            unjudged = RUNS[name] is None and seed >= N_SEEDS_UNJUDGED
            if unjudged or (data, name, seed) in done:
                continue
            gan, train = make(name, X, data, seed, fitted)
            report, figures = judge(gan, train, held_out, seed)
            rows.append({"data": data, "name": name, "seed": seed, **figures})
            with args.out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            if args.pictures:
                draw(report, gan, train, args.pictures / f"{data} {name} {seed}.png")
    show(rows, data)


if __name__ == "__main__":
    main()
