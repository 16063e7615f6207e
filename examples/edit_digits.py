"""Take images of real handwritten digits apart into blobs, and edit them.

Two digits of MNIST at random places of a canvas, 64 pixels wide: ``BlobGAN`` learns
without labels from 8,000 such images, then its blobs are found in images of digits that
it has never seen, and the blob of one digit is moved, removed, made larger and given
the looks of another::

    python examples/edit_digits.py --data ~/data/mnist

It takes 40 minutes of a core or more. The output folder keeps the training, so that the
same command goes on from where it was; found.png, edited.png and moving.gif are written
when it is done.
"""

import argparse
from pathlib import Path

import numpy as np
from _blob_world import find_objects, make_digits_world, owner
from cifar10_evaluation import count, say

from sklgan import BlobGAN, BlobsDisplay
from sklgan.blobs import edit
from sklgan.inspection import InterpolationDisplay, TraversalDisplay

# How far a blob is moved, in parts of the canvas: 6 pixels.
STEP = 6 / 64


def parse_arguments(argv):
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", required=True, help="folder of MNIST")
    add("--output", type=Path, default=Path("edit_digits"), help="where to write")
    add("--images", type=count, default=8000, help="to train on (8000)")
    add("--max-epochs", type=count, default=14, help="of the GAN (14)")
    add("--encoder-epochs", type=count, default=4, help="of the encoder (4)")
    add("--refine", type=count, default=200, help="steps of the optimiser (200)")
    return parser.parse_args(argv)


def train(args):
    """Return a BlobGAN that goes on from what the output folder holds of it."""
    X, _ = make_digits_world(args.images, args.data, random_state=0)
    gan = BlobGAN(
        n_blobs=2,
        n_filters=6,
        batch_size=24,
        max_epochs=args.max_epochs,
        encoder_epochs=args.encoder_epochs,
        checkpoint=args.output / "checkpoint",
        random_state=0,
        verbose=1,
    )
    return gan.fit(X)


def choose_blobs(gan, B, images):
    """Return the blob that is most seen in the larger digit of each image."""
    maps = gan.opacity_maps(B)
    return [
        owner(maps[k], find_objects(np.stack([image] * 3, axis=2))[0])
        for k, image in enumerate(images)
    ]


def edit_each(gan, B, blobs):
    """Return what is painted of images after each edit of the blob that is chosen."""

    def painted(how):
        edited = [edit(B[k : k + 1], blob, **how(k)) for k, blob in enumerate(blobs)]
        return gan.render(np.concatenate(edited))

    def inward(k):
        x, y = (B[name][k, blobs[k]] for name in "xy")
        along_x = abs(x - 0.5) >= abs(y - 0.5)
        step = STEP * np.sign([0.5 - x, 0.5 - y])
        return {"move": np.where([along_x, not along_x], step, 0.0)}

    def looks_before(k):
        blob = blobs[k - 1]
        return {
            "feature_from": B["feature"][k - 1, blob],
            "style_from": B["style"][k - 1, blob],
        }

    return {
        "painted": gan.render(B),
        "moved": painted(inward),
        "removed": painted(lambda k: {"remove": True}),
        "larger": painted(lambda k: {"scale": 1.5}),
        "restyled": painted(looks_before),
    }


def go_round(gan, one, blob, n_frames=48):
    """Return images of a blob on a circle around its place, as far as there is room."""
    angles = np.linspace(0, 2 * np.pi, n_frames, endpoint=False)
    place = np.array([one[name][0, blob] for name in "xy"])
    circle = STEP * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    steps = np.clip(place + circle, 0.01, 0.99) - place
    frames = [edit(one, blob, move=step) for step in steps]
    return gan.render(np.concatenate(frames))


def main(argv=None):
    """Train, find, edit, and write the pictures."""
    args = parse_arguments(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    gan = train(args)
    say("finding blobs in images that training has not seen")
    X, _ = make_digits_world(8, args.data, subset="test", random_state=1)
    display = BlobsDisplay.from_estimator(gan, X, refine=args.refine)
    path = args.output / "found.png"
    display.figure_.savefig(path, dpi=120, bbox_inches="tight")
    B = display.blobs
    blobs = choose_blobs(gan, B, X)
    rows = {"image": X, **edit_each(gan, B, blobs)}
    names = list(rows)
    display = TraversalDisplay(np.stack(list(rows.values())), names=names).plot()
    path = args.output / "edited.png"
    display.figure_.savefig(path, dpi=120, bbox_inches="tight")
    film = InterpolationDisplay(go_round(gan, B[:1], blobs[0]), closed=True)
    film.save_gif(args.output / "moving.gif", duration=0.06, scale=3)
    say(f"found.png, edited.png and moving.gif are in {args.output}")


if __name__ == "__main__":
    main()
