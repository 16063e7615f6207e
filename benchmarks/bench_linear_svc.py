"""TorchLinearSVC against LinearSVC on real features: objective, time, memory.

Each solver runs in a process of its own, so that its peak memory can be told from what
the features take. The features are those of an untrained network, as they are, not
scaled, which is the harder case; C is 1 unless said otherwise::

    python benchmarks/bench_linear_svc.py --data DIR --network dcgan-deep --n-train 2000
"""

import argparse
import json
import multiprocessing
import resource
import time
import warnings

import numpy as np
from sklearn.svm import LinearSVC

from sklgan import DCGANFeatureExtractor, TorchLinearSVC
from sklgan.datasets import load_cifar10


def features(args):
    """Return features and labels of training and test images."""
    X, y = load_cifar10(args.data, subset="train", return_X_y=True)
    X_test, y_test = load_cifar10(args.data, subset="test", return_X_y=True)
    gan = DCGANFeatureExtractor(network=args.network, max_epochs=0, random_state=0)
    gan.fit(X[: max(args.n_train, 2000)])
    n, n_test = args.n_train, args.n_test
    return gan.transform(X[:n]), y[:n], gan.transform(X_test[:n_test]), y_test[:n_test]


def objective(svm, F, y, C):
    """Return the objective of all classes; float32 products, float64 sums."""
    total = 0.0
    for k, (coef, intercept) in enumerate(zip(svm.coef_, svm.intercept_, strict=True)):
        signs = np.where(y == svm.classes_[k], 1, -1)
        product = (F @ coef.astype(np.float32)).astype(float)
        slack = np.maximum(0, 1 - signs * (product + intercept))
        coef = coef.astype(float)
        total += 0.5 * (coef @ coef + float(intercept) ** 2) + C * np.sum(slack**2)
    return total


def make(solver, C):
    """Return the solver of this name."""
    if solver == "TorchLinearSVC":
        return TorchLinearSVC(C=C)
    if solver == "LinearSVC":
        return LinearSVC(C=C, random_state=0)
    return LinearSVC(C=C, dual=True, tol=1e-6, max_iter=20_000, random_state=0)


def measure(solver, args, pipe):
    """Fit one solver and send its figures."""
    warnings.simplefilter("ignore")
    F, y, F_test, y_test = features(args)
    make(solver, args.C).fit(F[:100, :50], y[:100])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    svm = make(solver, args.C).fit(F, y)
    seconds = time.perf_counter() - start
    extra = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    pipe.send(
        {
            "solver": solver,
            "shape": F.shape,
            "seconds": seconds,
            "objective": objective(svm, F, y, args.C),
            "extra": extra / F.nbytes,
            "accuracy": svm.score(F_test, y_test),
            "n_iter": int(np.max(svm.n_iter_)),
        }
    )


def main():
    """Run the solvers one after the other and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of CIFAR-10")
    parser.add_argument("--network", default="dcgan-deep")
    parser.add_argument("--n-train", type=int, default=2000)
    parser.add_argument("--n-test", type=int, default=2000)
    parser.add_argument("--C", type=float, default=1.0)
    parser.add_argument(
        "--solver", nargs="+", default=["TorchLinearSVC", "LinearSVC", "converged"]
    )
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    results = []
    for solver in args.solver:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=measure, args=(solver, args, sender))
        process.start()
        sender.close()
        results.append(receiver.recv())
        process.join()
        print(json.dumps(results[-1]), flush=True)
    best = min(result["objective"] for result in results)
    print(f"\n{args.network}, rows x columns {results[0]['shape']}, C={args.C}")
    print("solver            seconds   objective  above best  extra/X  accuracy  steps")
    for result in results:
        print(
            "{solver:16} {seconds:8.1f} {objective:11.6g} {gap:11.2e} {extra:8.2f} "
            "{accuracy:9.2%} {n_iter:6d}".format(
                gap=result["objective"] / best - 1, **result
            )
        )


if __name__ == "__main__":
    main()
