"""The matrix X with a constant column, as products that never copy it."""

import torch
from torch import Tensor

# Bytes of X that are on another device at a time, where it does not fit there.
_BLOCK_BYTES = 2**28

# Rows that are held in float64 at a time.
CHUNK = 4096

# MKL multiplies up to 32 wide rows without packing them, in half the time.
_UNPACKED_ROWS = 32

# Rows that are added up in the dtype of X. In a longer sum, thousands of coefficients
# that are each too small to change it would be lost, all to the same side.
_SUMMED_ROWS = 512


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of the rows of a and b, (k,), added up in float64."""
    return (a.double() * b).sum(1)


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
        total = torch.zeros(k, d, dtype=torch.float64, device=U.device)
        part = torch.empty(k, d, dtype=self.X.dtype, device=U.device)
        coefficients = U.to(part.dtype)
        narrow = _UNPACKED_ROWS if self._unpacked and k <= _UNPACKED_ROWS else None
        for block, rows in self._blocks(min(self.step, _SUMMED_ROWS)):
            few = coefficients[:, block]
            step = narrow or len(rows)
            part.zero_()
            for start in range(0, len(rows), step):
                some = slice(start, start + step)
                part.addmm_(few[:, some], rows[some])
            total += part
        constant = self.bias * U.sum(1, keepdim=True, dtype=torch.float64)
        return torch.cat([total, constant], dim=1).to(part.dtype)

    def squared_norms(self) -> Tensor:
        """Return the squared length of each row, (n,), float64."""
        # Small results kept between large temporaries would fragment the heap.
        norms = torch.empty(len(self.X), dtype=torch.float64, device=self.device)
        for block, rows in self._blocks(min(self.step, 64)):
            norms[block] = rows.square().sum(1)
        return norms + self.bias**2

    def mean_square(self) -> float:
        """Return the mean squared length of a row; infinite if X's dtype overflows."""
        return float(self.squared_norms().mean())
