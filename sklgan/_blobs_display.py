"""BlobsDisplay: images, the ellipses of their blobs, and what is seen of each blob."""

import numpy as np
from sklearn.utils import check_array

from sklgan._blob_arrays import half_axes
from sklgan._blob_dtype import check_blobs
from sklgan._display import _axes, check_has_pictures
from sklgan._grid import image_grid, to_unit_range
from sklgan._images import check_images
from sklgan._inference import check_gan
from sklgan._namespaces import without_namespace
from sklgan._placement import read_rows


class BlobsDisplay:
    """Draw the blobs of images: ellipses over them, and opacity in colours below.

    Parameters
    ----------
    images : ndarray of shape (n_samples, h, w) or (n_samples, h, w, c)
        Grey, RGB or RGBA images, one a column.
    blobs : ndarray of shape (n_samples,), structured
        Their blobs; see :mod:`sklgan.blobs`.
    opacity_maps : ndarray of shape (n_samples, n_blobs + 1, h, w)
        What is seen of background and blobs, as ``BlobGAN.opacity_maps`` returns it.
    painted : ndarray of the shape of images, default=None
        What the model paints of the blobs, for a row between the two.
    data_range : pair of float, default=(0, 255)
        Values that mean black and white.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.
    im_ : matplotlib AxesImage
        The images.
    ellipses_ : list of matplotlib Ellipse
        Of all blobs that can be seen, on which they are half as opaque as in the
        centre; the fainter a blob, the fainter its line.
    numbers_ : list of matplotlib Text
        Of the same blobs, in their centres: what :func:`sklgan.blobs.edit` calls them.

    See Also
    --------
    BlobGAN : Finds and paints blobs.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan import BlobsDisplay
    >>> from sklgan.blobs import blob_dtype
    >>> B = np.zeros(5, dtype=blob_dtype(3, 4, 4))
    >>> B["aspect"] = 1.0
    >>> images, maps = np.zeros((5, 8, 8), dtype=np.uint8), np.zeros((5, 4, 8, 8))
    >>> BlobsDisplay(images, B, maps).grid(np.eye(3)).shape
    (17, 44, 3)
    """

    def __init__(
        self, images, blobs, opacity_maps, *, painted=None, data_range=(0, 255)
    ):
        self.images = images
        self.blobs = blobs
        self.opacity_maps = opacity_maps
        self.painted = painted
        self.data_range = data_range

    @classmethod
    def from_estimator(
        cls, estimator, X=None, *, n_samples=8, refine=0, random_state=None, ax=None
    ):
        """Draw the blobs that an estimator finds in images, or samples with theirs.

        Parameters
        ----------
        estimator : BlobGAN
            Fitted on images.
        X : array-like, ImageSequence, or sequence of paths or images, default=None
            Images as in ``fit``; what is painted of their blobs stands below them.
            None draws samples.
        n_samples : int, default=8
            Number of samples.
        refine : int, default=0
            As in ``estimator.find``.
        random_state : int, RandomState instance or None, default=None
            Decides the samples, as in ``estimator.sample``.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : BlobsDisplay
            The blobs, drawn.
        """
        check_gan(estimator, "find", "BlobGAN")
        check_has_pictures(estimator)
        shape = estimator.image_shape_
        if X is None:
            images, B = estimator.sample(n_samples, random_state, return_blobs=True)
            painted = None
        else:
            # Files and pictures are decoded, and cropped as in fit.
            rows = read_rows(check_images(estimator, X, reset=False), slice(None))
            images, B = np.asarray(without_namespace(rows)), estimator.find(X, refine)
            painted = estimator.inverse_transform(B).reshape(-1, *shape)
        display = cls(
            images.reshape(-1, *shape),
            B,
            estimator.opacity_maps(B),
            painted=painted,
            data_range=estimator.data_range_,
        )
        return display.plot(ax=ax)

    def grid(self, colors):
        """Return all rows as one image, a pixel of white between them.

        Parameters
        ----------
        colors : array-like of shape (n_blobs, 3)
            Red, green and blue of each blob, in [0, 1].

        Returns
        -------
        grid : ndarray of shape (height, width, 3), float
            Values in [0, 1].

        Raises
        ------
        ValueError
            If images, blobs, what is painted of them and maps do not belong together.
        """
        rows = [self.images] if self.painted is None else [self.images, self.painted]
        rows = [self._scaled(images) for images in rows]
        maps = np.asarray(self.opacity_maps)
        n, height, width, _ = rows[0].shape
        if rows[-1].shape != rows[0].shape:
            raise ValueError(
                f"painted of shape {np.shape(self.painted)} does not belong to images "
                f"of shape {np.shape(self.images)}; pass gan.render(blobs)."
            )
        if len(self.blobs) != n:
            raise ValueError(
                f"blobs are those of {len(self.blobs)} images, but there are {n}; pass "
                "gan.find(images)."
            )
        if maps.shape != (n, 1 + len(colors), height, width):
            raise ValueError(
                f"opacity_maps of shape {maps.shape} do not belong to {n} images "
                f"{height}x{width} of {len(colors)} blobs; pass "
                "gan.opacity_maps(blobs) of all of them, the background's included."
            )
        maps = maps[:, 1:]
        drawn = np.einsum("nkhw,kc->nhwc", maps, np.asarray(colors, dtype=float))
        return image_grid(np.concatenate([*rows, drawn]), (0, 1), n)

    def _scaled(self, images):
        """Return images as RGB in [0, 1]."""
        images = np.asarray(images, dtype=float)
        images = images[..., None] if images.ndim == 3 else images
        if images.ndim != 4 or images.shape[3] not in (1, 3, 4):
            raise ValueError(
                f"images of shape {images.shape} cannot be drawn; they should be "
                "(n_samples, h, w), or (n_samples, h, w, c) with 1, 3 or 4 channels."
            )
        check_array(images, allow_nd=True, input_name="images")
        images = to_unit_range(images, self.data_range)
        return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images[..., :3]

    def plot(self, *, ax=None):
        """Draw images, ellipses and opacities.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : BlobsDisplay
            Itself, with ``ax_``, ``figure_``, ``im_``, ``ellipses_`` and ``numbers_``.
        """
        check_blobs(self.blobs)
        n_images, n_blobs = self.blobs["x"].shape
        self.ax_ = _axes(ax, "BlobsDisplay.plot", figsize=(1.3 * n_images + 0.5, 4))
        from matplotlib import colormaps
        from matplotlib.patches import Ellipse
        from matplotlib.patheffects import withStroke

        palette = np.array(colormaps["tab20" if n_blobs > 10 else "tab10"].colors)
        colors = palette[np.arange(n_blobs) % len(palette)]
        self.figure_ = self.ax_.figure
        self.im_ = self.ax_.imshow(self.grid(colors))
        self.ax_.set_axis_off()
        height, width = np.shape(self.opacity_maps)[2:]
        axes, opacity = half_axes(self.blobs)
        axes = 2 * axes * max(height, width)
        self.ellipses_, self.numbers_ = [], []
        for image, blob in np.ndindex(n_images, n_blobs):
            if opacity[image, blob] < 0.1:
                continue
            B = self.blobs[image]
            # Pixels have their centres at whole numbers.
            place = (
                B["x"][blob] * width - 0.5 + image * (width + 1),
                B["y"][blob] * height - 0.5,
            )
            ellipse = Ellipse(
                place,
                *axes[image, blob],
                angle=np.degrees(B["angle"][blob]),
                fill=False,
                color=colors[blob],
                alpha=float(opacity[image, blob]),
                linewidth=1.5,
            )
            self.ellipses_.append(self.ax_.add_patch(ellipse))
            number = self.ax_.text(
                *place, str(blob), ha="center", va="center", fontsize=7, color="white"
            )
            # To be read on any ground.
            number.set_path_effects([withStroke(linewidth=1.5, foreground="black")])
            self.numbers_.append(number)
        return self
