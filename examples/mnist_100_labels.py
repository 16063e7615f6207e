"""Classify MNIST with 10 labels a class, and what the generator adds to that.

The other rows of the 10,000 (or, with --rows 60000, of all training rows) come without
labels. Draw s labels the first 10 of ``numpy.random.default_rng(s)``'s permutation of
each class among the first 10,000 rows, so that more rows bring no other labels::

    python examples/mnist_100_labels.py --data ~/data/mnist

Rows that are done stand in results.json of the output folder, and the same command
goes on after them, within a training too. --curve adds the accuracy after every epoch.
With --holdout the score is that of training rows 50,000 to 59,999, which then take no
part in any fit.
"""

from _label_evaluation import count, draw_per_class, evaluate, make_parser

from sklgan.datasets import load_mnist

N_PER_CLASS = 10
# Rows among which the labelled ones are drawn.
N_POOL = 10_000


def load(args):
    """Return the rows to fit on and those to score on, images and labels."""
    X, y = load_mnist(args.data, subset="train", return_X_y=True)
    if not args.holdout:
        X_test, y_test = load_mnist(args.data, subset="test", return_X_y=True)
        return X[: args.rows], y[: args.rows], X_test, y_test
    # The last 10,000 of 60,000.
    n_kept = len(X) * 5 // 6
    n_fit = min(args.rows, n_kept)
    return X[:n_fit], y[:n_fit], X[n_kept:], y[n_kept:]


def draw_labels(y, draw):
    """Return the indices of the rows that a draw labels."""
    return draw_per_class(y[:N_POOL], N_PER_CLASS, draw)


def main(argv=None):
    """Run what the command line asks for."""
    parser = make_parser(__doc__, "mnist_100_labels")
    parser.add_argument("--rows", type=count, default=10_000, help="to fit on (10000)")
    evaluate(parser.parse_args(argv), load, draw_labels, ["rows"])


if __name__ == "__main__":
    main()
