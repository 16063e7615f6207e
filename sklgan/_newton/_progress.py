"""What each class has reached on the way, and whether it still gets anywhere."""

import torch
from torch import Tensor

# Steps that may try to reach the goal once the products are below it.
_LAST_STEPS = 6

# Steps in which the products or the objective must fall, and to what part at least, or
# else the steps become longer. On data of all scales, fits that converged took 7 steps
# for it at most.
_IDLE_STEPS, _FALL = 10, 0.99


class Progress:
    """The best weights of each class, and how long it has gained nothing.

    Parameters
    ----------
    c : Tensor of shape (k, n)
        Costs of the rows.
    d : int
        Weights of a class. At first they are 0: no fit may end up worse.
    """

    def __init__(self, c: Tensor, d: int):
        self.W = torch.zeros(len(c), d, dtype=torch.float64, device=c.device)
        self.value = c.sum(1)
        self._lowest = torch.full((3, len(c)), torch.inf).to(self.W)
        self._idle = torch.zeros(len(c), dtype=torch.long, device=c.device)
        self._last = torch.zeros_like(self._idle)

    def keep(self, live: Tensor, W: Tensor, value: Tensor, solved: Tensor):
        """Keep what is best so far, or solved, of the classes of indices ``live``."""
        # A solution at small C is as good as 0 up to tol, and still tells rows apart.
        better = solved | (value < self.value[live])
        self.W[live[better]] = W[better]
        self.value[live[better]] = value[better]

    def spent(self, live, products, value, t, goal) -> Tensor:
        """Count a step, of length t; return which classes will not get any further."""
        now, lowest = torch.stack([products, value, 1 / t]), self._lowest[:, live]
        fell = now < _FALL * lowest
        self._lowest[:, live] = torch.where(fell, now, lowest)
        self._idle[live] = torch.where(fell.any(0), 0, self._idle[live] + 1)
        # What the last steps cannot lower is rounding.
        self._last[live] += products <= goal
        return (self._idle[live] >= _IDLE_STEPS) | (self._last[live] > _LAST_STEPS)

    def restart(self):
        """Forget what was counted, as steps have become more accurate."""
        self._idle.zero_()
        self._last.zero_()
