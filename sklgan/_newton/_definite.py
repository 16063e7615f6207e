"""Cholesky factors of matrices that rounding may have left not quite definite."""

import torch
from torch import Tensor

# Added in turn to a diagonal of ones, until it is enough.
_JITTERS = (1e-13, 1e-11, 1e-9, 1e-7)


def factor_definite(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return scales (k, d), and Cholesky factors of k matrices (k, d, d) so scaled.

    No matrix is an error. What is solved with the factors of infinities is not finite,
    and whoever asked for it has not converged.
    """
    scale = matrices.diagonal(dim1=1, dim2=2).rsqrt()
    matrices = scale[:, :, None] * matrices * scale[:, None, :]
    # Large costs leave nothing of the penalty, and rounding may make it negative.
    for jitter in _JITTERS:
        matrices.diagonal(dim1=1, dim2=2).fill_(1 + jitter)
        factors, failed = torch.linalg.cholesky_ex(matrices)
        if not failed.any():
            break
    return scale, factors


def solve_definite(scale: Tensor, factors: Tensor, B: Tensor) -> Tensor:
    """Return the solutions for B (k, d), given what ``factor_definite`` returned."""
    solved = torch.cholesky_solve((scale * B)[:, :, None], factors)
    return scale * solved[:, :, 0]
