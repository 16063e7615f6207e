"""SampleGrid: what the generator draws, epoch by epoch."""

from numbers import Integral
from pathlib import Path

import numpy as np
from skorch.callbacks import Callback

from sklgan._grid import image_grid, write_grid
from sklgan._inference import run_generator
from sklgan._training._distributed import is_main_process
from sklgan._training._settled import settled


class SampleGrid(Callback):
    """Draw the same latent vectors again and again while training goes on.

    The samples are those that the estimator would draw if training ended then.

    Parameters
    ----------
    folder : str or path, default=None
        Gets a file an evaluation, ``epoch_0001.png`` and so on; made where missing.
    writer : torch.utils.tensorboard.SummaryWriter, default=None
        Or whatever has such an ``add_image``. An estimator that holds a SummaryWriter
        can be neither cloned, as searches do, nor pickled; take a folder for that.
    every : int, default=1
        Epochs from one grid to the next.
    n_samples : int, default=64
        Images in the grid.
    n_columns : int, default=None
        Images a row; by default as many as there are rows, or one more.
    tag : str, default="samples"
        Name of the images for the writer.
    random_state : int, default=0
        Decides the latent vectors.

    Attributes
    ----------
    Z_ : ndarray of shape (n_samples, latent_dim), float32
        The latent vectors.

    See Also
    --------
    SamplesDisplay : Samples of a fitted estimator.

    Notes
    -----
    Epochs count from the beginning of a training, and files of a later training take
    the place of earlier ones of the same number. ``n_init`` runs several trainings, of
    which the last leaves its files, whichever is kept. With ``warm_start`` each call
    of ``fit`` is a training of its own. In ``partial_fit`` each chunk is one, of a
    single epoch: there is only ``epoch_0001.png``, of the last chunk, and nothing with
    ``every`` above 1. For files of each, give each call a SampleGrid with another
    folder. A writer gets all grids, under the same numbers.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import DCGANFeatureExtractor, SampleGrid
    >>> folder = tempfile.mkdtemp()
    >>> gan = DCGANFeatureExtractor(
    ...     n_filters=8, max_epochs=4, callbacks=[SampleGrid(folder, every=2)]
    ... )
    >>> gan = gan.fit(load_digits().images[:200])
    >>> sorted(os.listdir(folder))
    ['epoch_0002.png', 'epoch_0004.png']
    """

    def __init__(
        self,
        folder=None,
        *,
        writer=None,
        every=1,
        n_samples=64,
        n_columns=None,
        tag="samples",
        random_state=0,
    ):
        self.folder = folder
        self.writer = writer
        self.every = every
        self.n_samples = n_samples
        self.n_columns = n_columns
        self.tag = tag
        self.random_state = random_state

    def on_train_begin(self, net, **kwargs):
        """Check the parameters, make the folder, draw the latent vectors."""
        if self.folder is None and self.writer is None:
            raise ValueError("SampleGrid needs a folder or a writer.")
        for name in ("every", "n_samples", "n_columns"):
            value = getattr(self, name)
            if value is None and name == "n_columns":
                continue
            if not isinstance(value, Integral) or value < 1:
                raise ValueError(
                    f"{name}={value!r} of SampleGrid should be an int of at least 1."
                )
        if net.to_batch.keywords["image_shape"] is None:
            raise ValueError(
                "SampleGrid needs images, but X is flat; set image_shape=(h, w) or "
                "(h, w, c) if its rows are flattened images, else leave SampleGrid out."
            )
        if self.folder is not None:
            Path(self.folder).mkdir(parents=True, exist_ok=True)
        rng = np.random.RandomState(self.random_state)
        shape = self.n_samples, net.latent_dim
        self.Z_ = rng.standard_normal(shape).astype(np.float32)

    def on_epoch_end(self, net, **kwargs):
        """Draw a grid, if it is time."""
        if net.n_epochs % self.every:
            return
        with settled(net) as generator:
            images = run_generator(generator, self.Z_, pad=False)
        if not is_main_process():
            return
        grid = image_grid(images.transpose(0, 2, 3, 1), (-1, 1), self.n_columns)
        if self.folder is not None:
            path = Path(self.folder) / f"epoch_{net.n_epochs:04d}.png"
            write_grid(path, grid, parameter="folder")
        if self.writer is not None:
            self.writer.add_image(self.tag, grid, net.n_epochs, dataformats="HWC")
