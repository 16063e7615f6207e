"""Squared hinge loss on many columns: an interior-point method for the dual.

With costs c of the rows, labels y of -1 and 1 and K the products of the rows, the dual
of a class is

    max over alpha >= 0 of  sum alpha - 0.5 (y alpha)' K (y alpha) - sum alpha^2 / 4c

and w = sum_i y_i alpha_i x_i. Where rows can be separated, which wide X makes easy, a
few thousand of the constraints bind and each of them moves all others: Newton's method
on the active rows goes from kink to kink there, in steps of a hundredth of its own
length. Instead alpha stays positive. With slack variables s > 0 of the constraints, the
products alpha s are brought to 0 together, each step a ridge regression with a penalty
of its own on every row [1]_. How far w still is from the minimum is known: no further
than the primal value is above the dual one.

w and the margins are computed in float64, which costs little: the systems take most of
the products with X. Those are of X's dtype, since later steps correct what they leave,
and become float64 where that no longer gets anywhere.

References
----------
.. [1] Nocedal and Wright, "Numerical Optimization", 2nd edition, 2006, section 16.6.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sklgan._newton._progress import Progress
from sklgan._newton._rows import Rows, dot
from sklgan._newton._systems import LowRankPlusDiagonal, solve_systems

# A step aims at this part of the products of alpha and s, less after a long step.
_CENTERING = (0.01, 0.1)

# Part of itself that alpha and s keep in a step, at least.
_KEPT = 0.05

# Accuracy of the systems: later steps correct what earlier ones leave.
_FORCING = 0.03

# Part of the goal below which the products need not go, and of s that counts as none.
_SPARE = 0.1


class _Classes(NamedTuple):
    """Labels y, 1 / 2c, and which rows take part; (k, n) all."""

    y: Tensor
    ridge: Tensor
    active: Tensor

    def at(self, on):
        """Return some of the classes."""
        return _Classes(*(part[on] for part in self))


def minimize_many_columns(
    rows: Rows, y: Tensor, c: Tensor, *, tol: float, max_iter: int, report=None
) -> tuple[Tensor, int, bool]:
    """Minimise the objective of every class; classes that converged drop out.

    Parameters
    ----------
    rows : Rows
        X, (n, d).
    y : Tensor of shape (k, n)
        Labels -1 and 1 of each class, float64, on the device.
    c : Tensor of shape (k, n)
        Costs of the rows, float64. Rows of cost 0 take no part.
    tol, max_iter, report
        As for ``minimize_squared_hinge``.

    Returns
    -------
    W : Tensor of shape (k, d + 1)
        Coefficients.
    n_iter : int
        Steps.
    converged : bool
        Whether ``tol`` was reached.
    """
    active = c > 0
    classes = _Classes(y, torch.where(active, 0.5 / c, 1.0), active)
    preconditioner = LowRankPlusDiagonal(rows, rows.X.dtype)
    alpha = _first_guess(rows, preconditioner, classes)
    s, t = None, torch.zeros_like(y[:, :1])
    progress = Progress(c, rows.shape[1] + 1)
    live, stalled = torch.arange(len(y), device=y.device), False
    for n_iter in range(max_iter + 1):
        W = rows.combine(classes.y * alpha)
        margin = classes.y * rows.times(W)
        value, gap = _value_and_gap(W, margin, alpha, classes)
        excess = margin - 1 + classes.ridge * alpha
        s = _first_slack(excess, alpha, classes) if s is None else s
        # Of the dual value, which unlike the primal one is never above the minimum.
        goal = tol * (value - gap).clamp_(min=0)
        solved = gap <= goal  # NaN has solved nothing.
        progress.keep(live, W, value, solved)
        if report is not None:
            report(_line(n_iter, live, progress.value, gap / value))
        products = (alpha * s).sum(1)
        spent = ~solved & progress.spent(live, products, value, t[:, 0], goal)
        if spent.any() and preconditioner.dtype != torch.float64:
            preconditioner = LowRankPlusDiagonal(rows, torch.float64)
            progress.restart()
            spent = torch.zeros_like(spent)
        stalled |= bool(spent.any())
        on = ~solved & ~spent
        if not on.any() or n_iter == max_iter:
            break
        live, classes = live[on], classes.at(on)
        alpha, s, t = _step(
            *(rows, preconditioner, classes, alpha[on], s[on], excess[on]),
            *(t[on], goal[on, None]),
        )
    return progress.W, n_iter, not stalled and not on.any()


def _line(n_iter, live, values, part):
    """Return what is reported of a step."""
    return (
        f"step {n_iter}: {len(live)} classes left, objective of all "
        f"{float(values.sum()):.6g}, of one above its minimum by at most "
        f"{float(part.max()):.1e} of it"
    )


def _first_slack(excess, alpha, classes):
    """Return positive s (k, n) that no step is too long for."""
    s = torch.maximum(excess, alpha.mean(1, keepdim=True) / alpha)
    return torch.where(classes.active, s, 1.0)


def _first_guess(rows, preconditioner, classes):
    """Return positive alpha (k, n), 0 where a row takes no part.

    A ridge regression on all rows, at costs where the penalty holds its own, gives the
    size. What lifts the rest above 0 weighs the same on both sides: activations have
    large means, which anything else would drive w along.
    """
    y, ridge, active = classes
    steepness = (preconditioner.diagonal * active / ridge).sum(1) / active.sum(1)
    gentle = ridge * steepness.clamp(min=1)[:, None]
    beta = solve_systems(rows, preconditioner, y * active, gentle, active, accuracy=0.1)
    alpha = (y * beta).clamp_(min=0)
    positive = active & (y > 0)
    ones = positive.sum(1, keepdim=True)
    side = torch.where(positive, ones, active.sum(1, keepdim=True) - ones)
    lift = 0.05 * alpha.sum(1, keepdim=True) / side.clamp(min=1)
    return torch.where(active, alpha + lift, 0.0)


def _value_and_gap(w, margin, alpha, classes):
    """Return the objective (k,) and how far above the dual value it is (k,).

    Row by row, no term of the gap is negative, so that none of its digits cancel.
    """
    _, ridge, active = classes
    c = 0.5 * active / ridge
    slack = active * (1 - margin).clamp_(min=0)
    apart = slack - ridge * alpha
    beyond = active * (margin - 1).clamp_(min=0)
    value = dot(w, w) / 2 + dot(c * slack, slack)
    return value, dot(c * apart, apart) + dot(alpha, beyond)


def _step(rows, preconditioner, classes, alpha, s, excess, t, goal):
    """Return alpha, s and the length t (k, 1) of one step towards smaller products.

    ``excess`` is what s would be if alpha were feasible: y <w, x> - 1 + alpha / 2c;
    ``t`` the length of the step before; ``goal`` (k, 1) what the gap should be.
    """
    y, ridge, active = classes
    products = (alpha * s).sum(1, keepdim=True)
    aim = (1 - t).square_().clamp_(*_CENTERING) * products
    aim = torch.maximum(aim, _SPARE * goal)
    center = aim / active.sum(1, keepdim=True)
    safe = torch.where(active, alpha, 1.0)
    weight = torch.where(active, s / safe, 0.0)
    target = active * (center / safe - excess)
    # What a residual r is above s counts as c r^2 in the gap.
    step = y * solve_systems(
        *(rows, preconditioner, y * target, ridge + weight, active),
        accuracy=_FORCING,
        costs=0.5 * active / ridge,
        spare=_SPARE * s,
        residual_goal=aim[:, 0],
    )
    s_step = active * (center / safe - s) - weight * step
    t = _longest(safe, step)
    # The few s that would become negative need not hold up all others.
    return alpha + t * step, torch.maximum(s + t * s_step, _KEPT * s), t


def _longest(values, step):
    """Return the longest step (k, 1), at most 1, that keeps values (k, n) positive."""
    ratio = torch.where(step < 0, -values / step, torch.inf)
    return ((1 - _KEPT) * ratio.min(1, keepdim=True).values).clamp_(max=1)
