"""What an epoch costs under each objective of DCGANFeatureExtractor.

Epochs of all objectives take turns in one run, on images of noise, and their times are
given relative to an adversarial epoch of the same network::

    python benchmarks/bench_objectives.py --network dcgan sndcgan

On a CPU it is the time of the process, which other processes do not lengthen. What
``fit`` does once, after its last epoch, is not counted: few images would hide in it.
"""

import argparse
import time

import numpy as np
from skorch.callbacks import Callback

from sklgan import DCGANFeatureExtractor

RUNS = {
    "adversarial": {},
    "contrastive": {"objective": "contrastive"},
    "contrastive, no generator": {"objective": "contrastive", "adversarial_weight": 0},
    "rotation": {"objective": "rotation"},
    "rotation, no generator": {"objective": "rotation", "adversarial_weight": 0},
}


def parse_arguments():
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--network", nargs="+", default=["dcgan"])
    add("--n-filters", type=int, default=32)
    add("--size", type=int, default=32)
    add("--batch-size", type=int, default=128)
    add("--n-images", type=int, default=1280)
    add("--rounds", type=int, default=3)
    add("--device", default="cpu")
    return parser.parse_args()


class EpochClock(Callback):
    """Note how long each epoch takes; its losses have been waited for at its end."""

    def __init__(self, clock):
        self.clock, self.seconds = clock, []

    def on_epoch_begin(self, net, **kwargs):
        """Start."""
        self.start_ = self.clock()

    def on_epoch_end(self, net, **kwargs):
        """Stop."""
        self.seconds.append(self.clock() - self.start_)


def main():
    """Print a line for each network and objective."""
    args = parse_arguments()
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    shape = (args.n_images, args.size, args.size, 3)
    X = np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)
    print(f"{'network':10} {'objective':26} {'s an epoch':>10} {'ratio':>6}")
    for network in args.network:
        clocks = {name: EpochClock(clock) for name in RUNS}
        gans = {
            name: DCGANFeatureExtractor(
                network=network,
                n_filters=args.n_filters,
                batch_size=args.batch_size,
                max_epochs=1,
                warm_start=True,
                device=args.device,
                random_state=0,
                callbacks=[clocks[name]],
                **options,
            )
            for name, options in RUNS.items()
        }
        for _ in range(1 + args.rounds):
            for gan in gans.values():
                gan.fit(X)
        # The first round is a warm-up.
        medians = {name: np.median(one.seconds[1:]) for name, one in clocks.items()}
        for name, median in medians.items():
            ratio = median / medians["adversarial"]
            print(f"{network:10} {name:26} {median:10.2f} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
