"""
======================================
Features for a classifier, and samples
======================================

A DCGAN learns from scikit-learn's digits without their labels. Its discriminator's
activations are features for a linear classifier; its generator draws digits.
"""

# %%
# One pipeline
# ------------
# The extractor is a transformer like any other. Here it trains for less than half a
# minute. There are few digits: small batches make enough steps of them for samples that
# begin to look like digits, if the average of the weights does not reach back too far.
# :ref:`sphx_glr_auto_examples_plot_latent_walk.py` has a generator that draws better.
# ``benchmarks/RESULTS.md`` tells what longer training is worth.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from sklgan import (
    DCGANFeatureExtractor,
    SamplesDisplay,
    TrainingHistoryDisplay,
)

digits = load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.target, random_state=0
)
gan = DCGANFeatureExtractor(
    n_filters=16,
    learning_rate=5e-4,
    batch_size=32,
    max_epochs=60,
    ema_decay=0.99,
    random_state=0,
)
model = Pipeline(
    [
        ("gan", gan),
        ("scale", StandardScaler()),
        ("svm", LinearSVC(C=0.001)),
    ]
)
model.fit(X_train, y_train)
print(f"Test accuracy: {model.score(X_test, y_test):.3f}")

# %%
# What the generator draws
# ------------------------
# Samples come back in the layout and range of ``X_train``.

SamplesDisplay.from_estimator(model["gan"], n_samples=36, random_state=0)
plt.show()

# %%
# How training went
# -----------------
# Neither loss is a measure of quality: it tells who is ahead, not how good both are.

TrainingHistoryDisplay.from_estimator(model["gan"])
plt.show()

# %%
# The features have names
# -----------------------
# Layer, channel, row and column: enough to find the part of the image that a weight
# of the classifier looks at.

model["gan"].set_output(transform="pandas").transform(X_test[:3]).iloc[:, :4]
