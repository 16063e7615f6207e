"""The matrix X with a constant column, as products that never copy it."""

import torch
from torch import Tensor

# Bytes of X that are on another device at a time, where it does not fit there.
_BLOCK_BYTES = 2**28

# Bytes of X in another dtype that are held at a time: on the CPU, what its caches hold.
_CONVERTED_BYTES = {"cpu": 2**22, "cuda": 2**26}

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

    A factor of float32 makes a product fast, one of float64 exact. X of float32 is then
    converted in small blocks: where its columns have large means, sums of float32 are
    off by more than all that tells the rows apart.

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

    def _rows_at_once(self, dtype, most):
        """Return how many rows to multiply at a time, few where they are converted."""
        if dtype == self.X.dtype:
            return most
        size = _CONVERTED_BYTES.get(self.device.type, _BLOCK_BYTES)
        return min(most, max(1, size // (self.shape[1] * dtype.itemsize)))

    def times(self, V: Tensor) -> Tensor:
        """Return V X', (k, n), for V (k, d + 1), computed in the dtype of V."""
        product = torch.empty(len(V), len(self.X), dtype=V.dtype, device=V.device)
        for block, rows in self._blocks(self._rows_at_once(V.dtype, self.step)):
            product[:, block] = V[:, :-1] @ rows.to(V.dtype).T
        return product.add_(self.bias * V[:, -1:])

    def combine(self, U: Tensor) -> Tensor:
        """Return U X, (k, d + 1), for U (k, n), computed in the dtype of U."""
        k, d = len(U), self.shape[1]
        total = torch.zeros(k, d, dtype=torch.float64, device=U.device)
        part = torch.empty(k, d, dtype=U.dtype, device=U.device)
        narrow = _UNPACKED_ROWS if self._unpacked and k <= _UNPACKED_ROWS else None
        most = self._rows_at_once(U.dtype, min(self.step, _SUMMED_ROWS))
        for block, rows in self._blocks(most):
            few, rows = U[:, block], rows.to(U.dtype)
            step = narrow or len(rows)
            part.zero_()
            for start in range(0, len(rows), step):
                some = slice(start, start + step)
                part.addmm_(few[:, some], rows[some])
            total += part
        constant = self.bias * U.sum(1, keepdim=True, dtype=torch.float64)
        return torch.cat([total, constant], dim=1).to(U.dtype)

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
