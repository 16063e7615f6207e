"""Tell CIFAR-10's cats from its dogs with 100 labels, and what the generator adds.

The 10,000 training images of both classes, in file order, are given without labels but
for 100: those that ``numpy.random.default_rng(s).permutation(10000)`` begins with in
draw s, so that the classes need not be equally frequent among them::

    python examples/cats_and_dogs.py --data ~/data/cifar-10-batches-py

Rows that are done stand in results.json of the output folder, and the same command
goes on after them, within a training too. --curve adds the accuracy after every epoch.
With --holdout the score is that of the cats and dogs among the last 5,000 training
images of CIFAR-10, which then take no part in any fit.
"""

import numpy as np
from _label_evaluation import count, evaluate, make_parser

from sklgan.datasets import load_cifar10

CAT, DOG = 3, 5


def cats_and_dogs(X, y):
    """Return the images of both classes, and 0 for cats, 1 for dogs."""
    chosen = (y == CAT) | (y == DOG)
    return X[chosen], (y[chosen] == DOG).astype(np.int64)


def load(args):
    """Return the rows to fit on and those to score on, images and labels."""
    X, y = load_cifar10(args.data, subset="train", return_X_y=True)
    if args.holdout:
        # The last 5,000 of 50,000.
        n_kept = len(X) * 9 // 10
        X, X_test, y, y_test = X[:n_kept], X[n_kept:], y[:n_kept], y[n_kept:]
    else:
        X_test, y_test = load_cifar10(args.data, subset="test", return_X_y=True)
    return *cats_and_dogs(X, y), *cats_and_dogs(X_test, y_test)


def main(argv=None):
    """Run what the command line asks for."""
    # Turned images and less trust in its own guesses: chosen with --holdout, because
    # most guesses about these animals are not sure.
    parser = make_parser(
        __doc__,
        "cats_and_dogs",
        augment=["shift", "flip"],
        rotation_weight=1.0,
        entropy_weight=0.1,
    )
    parser.add_argument("--n-labels", type=count, default=100, help="(100)")
    args = parser.parse_args(argv)

    def draw_labels(y, draw):
        return np.random.default_rng(draw).permutation(len(y))[: args.n_labels]

    evaluate(args, load, draw_labels, ["n_labels"])


if __name__ == "__main__":
    main()
