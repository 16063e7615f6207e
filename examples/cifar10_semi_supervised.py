"""Classify CIFAR-10 with few labels, 4,000 or 1,000, and what the generator adds.

All 50,000 training images are given, most of them without labels. Draw s labels the
first of ``numpy.random.default_rng(s)``'s permutation of each class::

    python examples/cifar10_semi_supervised.py --data ~/data --n-labels 4000

It is for a GPU: a CPU needs hours for each row. Rows that are done stand in
results.json of the output folder, and the same command goes on after them, within a
training too. --curve adds the accuracy after every epoch. With --holdout the score is
that of the last 5,000 training images, which then take no part in any fit.
"""

from _label_evaluation import count, draw_per_class, evaluate, make_parser

from sklgan.datasets import load_cifar10


def load(args):
    """Return the rows to fit on and those to score on, images and labels."""
    X, y = load_cifar10(args.data, subset="train", return_X_y=True)
    if args.holdout:
        # The last 5,000 of 50,000.
        n_kept = len(X) * 9 // 10
        return X[:n_kept], y[:n_kept], X[n_kept:], y[n_kept:]
    X_test, y_test = load_cifar10(args.data, subset="test", return_X_y=True)
    return X, y, X_test, y_test


def main(argv=None):
    """Run what the command line asks for."""
    parser = make_parser(__doc__, "cifar10_semi_supervised", augment=["shift", "flip"])
    parser.add_argument("--n-labels", type=count, default=4000, help="(4000)")
    args = parser.parse_args(argv)
    if args.n_labels % 10:
        parser.error(f"--n-labels {args.n_labels} is no multiple of the 10 classes")

    def draw_labels(y, draw):
        return draw_per_class(y, args.n_labels // 10, draw)

    evaluate(args, load, draw_labels, ["n_labels"])


if __name__ == "__main__":
    main()
