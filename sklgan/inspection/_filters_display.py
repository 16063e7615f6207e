"""Pictures of filters: what they answer to, and which of its pixels matter."""

from functools import partial

import numpy as np

from sklgan._display import check_has_pictures, show_grid
from sklgan._grid import image_grid
from sklgan.inspection._features_by_name import activation_shapes, parse_features
from sklgan.inspection._filters import top_images
from sklgan.inspection._guided_backprop import (
    gradients_of_rows,
    untrained_copy,
    values_of,
)

# As many as the DCGAN paper shows.
_N_FILTERS = 6


class GuidedBackpropDisplay:
    """Draw guided backpropagation of filters, beside that of an untrained network.

    Each filter has a row: the images it answers to most, then which of their pixels
    raise it (bright) or lower it (dark; grey is neither), each to its own scale; then
    the same of the untrained network's filter, which answers to images of its own.

    Parameters
    ----------
    images : ndarray of shape (n_filters, n_images, h, w) or \
(n_filters, n_images, h, w, c)
        Grey, RGB or RGBA images.
    gradients : ndarray of the same shape
        As :func:`guided_backprop` returns them.
    untrained_images : ndarray of the same shape, default=None
        Images that the untrained network's filters answer to.
    untrained_gradients : ndarray of the same shape, default=None
        Their gradients in the untrained network.
    names : list of str, default=None
        One a filter.
    data_range : pair of float, default=(0, 255)
        Values that mean black and white.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the grid was drawn.
    figure_ : matplotlib Figure
        Its figure.
    im_ : matplotlib AxesImage
        The grid.

    See Also
    --------
    TopImagesDisplay : The images alone, with the place that a filter answers to.

    References
    ----------
    Radford, Metz and Chintala, 2015, figure 5 (arXiv:1511.06434).

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.inspection import GuidedBackpropDisplay
    >>> images, gradients = np.zeros((2, 3, 8, 8)), np.ones((2, 3, 8, 8))
    >>> GuidedBackpropDisplay(images, gradients).grid().shape
    (17, 53, 1)
    """

    def __init__(
        self,
        images,
        gradients,
        *,
        untrained_images=None,
        untrained_gradients=None,
        names=None,
        data_range=(0, 255),
    ):
        self.images = images
        self.gradients = gradients
        self.untrained_images = untrained_images
        self.untrained_gradients = untrained_gradients
        self.names = names
        self.data_range = data_range

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        filters=None,
        n_images=3,
        untrained=None,
        random_state=None,
        ax=None,
    ):
        """Draw filters of a fitted GAN estimator, and of its untrained networks.

        Parameters
        ----------
        estimator : GAN estimator
            Fitted on images.
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            Among which the images that filters answer to most are looked for.
        filters : str, tuple (layer, channel), or list of these, default=None
            As in :func:`guided_backprop`. None takes the first six filters of the last
            layer, whichever they are.
        n_images : int, default=3
            Images a filter.
        untrained : GAN estimator, default=None
            The baseline. None takes ``untrained_copy(estimator, X)``.
        random_state : int, RandomState instance or None, default=None
            Decides the weights of that copy.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : GuidedBackpropDisplay
            The filters, drawn.
        """
        check_has_pictures(estimator)
        filters = _first_filters(estimator) if filters is None else filters
        if untrained is None:
            untrained = untrained_copy(estimator, X, random_state=random_state)
        names, images, gradients = _explained(estimator, X, filters, n_images)
        _, untrained_images, untrained_gradients = _explained(
            untrained, X, filters, n_images
        )
        return cls(
            images,
            gradients,
            untrained_images=untrained_images,
            untrained_gradients=untrained_gradients,
            names=names,
            data_range=estimator.data_range_,
        ).plot(ax=ax)

    def grid(self):
        """Return the rows of all filters as one image.

        Returns
        -------
        grid : ndarray of shape (height, width, c), float
            Values in [0, 1].
        """
        blocks = []
        for images, gradients in self._blocks():
            images = _as_unit(images, self.data_range)
            cells = np.concatenate([images, _as_grey(gradients)], axis=1)
            columns = cells.shape[1]
            cells = cells.reshape(-1, *cells.shape[2:])
            blocks.append(image_grid(cells, (0, 1), columns))
        height, _, channels = blocks[0].shape
        gap = np.ones((height, _gap_width(np.shape(self.images)[3]), channels))
        return blocks[0] if len(blocks) == 1 else np.hstack([blocks[0], gap, blocks[1]])

    def _blocks(self):
        """Return pairs of images and gradients, trained and untrained."""
        pairs = [(self.images, self.gradients)]
        if self.untrained_images is not None:
            pairs.append((self.untrained_images, self.untrained_gradients))
        return pairs

    def plot(self, *, ax=None):
        """Draw the grid.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : GuidedBackpropDisplay
            Itself, with ``ax_``, ``figure_`` and ``im_``.
        """
        grid = self.grid()
        n_filters, n_images, height, width = np.shape(self.images)[:4]
        self.ax_, self.im_ = _draw(
            grid, ax, "GuidedBackpropDisplay.plot", self.names, n_filters, height
        )
        self.figure_ = self.ax_.figure
        half = n_images * (width + 1)
        block = 2 * half - 1 + _gap_width(width)
        titles = ["trained:\nimages", "trained:\nguided"]
        centers = [half / 2 - 1, 1.5 * half - 1]
        if len(self._blocks()) == 2:
            titles += ["untrained:\nimages", "untrained:\nguided"]
            centers += [center + block for center in centers]
        self.ax_.set_xticks(centers, titles)
        self.ax_.tick_params(top=False, labeltop=True, bottom=False, labelbottom=False)
        return self


class TopImagesDisplay:
    """Draw the images that filters answer to most, a row each, strongest first.

    Parameters
    ----------
    images : ndarray of shape (n_filters, n_images, h, w) or \
(n_filters, n_images, h, w, c)
        Grey, RGB or RGBA images.
    boxes : ndarray of shape (n_filters, n_images, 4), default=None
        Rectangles ``(top, left, bottom, right)`` to draw: what the filter saw.
    names : list of str, default=None
        One a filter.
    data_range : pair of float, default=(0, 255)
        Values that mean black and white.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the grid was drawn.
    figure_ : matplotlib Figure
        Its figure.
    im_ : matplotlib AxesImage
        The grid.
    rectangles_ : list of matplotlib Rectangle
        The boxes, in reading order.

    See Also
    --------
    top_images : The arrays.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.inspection import TopImagesDisplay
    >>> TopImagesDisplay(np.zeros((2, 9, 8, 8))).grid().shape
    (17, 80, 1)
    """

    def __init__(self, images, boxes=None, *, names=None, data_range=(0, 255)):
        self.images = images
        self.boxes = boxes
        self.names = names
        self.data_range = data_range

    @classmethod
    def from_estimator(cls, estimator, X, *, filters=None, n_images=9, ax=None):
        """Draw the images of X that filters of a fitted estimator answer to most.

        Parameters
        ----------
        estimator : GAN estimator
            Fitted on images.
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            As in ``fit``.
        filters : str, tuple (layer, channel), or list of these, default=None
            As in :func:`top_images`. None takes the first six filters of the last
            layer, whichever they are.
        n_images : int, default=9
            Images a filter.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : TopImagesDisplay
            The images, drawn.
        """
        check_has_pictures(estimator)
        filters = _first_filters(estimator) if filters is None else filters
        top = top_images(estimator, X, filters, n_images=n_images)
        return cls(
            top.images.reshape(*top.indices.shape, *estimator.image_shape_),
            top.boxes,
            names=top.names,
            data_range=estimator.data_range_,
        ).plot(ax=ax)

    def grid(self):
        """Return the images as one, a pixel of white between them.

        Returns
        -------
        grid : ndarray of shape (height, width, c), float
            Values in [0, 1].
        """
        images = _as_unit(self.images, self.data_range)
        columns = images.shape[1]
        return image_grid(images.reshape(-1, *images.shape[2:]), (0, 1), columns)

    def plot(self, *, ax=None):
        """Draw the images, and the boxes on them.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : TopImagesDisplay
            Itself, with ``ax_``, ``figure_``, ``im_`` and ``rectangles_``.
        """
        grid = self.grid()
        n_filters, _, height, width = np.shape(self.images)[:4]
        self.ax_, self.im_ = _draw(
            grid, ax, "TopImagesDisplay.plot", self.names, n_filters, height
        )
        from matplotlib.patches import Rectangle

        self.figure_ = self.ax_.figure
        self.ax_.set_xticks([])
        self.rectangles_ = []
        boxes = () if self.boxes is None else np.asarray(self.boxes)
        for (row, column), (top, left, bottom, right) in (
            ((row, column), box)
            for row, line in enumerate(boxes)
            for column, box in enumerate(line)
        ):
            corner = column * (width + 1) + left - 0.5, row * (height + 1) + top - 0.5
            rectangle = Rectangle(
                corner, right - left, bottom - top, fill=False, color="tab:red"
            )
            self.rectangles_.append(self.ax_.add_patch(rectangle))
        return self


def _first_filters(estimator):
    """Return the first filters of the last layer."""
    shapes = activation_shapes(estimator)
    return [(len(shapes), k) for k in range(min(_N_FILTERS, shapes[-1][0]))]


def _explained(estimator, X, filters, n_images):
    """Return names of filters, the images they answer to most, and gradients there."""
    top = top_images(estimator, X, filters, n_images=n_images)
    # Not through the gate again: data frames would be missed for their names.
    rows = top.images.reshape(*top.indices.shape, -1)
    rows = rows.astype(estimator._scale[0].dtype)
    gradients = [
        gradients_of_rows(
            estimator, images, partial(values_of, features=[feature]), 1, guided=True
        )[0].numpy()
        for feature, images in zip(
            parse_features(estimator, top.names), rows, strict=True
        )
    ]
    shape = *top.indices.shape, *estimator.image_shape_
    return top.names, top.images.reshape(shape), np.reshape(gradients, shape)


def _with_channels(images):
    """Return images (n_filters, n_images, h, w[, c]) with an axis of channels."""
    images = np.asarray(images, dtype=float)
    images = images[..., None] if images.ndim == 4 else images
    if images.ndim != 5 or images.shape[4] not in (1, 3, 4):
        raise ValueError(
            f"Images of shape {images.shape} cannot be drawn; they should be "
            "(n_filters, n_images, h, w), or the same with 1, 3 or 4 channels last."
        )
    return images


def _as_unit(images, data_range):
    """Return images as values in [0, 1]."""
    low, high = data_range
    return np.clip((_with_channels(images) - low) / (high - low), 0, 1)


def _as_grey(gradients):
    """Return gradients as values in [0, 1]: 0.5 is none, each to its own scale."""
    gradients = _with_channels(gradients)
    largest = np.abs(gradients).max(axis=(2, 3, 4), keepdims=True)
    grey = 0.5 + gradients / np.where(largest > 0, 2 * largest, 1)
    if grey.shape[4] == 4:
        grey[..., 3] = 1  # opaque
    return grey


def _gap_width(width):
    """Return the pixels between the trained and the untrained network."""
    return max(2, width // 2)


def _draw(grid, ax, caller, names, n_filters, height):
    """Draw a grid with a name beside each row, and return axes and image."""
    size = 8, 0.6 + 8 * grid.shape[0] / grid.shape[1]
    ax, im = show_grid(grid, ax, caller, size)
    if names is None:
        ax.set_yticks([])
    else:
        ax.set_yticks([k * (height + 1) + height / 2 for k in range(n_filters)], names)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax, im
