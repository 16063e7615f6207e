"""Choose the settings of the CIFAR-10 evaluation, on training images alone.

Trains a GAN for each setting on some training images and prints the accuracy of a
linear classifier on training images that are held out from it, labels and all. No test
image is read. What wins is what ``examples/cifar10_evaluation.py`` is then run with.

    python benchmarks/choose_cifar10.py --data DIR --settings batch_size=64,augment=flip
"""

import argparse
import ast
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from _linear_evaluation import standardize

from sklgan import DCGANFeatureExtractor, TorchLinearSVC
from sklgan.datasets import load_cifar10


def parse_setting(text):
    """Return ``"a=1,b=flip"`` as a dict; ``"default"`` as an empty one."""
    pairs = [] if text == "default" else [pair.split("=") for pair in text.split(",")]
    setting = {}
    for name, value in pairs:
        try:
            setting[name] = ast.literal_eval(value)
        except ValueError:
            setting[name] = value.split("+") if name == "augment" else value
    return setting


def parse_arguments():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True)
    add("--settings", nargs="+", default=["default"])
    add("--n-train", type=int, default=25_000, help="images that the GAN sees")
    add("--epochs", type=int, default=4)
    add("--n-labelled", type=int, default=8_000, help="held out from these: 4,000")
    add("--seed", type=int, default=0)
    return parser.parse_args()


def evaluate(gan, X, y, n_labelled):
    """Return the held-out accuracy of features of X, best of three strengths."""
    features = gan.transform(X)
    train, held = features[:n_labelled], features[n_labelled:]
    standardize(train, held)
    squared_length = float(np.vdot(train, train)) / len(train)
    accuracies = []
    for exponent in (2.5, 3.0, 3.5):
        svm = TorchLinearSVC(C=10**exponent / squared_length / n_labelled)
        svm.fit(train, y[:n_labelled])
        accuracies.append(np.mean(svm.predict(held) == y[n_labelled:]))
    return max(accuracies)


def main():
    """Print a line for each setting."""
    args = parse_arguments()
    X, y = load_cifar10(args.data, subset="train", return_X_y=True)
    order = np.random.RandomState(args.seed).permutation(len(X))
    seen, judged = order[: args.n_train], order[-args.n_labelled - 4_000 :]
    for text in args.settings:
        start = time.perf_counter()
        gan = DCGANFeatureExtractor(
            **{
                "network": "dcgan",
                "max_epochs": args.epochs,
                "random_state": args.seed,
                **parse_setting(text),
            }
        ).fit(X[seen])
        seconds = time.perf_counter() - start
        accuracy = evaluate(gan, X[judged], y[judged], args.n_labelled)
        losses = {}
        if gan.history_:
            losses = {name: gan.history_[-1][name] for name in ("d_loss", "g_loss")}
        figures = ", ".join(f"{name} {loss:.2f}" for name, loss in losses.items())
        print(f"{text:45} {accuracy:.2%}  {seconds:.0f} s  {figures}", flush=True)


if __name__ == "__main__":
    main()
