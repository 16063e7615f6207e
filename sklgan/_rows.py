"""Rows that do not all lie on the device, read and sent there batch by batch."""

from contextlib import closing

import torch

from sklgan._prefetch import read_ahead


class StreamedRows:
    """Rows that are read when they are needed, and indexed like a tensor on the device.

    Parameters
    ----------
    read : callable
        Row numbers, a tensor on the CPU, to rows, a tensor on the CPU; several threads
        call it at once.
    shape : tuple of (n, d)
        Of all rows together.
    device : torch.device
        Where the rows are needed.
    n_bytes : int
        What one row takes.
    n_readers : int, default=None
        How many threads; None for as many as CPUs.
    """

    def __init__(self, read, shape, device, n_bytes, n_readers=None):
        self.read, self.shape, self.n_bytes = read, shape, n_bytes
        self.n_readers = n_readers
        self.device = torch.device(device)

    def __len__(self):
        """Return the number of rows."""
        return self.shape[0]

    def __getitem__(self, index):
        """Return the rows of an index tensor or a slice, on the device."""
        if isinstance(index, slice):
            index = torch.arange(len(self))[index]
        return self._send(self._read(index.cpu()))

    def batches(self, indices, batch_size):
        """Yield the rows of each index tensor, read by threads ahead of time."""
        n_bytes = batch_size * self.n_bytes
        batches = read_ahead(self._read, indices, n_bytes, self.n_readers)
        with closing(batches):
            for batch in batches:
                yield self._send(batch)

    def _read(self, index):
        """Read rows into memory from which they are sent without waiting."""
        rows = self.read(index)
        return rows.pin_memory() if self.device.type == "cuda" else rows

    def _send(self, rows):
        return rows.to(self.device, non_blocking=True)


def gather(rows, order, boundaries):
    """Yield rows, batch by batch, in an order.

    Parameters
    ----------
    rows : Tensor or StreamedRows
        All rows.
    order : Tensor of int64
        Which of them, on the device.
    boundaries : list of int
        Where batches begin in ``order``, and where the last ends.
    """
    streamed = isinstance(rows, StreamedRows)
    order = order.cpu() if streamed else order
    indices = (
        order[start:stop]
        for start, stop in zip(boundaries, boundaries[1:], strict=False)
    )
    if not streamed:
        for index in indices:
            yield rows[index]
        return
    with closing(rows.batches(indices, boundaries[1] - boundaries[0])) as batches:
        yield from batches
