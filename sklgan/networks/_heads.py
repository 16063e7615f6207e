"""Small networks on a discriminator's last activation, for what it teaches itself."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sklgan.networks._init import initialize_weights


def _head(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    """Return two linear layers with LeakyReLU(0.1) between them."""
    return nn.Sequential(
        nn.Linear(n_in, n_hidden), nn.LeakyReLU(0.1), nn.Linear(n_hidden, n_out)
    )


def _averaged(activation: Tensor) -> Tensor:
    """Return an activation as (n, c), the mean of its map if it is (n, c, h, w)."""
    return activation.flatten(2).mean(2) if activation.ndim > 2 else activation


class SelfTaughtDiscriminator(nn.Module):
    """A discriminator whose layers learn from other tasks than telling fakes.

    Every head sees the last activation, averaged over its map. That of realness is
    there once, with two columns: the second stops the gradient before the layers
    below. In training the logits are ``(n, 2 + sum(n_projections))``: realness,
    realness with the gradient stopped, and the projections. In evaluation they are
    those of the contract, ``(n, 1)``. With ``own_logits`` the network's own K logits
    stand in place of both columns of realness.

    Parameters
    ----------
    build : callable
        Returns a new discriminator.
    example_shape : tuple of int
        ``(c, h, w)`` or ``(d,)`` of what it takes.
    n_projections : sequence of int
        Number of outputs of each other head.
    own_logits : bool, default=False
        Whether the discriminator's own logits are used, as those of classes are.

    Raises
    ------
    ValueError
        If the discriminator shows no activation.

    References
    ----------
    Jeong and Shin 2021, section 3 (arXiv:2103.09742): heads of two layers, and the
    gradient that is stopped. Zhai et al. 2019, "S4L: Self-Supervised Semi-Supervised
    Learning", section 3 (arXiv:1905.03670): heads beside the logits of classes.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        example_shape: tuple[int, ...],
        n_projections: Sequence[int],
        own_logits: bool = False,
    ):
        super().__init__()
        self.network = build()
        with torch.no_grad():
            features, _ = self.network.eval()(torch.zeros(1, *example_shape))
        if not features:
            raise ValueError(
                "The discriminator's forward returns an empty list of features, but "
                "heads see the last of them; let it return its activations."
            )
        self.network.train()
        width = _averaged(features[-1]).shape[1]
        self.realness = None if own_logits else _head(width, width, 1)
        self.heads = nn.ModuleList(_head(width, width, n) for n in n_projections)
        if self.realness is not None:
            self.realness.apply(initialize_weights)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the network's activations, and logits as the class has them."""
        features, logits = self.network(x)
        last = _averaged(features[-1])
        logits = [logits if self.realness is None else self.realness(last)]
        if self.training:
            if self.realness is not None:
                logits.append(self.realness(last.detach()))
            logits += [head(last) for head in self.heads]
        return features, torch.cat(logits, dim=1)
