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
# The blob without which images change most is moved to the left by five pixels;
# removed; made larger; and given the looks of the same blob in the image before.
# Functions of ``sklgan.blobs`` change nothing in place.

B = gan.find(X_new, refine=200)
painted = gan.render(B).astype(float)
changes = np.array(
    [
        abs(gan.render(edit(B, blob, remove=True)) - painted).mean(axis=(1, 2, 3))
        for blob in range(3)
    ]
)
blob = int(changes.mean(axis=1).argmax())
to_the_left = -np.minimum(5 / 16, B["x"][:, blob]), 0.0
rows = {
    "image": X_new,
    "painted": gan.render(B),
    "moved": gan.render(edit(B, blob, move=to_the_left)),
    "removed": gan.render(edit(B, blob, remove=True)),
    "larger": gan.render(edit(B, blob, scale=1.5)),
    "restyled": gan.render(
        edit(
            B,
            blob,
            style_from=np.roll(B["style"][:, blob], 1, axis=0),
            feature_from=np.roll(B["feature"][:, blob], 1, axis=0),
        )
    ),
}
figure, axes = plt.subplots(len(rows), 1, figsize=(8, 6.5))
for ax, (name, images) in zip(axes, rows.items(), strict=True):
    ax.imshow(np.concatenate(list(images), axis=1))
    ax.set_ylabel(name, rotation=0, ha="right", va="center")
    ax.set(xticks=[], yticks=[])
plt.show()

# %%
# A blob on its way
# -----------------
# The same blob of the third image, from left to right. Where several blobs share an
# object, as in the first one, it would be torn.

one = B[2:3]
way = np.linspace(0.15, 0.85, 9)
frames = [
    gan.render(edit(one, blob, move=(x - one["x"][0, blob], 0.0)))[0] for x in way
]
figure, ax = plt.subplots(figsize=(8, 1.2))
ax.imshow(np.concatenate(frames, axis=1))
ax.set_axis_off()
plt.show()
