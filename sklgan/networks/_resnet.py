"""ResNet-18 as a discriminator of small images, and a residual generator."""

from torch import Tensor, nn
from torch.nn.functional import interpolate

from sklgan.networks._dcgan import _map_sizes
from sklgan.networks._init import initialize_weights

# The sides of an image are halved three times.
_SMALLEST_SIDE = 8

# Channels that group normalisation takes together, where there are as many.
_GROUP = 16


def _n_groups(n_channels: int) -> int:
    """Return how many equal groups of at least 16 channels there are, 1 for fewer."""
    n_groups = max(1, n_channels // _GROUP)
    while n_channels % n_groups:
        n_groups -= 1
    return n_groups


def _normalized(conv: nn.Conv2d, group_norm: bool) -> nn.Sequential:
    """Return a convolution and, where wanted, group normalisation."""
    n = conv.out_channels
    return nn.Sequential(conv, *([nn.GroupNorm(_n_groups(n), n)] if group_norm else []))


def check_image_size(height: int, width: int) -> None:
    """Raise ValueError if images are too small to be halved three times."""
    if min(height, width) < _SMALLEST_SIDE:
        raise ValueError(
            f"network='resnet18' needs images of at least {_SMALLEST_SIDE}x"
            f"{_SMALLEST_SIDE} pixels, but they are {height}x{width} (height x "
            "width); use network='dcgan', which takes any size, or enlarge them."
        )


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions beside what skips them, then LeakyReLU(0.2)."""

    def __init__(self, n_in: int, n_out: int, stride: int, group_norm: bool):
        super().__init__()
        bias = not group_norm
        first = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=bias)
        second = nn.Conv2d(n_out, n_out, 3, padding=1, bias=bias)
        self.inner = nn.Sequential(
            _normalized(first, group_norm),
            nn.LeakyReLU(0.2, inplace=True),
            _normalized(second, group_norm),
        )
        self.stride, self.skip = stride, nn.Identity()
        if n_in != n_out:
            conv = nn.Conv2d(n_in, n_out, 1, bias=bias)
            self.skip = _normalized(conv, group_norm)
        self.activation = nn.LeakyReLU(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, n_out, h / stride, w / stride), rounded up, for ``x``."""
        # The same as a 1x1 convolution with a stride, whose gradient corrupts memory on
        # CPUs where there are few channels (torch 2.13.0, channels last).
        skipped = self.skip(x[:, :, :: self.stride, :: self.stride])
        return self.activation(self.inner(x) + skipped)


class ResNet18Discriminator(nn.Module):
    """Judge images with a ResNet-18 for small images.

    A 3x3 convolution of stride 1 without pooling, four stages of two residual blocks
    each, strides 1, 2, 2, 2 and widths ``n_filters`` x 1, 2, 4, 8, the mean over the
    map, and a linear layer. Normalised in groups of 16 channels: over the batch, an
    image's logit would tell what is beside it, and in training real and fake images
    would be told apart by the statistics of their batches. For (3, 32, 32) and 64
    filters it has 11,169,345 parameters.

    Parameters
    ----------
    in_shape : tuple of int
        ``(c, h, w)``, height and width of at least 8.
    n_outputs : int, default=1
        Number of logits.
    n_filters : int, default=64
        Width of the first stage; each stage after it is twice as wide.
    batch_norm : bool, default=False
        Ignored: there is none, so that gradient penalties change nothing here.
    group_norm : bool, default=True
        Normalise each convolution over groups of channels. With spectral norms, which
        it would undo, False.

    Raises
    ------
    ValueError
        If images are smaller.

    References
    ----------
    He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2015,
    section 4.1 (arXiv:1512.03385); Wu and He, "Group Normalization", 2018
    (arXiv:1803.08494).
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        n_outputs: int = 1,
        n_filters: int = 64,
        batch_norm: bool = False,
        group_norm: bool = True,
    ):
        super().__init__()
        channels, height, width = in_shape
        check_image_size(height, width)
        stem = nn.Conv2d(channels, n_filters, 3, padding=1, bias=not group_norm)
        layers = [
            nn.Sequential(
                _normalized(stem, group_norm), nn.LeakyReLU(0.2, inplace=True)
            )
        ]
        n_in = n_filters
        for k in range(4):
            n_out = n_filters * 2**k
            layers.append(_BasicBlock(n_in, n_out, min(2, k + 1), group_norm))
            layers.append(_BasicBlock(n_out, n_out, 1, group_norm))
            n_in = n_out
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(n_in, n_outputs)
        # No gain starts at 0, as it often does in ResNets: the features of an untrained
        # network, our baseline, would be those of fewer layers.
        self.apply(initialize_weights)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return activations and logits (n, n_outputs).

        Those of the first layer and of each block are (n, c, h, w); the last, of
        which the logits are a linear function, is their mean, (n, 8 n_filters).
        """
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        pooled = x.mean((2, 3))
        return [*features, pooled], self.head(pooled)


class _GrowingBlock(nn.Module):
    """Normalise, enlarge to a given size, and convolve twice, beside a skip."""

    def __init__(self, n_in: int, n_out: int, size: tuple[int, int]):
        super().__init__()
        self.size = size
        self.entry = nn.Sequential(nn.BatchNorm2d(n_in), nn.ReLU(inplace=True))
        self.inner = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
        )
        self.skip = nn.Conv2d(n_in, n_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, n_out, *size) for ``x`` (n, n_in, h, w)."""
        inner = self.inner(interpolate(self.entry(x), size=self.size))
        return inner + interpolate(self.skip(x), size=self.size)


class ResNetGenerator(nn.Module):
    """Generate images with residual blocks, one for each doubling of the map.

    A linear layer to a map of about 4x4, blocks that repeat pixels to double it, with
    batch normalisation and ReLU before each 3x3 convolution, and a last convolution.
    For (3, 32, 32), 100 latent variables and 64 filters it has 3,326,403 parameters.

    Parameters
    ----------
    latent_dim : int
        Number of latent variables.
    out_shape : tuple of int
        ``(c, h, w)``, any height and width.
    n_filters : int, default=64
        Width at the image's size, doubled with each halving up to eight times.

    References
    ----------
    Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative
    Adversarial Networks", 2018, appendix B.4 (arXiv:1802.05957).
    """

    def __init__(
        self, latent_dim: int, out_shape: tuple[int, int, int], n_filters: int = 64
    ):
        super().__init__()
        channels, height, width = out_shape
        sizes = _map_sizes(height, width, round_up=True)[::-1]
        widths = [n_filters * min(8, 2**k) for k in range(len(sizes))][::-1]
        self.map_shape = (widths[0], *sizes[0])
        self.entry = nn.Linear(latent_dim, widths[0] * sizes[0][0] * sizes[0][1])
        self.blocks = nn.Sequential(
            *map(_GrowingBlock, widths[:-1], widths[1:], sizes[1:])
        )
        self.output = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(widths[-1], channels, 3, padding=1),
            nn.Tanh(),
        )
        self.apply(initialize_weights)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (n, c, h, w) in [-1, 1] for ``z`` (n, latent_dim)."""
        x = self.entry(z).unflatten(1, self.map_shape)
        return self.output(self.blocks(x))
