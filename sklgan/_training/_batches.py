"""Batches of rows in random order, on the device."""

import math
from contextlib import closing

import torch

from sklgan._rows import StreamedRows, gather

# Labelled rows that take no more than this are kept when the others are streamed.
_KEPT_BYTES = 2**28


def equal_batches(n_rows, batch_size):
    """Return batch boundaries: sizes differ by 1 at most, none is 1 if n_rows > 1."""
    n_batches = max(1, min(math.ceil(n_rows / batch_size), n_rows // 2))
    return [n_rows * k // n_batches for k in range(n_batches + 1)]


class ShuffledBatches:
    """Batches of all rows in a new random order each epoch.

    Slicing a tensor by a permutation is several times faster than a DataLoader, and
    the permutation is drawn where the tensor is, so nothing waits for the device. Rows
    that are streamed are read ahead by threads, in the same order.
    """

    def __init__(self, dataset, batch_size):
        self.rows, self.y = dataset.X, dataset.y
        self.boundaries = equal_batches(len(self.rows), batch_size)

    def __len__(self):
        """Return the number of batches."""
        return len(self.boundaries) - 1

    def __iter__(self):
        """Yield (rows, y) with y None where there are no labels."""
        order = torch.randperm(self.boundaries[-1], device=self.rows.device)
        labels = None if self.y is None else self.y[order]
        with closing(gather(self.rows, order, self.boundaries)) as batches:
            start = 0
            for rows in batches:
                stop = start + len(rows)
                yield rows, None if labels is None else labels[start:stop]
                start = stop


class LabeledBatches(ShuffledBatches):
    """Batches that begin with labelled rows, as many of each class, then any rows.

    The labelled rows of a batch are drawn with replacement; the others are a pass over
    all rows, as in :class:`ShuffledBatches`. All is drawn where the tensors are.

    Parameters
    ----------
    dataset : skorch.dataset.Dataset
        ``X`` (n, d) and ``y`` (n,): classes from 0 on, or -1 for none. Without any
        label the batches are those of :class:`ShuffledBatches`, and their y is empty.
    batch_size : int
        At most so many rows that need no label.
    labeled_batch_size : int
        Labelled rows besides.
    n_remembered : int, default=0
        So many rows at the end are there for their labels only: the pass leaves them
        out.
    """

    def __init__(self, dataset, batch_size, labeled_batch_size, n_remembered=0):
        super().__init__(dataset, batch_size)
        n_rows = len(self.rows) - n_remembered
        self.boundaries = equal_batches(n_rows, batch_size)
        counts = torch.bincount(self.y[self.y >= 0])
        n_labeled = int(counts.sum())
        self.labeled_batch_size = labeled_batch_size if n_labeled else 0
        # The rows of class c are members[first[c]] and the counts[c] - 1 after it.
        self.members = self.y.argsort(stable=True)[len(self.y) - n_labeled :]
        self.counts, self.first = counts, counts.cumsum(0) - counts
        self.classes = counts.nonzero()[:, 0]
        self.kept = self._keep_labeled()

    def _keep_labeled(self):
        """Return the labelled rows where the others are streamed, if they are few."""
        streamed, n_bytes = isinstance(self.rows, StreamedRows), 0
        if not streamed:
            return None
        parts = []
        bounds = equal_batches(len(self.members), 128)
        with closing(gather(self.rows, self.members, bounds)) as batches:
            for rows in batches:
                parts.append(rows)
                n_bytes += rows.nbytes
                if n_bytes > _KEPT_BYTES:
                    return None
        return torch.cat(parts)

    def __iter__(self):
        """Yield (rows, y), with y the classes of the first ``len(y)`` rows."""
        with closing(super().__iter__()) as batches:
            for rows, _ in batches:
                labeled, y = self._draw_labeled()
                yield torch.cat([labeled, rows]), y

    def _draw_labeled(self):
        """Draw rows and their classes; if classes are many, each batch has others."""
        device, n = self.rows.device, self.labeled_batch_size
        if n == 0:
            return self.rows[:0], self.y[:0]
        order = self.classes[torch.randperm(len(self.classes), device=device)]
        y = order.repeat(n // len(order) + 1)[:n]
        counts = self.counts[y]
        # Rounding could make the product the count itself.
        chosen = (torch.rand(n, device=device) * counts).long().minimum(counts - 1)
        places = self.first[y] + chosen
        if self.kept is not None:
            return self.kept[places], y
        return self.rows[self.members[places]], y
