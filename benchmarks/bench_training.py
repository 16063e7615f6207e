"""Training speed against the loop of the PyTorch DCGAN tutorial, side by side.

All loops train the same networks on batches of the same size and take turns in one
run, so that the ratio holds although the machine's speed drifts. The tutorial's loop is
given its images as one float32 tensor in memory, which is kinder to it than the
DataLoader of the original::

    python benchmarks/bench_training.py --size 32 --precision float32 auto

On a GPU, one command measures all variants, steps as CUDA graphs among them, and the
part of the card's bfloat16 matrix rate, as measured in the same run, that they reach::

    python benchmarks/bench_training.py --device cuda --size 64 32 --steps 100 --graphs

The engine's own cost, all but the networks and their optimiser, as a part of a step::

    python benchmarks/bench_training.py --engine-cost
"""

import argparse
import statistics
import time
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sklgan import DCGANFeatureExtractor
from sklgan._engine import build_net
from sklgan._tensors import torch_seed
from sklgan.losses import discriminator_loss, generator_loss
from sklgan.networks import NETWORKS


class TutorialLoop:
    """The training loop of the tutorial: float32, BCE on a sigmoid, logged figures."""

    def __init__(self, images, network, batch_size, latent_dim, device):
        make_generator, make_discriminator = NETWORKS[network]
        shape = images.shape[1:]
        self.images, self.batch_size, self.device = images, batch_size, device
        self.latent_dim = latent_dim
        self.generator = make_generator(latent_dim, shape).to(device)
        self.discriminator = make_discriminator(shape).to(device)
        self.criterion = nn.BCELoss()
        make_adam = torch.optim.Adam
        self.optimizer_d = make_adam(
            self.discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999)
        )
        self.optimizer_g = make_adam(
            self.generator.parameters(), lr=2e-4, betas=(0.5, 0.999)
        )

    def judge(self, images):
        """Return the probability of being real, (n,)."""
        return torch.sigmoid(self.discriminator(images)[1]).view(-1)

    def run(self):
        """Train for one epoch."""
        order = torch.randperm(len(self.images), device=self.images.device)
        for start in range(0, len(order), self.batch_size):
            real = self.images[order[start : start + self.batch_size]].to(self.device)
            self.step(real)

    def step(self, real):
        """Update the discriminator on real and fake images, then the generator."""
        n = len(real)
        ones = torch.ones(n, device=self.device)
        zeros = torch.zeros(n, device=self.device)
        self.discriminator.zero_grad()
        output = self.judge(real)
        loss_real = self.criterion(output, ones)
        loss_real.backward()
        figures = [output.mean().item()]
        fake = self.generator(torch.randn(n, self.latent_dim, device=self.device))
        output = self.judge(fake.detach())
        loss_fake = self.criterion(output, zeros)
        loss_fake.backward()
        figures.append(output.mean().item())
        loss_d = loss_real + loss_fake
        self.optimizer_d.step()
        self.generator.zero_grad()
        output = self.judge(fake)
        loss_g = self.criterion(output, ones)
        loss_g.backward()
        figures.append(output.mean().item())
        self.optimizer_g.step()
        return [*figures, loss_d.item(), loss_g.item()]


class OurLoop:
    """The engine as ``fit`` uses it, an epoch a call."""

    def __init__(self, X, network, batch_size, precision, device, graphs=False):
        self.estimator = DCGANFeatureExtractor(
            network=network,
            batch_size=batch_size,
            precision=precision,
            device=device,
            random_state=0,
        )
        X = self.estimator._prepare_fit(X)
        loss = "nonsaturating"
        self.net = build_net(
            self.estimator,
            X,
            torch.device(device),
            max_epochs=1,
            discriminator_loss=partial(discriminator_loss, loss=loss),
            generator_loss=partial(generator_loss, loss=loss),
            graphs=graphs,
        )
        self.rows = torch.from_numpy(X).to(device)
        with torch_seed(0, device):
            self.net.initialize()

    def run(self):
        """Train for one epoch."""
        self.net.train(self.rows)

    def count_operations(self):
        """Return the floating point operations of a step's products, two a product."""
        batch = self.rows[: self.net.batch_size]
        with FlopCounterMode(display=False) as counter:
            self.net.update_networks(batch, None, True, True)
        return counter.get_total_flops()


def timed(loop, device):
    """Return the seconds of one epoch."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    loop.run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def matrix_rate(device, side=8192, n=20):
    """Return the operations a second of large products in bfloat16 on a GPU."""
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    seconds = []
    for _ in range(5):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(n):
            a @ b
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - start) / n)
    return 2 * side**3 / min(seconds)


def compare(args, size, rate):
    """Alternate the loops and print how fast they are, a line each."""
    rng = np.random.default_rng(0)
    shape = args.steps * args.batch_size, size, size, 3
    X = rng.integers(0, 256, shape, dtype=np.uint8)
    images = torch.from_numpy(X).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    images = images.contiguous().to(args.device)
    common = args.network, args.batch_size
    theirs = TutorialLoop(images, *common, 100, args.device)
    loops = {
        (precision, graphs): OurLoop(X, *common, precision, args.device, graphs)
        for precision in args.precision
        for graphs in ([False, True] if args.graphs else [False])
    }
    print(
        f"{args.network} {size}x{size}, batch {args.batch_size}, {args.device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; median of "
        f"{args.rounds} turns of {args.steps} steps each"
    )
    print(
        f"{'precision':16} {'tutorial ms':>12} {'sklgan ms':>10} {'images/s':>9} "
        f"{'speed-up':>9} range{'  of bfloat16 rate' if rate else ''}"
    )
    for (precision, graphs), ours in loops.items():
        for loop in (theirs, ours):
            for _ in range(args.warm_up):
                timed(loop, args.device)
        turns = [
            [timed(loop, args.device) / args.steps for loop in (theirs, ours)]
            for _ in range(args.rounds)
        ]
        ratios = [first / second for first, second in turns]
        tutorial, sklgan = map(statistics.median, zip(*turns, strict=True))
        part = ours.count_operations() / sklgan / rate if rate else None
        print(
            f"{precision + (' graphs' if graphs else ''):16} {1000 * tutorial:12.2f} "
            f"{1000 * sklgan:10.2f} {args.batch_size / sklgan:9.0f} "
            f"{statistics.median(ratios):9.3f} {min(ratios):.3f} - {max(ratios):.3f}"
            + (f"  {part:.1%}" if rate else "")
        )


def engine_cost(args, size):
    """Print what the engine costs beside its networks, as a part of the step.

    Its epochs are run as they are, but with steps in which the networks and the
    optimiser do nothing: what is left are batches, scaling, random numbers, averages,
    history, callbacks, and what comes at the end of an epoch. On a CPU it is the
    process's time that counts, which other processes disturb less.
    """
    clock = time.perf_counter if args.device.startswith("cuda") else time.process_time
    rng = np.random.default_rng(0)
    shape = 50_000 // args.batch_size * args.batch_size, size, size, 3
    X = rng.integers(0, 256, shape, dtype=np.uint8)
    loop = OurLoop(X, args.network, args.batch_size, "float32", args.device)
    net, n_steps = loop.net, len(X) // args.batch_size
    batch = loop.rows[: args.batch_size], None
    steps = []
    for _ in range(args.rounds):
        start = clock()
        losses = net.train_step(batch)
        float(losses["g_loss"])
        steps.append(clock() - start)

    def without_networks(rows, y, updates_generator):
        net.augment(net.to_batch(rows))
        net.draw_latent(len(rows))
        return losses

    net.update_networks = without_networks
    epochs = []
    for _ in range(3):
        start = clock()
        loop.run()
        epochs.append((clock() - start) / n_steps)
    step, own = statistics.median(steps), statistics.median(epochs)
    print(
        f"{args.network} {size}x{size}, batch {args.batch_size}, {args.device}, "
        f"{torch.get_num_threads()} threads, float32: a step {1000 * step:.1f} ms "
        f"(median of {args.rounds}), without networks {1000 * own:.2f} ms (epochs of "
        f"{n_steps} steps): the engine's own cost is {own / step:.2%} of a step"
    )


def main():
    """Measure what was asked for, size by size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--size", type=int, nargs="+", default=[32], help="side of the images"
    )
    parser.add_argument("--network", default="dcgan")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="steps a turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warm-up", type=int, default=1, help="turns before")
    parser.add_argument("--precision", nargs="+", default=["float32", "auto"])
    parser.add_argument("--graphs", action="store_true", help="CUDA graphs as well")
    parser.add_argument("--engine-cost", action="store_true")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu"
    )
    args = parser.parse_args()
    on_cuda = args.device.startswith("cuda")
    rate = matrix_rate(args.device) if on_cuda and not args.engine_cost else None
    if rate:
        name = torch.cuda.get_device_name(args.device)
        print(f"{name}: {rate / 1e12:.0f} TFLOP/s in bfloat16 products of 8192 x 8192")
    for size in args.size:
        if args.engine_cost:
            engine_cost(args, size)
        else:
            compare(args, size, rate)


if __name__ == "__main__":
    main()
