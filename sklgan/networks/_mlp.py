"""Fully connected networks, for flat X or for images of any shape."""

from math import prod

from torch import Tensor, nn

from sklgan.networks._init import initialize_weights


class MLPGenerator(nn.Module):
    """Map latent vectors to flat rows or to images with two hidden layers.

    Parameters
    ----------
    latent_dim : int
        Number of latent variables.
    out_shape : tuple of int
        ``(d,)`` for flat rows, which come out unbounded (standardised units), or
        ``(c, h, w)`` for images, which come out in [-1, 1].
    n_filters : int, default=64
        A quarter of the width of a hidden layer.
    """

    def __init__(
        self, latent_dim: int, out_shape: tuple[int, ...], n_filters: int = 64
    ):
        super().__init__()
        width = 4 * n_filters
        self.out_shape = tuple(out_shape)
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, prod(out_shape)),
        )
        self.output = nn.Tanh() if len(out_shape) == 3 else nn.Identity()
        self.apply(initialize_weights)

    def forward(self, z: Tensor) -> Tensor:
        """Return images (n, c, h, w) or rows (n, d) for ``z`` (n, latent_dim)."""
        return self.output(self.layers(z)).unflatten(1, self.out_shape)


class MLPDiscriminator(nn.Module):
    """Judge flat rows or images with two hidden layers.

    Parameters
    ----------
    in_shape : tuple of int
        ``(d,)`` or ``(c, h, w)``.
    n_outputs : int, default=1
        Number of logits.
    n_filters : int, default=64
        A quarter of the width of a hidden layer.
    batch_norm : bool, default=True
        Normalise the second hidden layer over the batch. Gradient penalties need
        False, because they ask for the gradient of each row on its own.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        n_outputs: int = 1,
        n_filters: int = 64,
        batch_norm: bool = True,
    ):
        super().__init__()
        width = 4 * n_filters
        norm = nn.BatchNorm1d(width) if batch_norm else nn.Identity()
        self.layers = nn.ModuleList(
            [
                nn.Sequential(
                    nn.Flatten(),
                    nn.Linear(prod(in_shape), width),
                    nn.LeakyReLU(0.2, inplace=True),
                ),
                nn.Sequential(
                    nn.Linear(width, width, bias=not batch_norm),
                    norm,
                    nn.LeakyReLU(0.2, inplace=True),
                ),
            ]
        )
        self.head = nn.Linear(width, n_outputs)
        self.apply(initialize_weights)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the hidden activations (n, width) and the logits (n, n_outputs)."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return features, self.head(x)
