"""K-means features of image patches, the baseline of an evaluation of features."""

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from torch.nn.functional import unfold


class KMeansPatches(TransformerMixin, BaseEstimator):
    """Describe images by how near their patches are to typical patches.

    Patches are drawn from the training images, freed of their own brightness and
    contrast, whitened and clustered. Every patch of an image is then described by how
    much nearer than on average it is to each centroid ("triangle" activation), and
    summed over the four quadrants of the image. Needs no labels and one pass.

    Parameters
    ----------
    n_centroids : int, default=400
        Number of typical patches; there are four features to each.
    patch_size : int, default=6
        Height and width of a patch, in pixels.
    patches_per_centroid : int, default=250
        Number of patches that are clustered, divided by that of the centroids; the
        paper takes 400,000 patches for 1,600.
    epsilon : float, default=0.1
        Floor of the whitening; raise it if centroids look like noise.
    batch_size : int, default=8
        Images described at once; each takes 3 kB a centroid.
    device : str, default="auto"
        The torch device of `transform`; "auto" takes the GPU if there is one.
    random_state : int, RandomState instance or None, default=None
        Decides which patches are drawn, and where the clusters start.

    Attributes
    ----------
    centroids_ : ndarray of shape (n_centroids, n_values)
        Typical patches, whitened.
    mean_ : ndarray of shape (n_values,)
        Mean of the patches.
    whitening_ : ndarray of shape (n_values, n_values)
        The ZCA whitening of patches.

    References
    ----------
    A. Coates, H. Lee and A. Y. Ng, "An Analysis of Single-Layer Networks in
    Unsupervised Feature Learning", AISTATS 2011, section 3.
    """

    def __init__(
        self,
        n_centroids=400,
        *,
        patch_size=6,
        patches_per_centroid=250,
        epsilon=0.1,
        batch_size=8,
        device="auto",
        random_state=None,
    ):
        self.n_centroids = n_centroids
        self.patch_size = patch_size
        self.patches_per_centroid = patches_per_centroid
        self.epsilon = epsilon
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state

    def fit(self, X, y=None):
        """Learn the whitening and the centroids from uint8 images (n, h, w, c)."""
        rng = check_random_state(self.random_state)
        patches = _normalize(torch.from_numpy(self._draw_patches(X, rng)))
        patches = patches.numpy().astype(np.float64)
        self.mean_ = patches.mean(axis=0)
        variances, axes = np.linalg.eigh(np.cov(patches, rowvar=False))
        self.whitening_ = (axes / np.sqrt(variances + self.epsilon)) @ axes.T
        whitened = ((patches - self.mean_) @ self.whitening_).astype(np.float32)
        # Starting at random patches is the paper's way; k-means++ gains nothing here.
        kmeans = KMeans(
            self.n_centroids, init="random", n_init=1, max_iter=50, random_state=rng
        )
        self.centroids_ = kmeans.fit(whitened).cluster_centers_
        return self

    def transform(self, X):
        """Return the features of uint8 images (n, h, w, c), float32 (n, 4 * k)."""
        features = np.empty((len(X), 4 * self.n_centroids), dtype=np.float32)
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        mean, whitening, centroids = (
            torch.as_tensor(part, dtype=torch.float32, device=device)
            for part in (self.mean_, self.whitening_, self.centroids_)
        )
        for start in range(0, len(X), self.batch_size):
            images = torch.from_numpy(X[start : start + self.batch_size])
            images = images.to(device).permute(0, 3, 1, 2).float()
            patches = _normalize(unfold(images, self.patch_size).mT.contiguous())
            whitened = (patches - mean) @ whitening
            n_rows, n_columns = (size - self.patch_size + 1 for size in X.shape[1:3])
            near = _triangle(whitened, centroids)
            maps = near.view(len(images), n_rows, n_columns, -1)
            pooled = _sum_quadrants(maps).flatten(start_dim=1)
            features[start : start + len(images)] = pooled.cpu().numpy()
        return features

    def _draw_patches(self, X, rng):
        """Return random patches, float32 (n_patches, c * size * size)."""
        size, n_patches = self.patch_size, self.n_centroids * self.patches_per_centroid
        rows = rng.randint(len(X), size=n_patches)
        tops = rng.randint(X.shape[1] - size + 1, size=n_patches)
        lefts = rng.randint(X.shape[2] - size + 1, size=n_patches)
        # (n_patches, c, size, size), in the order of torch's unfold.
        windows = np.lib.stride_tricks.sliding_window_view(X, (size, size), (1, 2))
        drawn = windows[rows, tops, lefts]
        return drawn.reshape(n_patches, -1).astype(np.float32)


def _normalize(patches):
    """Return patches (..., n_values) of mean 0 and of the same contrast."""
    patches = patches - patches.mean(dim=-1, keepdim=True)
    variance = patches.square().sum(dim=-1, keepdim=True) / (patches.shape[-1] - 1)
    # 10 grey levels squared keep flat patches flat (section 3.1.1 of the paper).
    return patches.div_(torch.sqrt(variance + 10))


def _triangle(patches, centroids):
    """Return max(0, mean distance - distance to each centroid), (n, n_patches, k)."""
    squares = patches.square().sum(dim=-1, keepdim=True)
    distances = patches @ (-2 * centroids.T)
    distances += squares + centroids.square().sum(dim=-1)
    distances = distances.clamp_(min=0).sqrt_()
    return distances.neg_().sub_(distances.mean(dim=-1, keepdim=True)).clamp_(min=0)


def _sum_quadrants(maps):
    """Return the sums over the quadrants of maps (n, h, w, k), (n, 4, k)."""
    top, left = maps.shape[1] // 2, maps.shape[2] // 2
    halves = (maps[:, :top], maps[:, top:])
    quadrants = [
        part for half in halves for part in (half[:, :, :left], half[:, :, left:])
    ]
    return torch.stack([part.sum(dim=(1, 2)) for part in quadrants], dim=1)
