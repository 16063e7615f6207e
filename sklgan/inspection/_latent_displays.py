"""Pictures and films of walks in the latent space."""

import numpy as np

from sklgan._display import SamplesDisplay, check_has_pictures, show_grid
from sklgan._grid import write_film, write_grid
from sklgan.inspection._checks import check_count
from sklgan.inspection._latent import interpolate, traverse


class InterpolationDisplay:
    """Draw the images on a path through key points of the latent space.

    Parameters
    ----------
    images : ndarray of shape (n_images, h, w) or (n_images, h, w, c)
        Those of :func:`interpolate`.
    n_steps : int, default=None
        Steps from a key point to the next: each row of the picture leads from one to
        the next, both included. None draws all images in one row.
    closed : bool, default=False
        Whether the path goes on from the last image to the first.
    data_range : pair of float, default=(0, 255)
        Values that mean black and white.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the strip was drawn.
    figure_ : matplotlib Figure
        Its figure.
    im_ : matplotlib AxesImage
        The strip.

    See Also
    --------
    TraversalDisplay : Straight lines through one latent vector.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan.inspection import InterpolationDisplay
    >>> images = load_digits().images[:9]
    >>> InterpolationDisplay(images, n_steps=4, data_range=(0, 16)).grid().shape
    (17, 44, 1)
    """

    def __init__(self, images, *, n_steps=None, closed=False, data_range=(0, 255)):
        self.images = images
        self.n_steps = n_steps
        self.closed = closed
        self.data_range = data_range

    @classmethod
    def from_estimator(
        cls, estimator, Z, *, n_steps=10, method="spherical", closed=False, ax=None
    ):
        """Draw a path through key points of a fitted GAN's latent space.

        Parameters
        ----------
        estimator : GAN estimator
            Fitted on images.
        Z : array-like of shape (n_key_points, latent_dim)
            As in :func:`interpolate`.
        n_steps : int, default=10
            As in :func:`interpolate`.
        method : {"spherical", "linear"}, default="spherical"
            As in :func:`interpolate`.
        closed : bool, default=False
            As in :func:`interpolate`.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : InterpolationDisplay
            The path, drawn.
        """
        check_has_pictures(estimator)
        images = interpolate(
            estimator, Z, n_steps=n_steps, method=method, closed=closed
        )
        images = images.reshape(-1, *estimator.image_shape_)
        data_range = estimator.data_range_
        display = cls(images, n_steps=n_steps, closed=closed, data_range=data_range)
        return display.plot(ax=ax)

    def grid(self):
        """Return the strip as one image, a pixel of white between its parts.

        Returns
        -------
        grid : ndarray of shape (height, width, c), float
            Values in [0, 1].
        """
        n, n_steps = len(self.images), self.n_steps
        if n_steps is None:
            return _grid(self.images, self.data_range, n)
        check_count("n_steps", n_steps, 1)
        n_rows, rest = divmod(n if self.closed else n - 1, n_steps)
        if rest or n_rows < 1:
            raise ValueError(
                f"{n} images are no {'closed' if self.closed else 'open'} path of "
                f"n_steps={n_steps} from each key point to the next; set n_steps and "
                "closed as for interpolate, or n_steps=None."
            )
        order = np.arange(n_rows)[:, None] * n_steps + np.arange(n_steps + 1)
        images = np.asarray(self.images)[order.ravel() % n]
        return _grid(images, self.data_range, n_steps + 1)

    def plot(self, *, ax=None):
        """Draw the strip.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : InterpolationDisplay
            Itself, with ``ax_``, ``figure_`` and ``im_``.
        """
        self.ax_, self.im_ = _show(self.grid(), ax, "InterpolationDisplay.plot")
        self.figure_ = self.ax_.figure
        self.ax_.set_axis_off()
        return self

    def save_png(self, path, *, scale=1):
        """Write the strip to a PNG file, without matplotlib.

        Parameters
        ----------
        path : str or path
            Ends in ``.png``. What is there is replaced once all is well.
        scale : int, default=1
            Side of the square that a pixel becomes.
        """
        write_grid(path, self.grid(), scale=scale)

    def save_gif(self, path, *, duration=0.1, scale=1):
        """Write a film to an animated GIF, which begins again when it is over.

        A closed path goes round; an open one goes there and back, without a stop.

        Parameters
        ----------
        path : str or path
            Ends in ``.gif``. What is there is replaced once all is well.
        duration : float, default=0.1
            Seconds an image, between 0.02 and 60.
        scale : int, default=1
            Side of the square that a pixel becomes.
        """
        images = np.asarray(self.images)
        frames = images if self.closed else images[_there_and_back(len(images))]
        grids = [_grid(frame[None], self.data_range, 1) for frame in frames]
        write_film(path, grids, duration=duration, scale=scale)


class TraversalDisplay:
    """Draw the images on straight lines through a latent vector, a row each.

    Parameters
    ----------
    images : ndarray of shape (n_directions, n_steps, h, w) or \
(n_directions, n_steps, h, w, c)
        Those of :func:`traverse`.
    offsets : array-like of shape (n_steps,), default=None
        Distances from the middle, which stand below the columns.
    names : array-like of str, shape (n_directions,), default=None
        What stands beside the rows.
    data_range : pair of float, default=(0, 255)
        Values that mean black and white.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the rows were drawn.
    figure_ : matplotlib Figure
        Its figure.
    im_ : matplotlib AxesImage
        The rows.

    See Also
    --------
    InterpolationDisplay : A path through several latent vectors.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan.inspection import TraversalDisplay
    >>> images = load_digits().images[:10].reshape(2, 5, 8, 8)
    >>> TraversalDisplay(images, data_range=(0, 16)).grid().shape
    (17, 44, 1)
    """

    def __init__(self, images, *, offsets=None, names=None, data_range=(0, 255)):
        self.images = images
        self.offsets = offsets
        self.names = names
        self.data_range = data_range

    @classmethod
    def from_estimator(
        cls,
        estimator,
        z,
        *,
        dimensions=None,
        directions=None,
        delta=3.0,
        n_steps=10,
        names=None,
        ax=None,
    ):
        """Draw lines through a latent vector of a fitted GAN.

        Parameters
        ----------
        estimator : GAN estimator
            Fitted on images.
        z : array-like of shape (latent_dim,)
            As in :func:`traverse`.
        dimensions : int or array-like of int, default=None
            As in :func:`traverse`.
        directions : array-like of shape (n_directions, latent_dim), default=None
            As in :func:`traverse`.
        delta : float, default=3.0
            As in :func:`traverse`.
        n_steps : int, default=10
            As in :func:`traverse`.
        names : array-like of str, shape (n_directions,), default=None
            What stands beside the rows; by default their numbers.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : TraversalDisplay
            The lines, drawn.
        """
        check_has_pictures(estimator)
        images = traverse(
            estimator,
            z,
            dimensions=dimensions,
            directions=directions,
            delta=delta,
            n_steps=n_steps,
        )
        images = images.reshape(*images.shape[:2], *estimator.image_shape_)
        if names is None:
            kind = "direction" if dimensions is None else "dimension"
            numbers = range(len(images)) if dimensions is None else dimensions
            names = [f"{kind} {number}" for number in np.atleast_1d(numbers)]
        display = cls(
            images,
            offsets=np.linspace(-delta, delta, n_steps),
            names=names,
            data_range=estimator.data_range_,
        )
        return display.plot(ax=ax)

    def grid(self):
        """Return the rows as one image, a pixel of white between its parts.

        Returns
        -------
        grid : ndarray of shape (height, width, c), float
            Values in [0, 1].
        """
        images = self._checked_images()
        flat = images.reshape(-1, *images.shape[2:])
        return _grid(flat, self.data_range, images.shape[1])

    def plot(self, *, ax=None):
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : TraversalDisplay
            Itself, with ``ax_``, ``figure_`` and ``im_``.
        """
        n_rows, n_columns, height, width = self._checked_images().shape[:4]
        for name, n in (("names", n_rows), ("offsets", n_columns)):
            labels = getattr(self, name)
            if labels is not None and len(labels) != n:
                raise ValueError(
                    f"{name} holds {len(labels)} labels, but there are {n} to draw."
                )
        self.ax_, self.im_ = _show(self.grid(), ax, "TraversalDisplay.plot")
        self.figure_ = self.ax_.figure
        names = [] if self.names is None else self.names
        offsets = [] if self.offsets is None else self.offsets
        self.ax_.set_yticks(
            np.arange(len(names)) * (height + 1) + (height - 1) / 2, names
        )
        self.ax_.set_xticks(
            np.arange(len(offsets)) * (width + 1) + (width - 1) / 2,
            [f"{offset:+.2g}" for offset in offsets],
        )
        self.ax_.tick_params(length=0)
        self.ax_.spines[:].set_visible(False)
        return self

    def save_png(self, path, *, scale=1):
        """Write the rows to a PNG file, without matplotlib and without labels.

        Parameters
        ----------
        path : str or path
            Ends in ``.png``. What is there is replaced once all is well.
        scale : int, default=1
            Side of the square that a pixel becomes.
        """
        write_grid(path, self.grid(), scale=scale)

    def save_gif(self, path, *, duration=0.1, scale=1):
        """Write a film to an animated GIF, which begins again when it is over.

        All lines are walked at once, there and back, side by side.

        Parameters
        ----------
        path : str or path
            Ends in ``.gif``. What is there is replaced once all is well.
        duration : float, default=0.1
            Seconds a step, between 0.02 and 60.
        scale : int, default=1
            Side of the square that a pixel becomes.
        """
        images = self._checked_images()
        steps = _there_and_back(images.shape[1])
        grids = [_grid(images[:, step], self.data_range) for step in steps]
        write_film(path, grids, duration=duration, scale=scale)

    def _checked_images(self):
        """Return the images if they are rows of images."""
        images = np.asarray(self.images)
        if images.ndim not in (4, 5) or 0 in images.shape:
            raise ValueError(
                f"images of shape {images.shape} cannot be drawn; they should be "
                "(n_directions, n_steps, h, w) or (n_directions, n_steps, h, w, c)."
            )
        return images


def _grid(images, data_range, n_columns=None):
    """Return images as one, if they are images."""
    return SamplesDisplay(images, data_range=data_range).grid(n_columns)


def _show(grid, ax, caller):
    """Draw a grid; return the axes, new ones of its shape if need be, and the image."""
    height, width, _ = grid.shape
    return show_grid(grid, ax, caller, (8, min(12, 0.5 + 8 * height / width)))


def _there_and_back(n):
    """Return 0 to n - 1 and back again, neither end twice in a row."""
    return [*range(n), *range(n - 2, 0, -1)]
