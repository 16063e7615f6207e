"""Layers with equalised learning rates: weights from N(0, 1), scaled when used.

Source: Karras et al., "Progressive Growing of GANs", 2018, section 4.1
(arXiv:1710.10196), with the rate multiplier of StyleGAN (arXiv:1812.04948).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, leaky_relu, linear


def activated(x: Tensor) -> Tensor:
    """Return LeakyReLU(0.2) of x, times the root of 2, which keeps the variance."""
    return leaky_relu(x, 0.2) * 2**0.5


def pixel_norm(x: Tensor, dim: int = -1) -> Tensor:
    """Return x over the root of its mean square along ``dim``."""
    return x * (x.square().mean(dim, keepdim=True) + 1e-8).rsqrt()


def halved(x: Tensor) -> Tensor:
    """Return maps (n, c, h, w) of half the height and width, rounded up."""
    window = [2 if side > 1 else 1 for side in x.shape[2:]]
    return avg_pool2d(x, window, ceil_mode=True)


def halvings(sides: tuple[int, int], longest: int) -> list[tuple[int, int]]:
    """Return (h, w) before the first halving and after each, until they are small."""
    sizes = [tuple(sides)]
    while max(sizes[-1]) > longest:
        sizes.append(tuple((side + 1) // 2 for side in sizes[-1]))
    return sizes


class EqualLinear(nn.Module):
    """A linear layer whose weights learn at ``rate`` times the learning rate."""

    def __init__(self, n_in: int, n_out: int, *, rate: float = 1.0, bias: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) / rate)
        self.bias = nn.Parameter(torch.full((n_out,), bias / rate))
        self.rate, self.scale = rate, rate * n_in**-0.5

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., n_out) for ``x`` (..., n_in)."""
        return linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualConv(nn.Module):
    """A convolution of stride 1 that keeps the map's size."""

    def __init__(self, n_in: int, n_out: int, kernel_size: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None
        self.scale = (n_in * kernel_size**2) ** -0.5
        self.padding = kernel_size // 2

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, n_out, h, w) for ``x`` (n, n_in, h, w)."""
        return conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)
