"""Networks with the PyTorch tutorial's geometry, each layer as it is told.

Copies of the tutorial differ in widths, biases and batch normalisation.
"""

from torch import Tensor, nn

from sklgan.networks._dcgan import _activated, _ConvDiscriminator, _ConvGenerator

_HALVING = {"kernel_size": 4, "stride": 2, "padding": 1}


class TutorialGenerator(_ConvGenerator):
    """Generate images like :class:`DCGANGenerator`, with every layer as it is told.

    Parameters
    ----------
    latent_dim : int
        Number of latent variables.
    out_shape : tuple of int
        ``(c, h, w)``; height and width are multiples of 2 ** ``len(widths)``.
    widths : sequence of int
        Of the hidden layers.
    biases : sequence of bool
        Whether each convolution has a bias; one more than ``widths``.
    norms : sequence of bool
        Whether each hidden layer is batch normalised.
    """

    def __init__(
        self, latent_dim: int, out_shape: tuple[int, int, int], *, widths, biases, norms
    ):
        channels, height, width = out_shape
        scale = 2 ** len(widths)
        convs = [
            nn.ConvTranspose2d(
                latent_dim, widths[0], (height // scale, width // scale), bias=biases[0]
            )
        ]
        outputs = [*widths[1:], channels]
        for n_in, n_out, bias in zip(widths, outputs, biases[1:], strict=True):
            convs.append(nn.ConvTranspose2d(n_in, n_out, bias=bias, **_HALVING))
        hidden = [
            _activated(conv, norm, nn.ReLU(inplace=True))
            for conv, norm in zip(convs, norms, strict=False)
        ]
        super().__init__([*hidden, convs[-1]])


class TutorialDiscriminator(_ConvDiscriminator):
    """Judge images like :class:`DCGANDiscriminator`, with every layer as it is told.

    Parameters
    ----------
    in_shape : tuple of int
        ``(c, h, w)``; height and width are multiples of 2 ** ``len(widths)``.
    n_outputs : int, default=1
        Number of logits.
    widths : sequence of int
        Of the hidden layers.
    biases : sequence of bool
        Whether each convolution has a bias; one more than ``widths``.
    norms : sequence of bool
        Whether each hidden layer is batch normalised.
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        n_outputs: int = 1,
        *,
        widths,
        biases,
        norms,
    ):
        channels, height, width = in_shape
        scale = 2 ** len(widths)
        layers = []
        inputs = [channels, *widths[:-1]]
        for n_in, n_out, bias, norm in zip(inputs, widths, biases, norms, strict=False):
            conv = nn.Conv2d(n_in, n_out, bias=bias, **_HALVING)
            layers.append(_activated(conv, norm, nn.LeakyReLU(0.2, inplace=True)))
        head = nn.Conv2d(
            widths[-1], n_outputs, (height // scale, width // scale), bias=biases[-1]
        )
        super().__init__(layers, head)


class AbsentNetwork(nn.Module):
    """Stand for a network that a file did not hold: whatever uses it is told so.

    Parameters
    ----------
    *shape : tuple
        What builders of networks are given; it does not matter.
    message : str
        Of the ValueError.
    """

    def __init__(self, *shape, message: str):
        super().__init__()
        self.message = message

    def parameters(self, recurse: bool = True):
        """Raise the error: a device, or an optimiser, is asked for."""
        raise ValueError(self.message)

    def forward(self, x: Tensor):
        """Raise the error."""
        raise ValueError(self.message)
