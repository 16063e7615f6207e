"""What a fitted BlobGAN can do with blobs: draw them, paint them, find them."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklgan._blob_arrays import as_array, as_matrix, render_blobs
from sklgan._blob_dtype import blobs_from_matrix, check_blobs
from sklgan._images import check_images, from_batch
from sklgan._inference import device_of, for_each_batch, run_discriminator
from sklgan._inversion import refined
from sklgan._namespaces import empty_beside, is_dispatched, like, to_host
from sklgan._perceptual import choose_perceptual
from sklgan._tensors import as_tensor, torch_seed

# Latent vectors over which the mean layout is taken.
_MEAN_ROWS = 4096


class BlobsMixin:
    """Blobs of noise and of images, and images of blobs."""

    def layout(self, Z, truncation=0.0):
        """Map latent vectors to blobs.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            Latent vectors; ``fit`` and ``sample`` draw them from N(0, 1).
        truncation : float, default=0.0
            How far layouts are drawn to the mean one, from 0 to 1, on the second-last
            layer of the layout network: what is drawn is then more usual, and less
            diverse.

        Returns
        -------
        B : ndarray of shape (n_samples,), structured
            Blobs; see :mod:`sklgan.blobs`.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float32, input_name="Z")
        latent_dim = self._architecture["latent_dim"]
        if Z.shape[1] != latent_dim:
            raise ValueError(
                f"Z has {Z.shape[1]} columns, but the generator was fitted with "
                f"latent_dim={latent_dim}."
            )
        if not isinstance(truncation, Real) or not 0 <= truncation <= 1:
            raise ValueError(f"truncation={truncation!r} should be from 0 to 1.")
        network = self.generator_.layout
        device = device_of(network)
        with torch.inference_mode(), torch_seed(0):
            hidden = network.hidden(as_tensor(Z).to(device))
            if truncation > 0:
                drawn = torch.randn(_MEAN_ROWS, latent_dim).to(device)
                mean = network.hidden(drawn).mean(0)
                hidden = torch.lerp(hidden, mean, float(truncation))
            return as_array(network.read(hidden), self.blob_dtype_)

    def sample(
        self, n_samples=1, random_state=None, *, truncation=0.0, return_blobs=False
    ):
        """Draw images from the generator, and the blobs that they are painted of.

        Parameters
        ----------
        n_samples : int, default=1
            Number of images.
        random_state : int, RandomState instance or None, default=None
            Decides the latent vectors. None takes the estimator's ``random_state``.
        truncation : float, default=0.0
            As in :meth:`layout`.
        return_blobs : bool, default=False
            Whether to return the blobs as well.

        Returns
        -------
        X : ndarray of shape (n_samples, ...)
            In the layout, dtype and range of the X given to ``fit``.
        B : ndarray of shape (n_samples,), structured
            Only if ``return_blobs=True``; see :mod:`sklgan.blobs`.
        """
        B = self.layout(self._draw_latent(n_samples, random_state), truncation)
        images = self.inverse_transform(B)
        return (images, B) if return_blobs else images

    def inverse_transform(self, B):
        """Paint the images of blobs.

        Parameters
        ----------
        B : ndarray of shape (n_samples,), structured, or (n_samples, n_features_out)
            Blobs of this model, edited or not, any number of them an image; or rows as
            ``transform`` returns them.

        Returns
        -------
        X : ndarray of shape (n_samples, ...)
            In the layout, dtype and range of the X given to ``fit``.
        """
        check_is_fitted(self)
        images = render_blobs(self.generator_, self._check_blobs(B))
        images = from_batch(self, images)
        return like(torch.from_numpy(images), B) if is_dispatched(B) else images

    def render(self, B):
        """Paint the images of blobs; another name of :meth:`inverse_transform`.

        Parameters
        ----------
        B : ndarray of shape (n_samples,), structured, or (n_samples, n_features_out)
            As in :meth:`inverse_transform`.

        Returns
        -------
        X : ndarray of shape (n_samples, ...)
            In the layout, dtype and range of the X given to ``fit``.
        """
        return self.inverse_transform(B)

    def _check_blobs(self, B):
        """Return blobs of this model, given as such or as rows of a matrix."""
        if getattr(getattr(B, "dtype", None), "names", None) is None:
            M = check_array(to_host(B), dtype=np.float32, input_name="B")
            B = blobs_from_matrix(M, self.blob_dtype_)
        if len(check_blobs(B)) == 0:
            raise ValueError("B holds the blobs of no image; pass those of at least 1.")
        for name in ("feature", "style"):
            found, own = B.dtype[name].shape[1], self.blob_dtype_[name].shape[1]
            if found != own:
                raise ValueError(
                    f"B has blobs with a {name} of {found} values, but this model's "
                    f"have {own}; render blobs with the model that they come from."
                )
        return B

    def opacity_maps(self, B):
        """Return how much is seen of each blob, at each place of the image.

        Parameters
        ----------
        B : ndarray of shape (n_samples,), structured, or (n_samples, n_features_out)
            As in :meth:`inverse_transform`.

        Returns
        -------
        maps : ndarray of shape (n_samples, n_blobs + 1, h, w), float32
            Background first; they sum to 1.
        """
        check_is_fitted(self)
        return render_blobs(self.generator_, self._check_blobs(B), opacity=True)

    def find(self, X, refine=0):
        """Find the blobs of images, as an array to edit.

        Parameters
        ----------
        X : array-like, ImageSequence, or sequence of paths or of PIL images
            As in ``fit``.
        refine : int, default=0
            As in :meth:`transform`.

        Returns
        -------
        B : ndarray of shape (n_samples,), structured
            What :meth:`transform` returns, as blobs; see :mod:`sklgan.blobs`.
        """
        M = self._find_matrix(X, refine).cpu().numpy()
        return blobs_from_matrix(M, self.blob_dtype_)

    def _find_matrix(self, X, refine):
        """Return the blobs of images as rows, a tensor."""
        check_is_fitted(self)
        if not hasattr(self, "encoder_"):
            raise NotFittedError(
                f"The last fit of this {type(self).__name__} ended before an epoch "
                "of its encoder: it paints blobs, but finds none. Call fit again; with "
                "warm_start=True it goes on with the networks that there are."
            )
        whole = isinstance(refine, Integral) and not isinstance(refine, bool)
        if not whole or refine < 0:
            raise ValueError(f"refine={refine!r} should be an int of at least 0.")
        rows = check_images(self, X, reset=False)
        device = device_of(self.encoder_)
        to_batch = self._make_to_batch(device)
        layout, distance = self.generator_.layout, None
        if refine:
            distance = choose_perceptual(self.perceptual, self.discriminator_, device)
        numbers = empty_beside(rows, len(rows), self.encoder_.head.bias.shape[0])

        def write(chosen, features, logits):
            numbers[chosen] = logits

        run_discriminator(self.encoder_, rows, to_batch, write, pad=self._pads)
        matrix = empty_beside(rows, len(rows), self._n_features_out)

        def read(chosen, batch_size):
            part = numbers[chosen].to(device)
            if refine:
                images = to_batch(as_tensor(rows[chosen]).to(device))
                part = refined(part, images, self.generator_, distance, refine)
            with torch.inference_mode():
                # In float32 the last digit would depend on a row's place in the batch.
                matrix[chosen] = as_matrix(layout.read_numbers(part.double()))

        for_each_batch(len(rows), read)
        return matrix
