"""Squared hinge loss on few columns: Newton's method on the active rows, in float64.

Between two kinks of the hinge the objective of a class is that of a ridge regression on
the active rows, those with a margin below 1. A step solves it exactly, by a Cholesky
factor of X'X, and goes to the exact minimum of the objective on the line there [1]_.
Large costs let Newton's method stall on the kinks; they therefore grow to their value
step by step.

References
----------
.. [1] Keerthi and DeCoste, "A Modified Finite Newton Method for Fast Solution of Large
   Scale Linear SVMs", JMLR 6, 2005.
"""

import torch
from torch import Tensor

from sklgan._newton._definite import factor_definite, solve_definite
from sklgan._newton._rows import CHUNK, Rows, dot

# Factor by which the costs grow from one step to the next.
_COST_GROWTH = 4.0

# Exact steps end at the minimum itself, at the price of one or two more.
_GOAL = 1e-10


def minimize_few_columns(
    rows: Rows, y: Tensor, c: Tensor, *, tol: float, max_iter: int, report=None
) -> tuple[Tensor, int, bool]:
    """Minimise the objective of every class; classes that converged drop out.

    Parameters and results are those of ``minimize_many_columns``; W is float64.
    """
    W = torch.zeros(len(y), rows.shape[1] + 1, dtype=torch.float64, device=y.device)
    steepness = 2 * float(c.mean(0) @ rows.squared_norms()) / rows.shape[0]
    scale, goal = 1 / max(1.0, steepness), min(tol, _GOAL)
    rounding = torch.finfo(W.dtype).eps
    live, stalled = torch.arange(len(y), device=y.device), False
    previous, values = torch.full_like(c[:, 0], torch.inf), torch.zeros_like(c[:, 0])
    for n_iter in range(1, max_iter + 1):
        signs, costs, old = y[live], c[live] * scale, W[live]
        margin = signs * _times(rows, old)
        slack = (1 - margin).clamp_(min=0) * (costs > 0)
        value = dot(old, old) / 2 + dot(costs * slack, slack)
        step, bound = _newton_step(rows, old, signs, costs, slack, value)
        t = _line_search(old, step, margin, signs * _times(rows, step), costs)[:, None]
        W[live] = old + t * step
        promised = (value - bound) / value.clamp(min=torch.finfo(value.dtype).tiny)
        values[live] = value
        if report is not None:
            report(
                f"step {n_iter}, C x {scale:.2g}: {len(live)} classes left, objective "
                f"of all before it {float(values.sum()):.6g}, to lower in one by "
                f"{float(promised.max()):.1e} of it"
            )
        if scale == 1:
            moved = previous[live] - value > rounding * value
            previous[live] = value
            # What stands still without having reached tol has not converged.
            stalled |= bool(((promised > tol) & ~moved).any())
            live = live[(promised > goal) & moved]
            if len(live) == 0:
                return W, n_iter, not stalled
        scale = min(1.0, scale * _COST_GROWTH)
    return W, max_iter, False


def _parts(rows):
    """Yield (slice, these rows of X in float64)."""
    for start in range(0, rows.shape[0], CHUNK):
        block = slice(start, min(start + CHUNK, rows.shape[0]))
        yield block, rows.take(block)


def _times(rows, W):
    """Return W X', (k, n), for W (k, d + 1), in float64."""
    return torch.cat([W @ part.T for _, part in _parts(rows)], dim=1)


def _newton_step(rows, old, signs, costs, slack, value):
    """Return the step (k, d + 1), and the values (k,) that it promises."""
    pull, steepness = 2 * costs * signs * slack, 2 * costs * (slack > 0)
    gradient = old.clone()
    hessian = torch.eye(old.shape[1], dtype=old.dtype, device=old.device)
    hessian = hessian.repeat(len(old), 1, 1)
    for block, part in _parts(rows):
        gradient -= pull[:, block] @ part
        for one, weight in zip(hessian, steepness[:, block], strict=True):
            few = weight.nonzero()[:, 0]
            one.addmm_(part[few].T, part[few] * weight[few, None])
    step = solve_definite(*factor_definite(hessian), -gradient)
    return step, value + dot(gradient, step) / 2


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
