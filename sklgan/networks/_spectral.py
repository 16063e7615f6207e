"""Spectral normalisation: weights whose largest singular value is 1."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)

# From a random vector they bring the norm of a random matrix to within 3 %.
_FIRST_ITERATIONS = 30


class SpectralNorm(nn.Module):
    """Divide a weight by its spectral norm, as a parametrisation of that weight.

    A step of the power iteration is taken in each forward pass, and kept in training
    alone. That is what sets it apart from ``torch.nn.utils.parametrizations``: there
    evaluation takes both singular vectors as they are, which would be far off for
    averaged weights. Besides, it computes in the weight's own precision under autocast.

    Parameters
    ----------
    weight : Tensor
        The initial weight, of 2 dimensions or more, not 0.
    dim : int, default=0
        The dimension of the outputs.

    References
    ----------
    Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative
    Adversarial Networks", 2018, section 2.1 and appendix A (arXiv:1802.05957).
    """

    def __init__(self, weight: Tensor, dim: int = 0):
        super().__init__()
        self.dim = dim
        matrix = self._matrix(weight.detach())
        u = normalize(torch.randn_like(matrix[:, 0]), dim=0)
        for _ in range(_FIRST_ITERATIONS):
            u, _ = self._vectors(matrix, u)
        self.register_buffer("u", u)

    def _matrix(self, weight: Tensor) -> Tensor:
        """Return the weight as a matrix with a row for each output."""
        return weight.movedim(self.dim, 0).flatten(1)

    @staticmethod
    @torch.no_grad()
    def _vectors(matrix: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return better left and right singular vectors than ``u``."""
        v = normalize(torch.mv(matrix.T, u), dim=0)
        return normalize(torch.mv(matrix, v), dim=0), v

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight over its spectral norm."""
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self._matrix(weight)
            u, v = self._vectors(matrix, self.u)
            if self.training:
                with torch.no_grad():
                    self.u.copy_(u)
            return weight / torch.dot(u, torch.mv(matrix, v))


def add_spectral_norm(module: nn.Module) -> nn.Module:
    """Normalise the weights of all linear layers and convolutions, in place.

    Their spectral norm is 1 from then on, whatever the optimiser does, so that the
    module changes little where its input does. Weights that are parametrised already
    are left alone.

    Parameters
    ----------
    module : torch.nn.Module
        Of any kind, with its initial weights.

    Returns
    -------
    module : torch.nn.Module
        The module that was given.

    Raises
    ------
    ValueError
        If it has no such layer, or one with weights of 0.

    References
    ----------
    Miyato, Kataoka, Koyama and Yoshida, "Spectral Normalization for Generative
    Adversarial Networks", 2018 (arXiv:1802.05957).

    Examples
    --------
    >>> import torch
    >>> from sklgan.networks import add_spectral_norm
    >>> layer = add_spectral_norm(torch.nn.Linear(3, 5))
    >>> round(torch.linalg.matrix_norm(layer.weight, 2).item(), 1)
    1.0
    """
    layers = {n: m for n, m in module.named_modules() if isinstance(m, _LAYERS)}
    name = type(module).__name__
    if not layers:
        raise ValueError(
            f"{name} has no linear layer or convolution of torch.nn to normalise; use "
            "another network, or no spectral norm."
        )
    for path, layer in layers.items():
        # The second is that of torch.nn.utils.spectral_norm, which users may have.
        if parametrize.is_parametrized(layer, "weight") or hasattr(
            layer, "weight_orig"
        ):
            continue
        if not layer.weight.detach().any():
            raise ValueError(
                f"{name} starts with weights of 0 in {path!r}, which cannot be divided "
                "by their spectral norm; initialise them otherwise."
            )
        norm = SpectralNorm(layer.weight, dim=int(isinstance(layer, _TRANSPOSED)))
        parametrize.register_parametrization(layer, "weight", norm)
    return module


def plain_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a module whose weights are the values in use, not parametrised.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode.

    Returns
    -------
    copied : torch.nn.Module
        Computes the same.
    """
    copied = copy.deepcopy(module)
    for layer in copied.modules():
        if not parametrize.is_parametrized(layer):
            continue
        values = {name: getattr(layer, name) for name in layer.parametrizations}
        del layer.parametrizations
        # What remove_parametrizations does would break the original: a copy's class,
        # from which it takes the properties, is the original's.
        layer.__class__ = type(layer).__bases__[0]
        for name, value in values.items():
            layer.register_parameter(name, nn.Parameter(value.detach().clone()))
    return copied
