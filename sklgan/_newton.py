"""A Newton method for the squared hinge loss, all classes at once, without copies of X.

The objective of one class, with labels y of -1 and 1 and weights c of the rows, is
``0.5 ||w||^2 + sum_i c_i max(0, 1 - y_i x_i w)^2``. It is quadratic between changes of
the set of active rows, those whose margin is below 1, so Newton's method ends after
finitely many steps with an exact line search; few, if C grows to its value by stages,
since the active set of one stage is then nearly that of the next.

A step solves with the Hessian ``I + 2 X_A' c X_A``. Where rows or columns are few this
is done by Cholesky factors, class by class, in the smaller of both spaces; otherwise by
conjugate gradients on all classes together, two passes over X an iteration, after
preconditioning with the leading eigenvectors of X'X: activations have means that are
large beside their spread, which alone would cost hundreds of iterations.

References: Keerthi and DeCoste 2005, JMLR 6 (the finite Newton method); Lin, Weng and
Keerthi 2008, JMLR 9 (truncated Newton for linear models); Halko, Martinsson and Tropp
2011, SIAM Review 53 (randomised eigenvectors).
"""

import math

import torch
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor

# Factor between two stages of C, and how well all but the last are solved.
_STAGE = 3.0
_STAGE_TOLERANCE = 1e-2

# Sizes up to which Cholesky factors are taken, one a class; half of the rows may be
# active. X X' is kept for the rows: 0.6 GB for these.
_DIRECT_ROWS = 12_000
_DIRECT_COLUMNS = 1200

# An iteration of conjugate gradients costs what so many multiplications a value of X
# cost in a factor: it waits for the memory.
_CG_COST = 12

_N_EIGENVECTORS = 200
_CG_TOLERANCE = 0.1
_CG_ITERATIONS = 250
_CG_FEWEST = 5

# Bytes of X that are on another device at a time, where it does not fit there.
_BLOCK_BYTES = 2**28


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
        self.shape = X.shape
        step = len(X)
        if X.device.type != device.type:
            step = max(1, _BLOCK_BYTES // (X.shape[1] * X.element_size()))
        self.blocks = [
            slice(start, min(start + step, len(X))) for start in range(0, len(X), step)
        ]

    def times(self, V: Tensor) -> Tensor:
        """Return X V, (n, k), for V (d + 1, k)."""
        parts = [self.X[block].to(self.device) @ V[:-1] for block in self.blocks]
        product = parts[0] if len(parts) == 1 else torch.cat(parts)
        return product.add_(self.bias * V[-1])

    def transposed_times(self, U: Tensor) -> Tensor:
        """Return X' U, (d + 1, k), for U (n, k)."""
        product = U.new_empty(self.shape[1] + 1, U.shape[1])
        torch.mul(U.sum(0), self.bias, out=product[-1])
        total = product[:-1].zero_()
        for block in self.blocks:
            total.addmm_(self.X[block].to(self.device).T, U[block])
        return product

    def gram(self) -> Tensor:
        """Return X X', (n, n)."""
        n = self.shape[0]
        gram = torch.empty(n, n, dtype=self.X.dtype, device=self.device)
        for rows in self.blocks:
            part = self.X[rows].to(self.device)
            for columns in self.blocks:
                other = self.X[columns].to(self.device)
                torch.mm(part, other.T, out=gram[rows, columns])
        return gram.add_(self.bias**2)

    def mean_square(self) -> float:
        """Return the mean squared length of a row, the constant column included."""
        lengths = torch.linalg.vector_norm(self.X, dim=1).double()
        return float(lengths.square().mean()) + self.bias**2


def minimize_squared_hinge(
    rows: Rows, Y: Tensor, weights: Tensor, *, tol: float, max_iter: int, report=None
) -> tuple[Tensor, int, bool]:
    """Minimise the objective of every class.

    Parameters
    ----------
    rows : Rows
        X, (n, d).
    Y : Tensor of shape (n, k)
        Labels -1 and 1 of each class, on the device, in the dtype of X.
    weights : Tensor of shape (n, k)
        C times the weight of each row.
    tol : float
        Stop when the decrease that the next step promises is below ``tol`` times the
        objective, for every class.
    max_iter : int
        Number of Newton steps at most.
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
    n, d = rows.shape
    W = Y.new_zeros(d + 1, Y.shape[1])
    Z = torch.zeros_like(Y)
    solver = _Solver(rows)
    # A C this small leaves all margins near 0, and is solved by a step or two.
    scale = 2 * rows.mean_square() * float(weights.max())
    n_stages = math.ceil(math.log(max(scale, 1.0)) / math.log(_STAGE))
    for n_iter in range(1, max_iter + 1):
        c = weights / _STAGE**n_stages
        slack = (1 - Y * Z).clamp_min_(0)
        objective = 0.5 * _dot(W, W) + _dot(c * slack, slack)
        gradient = W - 2 * rows.transposed_times(c * slack * Y)
        D, ZD = solver.direction(W, Y, gradient, c, c * slack > 0)
        decrease = -0.5 * _dot(gradient, D)
        step = _line_search(W, D, Y * Z, Y * ZD, c)
        W += step.to(W.dtype) * D
        Z = rows.times(W) if n_iter % 10 == 0 else Z + step.to(Z.dtype) * ZD
        gap = float((decrease / objective.clamp_min(1e-300)).max())
        if report is not None:
            report(f"step {n_iter}, stage -{n_stages}: {float(objective.sum()):.6g}")
        if gap <= (tol if n_stages == 0 else _STAGE_TOLERANCE):
            if n_stages == 0:
                return W, n_iter, True
            n_stages -= 1
    return W, max_iter, False


class _Solver:
    """Newton directions: by Cholesky factors where that is cheap, else by gradients."""

    def __init__(self, rows: Rows):
        self.rows = rows
        self.kernel = self.eigenvectors = None

    def direction(self, W, Y, gradient, c, active):
        """Return D (d + 1, k) and X D (n, k).

        Conjugate gradients are given about the time that Cholesky factors would take;
        where that is not enough, and the factors fit, these are taken.
        """
        n, d = self.rows.shape
        if d < n and d <= _DIRECT_COLUMNS:
            D = self._by_columns(gradient, c, active)
            return D, self.rows.times(D)
        n_active = int(active.sum(0).max())
        direct = n <= _DIRECT_ROWS and n_active <= _DIRECT_ROWS // 2
        limit = _CG_ITERATIONS
        if direct:
            limit = min(limit, n_active**3 // (_CG_COST * n * d))
        if limit >= _CG_FEWEST:
            D, ZD, solved = self._by_gradients(gradient, c, active, limit)
            if solved or not direct:
                return D, ZD
        D = self._by_rows(Y, c, active) - W
        return D, self.rows.times(D)

    def _by_columns(self, gradient, c, active):
        """Solve in d + 1 dimensions."""
        d = self.rows.shape[1]
        D = torch.empty_like(gradient)
        for k in range(gradient.shape[1]):
            hessian = torch.eye(d + 1, dtype=torch.float64, device=gradient.device)
            weight = (2 * c[:, k] * active[:, k]).double()
            for start in range(0, len(weight), 4096):
                block = slice(start, start + 4096)
                part = self.rows.X[block].to(gradient.device).double()
                part = torch.nn.functional.pad(part, (0, 1), value=self.rows.bias)
                hessian.addmm_(part.T, part * weight[block, None])
            right = -gradient[:, k].double()
            D[:, k] = _solve_in_place(hessian, right).to(D.dtype)
        return D

    def _by_rows(self, Y, c, active):
        """Return the minimiser for these active rows, (d + 1, k), solved in n-space."""
        if self.kernel is None:
            self.kernel = self.rows.gram()
        B = torch.zeros_like(Y)
        for k in range(Y.shape[1]):
            chosen = active[:, k].nonzero()[:, 0]
            if len(chosen) == 0:
                continue
            size = len(chosen)
            system = c.new_empty(size, size, dtype=torch.float64)
            for part in range(0, size, 512):
                block = slice(part, part + 512)
                system[block] = self.kernel[chosen[block, None], chosen]
            system.diagonal().add_(0.5 / c[chosen, k].double())
            right = Y[chosen, k].double()
            B[chosen, k] = _solve_in_place(system, right).to(B.dtype)
        return self.rows.transposed_times(B)

    def _by_gradients(self, gradient, c, active, limit):
        """Solve for all classes by preconditioned conjugate gradients.

        Returns D, X D, and whether ``limit`` iterations were enough.
        """
        rows, weight = self.rows, 2 * c * active
        precondition = self._preconditioner(weight)
        D, residual = torch.zeros_like(gradient), -gradient
        ZD = torch.zeros_like(weight)
        z = precondition(residual)
        direction, rz = z.clone(), _dot(residual, z)
        goal = _CG_TOLERANCE**2 * rz
        solved = False
        for _ in range(limit):
            image = rows.times(direction)
            curved = direction + rows.transposed_times(weight * image)
            step = rz / _dot(direction, curved).clamp_min(1e-300)
            step = torch.where(rz > goal, step, 0.0).to(D.dtype)
            D += step * direction
            ZD += step * image
            residual -= step * curved
            z = precondition(residual)
            rz_next = _dot(residual, z)
            solved = bool((rz_next <= goal).all())
            if solved:
                break
            direction = z + (rz_next / rz.clamp_min(1e-300)).to(D.dtype) * direction
            rz = rz_next
        return D, ZD, solved

    def _preconditioner(self, weight):
        """Return the inverse of I + mean weight x (leading part of X'X), a function."""
        if self.eigenvectors is None:
            self.eigenvectors = _leading_eigenvectors(self.rows)
        V, values, rest = self.eigenvectors
        mean = weight.mean(0)
        flat = 1 / (1 + mean * rest)
        leading = 1 / (1 + mean * values[:, None]) - flat

        def precondition(residual):
            return flat * residual + V @ (leading * (V.T @ residual))

        return precondition


def _leading_eigenvectors(rows: Rows):
    """Return V (d + 1, r), eigenvalues (r,) of X'X, and the mean of the others."""
    n, d = rows.shape
    r = min(_N_EIGENVECTORS, n, d + 1)
    generator = torch.Generator().manual_seed(0)
    V = torch.randn(d + 1, r, generator=generator, dtype=rows.X.dtype).to(rows.device)
    for _ in range(3):
        V, _ = torch.linalg.qr(rows.transposed_times(rows.times(V)))
    image = rows.times(V)
    values, rotation = torch.linalg.eigh(image.T @ image)
    values = values.clamp_min(0)
    others = rows.mean_square() * n - float(values.sum())
    return V @ rotation, values, max(others, 0.0) / max(1, min(n, d + 1) - r)


def _solve_in_place(system: Tensor, right: Tensor) -> Tensor:
    """Solve a symmetric positive definite system; on the CPU it is overwritten."""
    # Rounding may have made it indefinite; the line search mends what this changes.
    diagonal = system.diagonal()
    diagonal.add_(len(diagonal) * torch.finfo(system.dtype).eps * diagonal.sum())
    if system.device.type != "cpu":
        factor = torch.linalg.cholesky(system)
        return torch.cholesky_solve(right[:, None], factor)[:, 0]
    # torch copies what it factors, which here would be the largest thing in memory.
    factor = cho_factor(system.numpy().T, overwrite_a=True, check_finite=False)
    return torch.from_numpy(cho_solve(factor, right.numpy(), check_finite=False))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of columns, (k,), added up in float64."""
    return torch.stack(
        [(a[:, k] * b[:, k]).sum(dtype=torch.float64) for k in range(a.shape[1])]
    )


def _line_search(W, D, margin, slope, c):
    """Return the exact minimiser along D of each class, (k,), float64.

    ``margin`` and ``slope`` (n, k) are y x w and y x d. The derivative is piecewise
    linear and increasing: Newton steps, kept between bounds, find its root.
    """
    wd, dd = _dot(W, D), _dot(D, D)
    step = torch.ones_like(wd)
    low, high = torch.zeros_like(wd), torch.full_like(wd, math.inf)
    for _ in range(60):
        slack = (1 - margin - step.to(margin.dtype) * slope).clamp_min_(0)
        derivative = wd + step * dd - 2 * _dot(c * slack, slope)
        curvature = dd + 2 * _dot(c * (slack > 0) * slope, slope)
        low = torch.where(derivative < 0, step, low)
        high = torch.where(derivative >= 0, step, high)
        following = step - derivative / curvature.clamp_min(1e-300)
        outside = (following <= low) | (following >= high)
        middle = torch.where(high.isfinite(), (low + high) / 2, 2 * step)
        following = torch.where(outside, middle, following)
        if bool(((following - step).abs() <= 1e-7 * step).all()):
            break
        step = following
    return step
