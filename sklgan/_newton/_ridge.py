"""Ridge regressions on each class's active rows: what a Newton step has to solve.

Few columns: exactly, by a Cholesky factor of X'X, in float64. Many columns: the dual
form ``(K + diag(1 / 2c)) beta = y`` by conjugate gradients, with K the products of the
active rows, one unknown a row: the active sets hang on slacks of size ``beta / 2c``,
which the dual form gets right long before the primal one does.

Activations are far from centred and correlated, so that a few hundred directions of K
outweigh the rest a thousandfold, and the rest is near to a diagonal. K of a low rank
plus the diagonal that it lacks is therefore a preconditioner that leaves 5 to 20
iterations [1]_. It is sketched once, and restricted to each class's active rows.

References
----------
.. [1] Frangella, Tropp and Udell, "Randomized Nystrom Preconditioning", SIAM J. Matrix
   Analysis and Applications 44, 2023, arXiv:2110.02820. The diagonal is our addition.
"""

import torch
from torch import Tensor

from sklgan._newton._rows import Rows

# Rank of the preconditioner: more costs a longer start, less costs more iterations.
_RANK = 256

# A regression is solved up to this part of its loss, and of the progress it promises.
_FORCING = 1e-3
_CG_ITERATIONS = 300

# Rows that are held in float64 at a time.
_CHUNK = 4096


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of the rows of a and b, (k,), added up in float64."""
    return (a.double() * b).sum(1)


class PrimalRidge:
    """Regressions with few columns, solved exactly whatever the scale of X.

    Parameters
    ----------
    rows : Rows
        X, (n, d).
    costs : Tensor of shape (k, n)
        Costs of the rows for each class, float64.
    """

    exact = True

    # Factor by which the costs grow from one step to the next.
    cost_growth = 4.0

    def __init__(self, rows: Rows, costs: Tensor):
        self.rows = rows
        k, d = len(costs), rows.shape[1]
        self.start = torch.zeros(k, d + 1, dtype=torch.float64, device=rows.device)
        steepness = 2 * float(costs.mean(0) @ rows.squared_norms()) / rows.shape[0]
        self.gentle_scale = 1 / max(1.0, steepness)

    def times(self, V):
        """Return V X', (k, n), for V (k, d + 1), in float64."""
        return torch.cat([V @ part.T for _, part in self._parts()], dim=1)

    def _parts(self):
        """Yield (slice, these rows of X in float64)."""
        n = self.rows.shape[0]
        for start in range(0, n, _CHUNK):
            block = slice(start, min(start + _CHUNK, n))
            yield block, self.rows.take(block)

    def solve(self, live, old, y, c, slack, value):
        """Return w (k, d + 1), its products (k, n), and the values (k,) promised."""
        pull, steepness = 2 * c * y * slack, 2 * c * (slack > 0)
        gradient = old.clone()
        hessian = torch.eye(old.shape[1], dtype=old.dtype, device=old.device)
        hessian = hessian.repeat(len(old), 1, 1)
        for block, part in self._parts():
            gradient -= pull[:, block] @ part
            for one, weight in zip(hessian, steepness[:, block], strict=True):
                few = weight.nonzero()[:, 0]
                one.addmm_(part[few].T, part[few] * weight[few, None])
        step = _solve_definite(hessian, -gradient)
        return old + step, self.times(old + step), value + dot(gradient, step) / 2

    def moved(self, live, t):
        """Do nothing: w is all there is."""


def _solve_definite(matrices, B):
    """Solve for B (k, d) with k positive definite matrices, near to singular or not."""
    scale = matrices.diagonal(dim1=1, dim2=2).rsqrt()
    matrices = scale[:, :, None] * matrices * scale[:, None, :]
    # Large costs leave nothing of the penalty, and rounding may make it negative.
    matrices.diagonal(dim1=1, dim2=2).add_(1e-13)
    solved = torch.cholesky_solve(
        (scale * B)[:, :, None], torch.linalg.cholesky(matrices)
    )
    return scale * solved[:, :, 0]


class DualRidge:
    """Regressions with many columns, solved in the dual form, in the dtype of X.

    Parameters
    ----------
    rows : Rows
        X, (n, d).
    costs : Tensor of shape (k, n)
        Costs of the rows for each class, float64.
    """

    cost_growth = 8.0

    def __init__(self, rows: Rows, costs: Tensor):
        self.rows = rows
        k, d = len(costs), rows.shape[1]
        self.start = torch.zeros(k, d + 1, dtype=rows.X.dtype, device=rows.device)
        self.preconditioner = _LowRankPlusDiagonal(rows)
        self.exact = self.preconditioner.rank == len(costs[0])
        # Up to here the penalty holds its own against what the sketch leaves out.
        n_rows = (costs > 0).sum().clamp(min=1)
        steepness = 2 * float((self.preconditioner.diagonal * costs).sum() / n_rows)
        self.gentle_scale = 1 / max(1.0, steepness)
        self._beta = torch.zeros_like(costs)

    def times(self, V):
        """Return V X', (k, n), for V (k, d + 1), in float64."""
        return self.rows.times(V).double()

    def solve(self, live, old, y, c, slack, value):
        """Return w (k, d + 1), its products (k, n), and the values (k,) promised.

        While the active sets stay, the objective cannot fall below these values.
        """
        self._new, new, new_Z, bound = _solve_regressions(
            self.rows, self.preconditioner, y, c, slack > 0, self._beta[live], value
        )
        return new, new_Z, bound

    def moved(self, live, t):
        """Let beta follow w, which went a part t (k, 1) of the way."""
        self._beta[live] += t * (self._new - self._beta[live])


class _LowRankPlusDiagonal:
    """X X' as F F' plus a diagonal, and systems with it on each class's active rows.

    F, (n, rank), is X projected onto random combinations of its rows, always the same
    ones.
    """

    def __init__(self, rows: Rows):
        n, d = rows.shape
        self.rank = min(_RANK, n, max(1, d // 4))
        generator = torch.Generator().manual_seed(0)
        mix = torch.randn(self.rank, n, generator=generator).to(rows.device)
        basis = torch.linalg.qr(rows.combine(mix).T)[0]
        self.factor = rows.times(basis.T).T
        covered = [part.square().sum(1) for _, part in self._parts()]
        self.diagonal = (rows.squared_norms() - torch.cat(covered)).clamp_(min=0)

    def _parts(self):
        """Yield (slice, these rows of F in float64)."""
        for start in range(0, len(self.factor), _CHUNK):
            block = slice(start, min(start + _CHUNK, len(self.factor)))
            yield block, self.factor[block].double()

    def prepare(self, ridge, active):
        """Return what ``solve`` needs for ``F F' + diagonal + ridge``; (k, n) both."""
        inverse = active / (self.diagonal + ridge)
        core = torch.eye(self.rank, dtype=torch.float64, device=inverse.device)
        core = core.repeat(len(inverse), 1, 1)
        for block, part in self._parts():
            for one, weight in zip(core, inverse[:, block], strict=True):
                chosen = weight.nonzero()[:, 0]
                few = part[chosen]
                one.addmm_(few.T, few * weight[chosen, None])
        return inverse, torch.linalg.cholesky(core)

    def solve(self, prepared, B):
        """Solve for the right-hand sides B (k, n), which are 0 on inactive rows."""
        inverse, cholesky = prepared
        B = B * inverse
        low = sum(B[:, block] @ part for block, part in self._parts())
        low = torch.cholesky_solve(low[:, :, None], cholesky)[:, :, 0]
        back = torch.cat([low @ part.T for _, part in self._parts()], dim=1)
        return B - inverse * back


def _solve_regressions(rows, preconditioner, y, c, active, beta, value):
    """Solve each class's ridge regression on its active rows.

    ``beta`` (k, n) is where to start, ``value`` (k,) the objective that is to fall.
    Returns beta, w (k, d + 1), its products (k, n) and the dual value (k,), below which
    the objective cannot fall while the active sets stay.
    """
    ridge = torch.where(active, 0.5 / c, 0.0)
    prepared = preconditioner.prepare(torch.where(active, ridge, 1.0), active)
    beta = beta * active
    W = rows.combine(beta)
    Z = rows.times(W).double()
    residual = active * (y - Z) - ridge * beta
    worse = dot(c * residual, residual) > (c * active).sum(1)
    beta[worse], W[worse], Z[worse] = 0.0, 0.0, 0.0
    residual[worse] = (active * y)[worse]
    direction = preconditioner.solve(prepared, residual)
    decrease = dot(residual, direction)
    dual = torch.zeros_like(value)
    on = (decrease > 0).nonzero()[:, 0]
    rounding = torch.finfo(W.dtype).eps
    for _ in range(_CG_ITERATIONS):
        if len(on) == 0:
            break
        p = direction[on]
        step_W = rows.combine(p)
        step_Z = rows.times(step_W).double()
        image = active[on] * step_Z + ridge[on] * p
        length = (decrease[on] / dot(p, image))[:, None]
        beta[on] += length * p
        W[on] += (length * step_W).to(W.dtype)
        Z[on] += length * step_Z
        residual[on] -= length * image
        left, spread = residual[on], ridge[on] * beta[on]
        dual[on] = dot(beta[on], (Z[on] + spread) / 2 + left)
        # What lies between primal and dual value of a regression is this sum alone.
        gap, loss = dot(c[on] * left, left), dot(beta[on], spread) / 2
        solved = preconditioner.solve((prepared[0][on], prepared[1][on]), left)
        following = dot(left, solved)
        direction[on] = solved + (following / decrease[on])[:, None] * p
        decrease[on] = following
        goal = _FORCING * torch.minimum(loss, value[on] - dual[on])
        goal = torch.maximum(goal, rounding * value[on])
        on = on[(gap > goal) & (following > 0)]
    return beta, W, Z, dual
