"""Clusters against classes."""

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import check_array, check_consistent_length


def cluster_accuracy(labels_true, labels_pred):
    """Return the accuracy of clusters under the best matching with classes.

    Each cluster stands for one class at most, each class for one cluster at most; the
    matching of the most rows is found by the Hungarian method. Labels are used for
    this figure alone: choose nothing by it.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Classes. Leave rows without a label (-1) out of both arrays.
    labels_pred : array-like of shape (n_samples,)
        Clusters; their names do not matter, nor does their number. Noise (-1) of a
        clusterer such as DBSCAN counts as one more cluster.

    Returns
    -------
    accuracy : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the lengths differ, there are no rows, ``labels_true`` holds -1, or one
        holds NaN.

    References
    ----------
    Yang et al., "Image Clustering Using Local Discriminant Models and Global
    Integration", IEEE Transactions on Image Processing 19, 2010, section V.

    Examples
    --------
    >>> from sklgan.metrics import cluster_accuracy
    >>> cluster_accuracy([0, 0, 1, 1], [5, 5, 3, 5])
    0.75
    """
    check_consistent_length(labels_true, labels_pred)
    if len(labels_true) == 0:
        raise ValueError("labels_true and labels_pred are empty; give one row or more.")
    labels_true, labels_pred = (
        check_array(labels, dtype=None, ensure_2d=False, input_name=name)
        for name, labels in [("labels_true", labels_true), ("labels_pred", labels_pred)]
    )
    n_unlabelled = np.sum(labels_true == -1)
    if n_unlabelled:
        raise ValueError(
            f"labels_true holds -1, no label, in {n_unlabelled} row(s); leave them out "
            "of labels_true and labels_pred."
        )
    counts = contingency_matrix(labels_true, labels_pred)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / np.sum(counts))
