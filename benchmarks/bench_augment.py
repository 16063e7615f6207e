"""Time of the augmentations beside a discriminator's pass, and within a training.

Each takes a batch of float32 images in channels-last memory, as training hands them
over: forward, as for real images, and with the gradient for the images, as for fakes in
the generator's step. On a CPU it is the process's CPU time, which other jobs on the
machine change least; on CUDA the time on the clock, synchronised. With ``--steps`` an
epoch of so many steps is trained besides, with ``augment="simclr"`` and without::

    OMP_NUM_THREADS=1 python benchmarks/bench_augment.py --steps 8
    python benchmarks/bench_augment.py --device cuda --batch-size 512 --steps 100
"""

import argparse
import statistics
import time
from functools import partial

import numpy as np
import torch
from torch.nn.functional import softplus

from sklgan import DCGANFeatureExtractor
from sklgan.augment import AUGMENTATIONS
from sklgan.networks import DCGANDiscriminator


def milliseconds(functions, device, rounds, warm_up=1):
    """Return the median time of a call of each, all of them taking turns."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    taken = {name: [] for name in functions}
    for _ in range(rounds + warm_up):
        for name, function in functions.items():
            start = clock()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken[name].append(clock() - start)
    return {
        name: 1000 * statistics.median(times[warm_up:]) for name, times in taken.items()
    }


def forward(augment, images):
    """Augment without gradients."""
    with torch.no_grad():
        augment(images)


def forward_and_backward(augment, images, gradient):
    """Augment, and take a gradient back to the images."""
    leaf = images.detach().requires_grad_()
    torch.autograd.grad(augment(leaf), leaf, gradient)


def step(discriminator, images):
    """Compute the gradients of the discriminator's weights on one batch."""
    discriminator.zero_grad()
    softplus(-discriminator(images)[1]).mean().backward()


def fit(augment, X, device, batch_size, n_filters):
    """Train for one epoch, in float32."""
    DCGANFeatureExtractor(
        network="dcgan",
        n_filters=n_filters,
        batch_size=batch_size,
        max_epochs=1,
        augment=augment,
        precision="float32",
        device=device,
        random_state=0,
    ).fit(X)


def compare_epochs(args, device):
    """Print the time of an epoch without augmentation and with views."""
    shape = (args.batch_size * args.steps, args.size, args.size, 3)
    X = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    functions = {
        name: partial(fit, name, X, device, args.batch_size, args.n_filters)
        for name in (None, "simclr")
    }
    times = milliseconds(functions, device, rounds=3)
    plain, views = (times[name] / args.steps for name in (None, "simclr"))
    print(f"a step of fit: {plain:.0f} ms; with simclr {views:.0f} ms, ", end="")
    print(f"{views / plain - 1:.1%} more")


def main():
    """Print a line for each augmentation: time, and part of the discriminator's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--n-filters", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument(
        "--steps", type=int, default=0, help="of an epoch to train; 0 trains none"
    )
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    shape = (args.batch_size, args.size, args.size, 3)
    images = (torch.rand(shape, device=device) * 2 - 1).permute(0, 3, 1, 2)
    gradient = torch.randn(shape, device=device).permute(0, 3, 1, 2)
    discriminator = DCGANDiscriminator((3, args.size, args.size), 1, args.n_filters)
    discriminator = discriminator.to(device, memory_format=torch.channels_last)
    functions = {"step": lambda: step(discriminator, images)}
    for name, augment in AUGMENTATIONS.items():
        functions[name] = partial(forward, augment, images)
        functions[name, "back"] = partial(
            forward_and_backward, augment, images, gradient
        )
    times = milliseconds(functions, device, args.rounds, warm_up=3)
    print(
        f"{args.batch_size} images {args.size}x{args.size}x3, float32, {device}, "
        f"{torch.get_num_threads()} thread(s), torch {torch.__version__}; "
        f"median of {args.rounds} calls"
    )
    print(
        f"dcgan discriminator, n_filters={args.n_filters}, forward and backward: "
        f"{times['step']:.1f} ms"
    )
    print(f"{'augmentation':13} {'forward ms':>10} {'part':>6} {'+ backward':>10} part")
    for name in AUGMENTATIONS:
        there, back = times[name], times[name, "back"]
        print(
            f"{name:13} {there:10.2f} {there / times['step']:6.1%} "
            f"{back:10.2f} {back / times['step']:.1%}"
        )
    if args.steps:
        compare_epochs(args, device)


if __name__ == "__main__":
    main()
