"""
======================
Near-duplicates, found
======================

:class:`~sklgan.NearDuplicateDetector` finds copies that were planted among digits:
darker, with fewer levels of grey, and with noise. Then it tells how much a careless
split leaks.
"""

# %%
# Digits, and copies of some
# --------------------------

import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import GroupKFold, KFold

from sklgan import NearDuplicateDetector

rng = np.random.default_rng(0)
images = np.clip(zoom(load_digits().images, (1, 4, 4), order=1), 0, 16)  # 32 x 32


def coarse(X):
    """Return images with 5 levels of grey."""
    return np.round(X / 4) * 4


def noisy(X):
    """Return images with a little noise."""
    return np.clip(X + rng.normal(0, 0.5, size=X.shape), 0, 16)


copies = {
    "darker": 0.7 * images[:50],
    "coarse": coarse(images[50:100]),
    "noisy": noisy(images[100:150]),
}
X = np.concatenate([images, *copies.values()])
planted = np.repeat(["no copy", *copies], [len(images), 50, 50, 50])

# %%
# Find them
# ---------
# Digits have more in common than photographs: with more bits they are told apart.

detector = NearDuplicateDetector(n_bits=512, max_hamming=22, random_state=0).fit(X)
for number, name in enumerate(copies):
    original = detector.groups_[50 * number : 50 * (number + 1)]
    found = np.mean(detector.groups_[planted == name] == original)
    print(f"{name:<10} {found:.0%} in a group with their original")
others = detector.duplicate_mask_[: len(images)].sum()
print(f"{others} of the {len(images)} digits themselves are taken for copies")

# %%
# Groups, one a column
# --------------------
# Three of each kind: the first image of the group above, its copy below. At the right,
# what digits were taken for copies of each other.

groups = detector.groups_
columns = []
for name in [*copies, "no copy"]:
    rows = np.flatnonzero(detector.duplicate_mask_ & (planted == name))[:3]
    columns += [(np.flatnonzero(groups == groups[row])[0], row) for row in rows]

figure, axes = plt.subplots(2, len(columns), figsize=(9, 1.9), layout="constrained")
for column, pair in zip(axes.T, columns, strict=True):
    for ax, row in zip(column, pair, strict=True):
        ax.imshow(X[row], cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
    column[0].set_title(planted[pair[1]], fontsize=9)
plt.show()

# %%
# What a careless split leaks
# ---------------------------
# ``KFold`` puts copies on both sides, ``GroupKFold`` never does.

folds = {
    "KFold": KFold(5, shuffle=True, random_state=0).split(X),
    "GroupKFold": GroupKFold(5).split(X, groups=detector.groups_),
}
for name, splits in folds.items():
    train, test = next(splits)
    print(f"{name}: {detector.leakage_report(X[train], X[test])}")
