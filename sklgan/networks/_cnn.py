"""A discriminator that is, above all, a classifier."""

from torch import Tensor, nn

from sklgan.networks._init import initialize_weights


def _n_poolings(height: int, width: int) -> int:
    """Return how often a map is halved: until its shorter side is 4, twice at least."""
    side, n = min(height, width), 0
    while side > 4:
        side, n = side // 2, n + 1
    return max(2, n)


class CNNDiscriminator(nn.Module):
    """Judge images with 3x3 convolutions, batch normalisation and max-pooling.

    At least three convolutions, each twice as wide as the one before; the last ones
    are followed by 2x2 pooling, until the map is about 4x4, 2x2 for 8x8 images; it
    comes before normalisation and activation, whose cost it quarters. Then dropout and
    a linear layer. With few labels it learns faster than the strided convolutions of a
    DCGAN.

    Parameters
    ----------
    in_shape : tuple of int
        ``(c, h, w)``, any height and width.
    n_outputs : int, default=1
        Number of logits.
    n_filters : int, default=64
        Width of the first convolution.
    batch_norm : bool, default=True
        Normalise each convolution over the batch.
    dropout : float, default=0.5
        Part of the last activation that is dropped before the linear layer.
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        n_outputs: int = 1,
        n_filters: int = 64,
        batch_norm: bool = True,
        dropout: float = 0.5,
    ):
        super().__init__()
        channels, height, width = in_shape
        n_poolings = _n_poolings(height, width)
        n_layers = max(3, n_poolings)
        layers = []
        for k in range(n_layers):
            conv = nn.Conv2d(
                channels, n_filters * 2**k, 3, padding=1, bias=not batch_norm
            )
            parts = [conv]
            if k >= n_layers - n_poolings:
                window = (min(2, height), min(2, width))
                parts.append(nn.MaxPool2d(window))
                height, width = height // window[0], width // window[1]
            if batch_norm:
                parts.append(nn.BatchNorm2d(conv.out_channels))
            parts.append(nn.LeakyReLU(0.1, inplace=True))
            layers.append(nn.Sequential(*parts))
            channels = conv.out_channels
        self.layers = nn.ModuleList(layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels * height * width, n_outputs)
        self.apply(initialize_weights)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return each layer's activation (n, c, h, w) and logits (n, n_outputs)."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features, self.head(self.dropout(x.flatten(1)))
