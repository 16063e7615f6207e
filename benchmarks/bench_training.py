"""Training speed against the loop of the PyTorch DCGAN tutorial, side by side.

Both loops train the same networks on batches of the same size and take turns in one
run, so that the ratio holds although the machine's speed drifts. The tutorial's loop is
given its images as one float32 tensor in memory, which is kinder to it than the
DataLoader of the original::

    python benchmarks/bench_training.py --size 32 --precision float32 auto
"""

import argparse
import statistics
import time

import numpy as np
import torch
from torch import nn

from sklgan import DCGANFeatureExtractor
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

    def __init__(self, X, network, batch_size, precision, device):
        self.estimator = DCGANFeatureExtractor(
            network=network,
            batch_size=batch_size,
            precision=precision,
            device=device,
            max_epochs=1,
            random_state=0,
        )
        X = self.estimator._prepare_fit(X)
        loss = "nonsaturating"

        def d_loss(*tensors):
            return discriminator_loss(*tensors, loss=loss)

        def g_loss(*tensors):
            return generator_loss(*tensors, loss=loss)

        self.net = self.estimator._build_net(torch.device(device), d_loss, g_loss)
        self.rows = torch.from_numpy(X).to(device)
        with torch_seed(0, device):
            self.net.initialize()

    def run(self):
        """Train for one epoch."""
        self.net.train(self.rows)


def timed(loop, device):
    """Return the seconds of one epoch."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    start = time.perf_counter()
    loop.run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main():
    """Alternate the loops and print milliseconds a step and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32, help="side of the images")
    parser.add_argument("--network", default="dcgan")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="steps a turn")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", nargs="+", default=["float32", "auto"])
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu"
    )
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = args.steps * args.batch_size, args.size, args.size, 3
    X = rng.integers(0, 256, shape, dtype=np.uint8)
    images = torch.from_numpy(X).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    images = images.contiguous().to(args.device)
    print(
        f"{args.network} {args.size}x{args.size}, batch {args.batch_size}, "
        f"{args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"median of {args.rounds} turns of {args.steps} steps each"
    )
    print(
        f"{'precision':10} {'tutorial ms':>12} {'sklgan ms':>10} {'speed-up':>9} range"
    )
    for precision in args.precision:
        loops = [
            TutorialLoop(images, args.network, args.batch_size, 100, args.device),
            OurLoop(X, args.network, args.batch_size, precision, args.device),
        ]
        for loop in loops:
            timed(loop, args.device)
        turns = [
            [timed(loop, args.device) for loop in loops] for _ in range(args.rounds)
        ]
        ratios = [theirs / ours for theirs, ours in turns]
        theirs, ours = (
            1000 * statistics.median(column) / args.steps
            for column in zip(*turns, strict=True)
        )
        print(
            f"{precision:10} {theirs:12.1f} {ours:10.1f} "
            f"{statistics.median(ratios):9.3f} {min(ratios):.3f} - {max(ratios):.3f}"
        )


if __name__ == "__main__":
    main()
