"""BlobGAN's generator: noise to a layout of blobs, blobs to an image."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, softplus
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import ParametrizationList

from sklgan.networks._equalized import (
    EqualConv,
    EqualLinear,
    activated,
    halvings,
    pixel_norm,
)
from sklgan.networks._splatting import (
    Blobs,
    composed,
    jittered,
    opacities,
    resized,
    splat,
)

# The longest side of the grid on which blobs are splatted.
_GRID = 16

# The rate of the layout network's layers, of the learning rate; see LayoutNetwork.
_LAYOUT_RATE = 0.1

# How blobs are jittered in training: places and angles as in the code of Epstein et al.
# 2022; sizes by a part of themselves, where they shift the opacity's logit.
_JITTER = {"place": 0.04, "size": 0.25, "angle": 0.1}

# The most elongated blob is so many times longer than it is broad.
_LARGEST_ASPECT = 3.0


def image_size(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (c, h, w) of images, or of flat rows, which are one pixel high."""
    return tuple(shape) if len(shape) == 3 else (1, 1, *shape)


def layout_length(n_blobs: int, feature_dim: int, style_dim: int) -> int:
    """Return how many numbers :func:`read_layout` reads."""
    return n_blobs * (6 + feature_dim + style_dim) + feature_dim + style_dim


def read_layout(
    numbers: Tensor,
    n_blobs: int,
    feature_dim: int,
    even_sizes: Callable[[Tensor], Tensor] | None = None,
) -> Blobs:
    """Return the blobs that unbounded numbers (n, :func:`layout_length`) stand for.

    Centres are sigmoids, sizes softplus of what ``even_sizes`` makes of their numbers,
    (n, k), aspects between 1/3 and 3, angles those of a vector, styles of mean square
    1.
    """
    style_dim = (numbers.shape[1] - n_blobs * (6 + feature_dim) - feature_dim) // (
        n_blobs + 1
    )
    widths = n_blobs * (6 + feature_dim + style_dim), feature_dim, style_dim
    blobs, background_feature, background_style = numbers.split(widths, dim=1)
    blobs = blobs.unflatten(1, (n_blobs, -1))
    geometry, feature, style = blobs.split([6, feature_dim, style_dim], dim=2)
    x, y, size, aspect, cosine, sine = geometry.unbind(2)
    return Blobs(
        x=torch.sigmoid(x),
        y=torch.sigmoid(y),
        size=softplus(size if even_sizes is None else even_sizes(size)),
        aspect=_LARGEST_ASPECT ** torch.tanh(aspect),
        angle=torch.atan2(sine, cosine),
        feature=feature,
        style=pixel_norm(style),
        background_feature=background_feature,
        background_style=pixel_norm(background_style),
    )


class EvenSizes(nn.Module):
    """Give the numbers that sizes are read of, (n, k), one mean and spread for all k.

    Over the images of a batch, in training; how large and how diverse is learned, for
    all blobs alike. A blob that is small in all images while the generator cannot paint
    yet has next to no gradient, and never comes back: in one training two of five blobs
    did all the painting.
    """

    def __init__(self, n_blobs: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(n_blobs, affine=False)
        self.scale = nn.Parameter(torch.ones(()) / _LAYOUT_RATE)
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, numbers: Tensor) -> Tensor:
        """Return (n, k) for ``numbers`` (n, k)."""
        return _LAYOUT_RATE * (self.scale * self.norm(numbers) + self.shift)


class LayoutNetwork(nn.Module):
    """Map noise to blobs: pixel norm, then eight equalised linear layers.

    Parameters
    ----------
    latent_dim : int
        Number of latent variables.
    n_blobs : int
        Blobs an image, beside the background.
    feature_dim, style_dim : int
        Lengths of their two vectors.
    width : int
        Of the hidden layers.

    References
    ----------
    Epstein et al. 2022, section 3.1 (arXiv:2205.02837). Their layers learn at a
    hundredth of the learning rate, over weeks on GPUs; here it is a tenth, and
    :class:`EvenSizes` keeps all blobs in use.
    """

    def __init__(
        self,
        latent_dim: int,
        n_blobs: int,
        feature_dim: int,
        style_dim: int,
        width: int,
    ):
        super().__init__()
        self.n_blobs, self.feature_dim = n_blobs, feature_dim
        n_in = [latent_dim] + 6 * [width]
        self.layers = nn.ModuleList(
            [EqualLinear(n, width, rate=_LAYOUT_RATE) for n in n_in]
        )
        self.even_sizes = EvenSizes(n_blobs)
        length = layout_length(n_blobs, feature_dim, style_dim)
        self.head = EqualLinear(width, length, rate=_LAYOUT_RATE)

    def hidden(self, z: Tensor) -> Tensor:
        """Return the second-last layer (n, width), on which layouts are truncated."""
        x = pixel_norm(z)
        for layer in self.layers:
            x = activated(layer(x))
        return x

    def read(self, hidden: Tensor) -> Blobs:
        """Return the blobs of the second-last layer."""
        numbers = self.head(hidden)
        return read_layout(numbers, self.n_blobs, self.feature_dim, self.even_sizes)

    def read_numbers(self, numbers: Tensor) -> Blobs:
        """Return the blobs of what an encoder gives, whose sizes are as they are."""
        return read_layout(numbers, self.n_blobs, self.feature_dim)

    def forward(self, z: Tensor) -> Blobs:
        """Return the blobs of latent vectors ``z`` (n, latent_dim)."""
        # In bfloat16, places would be rounded to a fraction of a pixel.
        with torch.autocast(z.device.type, enabled=False):
            return self.read(self.hidden(z.float()))


class DrawsForRows(nn.Module):
    """A module that draws random numbers for the rows of a batch.

    Where several processes share a batch, the training tells by ``_joined_rows`` which
    rows (start, stop, of how many) are this one's. All draw for the whole batch then,
    and go on from the same random state.
    """

    _joined_rows = staticmethod(lambda: None)

    def drawn_for(self, like: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what ``draw`` gives for a tensor (n, ...) as a part of its batch."""
        rows = self._joined_rows()
        if rows is None or len(like) != rows[1] - rows[0]:  # not one entry a row
            return draw(like)
        start, stop, n_rows = rows
        return draw(like.new_empty(n_rows, *like.shape[1:]))[start:stop]


class SpatialStyledConv(DrawsForRows):
    """A convolution whose input each place scales by the styles of its blobs.

    Source: Epstein et al. 2022, section 3.2; weights are normalised instead of
    activations, as in StyleGAN2 (arXiv:1912.04958, section 2.2).
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int,
        style_dim: int,
        *,
        sides: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.scales = EqualLinear(style_dim, n_in, bias=1.0)
        self.conv = EqualConv(n_in, n_out, kernel_size)
        self.is_hidden = sides is not None
        if self.is_hidden:
            self.noise_strength = nn.Parameter(torch.zeros(()))
            # In use, a place has the same noise always.
            self.register_buffer("noise", torch.randn(1, 1, *sides))

    def forward(self, x: Tensor, scores: Tensor, styles: Tensor) -> Tensor:
        """Return (n, n_out, h, w) for maps of x, scores (n, k, h, w), and styles."""
        scales = splat(scores, self.scales(styles).to(scores.dtype))
        if not self.is_hidden:
            return self.conv(x * scales)
        x = x * pixel_norm(scales, dim=1)
        weight = self.conv.weight
        norm = weight.square().sum((1, 2, 3), keepdim=True).add(1e-8).rsqrt()
        x = conv2d(x, weight * norm, padding=self.conv.padding)
        noise = self.noise
        if self.training:
            noise = self.drawn_for(x[:, :1].float(), torch.randn_like)
        x = x + noise.to(x.dtype) * self.noise_strength
        return activated(x + self.conv.bias[:, None, None])


class BlobGenerator(DrawsForRows):
    """Draw images of blobs: layout network, splatting, and style-modulated layers.

    Blobs are splatted to a grid of 16x16, or of 9 to 16 cells for other sides; each
    doubling from there to the image has two convolutions and adds to the image.
    ``layout`` and ``render`` are its two halves. Flat rows are images of one pixel's
    height. In training the blobs are jittered.

    Parameters
    ----------
    latent_dim : int
        Number of latent variables.
    out_shape : tuple of int
        ``(c, h, w)`` for images in [-1, 1], or ``(d,)`` for rows, not bounded.
    n_filters : int, default=16
        Width of the last convolutions, doubled with each halving of the map up to
        eight times; the paper has 96.
    n_blobs : int, default=10
        Blobs an image, beside the background.
    feature_dim, style_dim : int, default=32
        Lengths of the vectors of a blob.

    References
    ----------
    Epstein, Park, Zhang, Shechtman and Efros, "BlobGAN: Spatially Disentangled Scene
    Representations", 2022, section 3 (arXiv:2205.02837).
    """

    def __init__(
        self,
        latent_dim: int,
        out_shape: tuple[int, ...],
        n_filters: int = 16,
        n_blobs: int = 10,
        feature_dim: int = 32,
        style_dim: int = 32,
    ):
        super().__init__()
        self.out_shape = tuple(out_shape)
        channels, *sides = image_size(out_shape)
        self.sides = halvings(tuple(sides), _GRID)[::-1]
        widths = [n_filters * min(8, 2**k) for k in range(len(self.sides))][::-1]
        self.layout = LayoutNetwork(
            latent_dim, n_blobs, feature_dim, style_dim, max(64, 8 * n_filters)
        )
        n_in = [feature_dim, *widths[:-1]]
        self.stages = nn.ModuleList(
            nn.ModuleList(
                [
                    SpatialStyledConv(before, width, 3, style_dim, sides=sides),
                    SpatialStyledConv(width, width, 3, style_dim, sides=sides),
                    SpatialStyledConv(width, channels, 1, style_dim),
                ]
            )
            for before, width, sides in zip(n_in, widths, self.sides, strict=True)
        )

    @property
    def _normalizing_part(self) -> nn.Module:
        """What has to run for batch normalisation's statistics: nothing is painted.

        All of it in classes derived from this one, and where the painting was given
        such layers, or spectral norms, which follow the weights when they run.
        """
        painting = set(self.modules()) - set(self.layout.modules())
        kinds = (_BatchNorm, ParametrizationList)
        added = any(isinstance(part, kinds) for part in painting)
        return self if added or type(self) is not BlobGenerator else self.layout

    def forward(self, z: Tensor) -> Tensor:
        """Return images (n, c, h, w), or rows (n, d), for ``z`` (n, latent_dim)."""
        blobs = self.layout(z)
        if self.training:
            draw = partial(self.drawn_for, draw=torch.rand_like)
            blobs = jittered(blobs, **_JITTER, draw=draw)
        return self.render(blobs)

    def scores(self, blobs: Blobs) -> Tensor:
        """Return what is seen of background and blobs on the grid, (n, k + 1, h, w)."""
        with torch.autocast(blobs.x.device.type, enabled=False):
            return composed(opacities(blobs, self.sides[0]))

    def render(self, blobs: Blobs) -> Tensor:
        """Return the images of blobs, (n, c, h, w) or (n, d)."""
        scores, styles = self.scores(blobs), blobs.all_styles()
        x, image = splat(scores, blobs.all_features()), None
        for sides, (first, second, to_image) in zip(
            self.sides, self.stages, strict=True
        ):
            seen = resized(scores, sides)
            x = second(first(resized(x, sides), seen, styles), seen, styles)
            drawn = to_image(x, seen, styles)
            image = drawn if image is None else drawn + resized(image, sides)
        if len(self.out_shape) == 1:
            return image.float().flatten(1)
        return torch.tanh(image.float())
