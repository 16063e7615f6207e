"""Where rows lie, and how they come to the device: at once, or batch by batch."""

from contextlib import closing, nullcontext

import torch
from sklearn.utils import gen_batches

from sklgan._decoding import quiet_pillow
from sklgan._mapping import find_mapping
from sklgan._prefetch import read_ahead
from sklgan._rows import StreamedRows
from sklgan._sequences import ImageSequence
from sklgan._tensors import as_tensor

# Rows on disk that take no more than this are kept in memory while they are used.
_KEPT_BYTES = 2**28


def place_rows(X, device):
    """Return rows as the engine takes them.

    Parameters
    ----------
    X : ndarray or ImageSequence of shape (n_samples, n_features)
        What ``check_images`` has returned.
    device : torch.device
        Where they are needed.

    Returns
    -------
    rows : Tensor or StreamedRows of shape (n_samples, n_features)
        A tensor on the device: of the memory of X on a CPU, or where there is room.
        Otherwise its rows are read again at each use.
    """
    read = _reader(X)
    if _fits(X, device, on_disk=read is not None):
        if read is None:
            return as_tensor(X).to(device)
        return _load(X, device)
    if read is None:
        read = X.__getitem__
    return StreamedRows(
        lambda index: as_tensor(read(index.numpy())),
        tuple(X.shape),
        device,
        _n_bytes(X) // len(X),
        getattr(X, "n_readers", None),
    )


def read_batches(X, batch_size):
    """Yield the rows of X in order, in batches; threads read those on disk ahead.

    Parameters
    ----------
    X : ndarray or ImageSequence of shape (n_samples, n_features)
        What ``check_images`` has returned.
    batch_size : int
        Rows of a batch; the last may have fewer.

    Yields
    ------
    rows : slice
        Which rows.
    batch : ndarray of shape (b, n_features)
        The rows.
    """
    read, slices = _reader(X), gen_batches(len(X), batch_size)
    if read is None:
        for rows in slices:
            yield rows, X[rows]
        return
    n_bytes = batch_size * _n_bytes(X) // max(1, len(X))
    n_readers = getattr(X, "n_readers", None)
    batches = read_ahead(lambda rows: (rows, read(rows)), slices, n_bytes, n_readers)
    with while_read(X), closing(batches):
        yield from batches


def read_rows(X, index):
    """Return some rows of X in memory; those of a memory map not through the map.

    Parameters
    ----------
    X : ndarray, Tensor or ImageSequence of shape (n_samples, n_features)
        What ``check_images`` has returned.
    index : slice or ndarray of int
        Which rows.
    """
    read = _reader(X)
    if read is None:
        return X[index]
    with while_read(X):
        return read(index)


def while_read(X):
    """Return the context in which threads may read X."""
    return quiet_pillow() if isinstance(X, ImageSequence) else nullcontext()


def _reader(X):
    """Return a function that reads rows from disk in any thread, None for memory."""
    if isinstance(X, ImageSequence):
        return X._decode_here
    mapped = find_mapping(X)
    return None if mapped is None else mapped.read


def _fits(X, device, on_disk):
    """Tell whether all rows may lie on the device, or in memory if that is a CPU."""
    n_bytes = _n_bytes(X)
    if device.type == "cuda":
        # The other half is for the networks.
        return n_bytes <= torch.cuda.mem_get_info(device)[0] // 2
    return not on_disk or n_bytes <= _KEPT_BYTES


def _n_bytes(X):
    """Return what all rows take in memory."""
    return X.dtype.itemsize * X.shape[0] * X.shape[1]


def _load(X, device):
    """Return all rows, from disk, as a tensor on the device."""
    rows = None
    for chosen, batch in read_batches(X, 128):
        batch = as_tensor(batch)
        if rows is None:
            rows = torch.empty(tuple(X.shape), dtype=batch.dtype, device=device)
        rows[chosen] = batch.to(device)
    return rows
