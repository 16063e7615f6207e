"""Model selection where -1 in y means unlabelled, as in :mod:`sklearn.semi_supervised`.

scikit-learn's own splitters and scorers take -1 for one class more. Here are splitters
that test on labelled rows only, a scorer and a meta-estimator that pass the others by,
and a function that hides labels.
"""

from sklgan.model_selection._labeled_only import LabeledOnly
from sklgan.model_selection._labels import mask_labels
from sklgan.model_selection._scorer import labeled_scorer
from sklgan.model_selection._split import (
    SemiSupervisedKFold,
    SemiSupervisedShuffleSplit,
)

__all__ = [
    "LabeledOnly",
    "SemiSupervisedKFold",
    "SemiSupervisedShuffleSplit",
    "labeled_scorer",
    "mask_labels",
]
