"""The spectrally normalised DCGAN, at any size."""

from torch import nn

from sklgan.networks._dcgan import (
    _activated,
    _ConvDiscriminator,
    _ConvGenerator,
    _doubling,
    _kernel,
    _map_sizes,
)
from sklgan.networks._spectral import add_spectral_norm


def _widths(n_filters: int, n_sizes: int) -> list[int]:
    """Return the widths of maps from the image's size to the smallest."""
    return [n_filters * min(8, 2**k) for k in range(n_sizes)]


class SNDCGANGenerator(_ConvGenerator):
    """Generate images with the mirror of :class:`SNDCGANDiscriminator`.

    Transposed 4x4 convolutions of stride 2 with batch normalisation and ReLU, from a
    map of about 4x4, then a 3x3 convolution. For (3, 32, 32), 100 latent variables and
    64 filters it has 3,575,363 parameters.

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
        channels, height, width = out_shape
        sizes = _map_sizes(height, width)[::-1]
        widths = _widths(n_filters, len(sizes))[::-1]
        convs = [nn.ConvTranspose2d(latent_dim, widths[0], sizes[0], bias=False)]
        for n_in, n_out, size in zip(widths, widths[1:], sizes[1:], strict=False):
            convs.append(nn.ConvTranspose2d(n_in, n_out, bias=False, **_doubling(size)))
        layers = [_activated(conv, True, nn.ReLU(inplace=True)) for conv in convs]
        super().__init__([*layers, nn.Conv2d(widths[-1], channels, 3, padding=1)])


class SNDCGANDiscriminator(_ConvDiscriminator):
    """Judge images with spectrally normalised convolutions and LeakyReLU(0.1).

    3x3 convolutions of stride 1 and 4x4 ones of stride 2 in turn; for 32x32 images
    the widths are ``n_filters`` x 1, 2, 2, 4, 4, 8, 8, and the last map, 8,192 values
    with 64 filters, is what the linear layer after it reads. Other sizes have a pair
    for each halving down to a map of about 4x4. All layers have biases.

    Parameters
    ----------
    in_shape : tuple of int
        ``(c, h, w)``, any height and width.
    n_outputs : int, default=1
        Number of logits.
    n_filters : int, default=64
        Width of the first layer, doubled with each halving up to eight times.
    batch_norm : bool, default=False
        Ignored: there is none.

    References
    ----------
    Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative
    Adversarial Networks", 2018, appendix B.4 (arXiv:1802.05957), with the widths that
    Jeong and Shin, "Training GANs with Stronger Augmentations via Contrastive
    Discriminator", 2021, train (arXiv:2103.09742).
    """

    def __init__(
        self,
        in_shape: tuple[int, int, int],
        n_outputs: int = 1,
        n_filters: int = 64,
        batch_norm: bool = False,
    ):
        channels, height, width = in_shape
        sizes = _map_sizes(height, width)
        widths = _widths(n_filters, len(sizes))
        convs = [nn.Conv2d(channels, widths[0], 3, padding=1)]
        for n_in, n_out, size in zip(widths, widths[1:], sizes, strict=False):
            convs.append(nn.Conv2d(n_in, n_out, **_kernel(size)))
            convs.append(nn.Conv2d(n_out, n_out, 3, padding=1))
        layers = [
            _activated(conv, False, nn.LeakyReLU(0.1, inplace=True)) for conv in convs
        ]
        super().__init__(layers, nn.Conv2d(widths[-1], n_outputs, sizes[-1]))
        add_spectral_norm(self)
