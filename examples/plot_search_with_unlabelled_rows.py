"""
=============================================
Grid search with unlabelled rows: three ways
=============================================

A label of -1 means "unlabelled" to some estimators. To ``GridSearchCV`` it is one class
more, and what it reports is then wrong without any warning. Two ways to get it wrong,
and the right one beside them.
"""

# %%
# The data and the model
# ----------------------
# 1,257 digits, 6 of each class with a label; 540 others, all labelled, for the test
# that tells the truth. A GAN learns features from all digits, a support vector machine
# from the labelled ones: :class:`~sklgan.model_selection.LabeledOnly` sees to that.
# With ``memory`` the GAN of a fold is trained once for all candidates.

import tempfile

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklgan import DCGANFeatureExtractor
from sklgan.model_selection import LabeledOnly, SemiSupervisedKFold, mask_labels

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.3, stratify=digits.target, random_state=0
)
few = mask_labels(y_train, n_per_class=6, random_state=0)
print(f"{len(few)} rows, {np.sum(few >= 0)} of them labelled")

memory = tempfile.TemporaryDirectory()


def make_model(classifier):
    """Return features of a GAN, then the classifier."""
    gan = DCGANFeatureExtractor(
        n_filters=8, batch_size=64, max_epochs=5, random_state=0
    )
    steps = [("gan", gan), ("scale", StandardScaler()), ("svm", classifier)]
    return Pipeline(steps, memory=memory.name)


C = [0.001, 0.01, 0.1, 1.0, 10.0]

# %%
# Wrong: -1 as a class
# --------------------
# The classifier is given all rows, and learns that nearly all of them are of class -1.
# Cross-validation is delighted.

as_a_class = GridSearchCV(
    make_model(SVC()), {"svm__C": C}, cv=StratifiedKFold(3), scoring="accuracy"
)
as_a_class.fit(X_train, few)

# %%
# Wrong: -1 in the test folds
# ---------------------------
# The classifier is given labelled rows only, but the folds are those for labelled data.
# To the metric, each unlabelled row of a test fold is an error: no candidate can score
# more than the share of labelled rows.

in_test_folds = GridSearchCV(
    make_model(LabeledOnly(SVC())),
    {"svm__estimator__C": C},
    cv=StratifiedKFold(3),
    scoring="accuracy",
)
in_test_folds.fit(X_train, few)

# %%
# Right
# -----
# :class:`~sklgan.model_selection.SemiSupervisedKFold` tests on labelled rows, and has
# every unlabelled row in each training set.

right = GridSearchCV(
    make_model(LabeledOnly(SVC())),
    {"svm__estimator__C": C},
    cv=SemiSupervisedKFold(3, shuffle=True, random_state=0),
    scoring="accuracy",
)
right.fit(X_train, few)

# %%
# What was promised, and what came
# --------------------------------
# The estimate of each candidate, and its accuracy on the test set after a fit to all
# training rows. An honest estimate lies near the diagonal, and rather to the left of
# it: a fold trains on two thirds of the labels.

searches = {
    "wrong: -1 as a class": as_a_class,
    "wrong: -1 in the test folds": in_test_folds,
    "right: SemiSupervisedKFold": right,
}
figure, ax = plt.subplots(figsize=(6.4, 5), layout="constrained")
print(f"{'':<29}  estimate  test accuracy of the best candidate")
for name, search in searches.items():
    tested = [
        search.estimator.set_params(**candidate).fit(X_train, few).score(X_test, y_test)
        for candidate in search.cv_results_["params"]
    ]
    ax.scatter(search.cv_results_["mean_test_score"], tested, s=60, label=name)
    print(f"{name:<29} {search.best_score_:9.2f} {tested[search.best_index_]:9.2f}")
ax.axline((0, 0), slope=1, color="0.7", lw=1, zorder=0)
ax.set(xlabel="estimate by cross-validation", ylabel="test accuracy")
ax.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal")
ax.legend(loc="center")
plt.show()

memory.cleanup()
