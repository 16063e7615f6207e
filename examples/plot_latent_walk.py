"""
============================
A walk in the latent space
============================

A generator maps latent vectors to images, and vectors can be reckoned with: walk from
one to another, follow a line, add and subtract. Here it draws scikit-learn's digits.
"""

# %%
# A generator of digits
# ---------------------
# Fully connected networks draw 8x8 digits better than convolutions do in the same
# time. Ten latent variables are enough for such small pictures.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from sklgan import DCGANFeatureExtractor, SamplesDisplay
from sklgan.inspection import (
    InterpolationDisplay,
    TraversalDisplay,
    directions,
    vector_arithmetic,
)

digits = load_digits()
gan = DCGANFeatureExtractor(
    latent_dim=10,
    network="mlp",
    learning_rate=2e-3,
    batch_size=64,
    max_epochs=100,
    ema_decay=0.99,
    random_state=0,
).fit(digits.images)
SamplesDisplay.from_estimator(gan, n_samples=60, n_columns=12, random_state=0)
plt.show()

# %%
# What do they show?
# ------------------
# A classifier of real digits tells. ``directions`` draws latent vectors, has their
# images labelled, and returns, for each class, the direction from the mean of all
# others to its own.

classifier = SVC().fit(digits.data, digits.target)
found = directions(gan, labels=classifier, n_samples=2000)
np.bincount(found.labels)

# %%
# The surest of each class will serve as exemplars below.

sureness = classifier.decision_function(gan.generate(found.Z).reshape(2000, -1))


def exemplars(digit, n=3):
    """Return the latent vectors that most surely draw a digit."""
    return found.Z[sureness[:, digit].argsort()[::-1][:n]]


# %%
# A walk
# ------
# From a 0 to a 1, a 3, a 7, and back to the 0. Each row leads from one to the next
# along an arc. ``display.save_gif("walk.gif")`` writes it as a film that goes round.

keys = np.concatenate([exemplars(digit, 1) for digit in (0, 1, 3, 7)])
display = InterpolationDisplay.from_estimator(gan, keys, n_steps=11, closed=True)
plt.show()

# %%
# One latent variable at a time
# -----------------------------
# Around a vector that draws a three, each variable goes from 3 below its value to 3
# above, in ten steps. Most change several things at once.

TraversalDisplay.from_estimator(gan, exemplars(3, 1), dimensions=range(5))
plt.show()

# %%
# Directions without labels
# -------------------------
# The first layer's weights tell along which directions the images change most (SeFa),
# and along which hardly at all: the first three of these and the last two.

sefa = directions(gan)
rows = [0, 1, 2, 8, 9]
TraversalDisplay.from_estimator(
    gan,
    exemplars(3, 1),
    directions=sefa.vectors[rows],
    names=[f"{row}: {sefa.eigenvalues[row]:.1f}" for row in rows],
)
plt.show()

# %%
# Directions with labels
# ----------------------
# Away from a digit and towards it.

TraversalDisplay.from_estimator(
    gan,
    np.zeros(10),
    directions=found.vectors,
    names=[f"towards {c}" for c in found.classes],
)
plt.show()

# %%
# Arithmetic
# ----------
# The DCGAN paper adds and subtracts concepts, each the mean of three exemplars. Here
# wide digits less narrow ones of the same class, plus narrow ones of another, should
# give wide ones of that. The result is shown in the middle of its neighbours.
#
# A difference is all that tells the exemplars apart: that of the threes makes the 0
# wide, while wide 1s are those with a foot, and a 0 with more at its foot is a 6.


def widths(images):
    """Return how far ink is from its mean column: the standard deviation in pixels."""
    ink = images.sum(axis=1) / images.sum(axis=(1, 2))[:, None]
    column = np.arange(8)
    return np.sqrt(ink @ column**2 - (ink @ column) ** 2)


def sure_by_width(digit):
    """Return the 200 vectors that most surely draw a digit, narrow ones first."""
    Z = exemplars(digit, 200)
    return Z[widths(gan.generate(Z)).argsort()]


figure, axes = plt.subplots(2, 4, figsize=(9, 4.5))
for row, (one, other) in zip(axes, [(3, 0), (1, 0)], strict=True):
    wide, narrow = sure_by_width(one)[-3:], sure_by_width(one)[:3]
    base = sure_by_width(other)[:3]
    result = vector_arithmetic(gan, wide, narrow, base)
    pictures = {
        f"wide {one}": gan.generate(wide),
        f"- narrow {one}": gan.generate(narrow),
        f"+ narrow {other}": gan.generate(base),
        "=": result,
    }
    for ax, (title, images) in zip(row, pictures.items(), strict=True):
        SamplesDisplay(images, data_range=gan.data_range_).plot(ax=ax, n_columns=3)
        ax.set_title(title)
    print(
        f"narrow {other}: {widths(gan.generate(base)).mean():.2f} wide; "
        f"result: {widths(result).mean():.2f} wide, classified as "
        f"{np.unique(classifier.predict(result.reshape(9, -1))).tolist()}"
    )
plt.show()
