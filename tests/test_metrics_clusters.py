"""Accuracy of clusters against values that are known."""

import numpy as np
import pytest

from sklgan.metrics import cluster_accuracy


def test_names_of_clusters_do_not_matter():
    """Any renaming of perfect clusters is perfect, strings included."""
    y = np.repeat(np.arange(5), 7)
    names = np.array(["d", "a", "e", "b", "c"])
    assert cluster_accuracy(y, names[y]) == 1.0


def test_a_cluster_stands_for_one_class():
    """One cluster for all gets the largest class right; one a row gets one a class."""
    y = np.repeat([0, 1, 2], [5, 3, 2])
    assert cluster_accuracy(y, np.zeros(10)) == 0.5
    assert cluster_accuracy(y, np.arange(10)) == 0.3


def test_matching_is_the_best_of_all():
    """Greedy matching would take 4 + 0; the best takes 3 + 3."""
    y = np.repeat([0, 1], [7, 3])
    clusters = np.array([0] * 4 + [1] * 3 + [0] * 3)
    assert cluster_accuracy(y, clusters) == pytest.approx(0.6)


def test_lengths_must_agree():
    """As in scikit-learn's own metrics."""
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        cluster_accuracy([0, 1], [0, 1, 1])


def test_rows_without_a_label_are_refused():
    """They are no class that a cluster could stand for."""
    with pytest.raises(ValueError, match=r"labels_true holds -1, no label, in 2 row"):
        cluster_accuracy([0, -1, 1, -1], [0, 1, 1, 0])
    with pytest.raises(ValueError, match="Input labels_true contains NaN"):
        cluster_accuracy([0.0, np.nan, 1.0], [0, 1, 1])
    with pytest.raises(ValueError, match="Input labels_pred contains NaN"):
        cluster_accuracy(["a", "b", "b"], [0, 1, np.nan])


def test_no_rows_are_an_error():
    """Not a NaN."""
    with pytest.raises(ValueError, match="empty"):
        cluster_accuracy([], [])
