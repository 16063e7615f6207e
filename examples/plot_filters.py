"""
==================================
What the filters of a GAN look for
==================================

A DCGAN learns from scikit-learn's digits without labels. Which pixels do the filters of
its discriminator answer to, which of them does a classifier use, and can the filters
of its generator that draw one kind of stroke be switched off?
"""

# %%
# The model
# ---------
# The digits are enlarged to 16 x 16, so that both networks have four layers of maps.

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter1d, zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklgan import DCGANFeatureExtractor, SamplesDisplay
from sklgan.inspection import (
    GuidedBackpropDisplay,
    TopImagesDisplay,
    decision_map,
    filter_importance,
    generate_without,
    object_filters,
)

digits = load_digits()
X = zoom(digits.images, (1, 2, 2), order=1, grid_mode=True, mode="nearest")
X_train, X_test, y_train, y_test = train_test_split(X, digits.target, random_state=0)
gan = DCGANFeatureExtractor(
    network="dcgan-deep",
    n_filters=8,
    max_epochs=20,
    batch_size=64,
    learning_rate=1e-3,
    random_state=0,
).fit(X_train)

# %%
# Guided backpropagation
# ----------------------
# For the first filters of the last layer, the images that raise each of them most, and
# which pixels do so: bright ones raise it, dark ones lower it. The network as it was
# before training stands beside it: it follows strokes as well, so that this much comes
# from the image and the architecture alone. What the trained filters answer to is
# mostly a smaller part of the digit.

GuidedBackpropDisplay.from_estimator(gan, X_test)
plt.show()

# %%
# What a filter answers to
# ------------------------
# The images with the strongest answers to some filters of the first, the second and the
# third layer; the rectangle is all that the filter saw.

filters = [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]
TopImagesDisplay.from_estimator(gan, X_test, filters=filters)
plt.show()

# %%
# Which filters a classifier uses
# -------------------------------
# A linear classifier on standardised features. The weights of a filter's cells become
# one number for each class.

features = gan.transform(X_train)
scaler = StandardScaler().fit(features)
svm = LinearSVC(C=0.001).fit(scaler.transform(features), y_train)
score = svm.score(scaler.transform(gan.transform(X_test)), y_test)
print(f"Test accuracy: {score:.3f}")

importance, names = filter_importance(gan, svm.coef_)
for digit in range(10):
    best = np.argsort(-importance[digit])[:3]
    print(digit, [names[k] for k in best])

# %%
# The images that the most important filter of some classes answers to:

best = [names[k] for k in importance[[0, 1, 4, 6, 7]].argmax(axis=1)]
display = TopImagesDisplay.from_estimator(gan, X_test, filters=best)
display.ax_.set_title("most important for 0, 1, 4, 6, 7")
plt.show()

# %%
# Where a classifier looks
# ------------------------
# The same weights, projected back to the pixels of ten test images. The gradient is
# multiplied by what an image has more than the mean of all: what its pixels contribute
# for (red) or against (blue) the right class (middle) and the runner-up (bottom).

chosen = [np.flatnonzero(y_test == digit)[0] for digit in range(10)]
images, right = X_test[chosen], y_test[chosen]
maps, _ = decision_map(gan, images, svm.coef_, scale=scaler.scale_, guided=False)
maps *= (images - X_train.mean(axis=0))[:, np.newaxis]
maps = gaussian_filter(maps, (0, 0, 0.8, 0.8))  # else too speckled for the eye
decisions = svm.decision_function(scaler.transform(gan.transform(images)))
decisions[np.arange(10), right] = -np.inf
runner_up = decisions.argmax(axis=1)

figure, axes = plt.subplots(3, 10, figsize=(10, 3.6))
for column, image in enumerate(images):
    axes[0, column].imshow(image, cmap="gray")
    for row, label in ((1, right[column]), (2, runner_up[column])):
        heat = maps[column, label]
        limit = np.abs(heat).max()
        axes[row, column].imshow(heat, cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes[row, column].set_title(f"for {label}", fontsize=9)
for ax in axes.flat:
    ax.set_axis_off()
plt.show()

# %%
# Filters that draw lying strokes
# -------------------------------
# The DCGAN paper marks windows in samples of bedrooms by hand, and switches off the
# filters that draw them. Here lying strokes are marked by a rule: ink with ink to its
# left and right, but little above and below.


def strokes(images, length=7):
    """Return masks of lying and of upright strokes."""
    ink = images / 16
    along_row = uniform_filter1d(ink, length, axis=2)
    along_column = uniform_filter1d(ink, length, axis=1)
    lying = (ink > 0.5) & (along_row > 0.6) & (along_column < 0.5)
    upright = (ink > 0.5) & (along_column > 0.6) & (along_row < 0.5)
    return lying, upright


rng = np.random.default_rng(0)
Z = rng.normal(size=(500, 100))
lying, _ = strokes(gan.generate(Z))
found = object_filters(gan, Z, masks=lying, layer=1, random_state=0)
n_filters, n_channels = len(found.filters), len(found.weights)
print(f"{n_filters} of {n_channels} filters")

# %%
# In samples that were not marked, how much of the ink of lying and of upright strokes
# is left, and how much without as many filters at random?

Z_new = rng.normal(size=(300, 100))
before = gan.generate(Z_new)
lying, upright = strokes(before)


def ink_left(images):
    """Return the parts of lying and upright strokes that are left."""
    return [round(images[m].sum() / before[m].sum(), 2) for m in (lying, upright)]


without = generate_without(gan, Z_new, found.filters)
print("without them [lying, upright]:", np.array(ink_left(without)))
draws = [rng.choice(n_channels, n_filters, replace=False) for _ in range(5)]
at_random = [generate_without(gan, Z_new, [(1, k) for k in draw]) for draw in draws]
print("at random, mean of five:", np.mean([ink_left(X) for X in at_random], axis=0))

# %%
# Samples with lying strokes (top), without the filters that were found (middle), and
# without as many at random (bottom). Lying strokes fade most, but the rest does not
# stay whole: few filters of a network as small as this do one thing alone.

most = np.argsort(-lying.sum(axis=(1, 2)), kind="stable")[:12]
rows = np.concatenate([before[most], without[most], at_random[0][most]])
_, ax = plt.subplots(figsize=(10, 2.6))
SamplesDisplay(rows, data_range=gan.data_range_).plot(n_columns=12, ax=ax)
plt.show()
