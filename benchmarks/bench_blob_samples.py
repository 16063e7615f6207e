"""What blobs cost in quality: samples of BlobGAN and of a plain GAN, beside each other.

Both train on CIFAR-10, with flips, for the same time, ``--minutes`` of the training of
the GAN alone, on a CPU those of the process. Then 10,000 samples of each are compared
with the 10,000 test images::

    python benchmarks/bench_blob_samples.py --data DIR --minutes 30

The Frechet distance is taken in the features of a third network, which has learned from
the training images which way they are turned, and never saw a sample; and in those of
an untrained one. Beside them stand as many training images, the least that can be
hoped for, and generators that have not been trained. A run that was broken off goes on.
"""

import argparse
import json
import sys
from pathlib import Path

import joblib
from representation import TimeLimit
from sklearn.base import clone

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from cifar10_evaluation import write_json, write_whole

from sklgan import BlobGAN, DCGANFeatureExtractor, SamplesDisplay
from sklgan.datasets import load_cifar10
from sklgan.metrics import frechet_distance

N_SAMPLES = 10_000


def parse_arguments(arguments):
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, help="folder of CIFAR-10")
    add("--output", type=Path, default=Path("blob_samples"))
    add("--minutes", type=float, default=30.0, help="time of a GAN's training (30)")
    add("--n-filters", type=int, nargs=2, default=[16, 64], help="of both")
    add("--n-blobs", type=int, default=10, help="(10)")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--device", default="auto")
    return parser.parse_args(arguments)


def make_gans(args, seed):
    """Return both GANs, not yet fitted, by name."""
    blobs, plain = args.n_filters
    common = {"max_epochs": 1000, "augment": "flip", "device": args.device}
    common["random_state"] = seed
    return {
        f"BlobGAN({args.n_blobs}) of {blobs} filters": BlobGAN(
            args.n_blobs, n_filters=blobs, encoder_epochs=0, **common
        ),
        f"DCGANFeatureExtractor of {plain} filters": DCGANFeatureExtractor(
            n_filters=plain, **common
        ),
    }


def trained(gan, run, X, args):
    """Return a GAN, trained until its time is over."""
    limit = TimeLimit(args.minutes)
    gan.set_params(checkpoint=args.output / run, callbacks=[limit])
    try:
        gan.fit(X)
    except KeyboardInterrupt:
        if not limit.is_over:
            raise
    return gan


def make_spaces(X, args):
    """Return what gives features, by name: networks that saw no sample."""
    path = args.output / "turns.joblib"
    if path.exists():
        turns = joblib.load(path)
    else:
        turns = DCGANFeatureExtractor(
            n_filters=32,
            objective="rotation",
            adversarial_weight=0.0,
            augment="flip",
            batch_size=128,
            learning_rate=1e-3,
            max_epochs=10,
            layers="last",
            pool_size=1,
            device=args.device,
            random_state=0,
        ).fit(X)
        write_whole(path, lambda part: joblib.dump(turns, part))
    untrained = DCGANFeatureExtractor(
        n_filters=32, max_epochs=0, pool_size=1, device=args.device, random_state=0
    )
    return {"turns": turns, "untrained": untrained.fit(X)}


def main(arguments=None):
    """Compute what is missing, keep it, and print all."""
    args = parse_arguments(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    X, X_test = (
        load_cifar10(args.data, subset=part).data for part in ("train", "test")
    )
    path = args.output / "figures.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    spaces = make_spaces(X, args)
    real = {name: space.transform(X_test) for name, space in spaces.items()}

    def measure(key, make_images):
        if key not in figures:
            images = make_images()
            figures[key] = {
                name: frechet_distance(
                    real[name], space.transform(images), n_subsets=1
                )[0]
                for name, space in spaces.items()
            }
            write_json(path, figures)

    measure("training images", lambda: X[:N_SAMPLES])
    for seed in args.seeds:
        for name, gan in make_gans(args, seed).items():
            run = f"{name}, {args.minutes:g} min, seed {seed}"

            def untrained(gan=gan):
                start = clone(gan).set_params(max_epochs=0)
                return start.fit(X[:1000]).sample(N_SAMPLES)

            def samples(gan=gan, run=run):
                trained(gan, run, X, args)
                display = SamplesDisplay.from_estimator(gan)
                picture = args.output / f"{run}.png"
                display.figure_.savefig(picture, bbox_inches="tight")
                return gan.sample(N_SAMPLES)

            if seed == args.seeds[0]:
                measure(f"{name}, untrained", untrained)
            measure(run, samples)
    print(" " * 60 + "".join(f"{name:>12}" for name in spaces))
    for key, row in figures.items():
        print(f"{key:60}" + "".join(f"{row[name]:12.4f}" for name in spaces))


if __name__ == "__main__":
    main()
