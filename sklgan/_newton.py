"""Squared hinge loss for all classes at once, by Newton's method, without copies of X.

For each class, with labels y of -1 and 1 and costs c of the rows, the minimum over w of

    0.5 |w|^2 + sum_i c_i max(0, 1 - y_i <w, x_i>)^2

is sought. Between two kinks of the hinge this is a ridge regression on the active rows,
those with a margin below 1. A step solves that regression by conjugate gradients, for
all classes together, and goes to the exact minimum of the objective on the line there
[1]_. Where rows can be separated, which wide X makes easy, Newton's method stalls on
the kinks if the costs are large; they therefore grow to their value step by step.

The regression is solved in its dual form, ``(K + diag(1 / 2c)) beta = y`` with K the
products of the active rows, one unknown a row: the active sets hang on slacks of size
``beta / 2c``, which the dual form gets right long before the primal one does.
Activations are far from centred and correlated, so that a few hundred directions of K
outweigh the rest a thousandfold, and the rest is near to a diagonal. K of a low rank
plus the diagonal that it lacks is therefore a preconditioner that leaves 5 to 20
iterations [2]_. It is sketched once, and restricted to each class's active rows.

References
----------
.. [1] Keerthi and DeCoste, "A Modified Finite Newton Method for Fast Solution of Large
   Scale Linear SVMs", JMLR 6, 2005.
.. [2] Frangella, Tropp and Udell, "Randomized Nystrom Preconditioning", SIAM J. Matrix
   Analysis and Applications 44, 2023, arXiv:2110.02820. The diagonal is our addition.
"""

import torch
from torch import Tensor

# Rank of the preconditioner: more costs a longer start, less costs more iterations.
_RANK = 256

# X of up to so many columns is its own, exact, preconditioner.
_NARROW = 512

# A regression is solved up to this part of its loss, and of the progress it promises.
_FORCING = 1e-3
_CG_ITERATIONS = 300

# Factor by which the costs grow from one step to the next.
_COST_GROWTH = 8.0

# Rows that are held in float64 at a time.
_CHUNK = 4096

# Bytes of X that are on another device at a time, where it does not fit there.
_BLOCK_BYTES = 2**28

# MKL multiplies up to 32 wide rows without packing them, in half the time.
_UNPACKED_ROWS = 32


class Rows:
    """The matrix X with a constant column, as products that never copy it.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        On the CPU or on the device.
    bias : float
        Value of the constant column; 0 for none.
    device : torch.device
        Where to compute. Blocks of X are moved there if it is elsewhere.
    """

    def __init__(self, X: Tensor, bias: float, device: torch.device):
        self.X, self.bias, self.device = X, bias, device
        self.shape, self.step = X.shape, len(X)
        if X.device.type != device.type:
            self.step = max(1, _BLOCK_BYTES // (X.shape[1] * X.element_size()))
        on_cpu = X.device.type == device.type == "cpu"
        self._unpacked = on_cpu and X.is_contiguous() and X.shape[1] >= 2048

    def _blocks(self, step):
        """Yield (slice, these rows on the device)."""
        for start in range(0, len(self.X), step):
            block = slice(start, min(start + step, len(self.X)))
            yield block, self.X[block].to(self.device)

    def take(self, block: slice) -> Tensor:
        """Return some rows with their constant, (m, d + 1), float64."""
        rows = self.X[block].to(self.device).double()
        return torch.nn.functional.pad(rows, (0, 1), value=self.bias)

    def times(self, V: Tensor) -> Tensor:
        """Return V X', (k, n), for V (k, d + 1)."""
        parts = [rows @ V[:, :-1].T for _, rows in self._blocks(self.step)]
        product = parts[0] if len(parts) == 1 else torch.cat(parts)
        return product.add_(self.bias * V[:, -1]).T

    def combine(self, U: Tensor) -> Tensor:
        """Return U X, (k, d + 1), for U (k, n)."""
        k, d = len(U), self.shape[1]
        U = U.to(self.X.dtype)
        total = torch.zeros(k, d, dtype=U.dtype, device=U.device)
        unpacked = self._unpacked and k <= _UNPACKED_ROWS
        for block, rows in self._blocks(_UNPACKED_ROWS if unpacked else self.step):
            total.addmm_(U[:, block], rows)
        return torch.cat([total, self.bias * U.sum(1, keepdim=True)], dim=1)

    def squared_norms(self) -> Tensor:
        """Return the squared length of each row, (n,), float64."""
        step = min(self.step, 64)
        norms = [rows.square().sum(1).double() for _, rows in self._blocks(step)]
        return torch.cat(norms) + self.bias**2

    def mean_square(self) -> float:
        """Return the mean squared length of a row; infinite if X's dtype overflows."""
        return float(self.squared_norms().mean())


def minimize_squared_hinge(
    rows: Rows, Y: Tensor, weights: Tensor, *, tol: float, max_iter: int, report=None
) -> tuple[Tensor, int, bool]:
    """Minimise the objective of every class; classes that converged drop out.

    Parameters
    ----------
    rows : Rows
        X, (n, d).
    Y : Tensor of shape (n, k)
        Labels -1 and 1 of each class, on the device.
    weights : Tensor of shape (n, k)
        C times the weight of each row.
    tol : float
        A class has converged when its step promised to lower its objective by no more
        than this part. The step is still taken.
    max_iter : int
        Newton steps at most.
    report : callable, default=None
        Called with a line of text after each step.

    Returns
    -------
    W : Tensor of shape (d + 1, k)
        Coefficients; the last row belongs to the constant column.
    n_iter : int
        Newton steps.
    converged : bool
        Whether ``tol`` was reached.
    """
    signs, costs = Y.T.double().contiguous(), weights.T.double().contiguous()
    k, d = len(signs), rows.shape[1]
    V = torch.zeros(k, d + 1, dtype=rows.X.dtype, device=rows.device)
    beta = torch.zeros_like(costs)
    preconditioner = _LowRankPlusDiagonal(rows)
    scale = preconditioner.gentle_scale(costs)
    # Exact steps end at the minimum itself, at the price of one or two more.
    goal = min(tol, 1e-10) if preconditioner.exact else tol
    rounding = torch.finfo(V.dtype).eps
    live, stalled = torch.arange(k, device=rows.device), False
    previous = torch.full((k,), torch.inf, dtype=torch.float64, device=rows.device)
    for n_iter in range(1, max_iter + 1):
        y, c, old = signs[live], costs[live] * scale, V[live]
        Z = rows.times(old).double()
        slack = (1 - y * Z).clamp_(min=0) * (c > 0)
        value = _dot(old, old) / 2 + _dot(c * slack, slack)
        new_beta, new, new_Z, dual = _solve_regressions(
            rows, preconditioner, y, c, slack > 0, beta[live], value
        )
        step = new - old
        t = _line_search(old, step, y * Z, y * (new_Z - Z), c)[:, None]
        V[live] = old + t.to(V.dtype) * step
        beta[live] += t * (new_beta - beta[live])
        promised = (value - dual) / value.clamp(min=torch.finfo(value.dtype).tiny)
        if report is not None:
            report(
                f"step {n_iter}, C x {scale:.2g}: {len(live)} classes left, objective "
                f"{float(value.sum()):.6g}, to lower by {float(promised.max()):.1e}"
            )
        if scale == 1:
            moved = previous[live] - value > rounding * value
            previous[live] = value
            # What stands still without having reached tol has not converged.
            stalled |= bool(((promised > tol) & ~moved).any())
            live = live[(promised > goal) & moved]
            if len(live) == 0:
                return V.T, n_iter, not stalled
        scale = min(1.0, scale * _COST_GROWTH)
    return V.T, max_iter, False


class _LowRankPlusDiagonal:
    """X X' as F F' plus a diagonal, and systems with it on each class's active rows.

    F, (n, rank), is X projected onto random combinations of its rows, always the same
    ones, or X itself where it has few columns.
    """

    def __init__(self, rows: Rows):
        n, d = rows.shape
        self.rows, self.factor, self.rank, self.exact = rows, None, d + 1, True
        self.diagonal = torch.zeros(n, dtype=torch.float64, device=rows.device)
        if d <= _NARROW:
            return
        self.rank = min(_RANK, n, d // 4)
        self.exact = self.rank == n
        generator = torch.Generator().manual_seed(0)
        mix = torch.randn(self.rank, n, generator=generator).to(rows.device)
        basis = torch.linalg.qr(rows.combine(mix).T)[0]
        self.factor = rows.times(basis.T).T
        covered = [part.square().sum(1) for _, part in self._parts()]
        self.diagonal = (rows.squared_norms() - torch.cat(covered)).clamp_(min=0)

    def _parts(self):
        """Yield (slice, these rows of F in float64)."""
        n = self.rows.shape[0]
        for start in range(0, n, _CHUNK):
            block = slice(start, min(start + _CHUNK, n))
            if self.factor is None:
                yield block, self.rows.take(block)
            else:
                yield block, self.factor[block].double()

    def gentle_scale(self, costs):
        """Return the factor on the costs up to which the penalty holds its own."""
        rows = (costs > 0).sum().clamp(min=1)
        steepness = 2 * float((self.diagonal * costs).sum() / rows)
        return 1 / max(1.0, steepness)

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
    worse = _dot(c * residual, residual) > (c * active).sum(1)
    beta[worse], W[worse], Z[worse] = 0.0, 0.0, 0.0
    residual[worse] = (active * y)[worse]
    direction = preconditioner.solve(prepared, residual)
    decrease = _dot(residual, direction)
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
        length = (decrease[on] / _dot(p, image))[:, None]
        beta[on] += length * p
        W[on] += (length * step_W).to(W.dtype)
        Z[on] += length * step_Z
        residual[on] -= length * image
        left, spread = residual[on], ridge[on] * beta[on]
        dual[on] = _dot(beta[on], (Z[on] + spread) / 2 + left)
        # What lies between primal and dual value of a regression is this sum alone.
        gap, loss = _dot(c[on] * left, left), _dot(beta[on], spread) / 2
        solved = preconditioner.solve((prepared[0][on], prepared[1][on]), left)
        following = _dot(left, solved)
        direction[on] = solved + (following / decrease[on])[:, None] * p
        decrease[on] = following
        goal = _FORCING * torch.minimum(loss, value[on] - dual[on])
        goal = torch.maximum(goal, rounding * value[on])
        on = on[(gap > goal) & (following > 0)]
    return beta, W, Z, dual


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of the rows of a and b, (k,), added up in float64."""
    return (a.double() * b).sum(1)


def _line_search(W, step, margin, slope, c):
    """Return the exact minimiser along ``step`` of each class, (k,), float64.

    ``margin`` and ``slope`` (k, n) are y <w, x> and y <step, x>. The derivative is
    piecewise linear and increasing: Newton steps, kept between bounds, find its root.
    """
    ws, ss = _dot(W, step), _dot(step, step)
    t = torch.ones_like(ws)
    # Far beyond the solution of a regression lies nothing but rounding.
    low, high = torch.zeros_like(ws), torch.full_like(ws, 2.0)
    for _ in range(60):
        slack = (1 - margin - t[:, None] * slope).clamp_(min=0)
        pull = c * slope
        derivative = ws + t * ss - 2 * _dot(pull, slack)
        curvature = ss + 2 * _dot(pull * (slack > 0), slope)
        low = torch.where(derivative < 0, t, low)
        high = torch.where(derivative > 0, t, high)
        following = torch.where(curvature > 0, t - derivative / curvature, t)
        outside = (following < low) | (following > high)
        following = torch.where(outside, (low + high) / 2, following)
        if bool(((following - t).abs() <= 1e-10 * t).all()):
            return following
        t = following
    return t
