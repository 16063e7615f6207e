"""Irises of which few have a label, and what learns from them, for several tests."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklgan.model_selection import LabeledOnly, labeled_scorer, mask_labels

X, Y = load_iris(return_X_y=True)
WEIGHTS = np.random.default_rng(0).uniform(0.1, 3, len(Y))
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
# 12 labels of each of the 3 classes, as integers and as strings.
FEW = mask_labels(Y, 12, random_state=0)
FEW_NAMES = mask_labels(NAMES, 12, random_state=0)
LABELED = FEW != -1
TARGETS = {"integers": FEW, "strings": FEW_NAMES}
TRUTH = {"integers": Y, "strings": NAMES}

both_targets = pytest.mark.parametrize("kind", TARGETS)
lda = LinearDiscriminantAnalysis()
logistic = LogisticRegression(C=10, solver="newton-cholesky")  # quick and exact
accuracy = labeled_scorer("accuracy")
pipeline = make_pipeline(StandardScaler(), LabeledOnly(logistic))
