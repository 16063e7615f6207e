"""What balance_weight does where unlabelled rows have other frequencies than labelled.

Threes and eights of scikit-learn's digits, 142 and 22 without a label and eight of each
with one: the labels say that both are as frequent. Prints the share of the unlabelled
ones that are found right, by draw::

    OMP_NUM_THREADS=1 python benchmarks/check_balance.py
"""

import argparse

import numpy as np
from sklearn.datasets import load_digits

from sklgan import SemiSupervisedGANClassifier

CLASSES, COUNTS, N_LABELED = (3, 8), (142, 22), 8
SETTINGS = (
    {},
    {"balance_weight": 0.0},
    {"class_weight": dict(zip(CLASSES, COUNTS, strict=True))},
    {"class_weight": "balanced"},
)


def draw(seed):
    """Return images, their classes, and what is told of these."""
    digits, rng = load_digits(), np.random.default_rng(seed)
    rows, told = [], []
    for label, count in zip(CLASSES, COUNTS, strict=True):
        members = np.flatnonzero(digits.target == label)
        rows.append(rng.permutation(members)[: count + N_LABELED])
        told.append(np.where(np.arange(len(rows[-1])) < N_LABELED, label, -1))
    rows = np.concatenate(rows)
    return digits.images[rows], digits.target[rows], np.concatenate(told)


def main():
    """Fit each setting on each draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(0 1 2)")
    args = parser.parse_args()
    for settings in SETTINGS:
        shares = []
        for seed in args.seeds:
            X, y, told = draw(seed)
            gan = SemiSupervisedGANClassifier(**settings, random_state=seed)
            hidden = told == -1
            shares.append(100 * gan.fit(X, told).score(X[hidden], y[hidden]))
        print(f"{settings!s:36}", *(f"{share:6.1f}" for share in shares))


if __name__ == "__main__":
    main()
