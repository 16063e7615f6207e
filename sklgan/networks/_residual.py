"""BlobGAN's discriminator and encoder: residual blocks that halve the map."""

import torch
from torch import Tensor, nn

from sklgan.networks._blobs import image_size
from sklgan.networks._equalized import (
    EqualConv,
    EqualLinear,
    activated,
    halved,
    halvings,
)

# The longest side of the last map.
_LAST = 4

# Width of the encoder's wide layers, of that of the last map.
_HEAD_WIDTH = 12

# Images whose spread is measured together, and how fast its mean follows.
_GROUP, _MOMENTUM = 4, 0.01


class ResidualBlock(nn.Module):
    """Two convolutions and a half of the map, beside a convolution that skips them."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.first = EqualConv(n_in, n_in, 3)
        self.second = EqualConv(n_in, n_out, 3)
        self.skip = EqualConv(n_in, n_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, n_out, h / 2, w / 2) for ``x`` (n, n_in, h, w)."""
        inner = activated(self.second(halved(activated(self.first(x)))))
        return (inner + self.skip(halved(x))) * 0.5**0.5


class MinibatchDeviation(nn.Module):
    """Add a map of how different the images of a group are.

    In use, an image's score must not depend on what is beside it: there the map is the
    mean of training. Source: Karras et al. 2018, section 3 (arXiv:1710.10196).
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, c + 1, h, w) for ``x`` (n, c, h, w)."""
        n, _, height, width = x.shape
        if not self.training:
            spread = self.running_mean.to(x.dtype).expand(n)
        else:
            # Image i is in group i modulo their number.
            n_groups = max(1, n // _GROUP)
            size = n // n_groups
            groups = x[: n_groups * size].unflatten(0, (size, n_groups))
            deviation = (groups.var(0, unbiased=False) + 1e-8).sqrt()
            spread = deviation.mean((1, 2, 3)).repeat(size + 1)[:n]
            self.running_mean.lerp_(spread.mean().detach().float(), _MOMENTUM)
        spread = spread[:, None, None, None].expand(n, 1, height, width)
        return torch.cat([x, spread], dim=1)


class _Trunk(nn.Module):
    """From an image to a map of about 4x4 by residual blocks."""

    def __init__(self, in_shape: tuple[int, ...], n_filters: int):
        super().__init__()
        self.in_size = channels, *sides = image_size(in_shape)
        sizes = halvings(tuple(sides), _LAST)
        widths = [n_filters * min(4, 2**k) for k in range(len(sizes))]
        self.entry = EqualConv(channels, widths[0], 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(*pair) for pair in zip(widths, widths[1:], strict=False)
        )
        self.n_out, self.last_sides = widths[-1], sizes[-1]
        lengths = [n * h * w for n, (h, w) in zip(widths, sizes, strict=True)]
        self.lengths = lengths[1:] or lengths

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps after each block, that before the first for want of any."""
        x = activated(self.entry(x.reshape(-1, *self.in_size)))
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps or [x]


class BlobDiscriminator(nn.Module):
    """Judge images with residual blocks and the deviation within the minibatch.

    Parameters
    ----------
    in_shape : tuple of int
        ``(c, h, w)``, or ``(d,)`` for rows, which are images of one pixel's height.
    n_outputs : int, default=1
        Number of logits.
    n_filters : int, default=16
        Width at full size, doubled with the first two halvings.
    batch_norm : bool, default=False
        Ignored: there is none.

    References
    ----------
    Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020,
    section 4.1 (arXiv:1912.04958), which BlobGAN takes over.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        n_outputs: int = 1,
        n_filters: int = 16,
        batch_norm: bool = False,
    ):
        super().__init__()
        self.trunk = _Trunk(in_shape, n_filters)
        width = self.trunk.n_out
        self.deviation = MinibatchDeviation()
        self.conv = EqualConv(width + 1, width, 3)
        height, breadth = self.trunk.last_sides
        self.dense = EqualLinear(width * height * breadth, width)
        self.head = EqualLinear(width, n_outputs)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return each block's activation (n, c, h, w) and logits (n, n_outputs)."""
        features = self.trunk(x)
        last = activated(self.conv(self.deviation(features[-1])))
        return features, self.head(activated(self.dense(last.flatten(1))))


class BlobEncoder(nn.Module):
    """Find the blobs of images: the discriminator's blocks, and a layout for a logit.

    Its logits are the numbers that stand for blobs, as ``LayoutNetwork`` has them. They
    are read from the last two maps, of about 8x8 and 4x4, by two wide layers: the last
    map alone, which is enough for a judgement, says too little of places.

    Parameters
    ----------
    in_shape : tuple of int
        As for :class:`BlobDiscriminator`.
    n_outputs : int
        Length of the layout.
    n_filters : int, default=16
        As for :class:`BlobDiscriminator`.

    References
    ----------
    Epstein et al. 2022, section 3.4 (arXiv:2205.02837).
    """

    def __init__(self, in_shape: tuple[int, ...], n_outputs: int, n_filters: int = 16):
        super().__init__()
        self.trunk = _Trunk(in_shape, n_filters)
        width = _HEAD_WIDTH * self.trunk.n_out
        self.dense = nn.ModuleList(
            [
                EqualLinear(sum(self.trunk.lengths[-2:]), width),
                EqualLinear(width, width),
            ]
        )
        self.head = EqualLinear(width, n_outputs)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return each block's activation (n, c, h, w) and layouts (n, n_outputs)."""
        features = self.trunk(x)
        seen = torch.cat([one.flatten(1) for one in features[-2:]], dim=1)
        for layer in self.dense:
            seen = activated(layer(seen))
        return features, self.head(seen)
