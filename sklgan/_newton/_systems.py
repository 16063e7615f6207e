"""Linear systems with the products of all rows, K, plus a diagonal of each class.

By conjugate gradients, for all classes together, as passes over X. Activations are far
from centred and correlated, so that a few hundred directions of K outweigh the rest a
thousandfold, and the rest is near to a diagonal. K of a low rank plus the diagonal that
it lacks is therefore a preconditioner that leaves some ten iterations [1]_. It is
sketched once, and restricted to each class's active rows.

References
----------
.. [1] Frangella, Tropp and Udell, "Randomized Nystrom Preconditioning", SIAM J. Matrix
   Analysis and Applications 44, 2023, arXiv:2110.02820. The diagonal is our addition.
"""

import torch
from torch import Tensor

from sklgan._newton._definite import factor_definite, solve_definite
from sklgan._newton._rows import CHUNK, Rows, dot

# Rank of the preconditioner: more costs a longer start, less costs more iterations.
_RANK = 256

_MAX_ITERATIONS = 300


class LowRankPlusDiagonal:
    """K as F F' plus a diagonal, and systems with it on each class's active rows.

    F, (n, rank), is X projected onto random combinations of its rows, always the same
    ones. The products with X are of the given dtype, those of the systems too.
    """

    def __init__(self, rows: Rows, dtype: torch.dtype):
        n, d = rows.shape
        self.dtype = dtype
        self.rank = min(_RANK, n, max(1, d // 4))
        generator = torch.Generator().manual_seed(0)
        mix = torch.randn(self.rank, n, generator=generator).to(rows.device, dtype)
        basis = torch.linalg.qr(rows.combine(mix).T)[0]
        self.factor = rows.times(basis.T).T
        covered = [part.square().sum(1) for _, part in self._parts()]
        self.diagonal = (rows.squared_norms() - torch.cat(covered)).clamp_(min=0)

    def _parts(self):
        """Yield (slice, these rows of F in float64)."""
        for start in range(0, len(self.factor), CHUNK):
            block = slice(start, min(start + CHUNK, len(self.factor)))
            yield block, self.factor[block].double()

    def prepare(self, ridge, active):
        """Return what ``solve`` needs for ``F F' + diagonal + ridge``; (k, n) both."""
        inverse = active / (self.diagonal + ridge)
        core = torch.eye(self.rank, dtype=torch.float64, device=inverse.device)
        core = core.repeat(len(inverse), 1, 1)
        for block, part in self._parts():
            for one, weight in zip(core, inverse[:, block], strict=True):
                one.addmm_(part.T, part * weight[:, None])
        return inverse, *factor_definite(core)

    def solve(self, prepared, B):
        """Solve for the right-hand sides B (k, n), which are 0 on inactive rows."""
        inverse, scale, factors = prepared
        B = B * inverse
        low = sum(B[:, block] @ part for block, part in self._parts())
        low = solve_definite(scale, factors, low)
        back = torch.cat([low @ part.T for _, part in self._parts()], dim=1)
        return B - inverse * back


def solve_systems(
    rows,
    preconditioner,
    B,
    ridge,
    active,
    *,
    accuracy,
    costs=None,
    spare=None,
    residual_goal=None,
) -> Tensor:
    """Solve ``(K + ridge) x = b`` on the active rows of each class; all are (k, n).

    Ends where the estimate of the error, in the norm of the system, has fallen to the
    part ``accuracy`` of what it was, and what the residual's size is above ``spare``
    (k, n), squared and times ``costs`` (k, n), adds up to at most ``residual_goal``
    (k,).
    """
    prepared = preconditioner.prepare(ridge, active)
    solution, residual = torch.zeros_like(B), B.clone()
    direction = preconditioner.solve(prepared, residual)
    error = dot(residual, direction)
    enough = accuracy**2 * error
    on = (error > 0).nonzero()[:, 0]
    for _ in range(_MAX_ITERATIONS):
        if len(on) == 0:
            break
        p = direction[on]
        image = rows.times(rows.combine(p.to(preconditioner.dtype))).double()
        image = active[on] * image + ridge[on] * p
        length = (error[on] / dot(p, image))[:, None]
        solution[on] += length * p
        residual[on] -= length * image
        left = residual[on]
        solved = preconditioner.solve([part[on] for part in prepared], left)
        following = dot(left, solved)
        direction[on] = solved + (following / error[on])[:, None] * p
        error[on] = following
        unsolved = following > enough[on]
        if costs is not None:
            apart = (left.abs() - spare[on]).clamp_(min=0)
            unsolved |= dot(costs[on] * apart, apart) > residual_goal[on]
        on = on[unsolved & (following > 0)]
    return solution
