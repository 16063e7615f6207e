"""Samples beside the training images that are nearest to them."""

import numpy as np

from sklgan._display import check_has_pictures, show_grid
from sklgan._grid import image_grid
from sklgan._placement import read_rows
from sklgan.inspection._checks import check_count
from sklgan.inspection._memorization import memorization_report
from sklgan.inspection._neighbors import checked_rows

# Pixels of white between a sample and its neighbours, beside the one between images.
_GAP = 3


class MemorizationDisplay:
    """Draw samples beside their nearest training images.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, h, w, c)
        Samples, one a row of the picture.
    neighbors : dict of str to ndarray of shape (n_samples, n_neighbors, h, w, c)
        Their nearest training images, the nearest first, by the space in which they
        are near.
    ratios : ndarray of shape (n_samples,), default=None
        How far the sample is from the nearest, written beside it.
    data_range : pair of float, default=(0, 255)
        Values that mean black and white.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the pictures were drawn.
    figure_ : matplotlib Figure
        Its figure.
    im_ : matplotlib AxesImage
        The pictures.

    See Also
    --------
    memorization_report : The figures to the pictures.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan.inspection import MemorizationDisplay
    >>> samples = np.zeros((4, 8, 8, 1))
    >>> display = MemorizationDisplay(samples, {"pixels": np.zeros((4, 3, 8, 8, 1))})
    >>> display.grid().shape
    (35, 37, 1)
    """

    def __init__(self, samples, neighbors, *, ratios=None, data_range=(0, 255)):
        self.samples = samples
        self.neighbors = neighbors
        self.ratios = ratios
        self.data_range = data_range

    @classmethod
    def from_estimator(
        cls, estimator, X_train, X_held_out, *, n_worst=8, ax=None, **options
    ):
        """Draw the worst samples of a fitted GAN estimator.

        Parameters
        ----------
        estimator : GAN estimator
            Fitted on images.
        X_train, X_held_out : array-like, ImageSequence, or sequence of paths or images
            As in :func:`memorization_report`.
        n_worst : int, default=8
            Number of samples at most.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.
        **options
            Further parameters of :func:`memorization_report`.

        Returns
        -------
        display : MemorizationDisplay
            The pictures, drawn.
        """
        check_has_pictures(estimator)
        check_count("n_worst", n_worst, 1)
        report = memorization_report(estimator, X_train, X_held_out, **options)
        return cls.from_report(report, estimator, X_train, n_worst=n_worst, ax=ax)

    @classmethod
    def from_report(cls, report, estimator, X_train, *, n_worst=8, ax=None):
        """Draw the worst samples of a report: those most alone with a training image.

        Samples that have the same nearest training image stand for one.

        Parameters
        ----------
        report : MemorizationReport
            What :func:`memorization_report` has returned.
        estimator : GAN estimator
            The estimator that it was given.
        X_train : array-like, ImageSequence, or sequence of paths or of PIL images
            The training images that it was given.
        n_worst : int, default=8
            Number of samples at most.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : MemorizationDisplay
            The pictures, drawn.

        Raises
        ------
        ValueError
            If the report names training images that X_train does not have.
        """
        check_has_pictures(estimator)
        check_count("n_worst", n_worst, 1)
        rows = checked_rows(estimator, X_train)
        last = max(int(space.indices.max()) for space in report.spaces.values())
        if last >= len(rows):
            raise ValueError(
                f"X_train has {len(rows)} images, but the report names image {last}; "
                "pass the training images that memorization_report was given."
            )
        shape = estimator.image_shape_
        first = next(iter(report.spaces.values()))
        order = np.argsort(first.ratios, kind="stable")
        _, once = np.unique(first.indices[order, 0], return_index=True)
        worst = order[np.sort(once)[:n_worst]]

        def pictures(indices):
            found, place = np.unique(indices, return_inverse=True)
            return read_rows(rows, found)[place].reshape(*indices.shape, *shape)

        display = cls(
            np.asarray(report.samples)[worst].reshape(-1, *shape),
            {
                name: pictures(space.indices[worst])
                for name, space in report.spaces.items()
            },
            ratios=first.ratios[worst],
            data_range=estimator.data_range_,
        )
        return display.plot(ax=ax)

    def grid(self):
        """Return the pictures as one: samples at the left, then their neighbours.

        Returns
        -------
        grid : ndarray of shape (height, width, c), float
            Values in [0, 1].
        """
        parts = self._parts()
        gap = np.ones((len(parts[0]), _GAP, parts[0].shape[2]))
        spaced = [part for grid in parts for part in (gap, grid)]
        return np.hstack(spaced[1:])

    def _parts(self):
        """Return the grid of samples, and that of the neighbours in each space."""
        samples = np.asarray(self.samples, dtype=float)
        parts = [image_grid(samples, self.data_range, 1)]
        for images in self.neighbors.values():
            images = np.asarray(images, dtype=float)
            flat = images.reshape(-1, *images.shape[2:])
            parts.append(image_grid(flat, self.data_range, images.shape[1]))
        return parts

    def plot(self, *, ax=None):
        """Draw the pictures.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : MemorizationDisplay
            Itself, with ``ax_``, ``figure_`` and ``im_``.
        """
        grid = self.grid()
        height, width = grid.shape[:2]
        size = 8.0, max(1.5, 8.0 * height / width + 0.4)
        self.ax_, self.im_ = show_grid(grid, ax, "MemorizationDisplay.plot", size)
        self.figure_ = self.ax_.figure
        widths = np.array([part.shape[1] for part in self._parts()])
        starts = np.cumsum(widths + _GAP) - widths - _GAP
        names = ["sample", *(f"nearest in {name}" for name in self.neighbors)]
        self.ax_.set_xticks(starts + widths / 2 - 0.5, names)
        n_rows = len(self.samples)
        middles = (np.arange(n_rows) + 0.5) * (height + 1) / n_rows - 1
        labels = [""] * n_rows
        if self.ratios is not None:
            labels = [f"{ratio:.2f}" for ratio in self.ratios]
        self.ax_.set_yticks(middles, labels)
        self.ax_.xaxis.tick_top()
        self.ax_.tick_params(length=0)
        self.ax_.spines[:].set_visible(False)
        return self
