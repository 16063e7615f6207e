"""Squared hinge loss for all classes at once, by Newton's method, without copies of X.

For each class, with labels y of -1 and 1 and costs c of the rows, the minimum over w of

    0.5 |w|^2 + sum_i c_i max(0, 1 - y_i <w, x_i>)^2

is sought. Between two kinks of the hinge this is a ridge regression on the active rows,
those with a margin below 1. A step solves it for all classes together and goes to the
exact minimum of the objective on the line there [1]_. Where rows can be separated,
which wide X makes easy, Newton's method stalls on the kinks if the costs are large;
they therefore grow to their value step by step.

References
----------
.. [1] Keerthi and DeCoste, "A Modified Finite Newton Method for Fast Solution of Large
   Scale Linear SVMs", JMLR 6, 2005.
"""

import torch
from torch import Tensor

from sklgan._newton._ridge import DualRidge, PrimalRidge, dot
from sklgan._newton._rows import Rows

# X of up to so many columns has its systems solved exactly.
_NARROW = 512


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
    ridge = (PrimalRidge if rows.shape[1] <= _NARROW else DualRidge)(rows, costs)
    V, scale = ridge.start, ridge.gentle_scale
    # Exact steps end at the minimum itself, at the price of one or two more.
    goal = min(tol, 1e-10) if ridge.exact else tol
    rounding = torch.finfo(V.dtype).eps
    live, stalled = torch.arange(len(signs), device=rows.device), False
    previous = torch.full_like(costs[:, 0], torch.inf)
    for n_iter in range(1, max_iter + 1):
        y, c, old = signs[live], costs[live] * scale, V[live]
        Z = ridge.times(old)
        slack = (1 - y * Z).clamp_(min=0) * (c > 0)
        value = dot(old, old) / 2 + dot(c * slack, slack)
        new, new_Z, bound = ridge.solve(live, old, y, c, slack, value)
        step = new - old
        t = _line_search(old, step, y * Z, y * (new_Z - Z), c)[:, None]
        V[live] = old + t.to(V.dtype) * step
        ridge.moved(live, t)
        promised = (value - bound) / value.clamp(min=torch.finfo(value.dtype).tiny)
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
        scale = min(1.0, scale * ridge.cost_growth)
    return V.T, max_iter, False


def _line_search(W, step, margin, slope, c):
    """Return the exact minimiser along ``step`` of each class, (k,), float64.

    ``margin`` and ``slope`` (k, n) are y <w, x> and y <step, x>. The derivative is
    piecewise linear and increasing: Newton steps, kept between bounds, find its root.
    """
    ws, ss = dot(W, step), dot(step, step)
    t = torch.ones_like(ws)
    # Far beyond the solution of a regression lies nothing but rounding.
    low, high = torch.zeros_like(ws), torch.full_like(ws, 2.0)
    for _ in range(60):
        slack = (1 - margin - t[:, None] * slope).clamp_(min=0)
        pull = c * slope
        derivative = ws + t * ss - 2 * dot(pull, slack)
        curvature = ss + 2 * dot(pull * (slack > 0), slope)
        low = torch.where(derivative < 0, t, low)
        high = torch.where(derivative > 0, t, high)
        following = torch.where(curvature > 0, t - derivative / curvature, t)
        outside = (following < low) | (following > high)
        following = torch.where(outside, (low + high) / 2, following)
        if bool(((following - t).abs() <= 1e-10 * t).all()):
            return following
        t = following
    return t
