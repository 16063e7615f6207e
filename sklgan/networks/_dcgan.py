"""The DCGAN of the PyTorch tutorial and the deeper one of the paper, at any size."""

from math import log2

from torch import Tensor, nn

from sklgan.networks._init import initialize_weights


def _n_stages(height: int, width: int) -> int:
    """Return how often an image is halved on the way to a map of about 4x4."""
    return max(1, int(log2(max(min(height, width), 8) / 4)))


def _map_sizes(
    height: int, width: int, *, round_up: bool = False
) -> list[tuple[int, int]]:
    """Return (height, width) before the first and after each halving."""
    sizes = [(height, width)]
    for _ in range(_n_stages(height, width)):
        up = int(round_up)
        sizes.append(tuple(max(1, (side + up) // 2) for side in sizes[-1]))
    return sizes


def _kernel(size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return the 4x4, stride 2 geometry; a side of 1 pixel cannot be halved."""
    pairs = [(4, 2, 1) if side > 1 else (3, 1, 1) for side in size]
    kernel_size, stride, padding = zip(*pairs, strict=True)
    return {"kernel_size": kernel_size, "stride": stride, "padding": padding}


def _doubling(size: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return the transposed geometry, up to a map of ``size``."""
    # An odd side was rounded down by the halving: give the row back.
    missing = tuple(side % 2 if side > 1 else 0 for side in size)
    return {**_kernel(size), "output_padding": missing}


def _activated(conv: nn.Module, norm: bool, activation: nn.Module) -> nn.Sequential:
    """Return convolution, batch normalisation where wanted, and activation."""
    layers = [conv, nn.BatchNorm2d(conv.out_channels)] if norm else [conv]
    return nn.Sequential(*layers, activation)


class _ConvDiscriminator(nn.Module):
    """Convolutions whose activations are the features, then a linear head."""

    def __init__(self, layers: list[nn.Module], head: nn.Module):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.head = head
        self.apply(initialize_weights)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return each layer's activation (n, c, h, w) and logits (n, n_outputs)."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features, self.head(x).flatten(1)


class _ConvGenerator(nn.Module):
    """A latent vector as a 1x1 map, widened to an image by convolutions."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.apply(initialize_weights)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (n, c, h, w) in [-1, 1] for ``z`` (n, latent_dim)."""
        return self.layers(z[:, :, None, None])


class DCGANGenerator(_ConvGenerator):
    """Generate images with the architecture of the PyTorch DCGAN tutorial.

    Transposed 4x4 convolutions of stride 2, batch normalisation and ReLU, from a
    map of about 4x4 to the image; no biases. For (3, 64, 64), 100 latent variables
    and 64 filters it has 3,576,704 parameters.

    Parameters
    ----------
    latent_dim : int
        Number of latent variables.
    out_shape : tuple of int
        ``(c, h, w)``, any height and width.
    n_filters : int, default=64
        Width of the last hidden layer; each layer before it is twice as wide.

    References
    ----------
    Radford, Metz and Chintala 2015, section 3 (arXiv:1511.06434).
    """

    def __init__(
        self, latent_dim: int, out_shape: tuple[int, int, int], n_filters: int = 64
    ):
        channels, height, width = out_shape
        sizes = _map_sizes(height, width)[::-1]
        widths = [n_filters * 2**k for k in range(len(sizes) - 1)][::-1]
        layers = [
            _activated(
                nn.ConvTranspose2d(latent_dim, widths[0], sizes[0], bias=False),
                True,
                nn.ReLU(inplace=True),
            )
        ]
        for k, size in enumerate(sizes[1:]):
            last = k == len(widths) - 1
            conv = nn.ConvTranspose2d(
                widths[k],
                channels if last else widths[k + 1],
                **_doubling(size),
                bias=False,
            )
            layers.append(
                conv if last else _activated(conv, True, nn.ReLU(inplace=True))
            )
        super().__init__(layers)


class DCGANDiscriminator(_ConvDiscriminator):
    """Judge images with the architecture of the PyTorch DCGAN tutorial.

    4x4 convolutions of stride 2 with LeakyReLU(0.2), batch normalised but for the
    first, down to a map of about 4x4, then one convolution over the whole map; no
    biases. For (3, 64, 64) and 64 filters it has 2,765,568 parameters.

    Parameters
    ----------
    in_shape : tuple of int
        ``(c, h, w)``, any height and width.
    n_outputs : int, default=1
        Number of logits.
    n_filters : int, default=64
        Width of the first layer; each layer after it is twice as wide.
    batch_norm : bool, default=True
        Normalise all layers but the first over the batch. Gradient penalties need
        False, because they ask for the gradient of each image on its own.

    References
    ----------
    Radford, Metz and Chintala 2015, section 3 (arXiv:1511.06434).
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        n_outputs: int = 1,
        n_filters: int = 64,
        batch_norm: bool = True,
    ):
        channels, height, width = in_shape
        sizes = _map_sizes(height, width)
        layers = []
        for k, size in enumerate(sizes[:-1]):
            conv = nn.Conv2d(channels, n_filters * 2**k, **_kernel(size), bias=False)
            layers.append(
                _activated(conv, batch_norm and k > 0, nn.LeakyReLU(0.2, inplace=True))
            )
            channels = conv.out_channels
        head = nn.Conv2d(channels, n_outputs, sizes[-1], bias=False)
        super().__init__(layers, head)


class DeepDCGANGenerator(_ConvGenerator):
    """Generate images with the mirror of the DCGAN paper's CIFAR-10 network.

    3x3 convolutions in pairs, the first of each pair of stride 2 (transposed),
    batch normalisation and ReLU.

    Parameters
    ----------
    latent_dim : int
        Number of latent variables.
    out_shape : tuple of int
        ``(c, h, w)``, any height and width.
    n_filters : int, default=64
        Half the width of the last hidden layers.

    References
    ----------
    Radford, Metz and Chintala 2015, section 5.1 (arXiv:1511.06434).
    """

    def __init__(
        self, latent_dim: int, out_shape: tuple[int, int, int], n_filters: int = 64
    ):
        channels, height, width = out_shape
        sizes = _map_sizes(height, width, round_up=True)[::-1]
        widths = [2 * n_filters * 2**k for k in range(len(sizes) - 1)][::-1]
        convs = [nn.ConvTranspose2d(latent_dim, widths[0], sizes[0], bias=False)]
        for k, size in enumerate(sizes[1:]):
            # (side + 1) // 2 was kept: 2 n - 1 comes out, and one row more if even.
            padding = tuple(1 - side % 2 for side in size)
            geometry = {"stride": 2, "padding": 1, "output_padding": padding}
            convs.append(
                nn.ConvTranspose2d(widths[k], widths[k], 3, bias=False, **geometry)
            )
            if k < len(widths) - 1:
                convs.append(
                    nn.Conv2d(widths[k], widths[k + 1], 3, padding=1, bias=False)
                )
        layers = [_activated(conv, True, nn.ReLU(inplace=True)) for conv in convs]
        super().__init__(
            [*layers, nn.Conv2d(widths[-1], channels, 3, padding=1, bias=False)]
        )


class DeepDCGANDiscriminator(_ConvDiscriminator):
    """Judge images with the DCGAN paper's CIFAR-10 network.

    3x3 convolutions with LeakyReLU(0.2), strides 1, 2, 1, 2, 1, 2 and widths
    ``n_filters`` x 2, 2, 4, 4, 8, 8 for 32x32 images, batch normalised but for the
    first; then a linear layer. Max-pooled to 4x4, its activations on (3, 32, 32)
    are the paper's 28,672 features. Other sizes have one pair of layers for each
    halving down to a map of about 4x4.

    Parameters
    ----------
    in_shape : tuple of int
        ``(c, h, w)``, any height and width.
    n_outputs : int, default=1
        Number of logits.
    n_filters : int, default=64
        Half the width of the first layers.
    batch_norm : bool, default=True
        As for :class:`DCGANDiscriminator`.

    References
    ----------
    Radford, Metz and Chintala 2015, section 5.1 (arXiv:1511.06434).
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        n_outputs: int = 1,
        n_filters: int = 64,
        batch_norm: bool = True,
    ):
        channels, height, width = in_shape
        sizes = _map_sizes(height, width, round_up=True)
        layers = []
        for k in range(2 * (len(sizes) - 1)):
            conv = nn.Conv2d(
                channels,
                2 * n_filters * 2 ** (k // 2),
                3,
                stride=1 + k % 2,
                padding=1,
                bias=False,
            )
            layers.append(
                _activated(conv, batch_norm and k > 0, nn.LeakyReLU(0.2, inplace=True))
            )
            channels = conv.out_channels
        head = nn.Conv2d(channels, n_outputs, sizes[-1], bias=False)
        super().__init__(layers, head)
