"""
==================================
From a digit to its latent vector
==================================

A generator maps latent vectors to images; :func:`sklgan.inspection.project` searches
for the vector whose image is nearest to a given one. Here are three ways to search, and
what becomes of an image that is unlike all of the training.
"""

# %%
# A generator of digits
# ---------------------
# A quarter of the digits is held out. ``benchmarks/RESULTS.md`` has figures for MNIST.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklgan import DCGANFeatureExtractor, SamplesDisplay
from sklgan.inspection import fit_encoder, project

digits = load_digits()
X_train, X_test = train_test_split(digits.images, random_state=0)
gan = DCGANFeatureExtractor(
    n_filters=16, batch_size=32, max_epochs=40, random_state=0
).fit(X_train)


def draw(rows, title):
    """Draw rows of images, each named beside it."""
    height = 0.9 * len(rows) + 0.4
    figure, axes = plt.subplots(len(rows), figsize=(9, height))
    for ax, (name, images) in zip(axes, rows.items(), strict=True):
        display = SamplesDisplay(images, data_range=gan.data_range_)
        display.plot(n_columns=len(images), ax=ax)
        ax.text(-1.5, 4, name, ha="right", va="center")
    figure.suptitle(title, y=1 - 0.1 / height)
    figure.subplots_adjust(0.2, 0.1 / height, 0.99, 1 - 0.4 / height, hspace=0.1)
    plt.show()


# %%
# Three methods
# -------------
# ``"optimize"`` starts from the nearest of 512 samples and lets Adam bring them nearer.
# The encoder is a network that was trained to tell of which vector a sample was drawn:
# it takes one pass. ``"hybrid"`` optimises what the encoder says; with one start it is
# faster than ``"optimize"``. The generator was not trained on these digits. The last
# row needs no generator: the training image with the smallest squared difference.

originals = X_test[:10]
encoder = fit_encoder(gan, random_state=0)
settings = {"encoder": encoder, "random_state": 0, "return_errors": True}
rows = {"original": originals}
for method in ("optimize", "encoder", "hybrid"):
    n_starts = 1 if method == "hybrid" else 2
    Z, errors = project(gan, originals, method=method, n_starts=n_starts, **settings)
    rows[f"{method}, {errors.mean():.4f}"] = gan.generate(Z)
differences = np.square((originals[:, None] - X_train) / 16).mean(axis=(2, 3))
name = f"in training, {differences.min(axis=1).mean():.4f}"
rows[name] = X_train[differences.argmin(axis=1)]
draw(rows, "Held-out digits, and mean squared errors in [0, 1]")

# %%
# Same image, other vector
# ------------------------
# A sample of the generator is found again almost exactly, the vector that it was drawn
# of is not: another is found, nearly as far from it as any. Compare projections by
# their images, not by their vectors.

Z_drawn = np.random.default_rng(1).standard_normal((10, 100))
samples = gan.generate(Z_drawn)
Z, errors = project(gan, samples, random_state=0, return_errors=True)
draw(
    {"sample": samples, f"found, {errors.mean():.4f}": gan.generate(Z)},
    "The generator's own samples",
)
distances = np.linalg.norm(Z - Z_drawn, axis=1)
others = np.linalg.norm(Z_drawn - np.roll(Z_drawn, 1, axis=0), axis=1)
print(f"Distance of found and drawn vectors: {distances.mean():.1f}")
print(f"Distance of two drawn vectors:       {others.mean():.1f}")

# %%
# What is no digit
# ----------------
# The images that were found for digits on their side, and for noise, are poor copies,
# and the errors say so. They need not be digits: that a vector is as long as those that
# were drawn does not mean that it is like them.

turned = X_test[:5].transpose(0, 2, 1)[:, ::-1]
noise = np.random.default_rng(0).uniform(0, 16, (5, 8, 8))
strange = np.concatenate([turned, noise])
Z, errors = project(gan, strange, random_state=0, return_errors=True)
draw({"original": strange, "found": gan.generate(Z)}, "Turned digits, and noise")
print(f"Errors: turned digits {errors[:5].mean():.4f}, noise {errors[5:].mean():.4f}")
