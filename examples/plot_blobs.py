"""
=====================================
Images as blobs, and how to edit them
=====================================

``BlobGAN`` learns, without labels, to paint images of blobs and to find the blobs of an
image. Here the world is small, 16 pixels wide: one or two coloured things on a grey
ground. Then an image is taken apart, and what is in it is moved, removed, resized and
restyled.
"""

# %%
# Training
# --------
# Some thousand images of that world. Nobody says where the things are.
# ``benchmarks/RESULTS.md`` tells what longer training on larger images reaches.

import matplotlib.pyplot as plt
import numpy as np
from _blob_world import make_world

from sklgan import BlobGAN, BlobsDisplay
from sklgan.blobs import edit
from sklgan.inspection import InterpolationDisplay, TraversalDisplay

X, _ = make_world(3000, side=16, max_objects=2, random_state=0)
gan = BlobGAN(
    3, n_filters=8, batch_size=24, max_epochs=6, encoder_epochs=8, random_state=0
).fit(X)

# %%
# What the generator paints
# -------------------------
# Above, samples with the ellipses of their blobs; below, what is seen of each blob.

BlobsDisplay.from_estimator(gan, n_samples=8, random_state=0)
plt.show()

# %%
# What is found in an image
# -------------------------
# Images that training has not seen, what is painted of the blobs found in them, and the
# blobs. The encoder proposes, and some steps of an optimiser improve each image.

X_new, _ = make_world(8, side=16, max_objects=2, random_state=1)
BlobsDisplay.from_estimator(gan, X_new, refine=200)
plt.show()

# %%
# Edits
# -----
# In each image the blob without which it changes most is moved across the middle, by
# five pixels; removed; made larger; and given the looks of the one in the image before.
# Functions of ``sklgan.blobs`` change nothing in place. After so short a training not
# all of it succeeds: of a blob that paints more than a thing, a smear is moved or left.

B = gan.find(X_new, refine=200)
painted = gan.render(B).astype(float)
changes = np.array(
    [
        abs(gan.render(edit(B, blob, remove=True)) - painted).mean(axis=(1, 2, 3))
        for blob in range(3)
    ]
)
chosen = changes.argmax(axis=0)


def edited(how):
    """Paint all images after an edit, ``how(image)``, of the blob that is chosen."""
    each = [edit(B[k : k + 1], blob, **how(k)) for k, blob in enumerate(chosen)]
    return gan.render(np.concatenate(each))


def across(k):
    """Return the way along the x axis."""
    return {"move": (5 / 16 * np.sign(0.5 - B["x"][k, chosen[k]]), 0.0)}


def looks_before(k):
    """Return what the blob looks like that is chosen in the image before."""
    return {
        "feature_from": B["feature"][k - 1, chosen[k - 1]],
        "style_from": B["style"][k - 1, chosen[k - 1]],
    }


rows = {
    "image": X_new,
    "painted": gan.render(B),
    "moved": edited(across),
    "removed": edited(lambda k: {"remove": True}),
    "larger": edited(lambda k: {"scale": 1.5}),
    "restyled": edited(looks_before),
}
TraversalDisplay(np.stack(list(rows.values())), names=list(rows)).plot()
plt.show()

# %%
# A blob on its way
# -----------------
# From left to right, in the image that depends most on one blob alone: where several
# share an object it would be torn. ``display.save_gif("moving.gif", scale=16)`` writes
# it as a film that goes there and back. ``examples/edit_digits.py`` does the same with
# handwritten digits, 64 pixels wide, after 40 minutes of training.

k = int((changes.max(axis=0) / changes.sum(axis=0)).argmax())
one, blob = B[k : k + 1], chosen[k]
way = np.linspace(0.15, 0.85, 9)
frames = [edit(one, blob, move=(x - one["x"][0, blob], 0.0)) for x in way]
display = InterpolationDisplay(gan.render(np.concatenate(frames))).plot()
plt.show()
