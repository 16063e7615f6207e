"""Inception features, from torch-fidelity where that is installed."""

from contextlib import closing
from functools import partial

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklgan._images import check_images, to_batch
from sklgan._placement import read_batches
from sklgan._tensors import as_tensor, resolve_device


class InceptionFeatures(TransformerMixin, BaseEstimator):
    """Features of an Inception network, as FID and KID are computed on.

    Needs ``pip install torch-fidelity``, which brings torchvision along. The network is
    torch-fidelity's port of the one that FID was defined with; its weights, 91 MiB,
    are downloaded at first use into the folder of :mod:`torch.hub`.

    Parameters
    ----------
    image_shape : tuple of int, default=None
        ``(h, w)`` or ``(h, w, c)`` of flattened images, as in the GAN estimators.
    data_range : "auto" or pair of float, default="auto"
        Values that mean black and white, as in the GAN estimators.
    layer : {"2048", "768", "192", "64"}, default="2048"
        The layer, by its number of features. ``"2048"`` is that of FID and KID; a
        Frechet distance needs a row more than features.
    batch_size : int, default=64
        Images at a time.
    device : str or torch.device, default="auto"
        ``"auto"`` takes a CUDA GPU where there is one, else the CPU.

    Attributes
    ----------
    image_shape_ : tuple of int
        ``(h, w, c)``.
    data_range_ : tuple of float
        The range of values that was used.
    n_features_in_ : int
        Number of values of an image.

    Notes
    -----
    Nothing is trained: ``fit`` looks at shape and range. Values are rounded to the 256
    levels that the network takes, grey images repeated in three channels; the network
    scales to 299 x 299. It was trained on photographs, and says little about others.

    References
    ----------
    Obukhov et al., torch-fidelity, 2020 (https://github.com/toshas/torch-fidelity).

    Examples
    --------
    >>> from sklgan.metrics import InceptionFeatures, sample_quality_scorer
    >>> features = InceptionFeatures(image_shape=(32, 32, 3))
    >>> scorer = sample_quality_scorer("kernel_distance", features=features)
    """

    def __init__(
        self,
        image_shape=None,
        *,
        data_range="auto",
        layer="2048",
        batch_size=64,
        device="auto",
    ):
        self.image_shape = image_shape
        self.data_range = data_range
        self.layer = layer
        self.batch_size = batch_size
        self.device = device

    def fit(self, X, y=None):
        """Look at the shape and the range of images.

        Parameters
        ----------
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            Grey or RGB images, as in the GAN estimators.
        y : Ignored
            There for the sake of pipelines.

        Returns
        -------
        self : InceptionFeatures
            The transformer, with what it has seen.
        """
        _import_torch_fidelity()
        check_images(self, X, reset=True)
        if self.image_shape_ is None or self.image_shape_[2] == 4:
            found = self.image_shape_ or f"flat, of {self.n_features_in_} features"
            raise ValueError(
                f"X is {found}, but the network takes grey or RGB images; set "
                "image_shape for flattened images, and leave out an alpha channel."
            )
        return self

    def transform(self, X):
        """Return the features of images.

        Parameters
        ----------
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            As in ``fit``.

        Returns
        -------
        features : ndarray of shape (n_samples, int(layer)), float32
            Activations, averaged over the image.
        """
        check_is_fitted(self)
        X = check_images(self, X, reset=False)
        device = resolve_device(self.device)
        network = _import_torch_fidelity()("sklgan-inception", [self.layer]).to(device)
        center, half_range = (as_tensor(part).to(device) for part in self._scale)
        convert = partial(
            to_batch,
            center=center,
            half_range=half_range,
            image_shape=self.image_shape_,
        )
        # torch-fidelity 0.3 leaves its network in training mode.
        network.eval()
        parts = []
        batches = closing(read_batches(X, self.batch_size))
        with torch.inference_mode(), batches as batches:
            for _, rows in batches:
                images = _levels(convert(as_tensor(rows).to(device)))
                # A tuple, with an entry for each layer that was asked for.
                parts.append(network(images)[0].float().cpu().numpy())
        return np.concatenate(parts)


def _levels(batch):
    """Return images in [-1, 1] as RGB with values 0 to 255, (n, 3, h, w), uint8."""
    levels = (batch * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.expand(-1, 3, -1, -1)


def _import_torch_fidelity():
    """Return the class of the network, or raise ImportError with the remedy."""
    try:
        from torch_fidelity import FeatureExtractorInceptionV3
    except ImportError as error:
        raise ImportError(
            "InceptionFeatures needs torch-fidelity; install it with pip install "
            "torch-fidelity, or take the features of another transformer."
        ) from error
    return FeatureExtractorInceptionV3
