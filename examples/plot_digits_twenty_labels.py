"""
==============================
Digits with two labels a class
==============================

Of 1,257 digits 20 have a label. :class:`~sklgan.SemiSupervisedGANClassifier` takes all
of them in one ``fit``.
"""

# %%
# The data
# --------
# As in :mod:`sklearn.semi_supervised`, -1 means "unlabelled".

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC

from sklgan import SamplesDisplay, SemiSupervisedGANClassifier
from sklgan.model_selection import LabeledOnly, mask_labels

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, test_size=0.3, stratify=digits.target, random_state=0
)
few = mask_labels(y_train, n_per_class=2, random_state=0)

figure, axes = plt.subplots(2, 10, figsize=(8, 2.0), layout="constrained")
for digit, column in enumerate(axes.T):
    for ax, image in zip(column, X_train[few == digit], strict=True):
        ax.imshow(image, cmap="gray_r")
        ax.set_axis_off()
figure.suptitle("All that is labelled")
plt.show()

# %%
# One fit
# -------
# Beside it two of scikit-learn's classifiers: an SVC on the 20 labels, and
# ``LabelSpreading``. One draw of labels is an anecdote: the README's table has the mean
# and the spread over several draws, and rivals tuned by cross-validation.


def flat(X):
    """Return each image as a row in [0, 1]."""
    return X.reshape(len(X), -1) / 16


gan = SemiSupervisedGANClassifier(max_epochs=15, random_state=0).fit(X_train, few)
rivals = {
    "SVC, labels only": LabeledOnly(SVC()),
    "LabelSpreading": LabelSpreading("knn", n_neighbors=15, max_iter=200),
}
for name, rival in rivals.items():
    rival.fit(flat(X_train), few)
    print(f"{name:<28} {rival.score(flat(X_test), y_test):.1%}")
print(f"{'SemiSupervisedGANClassifier':<28} {gan.score(X_test, y_test):.1%}")

# %%
# Which digits are mistaken
# -------------------------

ConfusionMatrixDisplay.from_estimator(gan, X_test, y_test, colorbar=False)
plt.show()

# %%
# What it makes of the rows without a label
# -----------------------------------------
# ``transduction_`` holds a label for each row of ``fit``: the one given, or the one
# found.

hidden = few == -1
found = np.mean(gan.transduction_[hidden] == y_train[hidden])
print(f"{found:.1%} of the {hidden.sum()} hidden labels were found")

# %%
# Are its probabilities to be trusted?
# ------------------------------------
# Of the predictions with a probability of 0.8, four in five should be right. Points
# below the diagonal are too sure. ``entropy_weight`` asks for sure predictions: lower
# it where probabilities matter more than accuracy.

sure = gan.predict_proba(X_test).max(axis=1)
correct = gan.predict(X_test) == y_test
CalibrationDisplay.from_predictions(
    correct, sure, n_bins=5, strategy="quantile", name="SemiSupervisedGANClassifier"
)
plt.show()

# %%
# What the generator draws
# ------------------------
# With ``loss="feature_matching"`` its work is to be in the way of the discriminator,
# not to look good; for good samples see
# :ref:`sphx_glr_auto_examples_plot_digits_features.py`.

SamplesDisplay.from_estimator(gan, n_samples=30, random_state=0)
plt.show()
