"""
=================================
Images as blobs, and how to edit them
=================================

``BlobGAN`` learns, without labels, to paint images of blobs and to find the blobs of an
image. Here the world is small: one or two coloured things on a grey ground, 16 pixels wide.
An image that it has not seen is taken apart; then its things are moved, removed, resized
and restyled.
"""

# %%
# Training
# --------
# Two thousand images of that world, of which nobody says where the things are.
# ``benchmarks/RESULTS.md`` tells what longer training on larger images reaches.

import matplotlib.pyplot as plt
import numpy as np
from _blob_world import make_world

from sklgan import BlobGAN, BlobsDisplay
from sklgan.blobs import edit

X, _ = make_world(3000, side=16, max_objects=2, random_state=0)
gan = BlobGAN(3, n_filters=12, max_epochs=8, encoder_epochs=5, random_state=0).fit(X)

# %%
# What the generator paints
# -------------------------
# Above, samples with the ellipses of their blobs; below, what is seen of each blob.

BlobsDisplay.from_estimator(gan, n_samples=8, random_state=0)
plt.show()

# %%
# What the encoder finds
# ----------------------
# Images that training has not seen; what is painted of the blobs found in them; and
# the blobs.

X_new, _ = make_world(8, side=16, max_objects=2, random_state=1)
BlobsDisplay.from_estimator(gan, X_new)
plt.show()
