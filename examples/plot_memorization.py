"""
================
Did it memorise?
================

Two generators draw digits. One has seen 50 of them for a very long time and draws them
again; the other has seen 1,000 and draws digits of its own. The report tells them
apart with the help of digits that neither has seen.
"""

# %%
# Two trainings
# -------------
# A small network and few latent variables make the first memorise soon. Its images are
# repeated, because many short epochs take longer than few long ones.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from sklgan import DCGANFeatureExtractor
from sklgan.inspection import MemorizationDisplay, memorization_report

X = load_digits().images
X = X[np.random.default_rng(0).permutation(len(X))]
few, many, held_out = X[:50], X[:1000], X[1000:1500]

memorizing = DCGANFeatureExtractor(
    latent_dim=5,
    network="mlp",
    max_epochs=75,
    batch_size=50,
    learning_rate=1e-3,
    ema_decay=0.99,
    random_state=0,
).fit(np.repeat(few, 20, axis=0))
healthy = DCGANFeatureExtractor(
    n_filters=32, max_epochs=40, learning_rate=2e-3, ema_decay=0.9, random_state=0
).fit(many)

# %%
# What the report says
# --------------------
# Copies are samples that are close to one training image and to no other. Some samples
# of the first generator are; others are blends, which do not count.

caught = memorization_report(memorizing, few, held_out, random_state=0)
print(caught)

# %%
# The second has none.

cleared = memorization_report(healthy, many, held_out, random_state=0)
print(cleared)

# %%
# The worst of the first
# ----------------------
# Each row is a sample, and the training images that are nearest to it. The number is
# the distance to the nearest over the mean distance to the ten next: the first image is
# the same digit again, down to its accidents; the second is another.

MemorizationDisplay.from_report(caught, memorizing, few)
plt.show()

# %%
# The worst of the second
# -----------------------
# The nearest images are alike in kind, and the first is no closer than the others.

MemorizationDisplay.from_report(cleared, healthy, many)
plt.show()

# %%
# All samples at a glance
# -----------------------
# Distances to the nearest training image would not do: what matters is how alone a
# sample is with it. Left of the line it is a copy.

bins = np.linspace(0, 1.1, 45)
fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, report in (("50 digits", caught), ("1,000 digits", cleared)):
    figures = report.spaces["pixels"]
    ax.hist(figures.ratios, bins, alpha=0.6, label=f"trained on {name}")
ax.axvline(caught.spaces["pixels"].largest_ratio, color="k", linestyle="--")
ax.set(xlabel="distance to the nearest / mean of the next ten", ylabel="samples")
ax.legend()
plt.show()
