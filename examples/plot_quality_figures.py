"""
=====================================
How good are the samples? Six figures
=====================================

A generator that is not trained, one that is half trained and one that is trained, each
compared with digits that it has not seen; and beside them real digits, compared in the
same way: better than these no generator has to be.
"""

# %%
# Three generators and the floor
# ------------------------------
# One half of the digits trains, the other is held out. The half that trains is also
# what a generator would draw that has learned it by heart.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split

from sklgan import DCGANFeatureExtractor, SamplesDisplay
from sklgan.metrics import (
    density_coverage,
    frechet_distance,
    kernel_distance,
    precision_recall,
    sample_quality_scorer,
)

X_train, X_held_out = train_test_split(
    load_digits().images, test_size=0.5, random_state=0
)
gan = DCGANFeatureExtractor(
    n_filters=32, learning_rate=1e-3, ema_decay=0.99, batch_size=64, random_state=0
)
images = {}
for name, n_epochs in {"untrained": 0, "20 epochs": 20, "80 epochs": 80}.items():
    gan.set_params(max_epochs=n_epochs).fit(X_train)
    images[name] = gan.sample(len(X_held_out), random_state=1)
images["real digits"] = X_train

figure, axes = plt.subplots(1, 4, figsize=(9, 2.7), layout="constrained")
for ax, (name, drawn) in zip(axes, images.items(), strict=True):
    SamplesDisplay(drawn[:36], data_range=(0, 16)).plot(ax=ax)
    ax.set_title(name)
plt.show()

# %%
# Features
# --------
# All figures compare features. Here these are 20 principal components of the pixels,
# fitted once, on training images, and used for all; their scale is 1.

flat = X_train.reshape(len(X_train), -1)
pca = PCA(20, random_state=0).fit(flat)
scale = pca.transform(flat).std()


def features(X):
    """Return images in the space in which they are compared."""
    return pca.transform(X.reshape(len(X), -1)) / scale


# %%
# Six figures
# -----------
# Precision and density tell whether samples look like digits, recall and coverage
# whether the variety of the digits is there. One figure alone misleads: from 20 to 80
# epochs the distances fall and recall rises, but precision and density do not rise: the
# samples have become more diverse, and no better one by one. All are far from what real
# digits have. Lines on the bars are two standard errors long on either side.
#
# The floor is no generator's merit: the training images themselves have it. None of
# these figures tells learning from copying.

X_real = features(X_held_out)
rows = {}
for name, drawn in images.items():
    X_fake = features(drawn)
    rows[name] = [
        frechet_distance(X_real, X_fake, random_state=0),
        kernel_distance(X_real, X_fake, random_state=0),
        *[(value, None) for value in precision_recall(X_real, X_fake)],
        *[(value, None) for value in density_coverage(X_real, X_fake)],
    ]
titles = ["Frechet distance", "kernel distance"]
titles += ["precision", "recall", "density", "coverage"]

figure, axes = plt.subplots(3, 2, figsize=(8, 5.5), layout="constrained", sharey=True)
for number, (ax, title) in enumerate(zip(axes.flat, titles, strict=True)):
    values, errors = zip(*[row[number] for row in rows.values()], strict=True)
    errors = None if errors[0] is None else 2 * np.array(errors)
    colours = ["C0", "C0", "C0", "C2"]
    ax.barh(list(rows), values, xerr=errors, color=colours)
    for place, value in enumerate(values):
        ax.annotate(
            f"{value:.3g}",
            (max(value, 0), place),
            xytext=(12, 0),
            textcoords="offset points",
            va="center",
        )
    better = "smaller" if number < 2 else "larger"
    ax.set_title(f"{title}: {better} is better", fontsize="medium")
    ax.set_xlim(0, 1.3 * max(values))
    ax.spines[["top", "right"]].set_visible(False)
axes[0, 0].invert_yaxis()
plt.show()

# %%
# Few rows lie
# ------------
# The Frechet distance of real digits from real digits should be 0. It is the larger the
# fewer rows there are; ``correct_bias`` takes most of that away. The kernel distance
# needs no correction.

print("rows   Frechet  corrected   kernel")
for n_rows in (50, 100, 200, 400, 800):
    pair = X_real[:n_rows], features(X_train[:n_rows])
    plain, _ = frechet_distance(*pair, n_subsets=1)
    corrected, _ = frechet_distance(*pair, correct_bias=True, random_state=0)
    kernel, _ = kernel_distance(*pair, n_subsets=1)
    print(f"{n_rows:4} {plain:9.3f} {corrected:10.3f} {kernel:8.3f}")

# %%
# As ``scoring`` of a search
# --------------------------
# The scorer draws samples of the fitted estimator, and compares them with the images
# that the fold holds out. Without ``features`` the space is that of a network that is
# not trained, the same for all cells.

gan.set_params(max_epochs=10)
search = GridSearchCV(
    gan,
    {"learning_rate": [1e-4, 2e-3]},
    scoring=sample_quality_scorer("kernel_distance"),
    cv=2,
    refit=False,
).fit(X_train)
for params, score in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    print(params, f"kernel distance {-score:.2f}")
print("best:", search.best_params_)
