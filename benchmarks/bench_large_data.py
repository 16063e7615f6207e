"""Memory and speed of data that stays on disk: a memory map, and a folder of JPEGs.

Writes both to a temporary folder (2.5 GB at full size), and measures

* ``fit`` (one epoch) and ``transform``, on the memory map and on the same images in
  memory, of a network that computes next to nothing or of a small convolutional one,
  each in a process of its own: images per second, and the most private memory
  (Private_Clean + Private_Dirty of Linux) beyond that of the process before it began
  and beyond the features, which are the output. Both take turns;
* images per second that a folder of JPEGs is decoded at, beside a bare loop over Pillow
  in as many threads and in as many processes as there are CPUs; by threads, and by
  processes (``n_jobs=-1``)::

    python benchmarks/bench_large_data.py
    python benchmarks/bench_large_data.py --network dcgan --n-images 25000
    python benchmarks/bench_large_data.py --n-images 40000 --n-files 3000 --rounds 1
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count
from PIL import Image

from sklgan import DCGANFeatureExtractor
from sklgan._placement import read_batches
from sklgan.datasets import ImageFolder

SIZE = 64
MEGABYTE = 2**20


def write_memory_map(path, n_images):
    """Write noisy images as a .npy file, part by part."""
    shape = (n_images, SIZE, SIZE, 3)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n_images, 1000):
            n = min(1000, n_images - start)
            file.write(rng.integers(0, 256, (n, *shape[1:]), dtype=np.uint8).data)


def write_folder(path, n_files, size):
    """Write smooth random images as JPEGs in two classes."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (path / name).mkdir(parents=True)
    for k in range(n_files):
        small = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        image = small.resize((size, size), Image.Resampling.BICUBIC)
        image.save(path / "ab"[k % 2] / f"{k:06}.jpg", quality=90)


# Memory --------------------------------------------------------------------------


def private_bytes():
    """Return the private memory of this process, None where it is not told."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    fields = (line.split() for line in lines)
    return sum(int(f[1]) * 1024 for f in fields if f[0].startswith("Private_"))


class Peak:
    """The most private memory while a context lasts, looked at 20 times a second."""

    def __enter__(self):
        self.value, self.done = private_bytes(), threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while self.value is not None and not self.done.wait(0.05):
            self.value = max(self.value, private_bytes())

    def __exit__(self, *error):
        self.done.set()
        self.thread.join()


NETWORKS = {
    # Next to no computation: reading is all the more of it.
    "mlp": {"network": "mlp", "n_filters": 8, "latent_dim": 8},
    "dcgan": {"network": "dcgan", "n_filters": 16},
}


def work(path, in_memory, epochs, batch_size, network):
    """Fit and transform, and return speeds and memory: what a child does."""
    gan = DCGANFeatureExtractor(
        **NETWORKS[network],
        batch_size=batch_size,
        max_epochs=epochs,
        random_state=0,
    )
    # What torch imports at the first step belongs to an idle process, too.
    gan.fit(np.zeros((4, SIZE, SIZE, 3), np.uint8))
    idle = private_bytes()
    X = np.load(path, mmap_mode=None if in_memory else "r")
    with Peak() as fit_peak:
        gan.fit(X)
    n_features = len(gan.get_feature_names_out())
    out = np.empty((len(X), n_features), np.float32)
    start = time.perf_counter()
    with Peak() as transform_peak:
        gan.transform(X, out=out)
    duration = time.perf_counter() - start
    epoch = statistics.median(row["duration"] for row in gan.history_)
    memory = [None, None]
    if idle is not None:
        memory = [fit_peak.value - idle, transform_peak.value - idle - out.nbytes]
    return {
        "fit": len(X) / epoch,
        "transform": len(X) / duration,
        "memory": memory,
        "output": out.nbytes,
        "digest": float(out[:: max(1, len(out) // 1000)].sum(dtype=np.float64)),
    }


def in_child(*arguments):
    """Return what ``work`` returns in a process of its own."""
    command = [sys.executable, __file__, "--child", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare_memory_map(folder, args):
    """Print the table of the memory map and the array."""
    path = folder / "images.npy"
    write_memory_map(path, args.n_images)
    runs = {"in memory": [], "memory map": []}
    for _ in range(args.rounds):
        for name, results in runs.items():
            in_memory = name == "in memory"
            run = in_child(
                str(path), in_memory, args.epochs, args.batch_size, args.network
            )
            print(f"{name}: {run['fit']:.0f}, {run['transform']:.0f} img/s", flush=True)
            results.append(run)
    n_bytes, output = path.stat().st_size, runs["memory map"][0]["output"]
    print(
        f"{args.n_images} images {SIZE} x {SIZE} x 3: {n_bytes / MEGABYTE:.0f} MB; "
        f"features, not counted below: {output / MEGABYTE:.0f} MB"
    )
    print(f"{'':12} {'fit img/s':>10} {'fit MB':>8} {'transform img/s':>16} {'MB':>6}")
    medians = {}
    for name, results in runs.items():
        fit, transform = (
            statistics.median(run[key] for run in results)
            for key in ("fit", "transform")
        )
        medians[name] = fit, transform
        memory = ["-", "-"]
        if results[0]["memory"][0] is not None:
            memory = [
                f"{max(run['memory'][k] for run in results) / MEGABYTE:.0f}"
                for k in (0, 1)
            ]
        print(f"{name:12} {fit:10.0f} {memory[0]:>8} {transform:16.0f} {memory[1]:>6}")
    ratios = [
        mapped / plain
        for mapped, plain in zip(
            medians["memory map"], medians["in memory"], strict=True
        )
    ]
    digests = {run["digest"] for results in runs.values() for run in results}
    print(f"{'ratio':12} {ratios[0]:10.3f} {'':8} {ratios[1]:16.3f}")
    print(f"the same features: {'yes' if len(digests) == 1 else 'NO'}\n")
    path.unlink()


# Decoding ------------------------------------------------------------------------


def decode_bare(paths):
    """Decode files with Pillow alone and throw them away."""
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB"))


def decode_in(executor, paths):
    """Decode files in the workers of an executor."""
    chunks = [paths[k : k + 32] for k in range(0, len(paths), 32)]
    for _ in executor.map(decode_bare, chunks):
        pass


def decode_ours(folder, shape, n_jobs):
    """Decode the folder in the batches of training and inference."""
    images = ImageFolder(folder, image_shape=shape, n_jobs=n_jobs)
    for _ in read_batches(images.reshape(len(images), -1), 128):
        pass


def seconds(function, *arguments):
    """Return how long a call takes."""
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def compare_decoding(folder, args):
    """Print the table of the folder and the bare loops."""
    folder = folder / "jpegs"
    write_folder(folder, args.n_files, args.file_size)
    shape = (args.file_size, args.file_size, 3)
    paths = ImageFolder(folder, image_shape=shape).paths
    n_cpus = cpu_count()
    ours = {"ImageFolder": None, "n_jobs=-1": -1}
    times = {name: [] for name in ("one thread", "threads", "processes", *ours)}
    with (
        ProcessPoolExecutor(n_cpus) as processes,
        ThreadPoolExecutor(n_cpus) as threads,
    ):
        decode_in(processes, paths[:64])
        decode_in(threads, paths)  # files in the page cache for all
        decode_ours(folder, shape, -1)  # begins its processes
        for _ in range(args.rounds):
            times["one thread"].append(seconds(decode_bare, paths))
            times["threads"].append(seconds(decode_in, threads, paths))
            times["processes"].append(seconds(decode_in, processes, paths))
            for name, n_jobs in ours.items():
                times[name].append(seconds(decode_ours, folder, shape, n_jobs))
            latest = (
                f"{name} {len(paths) / taken[-1]:.0f}" for name, taken in times.items()
            )
            print(", ".join(latest), flush=True)
    print(f"{len(paths)} JPEGs {args.file_size} x {args.file_size}, {n_cpus} CPUs")
    rates = {
        name: len(paths) / statistics.median(taken) for name, taken in times.items()
    }
    best = max(rate for name, rate in rates.items() if name not in ours)
    for name, rate in rates.items():
        print(f"{name:12} {rate:10.0f} img/s {rate / best:8.3f}")


def main():
    """Write the data, measure, print two tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-images", type=int, default=200_000)
    parser.add_argument("--network", choices=NETWORKS, default="mlp")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--n-files", type=int, default=20_000)
    parser.add_argument("--file-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", choices=["all", "map", "jpegs"], default="all")
    parser.add_argument("--folder", help="where to write; default: a temporary folder")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(work(*json.loads(args.child))))
        return
    print(f"{os.cpu_count()} CPUs, torch {torch.__version__}\n", flush=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if args.part != "jpegs":
            compare_memory_map(Path(folder), args)
        if args.part != "map":
            compare_decoding(Path(folder), args)


if __name__ == "__main__":
    main()
