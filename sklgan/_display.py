"""Pictures of a fitted estimator: arrays are kept, and drawn by ``plot``.

As in scikit-learn, ``from_estimator`` computes and draws; matplotlib is imported
only then.
"""

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklgan._grid import image_grid
from sklgan._inference import check_gan


def _axes(ax, caller, figsize=None):
    """Return ``ax``, or new axes, and say what to install if that is not possible."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib; install it with pip install 'sklgan[plot]'."
        ) from error
    return plt.subplots(figsize=figsize, layout="constrained")[1] if ax is None else ax


def check_has_pictures(estimator):
    """Refuse an estimator that is not fitted, or not on images."""
    check_gan(estimator)
    if estimator.image_shape_ is None:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on flat X, which has no pictures; "
            "set image_shape=(h, w) or (h, w, c) if its rows are flattened images."
        )


def show_grid(grid, ax, caller, figsize):
    """Draw images that are one, values in [0, 1]; return the axes and the image."""
    ax = _axes(ax, caller, figsize=figsize)
    image = grid[..., 0] if grid.shape[2] == 1 else grid
    return ax, ax.imshow(image, cmap="gray", vmin=0, vmax=1)


class SamplesDisplay:
    """Draw images side by side in a grid.

    Parameters
    ----------
    images : ndarray of shape (n_samples, h, w) or (n_samples, h, w, c)
        Grey, RGB or RGBA images.
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
    TrainingHistoryDisplay : Losses by epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from sklgan import SamplesDisplay
    >>> images = np.zeros((10, 8, 8), dtype=np.uint8)
    >>> SamplesDisplay(images).grid(n_columns=5).shape
    (17, 44, 1)
    """

    def __init__(self, images, *, data_range=(0, 255)):
        self.images = images
        self.data_range = data_range

    @classmethod
    def from_estimator(
        cls, estimator, *, n_samples=64, random_state=None, n_columns=None, ax=None
    ):
        """Draw samples of a fitted GAN estimator.

        Parameters
        ----------
        estimator : GAN estimator
            Fitted on images.
        n_samples : int, default=64
            Number of images.
        random_state : int, RandomState instance or None, default=None
            As in ``estimator.sample``.
        n_columns : int, default=None
            Images a row; by default as many as there are rows, or one more.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : SamplesDisplay
            The samples, drawn.
        """
        check_has_pictures(estimator)
        images = estimator.sample(n_samples, random_state=random_state)
        images = images.reshape(-1, *estimator.image_shape_)
        display = cls(images, data_range=estimator.data_range_)
        return display.plot(n_columns=n_columns, ax=ax)

    def grid(self, n_columns=None):
        """Return the images as one, a pixel of white between them.

        Parameters
        ----------
        n_columns : int, default=None
            Images a row; by default as many as there are rows, or one more.

        Returns
        -------
        grid : ndarray of shape (height, width, c), float
            Values in [0, 1].
        """
        images = np.asarray(self.images, dtype=float)
        images = images[..., None] if images.ndim == 3 else images
        if images.ndim != 4 or images.shape[3] not in (1, 3, 4):
            raise ValueError(
                f"images of shape {np.shape(self.images)} cannot be drawn; they should "
                "be (n_samples, h, w), or (n_samples, h, w, c) with 1, 3 or 4 channels."
            )
        check_array(images, allow_nd=True, input_name="images")
        return image_grid(images, self.data_range, n_columns)

    def plot(self, *, n_columns=None, ax=None):
        """Draw the grid.

        Parameters
        ----------
        n_columns : int, default=None
            As in :meth:`grid`.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : SamplesDisplay
            Itself, with ``ax_``, ``figure_`` and ``im_``.
        """
        grid = self.grid(n_columns)
        self.ax_, self.im_ = show_grid(grid, ax, "SamplesDisplay.plot", (6, 6))
        self.figure_ = self.ax_.figure
        self.ax_.set_axis_off()
        return self


class TrainingHistoryDisplay:
    """Draw the losses of discriminator and generator by epoch.

    Parameters
    ----------
    history : list of dict
        Rows with ``epoch`` and losses, as in ``estimator.history_``.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where the lines were drawn.
    figure_ : matplotlib Figure
        Its figure.
    lines_ : list of matplotlib Line2D
        A line for each loss.

    See Also
    --------
    SamplesDisplay : What the generator draws.

    Examples
    --------
    >>> from sklgan import TrainingHistoryDisplay
    >>> history = [{"epoch": 1, "d_loss": 1.3, "g_loss": 0.7, "duration": 0.1}]
    >>> TrainingHistoryDisplay(history).losses()
    {'d_loss': [1.3], 'g_loss': [0.7]}
    """

    def __init__(self, history):
        self.history = history

    @classmethod
    def from_estimator(cls, estimator, *, ax=None):
        """Draw the history of a fitted GAN estimator.

        Parameters
        ----------
        estimator : GAN estimator
            Fitted, with at least one epoch of training.
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : TrainingHistoryDisplay
            The history, drawn.
        """
        check_is_fitted(estimator)
        check_gan(estimator, "history_", "estimator with a history")
        return cls(estimator.history_).plot(ax=ax)

    def losses(self):
        """Return the losses by name.

        Returns
        -------
        losses : dict of str to list of float
            One value an epoch; NaN where an epoch has none.
        """
        names = dict.fromkeys(
            name for row in self.history for name in row if name.endswith("_loss")
        )
        return {
            name: [row.get(name, float("nan")) for row in self.history]
            for name in names
        }

    def plot(self, *, ax=None):
        """Draw a line for each loss.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default a new figure.

        Returns
        -------
        display : TrainingHistoryDisplay
            Itself, with ``ax_``, ``figure_`` and ``lines_``.
        """
        if not self.history:
            raise ValueError(
                "The history is empty: fit with max_epochs of at least 1 to draw it."
            )
        labels = {"d_loss": "discriminator", "g_loss": "generator"}
        self.ax_ = _axes(ax, "TrainingHistoryDisplay.plot", figsize=(6, 3.5))
        from matplotlib.ticker import MaxNLocator

        self.figure_ = self.ax_.figure
        epochs = [row["epoch"] for row in self.history]
        self.lines_ = [
            self.ax_.plot(epochs, values, marker=".", label=labels.get(name, name))[0]
            for name, values in self.losses().items()
        ]
        self.ax_.set(xlabel="epoch", ylabel="mean loss")
        self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.ax_.legend()
        return self
