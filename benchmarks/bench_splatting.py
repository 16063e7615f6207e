"""Splatting's part of a step of BlobGAN's training, in the process's time.

OMP_NUM_THREADS=1 python benchmarks/bench_splatting.py --n-filters 10
"""

import argparse
import time

import numpy as np
import torch

from sklgan import BlobGAN
from sklgan.networks import BlobDiscriminator, BlobGenerator
from sklgan.networks._splatting import Blobs, composed, opacities, splat

N_IMAGES, N_BLOBS, SHAPE = 64, 10, (3, 32, 32)


def cpu_seconds(function, repeats):
    """Return the process's seconds for a call, the median of some."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return float(np.median(times))


def main(argv=None):
    """Print what splatting blobs costs, and a step of as many images."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-filters", type=int, default=BlobGAN().n_filters)
    n_filters = parser.parse_args(argv).n_filters
    generator = BlobGenerator(100, SHAPE, n_filters, n_blobs=N_BLOBS)
    discriminator = BlobDiscriminator(SHAPE, 1, n_filters)
    noise = torch.randn(N_IMAGES, 100)
    blobs = [field.detach() for field in generator.layout(noise)]

    def splat_and_back():
        leaves = Blobs(*(field.requires_grad_() for field in blobs))
        scores = composed(opacities(leaves, (16, 16)))
        features = splat(scores, leaves.all_features())
        torch.autograd.grad(features.square().sum(), list(leaves[:6]))

    def step():
        fake, real = generator(noise), torch.randn(N_IMAGES, *SHAPE)
        logits = discriminator(real)[1].mean(), discriminator(fake.detach())[1].mean()
        (logits[1] - logits[0]).backward()
        discriminator.requires_grad_(False)
        discriminator(fake)[1].mean().backward()
        discriminator.requires_grad_(True)

    part, whole = cpu_seconds(splat_and_back, 20), cpu_seconds(step, 8)
    print(f"splatting of {N_IMAGES} x {N_BLOBS} blobs at 16x16 and back: ", end="")
    print(f"{part * 1000:.1f} ms")
    print(f"step of {N_IMAGES} images, without R1 and optimiser: {whole * 1000:.0f} ms")
    print(f"part: {part / whole:.2%}")


if __name__ == "__main__":
    main()
