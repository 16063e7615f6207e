"""Time, memory and objective of TorchLinearSVC on features of CIFAR-10.

The features are those of an untrained network. Every row of the table is measured in a
process of its own, whose peak memory is that of the fit alone::

    python benchmarks/bench_linear_svc.py --data DIR --features deep --n-train 2000 \
        --rival default converged
    python benchmarks/bench_linear_svc.py --data DIR --features dcgan --n-train 5000 \
        --rival converged
    python benchmarks/bench_linear_svc.py --data DIR --features deep --n-train 50000

``--rival default`` is LinearSVC as it comes, ``converged`` its dual solver with
``tol=1e-8``. Both may take hours where rows are many and can be separated.
"""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from sklgan import DCGANFeatureExtractor, TorchLinearSVC
from sklgan.datasets import load_cifar10

NETWORKS = {"deep": "dcgan-deep", "dcgan": "dcgan"}


def save_features(folder, data, network, n_train, n_test, device):
    """Write features of the first images, one .npy a subset, without holding them."""
    train = load_cifar10(data, subset="train")
    test = load_cifar10(data, subset="test")
    gan = DCGANFeatureExtractor(
        network=NETWORKS[network], max_epochs=0, device=device, random_state=0
    ).fit(train.data[:n_train])
    for name, subset, n in (("train", train, n_train), ("test", test, n_test)):
        images, y = subset.data[:n], subset.target[:n]
        features = None
        for start in range(0, len(images), 1000):
            part = gan.transform(images[start : start + 1000])
            if features is None:
                shape = (len(images), part.shape[1])
                features = np.lib.format.open_memmap(
                    folder / f"X_{name}.npy", "w+", np.float32, shape
                )
            features[start : start + len(part)] = part
        features.flush()
        np.save(folder / f"y_{name}.npy", y)


def make_solver(name, C, device):
    """Return one of the classifiers of the table."""
    if name == "ours":
        return TorchLinearSVC(C=C, device=device, verbose=1)
    if name == "default":
        return LinearSVC(C=C, random_state=0)
    return LinearSVC(C=C, dual=True, tol=1e-8, max_iter=100_000, random_state=0)


def objective(svm, X, y, C):
    """Return the objective of all classes, added up in float64, X read in blocks."""
    coef = svm.coef_.astype(np.float64)
    signs = np.where(y[:, None] == svm.classes_, 1, -1)
    loss = sum(
        np.square(
            np.maximum(
                0,
                1
                - signs[start : start + 500]
                * (X[start : start + 500].astype(np.float64) @ coef.T + svm.intercept_),
            )
        ).sum()
        for start in range(0, len(X), 500)
    )
    penalty = np.square(coef).sum() + np.square(svm.intercept_.astype(float)).sum()
    return penalty / 2 + C * loss


def peak_bytes():
    """Return the most memory that this process ever held."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage would count what the parent held before it started this process.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines["VmHWM"].split()[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(folder, name, C, device):
    """Fit one classifier in this process and return its row of the table."""
    # Memory of libraries and threads is taken before the baseline.
    tiny = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
    make_solver(name, 1.0, device).fit(tiny, np.arange(60) % 3)
    X = np.fromfile(folder / "X_train.raw", np.float32)
    y = np.load(folder / "y_train.npy")
    X = X.reshape(len(y), -1)
    svm, before = make_solver(name, C, device), peak_bytes()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        start = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            svm.fit(X, y)
        seconds = time.perf_counter() - start
    extra = peak_bytes() - before
    hits = 0
    X_test = np.load(folder / "X_test.npy", mmap_mode="r")
    y_test = np.load(folder / "y_test.npy")
    for begin in range(0, len(y_test), 500):
        rows = slice(begin, begin + 500)
        hits += np.sum(svm.predict(np.ascontiguousarray(X_test[rows])) == y_test[rows])
    return {
        "solver": name,
        "shape": X.shape,
        "seconds": seconds,
        "n_iter": int(svm.n_iter_),
        "converged": not any(w.category is ConvergenceWarning for w in caught),
        "objective": objective(svm, X, y, C),
        "extra": extra / X.nbytes,
        "peak": peak_bytes() / 2**30,
        "accuracy": 100 * hits / len(y_test),
    }


def in_child(folder, name, args):
    """Measure one classifier in a fresh process."""
    command = [sys.executable, __file__, "--folder", str(folder), "--child", name]
    command += ["--C", str(args.C), "--device", args.device]
    command += ["--threads", str(args.threads)]
    limit = None if name == "ours" else args.limit
    try:
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired:
        print(f"{name}: stopped after {limit:.0f} s, not finished", flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def show(row, best):
    """Print a row of the table."""
    n, d = row["shape"]
    print(
        f"{n:6} x {d:6} {row['solver']:>10} {row['seconds']:9.1f} {row['n_iter']:7} "
        f"{'yes' if row['converged'] else 'NO':>5} {row['objective']:14.7g} "
        f"{row['objective'] / best - 1:+10.1e} {row['extra']:9.2f} {row['peak']:7.1f} "
        f"{row['accuracy']:7.2f}",
        flush=True,
    )


def run(args, folder):
    """Compute the features where they are not there, then all rows."""
    if not (folder / "X_test.npy").exists():
        start = time.perf_counter()
        save_features(
            folder, args.data, args.features, args.n_train, args.n_test, args.device
        )
        print(f"features: {time.perf_counter() - start:.0f} s", flush=True)
    if not (folder / "X_train.raw").exists():
        # Read without a memory map, whose pages would count as memory of the fit.
        np.load(folder / "X_train.npy", mmap_mode="r").tofile(folder / "X_train.raw")
    names = [name for _ in range(args.rounds) for name in ("ours", *args.rival)]
    rows = [row for name in names if (row := in_child(folder, name, args))]
    best = min(row["objective"] for row in rows)
    print(f"C={args.C:g}, {args.threads} threads, device {args.device}")
    print(
        f"{'X':>15} {'solver':>10} {'seconds':>9} {'steps':>7} {'conv.':>5} "
        f"{'objective':>14} {'over best':>10} {'extra/X':>9} {'GiB':>7} {'acc. %':>7}"
    )
    for row in rows:
        show(row, best)


def main():
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="what sklgan.datasets.load_cifar10 takes")
    parser.add_argument("--features", choices=list(NETWORKS), default="deep")
    parser.add_argument("--n-train", type=int, default=2000)
    parser.add_argument("--n-test", type=int, default=2000)
    parser.add_argument("--C", type=float, default=1.0)
    parser.add_argument(
        "--rival", nargs="*", choices=["default", "converged"], default=[]
    )
    parser.add_argument("--limit", type=float, help="seconds that a rival may take")
    parser.add_argument("--rounds", type=int, default=1, help="alternate so often")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--folder", type=Path, help="keep the features here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.child:
        print(json.dumps(measure(args.folder, args.child, args.C, args.device)))
    elif args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
        run(args, args.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(args, Path(folder))


if __name__ == "__main__":
    main()
