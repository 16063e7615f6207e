"""Squared hinge loss for all classes at once, without copies of X."""

from torch import Tensor

from sklgan._newton._few_columns import minimize_few_columns
from sklgan._newton._interior import minimize_many_columns
from sklgan._newton._rows import Rows

# X of up to so many columns has its systems solved exactly.
_NARROW = 512


def minimize_squared_hinge(
    rows: Rows, Y: Tensor, weights: Tensor, *, tol: float, max_iter: int, report=None
) -> tuple[Tensor, int, bool]:
    """Minimise, over w of each class, ``0.5 |w|^2 + sum_i c_i max(0, 1 - y_i z_i)^2``.

    Here y are the labels of the class, -1 and 1, c the costs of the rows, and
    z_i = <w, x_i>.

    Parameters
    ----------
    rows : Rows
        X, (n, d).
    Y : Tensor of shape (n, k)
        Labels -1 and 1 of each class, on the device.
    weights : Tensor of shape (n, k)
        C times the weight of each row. A row of weight 0 takes no part.
    tol : float
        A class has converged when its objective can be lowered by no more than this
        part: with few columns, by another step; with many, by anything.
    max_iter : int
        Steps at most.
    report : callable, default=None
        Called with a line of text after each step.

    Returns
    -------
    W : Tensor of shape (d + 1, k)
        Coefficients; the last row belongs to the constant column.
    n_iter : int
        Steps.
    converged : bool
        Whether ``tol`` was reached.
    """
    narrow = rows.shape[1] <= _NARROW
    minimize = minimize_few_columns if narrow else minimize_many_columns
    y, c = Y.T.double().contiguous(), weights.T.double().contiguous()
    W, n_iter, converged = minimize(
        rows, y, c, tol=tol, max_iter=max_iter, report=report
    )
    return W.T, n_iter, converged
