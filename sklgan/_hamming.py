"""Hashes compared by the number of bits in which they differ, block by block.

Bits are packed, eight to a byte. Within a block they are -1 and 1, so that one matrix
product, exact in float32, counts the bits that agree less those that differ.
"""

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.utils import gen_batches

# One product of two blocks takes 16 MB, whatever the number of hashes.
_ROWS, _COLUMNS = 1024, 4096

# So many pairs are collected before they are merged into groups.
_PAIRS = 2**20


def _signs(hashes, n_bits, device):
    """Return packed hashes as a tensor (n, n_bits) of -1 and 1."""
    bits = torch.from_numpy(np.unpackbits(hashes, axis=1, count=n_bits)).to(device)
    return bits.float().mul_(2).sub_(1)


def _blocks(queries, hashes, n_bits, device, *, upper):
    """Yield first row, first column and agreement, (rows, columns), of each block.

    With ``upper``, both are the same hashes, and blocks below the diagonal are left
    out.
    """
    for rows in gen_batches(len(queries), _ROWS):
        left = _signs(queries[rows], n_bits, device)
        for columns in gen_batches(len(hashes), _COLUMNS):
            if upper and columns.stop <= rows.start:
                continue
            right = _signs(hashes[columns], n_bits, device)
            yield rows.start, columns.start, left @ right.T


def nearest(queries, hashes, n_bits, device):
    """Return for each query the first of the nearest hashes.

    Parameters
    ----------
    queries, hashes : ndarray of shape (n, n_bytes), uint8
        Packed bits; at least one hash.
    n_bits : int
        Bits of a hash.
    device : torch.device
        Where to compute.

    Returns
    -------
    index : ndarray of shape (n_queries,), int64
        Which of the hashes.
    distance : ndarray of shape (n_queries,), int64
        The number of bits in which it differs.
    """
    best = torch.full((len(queries),), -n_bits - 1.0, device=device)
    index = torch.zeros(len(queries), dtype=torch.int64, device=device)
    blocks = _blocks(queries, hashes, n_bits, device, upper=False)
    for row, column, agreement in blocks:
        place = agreement.argmax(dim=1)
        found = agreement.gather(1, place[:, None])[:, 0]
        rows = slice(row, row + len(found))
        better = found > best[rows]
        best[rows] = torch.where(better, found, best[rows])
        index[rows] = torch.where(better, place + column, index[rows])
    distance = ((n_bits - best) / 2).long()
    return index.cpu().numpy(), distance.cpu().numpy()


def group_hashes(hashes, n_bits, max_hamming, device, mirrored=None):
    """Group the rows that chains of near hashes connect.

    Parameters
    ----------
    hashes : ndarray of shape (n_samples, n_bytes), uint8
        Packed bits.
    n_bits : int
        Bits of a hash.
    max_hamming : int
        Two rows are near if their hashes differ in so many bits or fewer.
    device : torch.device
        Where to compute.
    mirrored : ndarray of shape (n_samples, n_bytes), uint8, default=None
        Hashes of the mirror images: with them, a row is near to another also if its
        mirror image is.

    Returns
    -------
    groups : ndarray of shape (n_samples,), int64
        From 0 on, in the order of their first rows.
    """
    # Equal hashes, of which there may be n * n pairs, are one from here on.
    distinct, node = np.unique(hashes, axis=0, return_inverse=True)
    node = node.reshape(-1)
    labels = np.arange(len(distinct))
    if max_hamming > 0:
        blocks = _blocks(distinct, distinct, n_bits, device, upper=True)
        labels = _merge_near(labels, labels, blocks, n_bits - 2 * max_hamming)
    if mirrored is not None:
        blocks = _blocks(mirrored, distinct, n_bits, device, upper=False)
        labels = _merge_near(labels, node, blocks, n_bits - 2 * max_hamming)
    _, first, groups = np.unique(labels[node], return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[groups]


def _merge_near(labels, node, blocks, least):
    """Return labels of distinct hashes, equal where pairs of the blocks agree enough.

    Parameters
    ----------
    labels : ndarray of shape (n_distinct,)
        From 0 on.
    node : ndarray of shape (n_rows,)
        Which of the distinct hashes each row of the blocks stands for.
    blocks : iterable
        Of ``_blocks``; its columns are the distinct hashes.
    least : int
        The agreement that makes two hashes near.
    """
    pairs, n_pairs = [], 0
    for row, column, agreement in blocks:
        near = (agreement >= least).nonzero().cpu().numpy()
        pairs.append((node[near[:, 0] + row], near[:, 1] + column))
        n_pairs += len(near)
        if n_pairs >= _PAIRS:
            labels, pairs, n_pairs = _merge(labels, pairs), [], 0
    return _merge(labels, pairs) if pairs else labels


def _merge(labels, pairs):
    """Return labels that are equal also where a pair connects them."""
    left, right = (labels[np.concatenate(side)] for side in zip(*pairs, strict=True))
    n = len(labels)
    # Given int64 indices, connected_components of SciPy 1.11 prints an error, does not
    # raise it, and answers that all rows are one group.
    left, right = left.astype(np.int32), right.astype(np.int32)
    edges = coo_array((np.ones(len(left), dtype=bool), (left, right)), shape=(n, n))
    return connected_components(edges, directed=False)[1][labels].astype(np.int64)
