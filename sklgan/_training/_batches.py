"""Batches of tensors that lie in memory, on the device."""

import math

import torch


def equal_batches(n_rows, batch_size):
    """Return batch boundaries: sizes differ by 1 at most, none is 1 if n_rows > 1."""
    n_batches = max(1, min(math.ceil(n_rows / batch_size), n_rows // 2))
    return [n_rows * k // n_batches for k in range(n_batches + 1)]


class InMemoryBatches:
    """Batches of one tensor in a new random order each epoch.

    Slicing a tensor by a permutation is several times faster than a DataLoader, and
    the permutation is drawn where the tensor is, so nothing waits for the device.
    """

    def __init__(self, dataset, batch_size):
        self.rows, self.y = dataset.X, dataset.y
        self.boundaries = equal_batches(len(self.rows), batch_size)

    def __len__(self):
        """Return the number of batches."""
        return len(self.boundaries) - 1

    def __iter__(self):
        """Yield (rows, y) with y None where there are no labels."""
        order = torch.randperm(len(self.rows), device=self.rows.device)
        for start, stop in zip(self.boundaries, self.boundaries[1:], strict=False):
            chosen = order[start:stop]
            yield self.rows[chosen], None if self.y is None else self.y[chosen]


class LabeledBatches(InMemoryBatches):
    """Batches that begin with labelled rows, as many of each class, then any rows.

    The labelled rows of a batch are drawn with replacement; the others are a pass over
    all rows, as in :class:`InMemoryBatches`. All is drawn where the tensors are.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset
        ``X`` (n, d) and ``y`` (n,): classes 0 to k - 1, each there, or -1 for none.
    batch_size : int
        At most so many rows that need no label.
    labeled_batch_size : int
        Labelled rows besides.
    """

    def __init__(self, dataset, batch_size, labeled_batch_size):
        super().__init__(dataset, batch_size)
        self.labeled_batch_size = labeled_batch_size
        counts = torch.bincount(self.y[self.y >= 0])
        # The rows of class c are members[first[c]] and the counts[c] - 1 after it.
        self.members = self.y.argsort(stable=True)[-int(counts.sum()) :]
        self.counts, self.first = counts, counts.cumsum(0) - counts

    def __iter__(self):
        """Yield (rows, y), with y the classes of the first ``len(y)`` rows."""
        for rows, _ in super().__iter__():
            labeled, y = self._draw_labeled()
            yield torch.cat([labeled, rows]), y

    def _draw_labeled(self):
        """Draw rows and their classes; if classes are many, each batch has others."""
        device, n = self.rows.device, self.labeled_batch_size
        order = torch.randperm(len(self.counts), device=device)
        y = order.repeat(n // len(order) + 1)[:n]
        counts = self.counts[y]
        # Rounding could make the product the count itself.
        chosen = (torch.rand(n, device=device) * counts).long().minimum(counts - 1)
        return self.rows[self.members[self.first[y] + chosen]], y
