"""Near-duplicates in CIFAR-10: planted copies, and its own between train and test.

Copies of training images are planted among them: 500 each in JPEG of quality 50 to 90,
brightness x 0.7 to 1.3, cropped by 0 to 2 pixels at each side and scaled back, and
mirrored. A pair of a copy with any image but its original counts as an error, also
where that is a near-duplicate of the original already. Beside NearDuplicateDetector
stand a perceptual hash of 64 bits (signs of low DCT frequencies about their median) and
the distance of raw pixels, each at several thresholds, so that the best can be chosen
for it. JPEG and brightness copies whose pair with another image counts as an error are
drawn, beside their original and that image::

    python benchmarks/bench_duplicates.py --data DIR --pictures ERRORS.png
    python benchmarks/bench_duplicates.py --data DIR --subset test --seed 1
    python benchmarks/bench_duplicates.py --data DIR --leakage --pictures PAIRS.png
    python benchmarks/bench_duplicates.py --data DIR --known duplicates_cifar10.csv

``--known`` takes the list of test images with a near-duplicate in the training set that
Barz and Denzler ("Do We Train on Test Data?", 2020, arXiv:1902.00423) found by a CNN's
features and judged by eye: the file meta/duplicates_cifar10.csv of their repository
cvjena/cifair. What is marked and not on the list counts as an error there, although
nobody has judged all pairs of images.

Settings were chosen on the test images, ``--subset test``. The seconds and the memory
are those of the detector's ``fit`` on all rows; the memory is the process's peak, that
of loading included.
"""

import argparse
import io
import resource
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.fft import dctn

from sklgan import NearDuplicateDetector
from sklgan.datasets import load_cifar10

GREY = np.array([0.299, 0.587, 0.114])
# What the published list calls its pairs, by their number there.
JUDGMENTS = ("the same", "near-duplicate", "very similar")
THRESHOLDS = {
    "detector": (0, 2, 4, 6, 7, 8, 10, 12, 14, 16),
    "DCT hash": (0, 2, 4, 6, 8, 10),
    "pixels": (2, 4, 6, 8, 10, 12, 15, 20, 30),
}


def jpeg(image, rng):
    """Return the image compressed."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(rng.integers(50, 91)))
    return np.asarray(Image.open(file))


def brightness(image, rng):
    """Return the image darker or brighter."""
    return np.clip(image * rng.uniform(0.7, 1.3), 0, 255).round().astype(np.uint8)


def crop(image, rng):
    """Return the image less up to two pixels at each side, at least one in all."""
    left, top, right, bottom = margins = rng.integers(0, 3, size=4)
    if not margins.any():
        left = 1
    size = image.shape[1::-1]
    box = (left, top, size[0] - right, size[1] - bottom)
    return np.asarray(Image.fromarray(image).crop(box).resize(size, Image.BICUBIC))


def flip(image, rng):
    """Return the mirror image."""
    return image[:, ::-1]


KINDS = {"JPEG": jpeg, "brightness": brightness, "crop": crop, "flip": flip}


def plant(X, n_copies, rng):
    """Return copies of images of X, their originals' numbers, and their kinds."""
    originals = rng.permutation(len(X))[: n_copies * len(KINDS)]
    kinds = np.repeat(list(KINDS), n_copies)
    copies = [KINDS[kind](X[i], rng) for i, kind in zip(originals, kinds, strict=True)]
    return np.stack(copies), originals, kinds


def dct_hash(X):
    """Return 64 bits an image, -1 and 1, float32."""
    grey = (X @ GREY).astype(np.float32)
    low = dctn(grey, axes=(1, 2))[:, :8, :8].reshape(len(X), 64)
    median = np.median(low[:, 1:], axis=1, keepdims=True)
    return np.where(low > median, 1, -1).astype(np.float32)


def hamming(left, right):
    """Return the distances of bits given as -1 and 1."""
    return (left.shape[1] - left @ right.T) / 2


def pixel_distance(left, right):
    """Return root mean squared differences of a pixel's values, 0 to 255."""
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1) - 2 * left @ right.T
    return np.sqrt(np.maximum(squares, 0) / left.shape[1])


def count(distance, vectors, copies, originals, kinds, thresholds):
    """Return {kind: (found, errors) of each threshold}, over pairs with a copy."""
    known = np.concatenate([vectors, copies])
    n_classes, thresholds = len(vectors), np.asarray(thresholds) + 1e-3
    found = {kind: np.zeros((2, len(thresholds)), dtype=int) for kind in KINDS}
    for start in range(0, len(copies), 100):
        rows = slice(start, start + 100)
        distances = distance(copies[rows], known)
        row = np.arange(len(distances))
        right = distances[row, originals[rows]].copy()
        distances[row, originals[rows]] = np.inf
        distances[row, row + start + n_classes] = np.inf  # the copy itself
        near = (distances[:, :, None] <= thresholds[-1:]).any(axis=(1, 2))
        for i in row:
            own = found[kinds[start + i]]
            own[0] += right[i] <= thresholds
            if near[i]:
                own[1] += (distances[i][:, None] <= thresholds).sum(axis=0)
    return found


def print_counts(name, found, thresholds, n_copies):
    """Print recall and precision of each kind, a row a threshold."""
    print(f"\n| {name} | " + " | ".join(KINDS) + " |\n|" + " --- |" * (1 + len(KINDS)))
    for place, threshold in enumerate(thresholds):
        cells = []
        for right, wrong in (found[kind][:, place] for kind in KINDS):
            precision = f"{right / (right + wrong):.1%}" if right + wrong else "-"
            cells.append(f"{right / n_copies:.1%} / {precision}")
        print(f"| {threshold} | " + " | ".join(cells) + " |", flush=True)


def megabytes():
    """Return the peak of this process's memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_planted(args):
    """Print the tables."""
    X = load_cifar10(args.data, subset=args.subset).data
    rng = np.random.default_rng(args.seed)
    copies, originals, kinds = plant(X, args.copies, rng)
    both = np.concatenate([X, copies])
    print(f"{len(both)} images; {megabytes():.0f} MB at the peak before fit")
    for mirror in (False, True):
        detector = NearDuplicateDetector(mirror=mirror, random_state=args.seed)
        begun, cpu = time.perf_counter(), time.process_time()
        detector.fit(both)
        print(
            f"fit, mirror={mirror}: {time.perf_counter() - begun:.0f} s, "
            f"{time.process_time() - cpu:.0f} s of CPU time, {megabytes():.0f} MB at "
            f"the process's peak; {detector.duplicate_mask_.sum()} rows marked"
        )
        same = detector.groups_[len(X) :] == detector.groups_[originals]
        for kind in KINDS:
            print(f"    {kind}: {same[kinds == kind].mean():.1%} in a group with it")
        if not mirror:
            bits = 2 * detector.transform(both).astype(np.float32) - 1
    del both
    if args.pictures is not None:
        draw_errors(X, copies, originals, bits, detector.max_hamming_, args.pictures)
    sets = {
        "detector": (hamming, bits[: len(X)], bits[len(X) :]),
        "DCT hash": (hamming, dct_hash(X), dct_hash(copies)),
    }
    flat = [part.reshape(len(part), -1).astype(np.float32) for part in (X, copies)]
    sets["pixels"] = (pixel_distance, *flat)
    print("\nRecall / precision of pairs with a copy:")
    for name, (distance, *vectors) in sets.items():
        found = count(distance, *vectors, originals, kinds, THRESHOLDS[name])
        print_counts(name, found, THRESHOLDS[name], args.copies)


def measure_leakage(args):
    """Print how many test images have a near-duplicate, and draw some pairs."""
    X_train, X_test = (
        load_cifar10(args.data, subset=s).data for s in ("train", "test")
    )
    detector = NearDuplicateDetector(random_state=args.seed).fit(X_train)
    print(f"{detector.duplicate_mask_.sum()} training rows marked")
    report = detector.leakage_report(X_train, X_test)
    print(report)
    for distance in range(detector.max_hamming_ + 1):
        print(f"distance {distance}: {(report.distances == distance).sum()} test rows")
    if args.pictures is None:
        return
    chosen = np.random.default_rng(args.seed).permutation(report.n_leaked)[:100]
    train, test = report.pairs[np.sort(chosen)].T
    draw([X_train[train], X_test[test]], args.pictures)


def measure_known(args):
    """Print recall and precision on the published list, by its kinds of duplicates."""
    X_train, X_test = (
        load_cifar10(args.data, subset=s).data for s in ("train", "test")
    )
    known = np.loadtxt(args.known, delimiter=",", skiprows=1)
    test, train, judgment = known[:, [0, 1, 3]].astype(int).T
    detector = NearDuplicateDetector(random_state=args.seed).fit(X_train)
    print(f"{len(test)} pairs, default threshold {detector.max_hamming_} bits")
    bits = [2 * detector.transform(X).astype(np.float32) - 1 for X in (X_train, X_test)]
    flat = [X.reshape(len(X), -1).astype(np.float32) for X in (X_train, X_test)]
    sets = {
        "detector": (hamming, *bits),
        "DCT hash": (hamming, dct_hash(X_train), dct_hash(X_test)),
        "pixels": (pixel_distance, *flat),
    }
    for name, (distance, *vectors) in sets.items():
        print(f"\n| {name} | " + " | ".join(JUDGMENTS) + " | marked | on the list |")
        print("|" + " --- |" * (3 + len(JUDGMENTS)))
        nearest = np.empty(len(X_test), dtype=np.float32)
        for start in range(0, len(X_test), 250):
            rows = slice(start, start + 250)
            nearest[rows] = distance(vectors[1][rows], vectors[0]).min(axis=1)
        of_pairs = [
            distance(vectors[1][[i]], vectors[0][[j]]).item()
            for i, j in zip(test, train, strict=True)
        ]
        for threshold in THRESHOLDS[name]:
            found = np.array(of_pairs) <= threshold + 1e-3
            cells = [
                f"{found[judgment == kind].sum()} of {(judgment == kind).sum()}"
                for kind in range(len(JUDGMENTS))
            ]
            marked = np.flatnonzero(nearest <= threshold + 1e-3)
            listed = np.isin(marked, test).mean() if len(marked) else np.nan
            cells += [str(len(marked)), f"{listed:.0%}"]
            print(f"| {threshold} | " + " | ".join(cells) + " |", flush=True)


def draw(columns, path):
    """Write images side by side, ten groups of them a line, as a PNG."""
    white = np.full((len(columns[0]), 32, 4, 3), 255, dtype=np.uint8)
    groups = np.concatenate([*columns, white], axis=2)
    groups = np.concatenate([groups, np.full_like(groups[:, :4], 255)], axis=1)
    missing = -len(groups) % 10
    blank = np.full((missing, *groups.shape[1:]), 255, dtype=np.uint8)
    groups = np.concatenate([groups, blank])
    lines = groups.reshape(-1, 10, *groups.shape[1:]).transpose(0, 2, 1, 3, 4)
    picture = Image.fromarray(lines.reshape(-1, 10 * groups.shape[2], 3))
    picture.resize((2 * picture.width, 2 * picture.height)).save(path)


def draw_errors(X, copies, originals, bits, max_hamming, path):
    """Draw what counts as errors on JPEG and brightness: copy, original, other."""
    n = len(copies) // 2
    near = hamming(bits[len(X) :][:n], bits[: len(X)]) <= max_hamming
    near[np.arange(n), originals[:n]] = False
    copy, other = near.nonzero()
    print(f"\n{len(copy)} pairs of a JPEG or brightness copy with another image")
    draw([copies[copy], X[originals[copy]], X[other]], path)


def main(argv=None):
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="the folder of CIFAR-10")
    add("--subset", choices=("train", "test"), default="train", help="(train)")
    add("--copies", type=int, default=500, help="planted, of each kind (500)")
    add("--seed", type=int, default=0, help="(0)")
    add("--leakage", action="store_true", help="between train and test, instead")
    add("--known", type=Path, help="the published list of duplicates, instead")
    add("--pictures", type=Path, help="where to draw errors, or pairs of --leakage")
    args = parser.parse_args(argv)
    if args.known is not None:
        measure_known(args)
    else:
        (measure_leakage if args.leakage else measure_planted)(args)


if __name__ == "__main__":
    main()
