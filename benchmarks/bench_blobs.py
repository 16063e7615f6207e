"""BlobGAN in worlds whose truth is known: do blobs own objects, and can one edit them?

The worlds: 1 to 3 coloured ellipses or squares on a textured ground, 32x32; or two
MNIST digits at random places of a 64x64 canvas. Three figures, each with what explains
it away beside it:

- *moved*: the share of objects with room for it, in which moving the object's blob by 6
  pixels moves the object's centroid by 4 to 8 pixels, at most 45 degrees off. Room is
  within the image and 2 pixels from other objects, 4 from other digits. Beside it, the
  same for another blob of the image that can be seen; the share in which what has moved
  also covers half of what it should, and only that; that in which the image's other
  objects stay; and for all objects moved inward, whatever is there. Two objects that
  come to touch are taken for one, so that not even the world itself gets all of those
  (``--truth``, which trains nothing).
- *removed*: the share in which removing the blob brings the object's pixels back to the
  ground's level, within 0.1 on average.
- *R2*: of a linear model from the place of the blob that owns an object to the object's
  true centre, fitted on half of 1,000 held-out images. Beside it, the same where the
  owner is sought among the blobs of another image. Also with blobs that an optimiser
  has improved in 10 steps, and for 64 of the images in 100.

An object's owner is the blob that is most seen, on average, in the object's pixels; it
is the object's *own* if it owns no other of the image, where there are others::

    OMP_NUM_THREADS=2 python benchmarks/bench_blobs.py --output DIR
    OMP_NUM_THREADS=2 python benchmarks/bench_blobs.py --world digits --data DIR \\
        --output DIR

Trainings that were broken off go on, and seeds that are done stand in the output
folder.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from sklearn.linear_model import LinearRegression

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from _blob_world import (
    centroid,
    find_objects,
    is_grey,
    make_digits_world,
    make_world,
    owner,
)

from sklgan import BlobGAN, BlobsDisplay
from sklgan.blobs import edit
from sklgan.inspection import InterpolationDisplay, TraversalDisplay

# What is asked for, in pixels and in parts of the range of values.
MOVE, AT_LEAST, AT_MOST, TOLERANCE = 6, 4, 8, 0.1
# From where an object is moved to, to the next, in pixels: of colour, or grey, which
# would be taken for strokes of one digit where they are nearer.
GAP, GREY_GAP = 2, 4
DIRECTIONS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
N_SAMPLES, N_HELD_OUT, N_REFINED = 300, 1000, 64

# Chosen by eye on a world of another seed, 1000.
SETTINGS = {
    "n_blobs": 5,
    "n_filters": 10,
    "batch_size": 24,
    "max_epochs": 6,
    "encoder_epochs": 2,
}

FIGURES = {
    "moved": "moved, %",
    "moved_other": "another blob moved, %",
    "moved_whole": "moved as a whole, %",
    "others_stay": "other objects stay, %",
    "own": "objects with a blob of their own, %",
    "with_room": "objects with room to move, %",
    "moved_inward": "moved inward, room or not, %",
    "removed": "removed, %",
    "r2": "R2 of centres",
    "r2_other": "R2, blobs of another image",
    "r2_10": "R2, refine=10",
    "r2_other_10": "R2, refine=10, another image",
    "r2_refined": "R2, refine=100",
    "r2_other_refined": "R2, refine=100, another image",
    "with_object": "samples with an object, %",
    "objects": "objects in each of these",
    "error": "reconstruction, root mean square",
    "error_10": "the same, refine=10",
    "error_refined": "the same, refine=100",
    "cost": "seconds of a core for 1,000 images",
    "cost_10": "the same, refine=10",
    "minutes": "minutes of training",
}


def parse_arguments(argv):
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, defaults = parser.add_argument, BlobGAN().get_params()
    add("--world", choices=("shapes", "digits"), default="shapes")
    add("--data", default=None, help="the folder of MNIST, for digits")
    add("--images", type=int, default=20_000, help="to train on (20000)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="(0 1 2)")
    add("--output", type=Path, default=Path("blobs"), help="where to write")
    add("--truth", action="store_true", help="measure what the world itself moves")
    for name, default in {**defaults, **SETTINGS}.items():
        if type(default) in (int, float) and name not in ("verbose", "warm_start"):
            option = f"--{name.replace('_', '-')}"
            add(option, type=type(default), default=default, help=f"({default})")
    return parser.parse_args(argv)


def make_images(args, n_samples, seed, subset="train", moves=None):
    """Return images, and the places of their objects, of the world that was chosen."""
    if args.world == "shapes":
        return make_world(n_samples, moves=moves, random_state=seed)
    return make_digits_world(
        n_samples, args.data, subset=subset, moves=moves, random_state=seed
    )


# Objects and their blobs --------------------------------------------------------------


def mask_at(masks, center):
    """Return the mask that holds a place, or one about it, such as the ring of a 0."""
    for mask in masks:
        row, column = (center[::-1] * mask.shape).astype(int)
        if mask[row, column]:
            return mask
    for mask in masks:
        if np.linalg.norm(centroid(mask) / mask.shape[::-1] - center) < 0.1:
            return mask
    return None


def ways(mask):
    """Return the directions along the axes, the one that leads most inward first."""
    middle = np.divide(mask.shape[::-1], 2)
    return sorted(DIRECTIONS, key=lambda way: way @ (centroid(mask) - middle))


def moved_mask(mask, direction):
    """Return where an object should be after its move."""
    return ndimage.shift(mask.astype(float), MOVE * direction[::-1], order=0) > 0


def has_room(mask, others, direction, gap=GAP):
    """Tell whether an object, moved, is in the image and at a distance from others."""
    moved = moved_mask(mask, direction)
    taken = np.any([np.zeros_like(mask), *others], axis=0)
    taken = ndimage.binary_dilation(taken, np.ones((3, 3)), iterations=gap)
    return moved.sum() == mask.sum() and not (moved & taken).any()


def is_same(mask, other):
    """Tell whether two masks have half of what they cover in common."""
    return 2 * (mask & other).sum() >= (mask | other).sum()


def same_object(image, mask, new, expected):
    """Return the mask, in the new image, of the object that was at the mask.

    It is that of the most similar colour; among those, that next to where it should be.
    """
    color = image[mask].mean(axis=0)
    best, least = None, np.inf
    for other in find_objects(new):
        far = np.abs(new[other].mean(axis=0) - color).max() / 255
        distance = np.linalg.norm(centroid(other) - expected) / len(new)
        if far < 0.3 and 3 * far + distance < least:
            best, least = other, 3 * far + distance
    return best


class Move(NamedTuple):
    """An object of an image, and where it is to go."""

    index: int
    mask: np.ndarray
    others: list
    direction: np.ndarray


def outcome(image, move, new):
    """Tell if an object has moved, if as a whole, and if all others stay (or NaN)."""
    before = centroid(move.mask)
    after = same_object(image, move.mask, new, before + MOVE * move.direction)
    found = find_objects(new)
    stay = [any(is_same(other, mask) for mask in found) for other in move.others]
    stay = all(stay) if stay else np.nan
    if after is None:
        return False, False, stay
    shift = centroid(after) - before
    length = np.linalg.norm(shift)
    straight = shift @ move.direction >= length * 0.5**0.5
    moved = AT_LEAST <= length <= AT_MOST and straight
    return moved, moved and is_same(after, moved_mask(move.mask, move.direction)), stay


def is_gone(mask, new):
    """Tell whether the object's pixels have the ground's level."""
    taken = np.any([mask, *find_objects(new)], axis=0)
    ground = np.median(new[~taken], axis=0)
    return np.abs(new[mask].astype(float) - ground).mean() <= 255 * TOLERANCE


def as_colour(images):
    """Return images with three channels."""
    return images if images.ndim == 4 else np.repeat(images[..., None], 3, axis=3)


def choose_moves(images, rng):
    """Return moves of an object of each image: inward, and to where there is room."""
    inward, roomy = [], []
    for k, image in enumerate(images):
        masks = find_objects(image)
        if not masks:
            continue
        mask = masks.pop(rng.integers(len(masks)))
        inward.append(Move(k, mask, masks, ways(mask)[0]))
        gap = GREY_GAP if is_grey(image) else GAP
        free = [way for way in ways(mask) if has_room(mask, masks, way, gap)]
        roomy += [Move(k, mask, masks, way) for way in free[:1]]
    return inward, roomy


def shares(images, moves, painted):
    """Return the shares, in %, of objects moved, moved as a whole, and others' stay."""
    results = [
        outcome(images[move.index], move, new)
        for move, new in zip(moves, painted, strict=True)
        if new is not None
    ]
    return 100 * np.nanmean(np.reshape(results or [[np.nan] * 3], (-1, 3)), axis=0)


def step_to(B, k, blob, direction):
    """Return the step of a blob's centre that moves it, within the image."""
    place = np.array([B[name][k, blob] for name in "xy"])
    return np.clip(place + direction, 0.01, 0.99) - place


def edited_figures(gan, seed):
    """Return what moving and removing the owner of an object does, in samples."""
    images, B = gan.sample(N_SAMPLES, random_state=seed, return_blobs=True)
    images, maps = as_colour(images), gan.opacity_maps(B)
    side, rng = images.shape[1], np.random.default_rng(seed)
    inward, roomy = choose_moves(images, rng)

    def painted(k, blob, direction):
        step = step_to(B, k, blob, MOVE / side * direction)
        return as_colour(gan.render(edit(B[k : k + 1], blob, move=step)))[0]

    def by_owner(move):
        return painted(move.index, owner(maps[move.index], move.mask), move.direction)

    def by_another(move):
        seen = set(np.flatnonzero(maps[move.index, 1:].max(axis=(1, 2)) > 0.3))
        seen = sorted(seen - {owner(maps[move.index], move.mask)})
        return painted(move.index, rng.choice(seen), move.direction) if seen else None

    def removed(move):
        one = B[move.index : move.index + 1]
        new = edit(one, owner(maps[move.index], move.mask), remove=True)
        return is_gone(move.mask, as_colour(gan.render(new))[0])

    def is_own(move):
        own, *others = [
            owner(maps[move.index], mask) for mask in (move.mask, *move.others)
        ]
        return own not in others

    moved, whole, stay = shares(images, roomy, map(by_owner, roomy))
    return {
        "moved": moved,
        "moved_other": shares(images, roomy, map(by_another, roomy))[0],
        "moved_whole": whole,
        "others_stay": stay,
        "own": 100 * np.mean([is_own(move) for move in inward if move.others]),
        "with_room": 100 * len(roomy) / len(inward),
        "moved_inward": shares(images, inward, map(by_owner, inward))[0],
        "removed": 100 * np.mean([removed(move) for move in inward]),
        "with_object": 100 * len(inward) / len(images),
        "objects": np.mean([1 + len(move.others) for move in inward]),
    }


def found_figures(gan, images, centers, refine=0):
    """Return how well the places of owners tell the centres of objects."""
    start = time.process_time()
    B = gan.find(images, refine)
    cost = 1000 * (time.process_time() - start) / len(images)
    painted = gan.render(B).astype(float)
    error = np.sqrt(np.mean((painted - images) ** 2)) / 255
    figures = {"error": error, "cost": cost}
    n_fitted = len(images) // 2
    for name, shift in (("r2", 0), ("r2_other", 1)):
        blobs = np.roll(B, shift)
        maps = gan.opacity_maps(blobs)
        places, truths, halves = [], [], []
        for k, image in enumerate(as_colour(images)):
            masks = find_objects(image)
            for center in centers[k]:
                mask = mask_at(masks, center)
                if mask is None:
                    continue
                blob = owner(maps[k], mask)
                places.append([blobs["x"][k, blob], blobs["y"][k, blob]])
                truths.append(center)
                halves.append(k < n_fitted)
        places, truths, halves = map(np.array, (places, truths, halves))
        model = LinearRegression().fit(places[halves], truths[halves])
        figures[name] = model.score(places[~halves], truths[~halves])
    return figures


# A row of the table -------------------------------------------------------------------


def fit(args, seed):
    """Return a BlobGAN, trained in minutes that are counted over interruptions."""
    images, _ = make_images(args, args.images, seed)
    names = [name for name in BlobGAN().get_params() if hasattr(args, name)]
    gan = BlobGAN(
        **{name: getattr(args, name) for name in names},
        checkpoint=args.output / f"seed_{seed}",
        random_state=seed,
    )
    gan.fit(images)
    rows = [*gan.history_, *gan.encoder_history_]
    return gan, sum(row["duration"] for row in rows) / 60


def draw(gan, images, path):
    """Write pictures of found blobs, of samples and of edits, and a moving blob."""
    for name, X in (("found", images[:10]), ("sampled", None)):
        display = BlobsDisplay.from_estimator(gan, X, n_samples=10, random_state=0)
        display.figure_.savefig(f"{path}_{name}.png", dpi=120, bbox_inches="tight")
    pictures, B = gan.sample(10, random_state=1, return_blobs=True)
    pictures, maps = as_colour(pictures), gan.opacity_maps(B)
    rows = [list(pictures), [], []]
    for k, image in enumerate(pictures):
        masks = find_objects(image)
        blob = owner(maps[k], masks[0]) if masks else 0
        step = MOVE / len(image) * (ways(masks[0])[0] if masks else np.zeros(2))
        one = B[k : k + 1]
        for row, new in (
            (1, edit(one, blob, move=step)),
            (2, edit(one, blob, remove=True)),
        ):
            rows[row].append(as_colour(gan.render(new))[0])
    TraversalDisplay(np.array(rows)).save_png(f"{path}_edited.png", scale=4)
    k = next((k for k, image in enumerate(pictures) if find_objects(image)), 0)
    blob = owner(maps[k], (find_objects(pictures[k]) or [maps[k, 0] > -1])[0])
    film = InterpolationDisplay(moving(gan, B[k : k + 1], blob), closed=True)
    film.save_gif(f"{path}_moving.gif", duration=0.06, scale=4)


def moving(gan, one, blob):
    """Return images of a blob on a circle around the middle of its image."""
    frames = []
    for angle in np.linspace(0, 2 * np.pi, 48, endpoint=False):
        place = 0.5 + 0.25 * np.array([np.cos(angle), np.sin(angle)])
        step = place - [one[name][0, blob] for name in "xy"]
        frames.append(edit(one, blob, move=step))
    return gan.render(np.concatenate(frames))


def run(args):
    """Train and measure for each seed that is not done, and print the table."""
    args.output.mkdir(parents=True, exist_ok=True)
    done = {}
    for seed in args.seeds:
        path = args.output / f"seed_{seed}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        if not FIGURES.keys() - known:  # else it lacks what is measured since
            done[seed] = known
            continue
        gan, minutes = fit(args, seed)
        # No seed of the training's worlds, and no digit of theirs.
        images, centers = make_images(args, N_HELD_OUT, 10_000 + seed, "test")
        figures = edited_figures(gan, seed) | found_figures(gan, images, centers)
        few = found_figures(gan, images, centers, refine=10)
        refined = found_figures(gan, images[:N_REFINED], centers, refine=100)
        figures |= {f"{name}_10": value for name, value in few.items()}
        figures |= {f"{name}_refined": value for name, value in refined.items()}
        done[seed] = {**figures, "minutes": minutes}
        part = path.with_suffix(".part")
        part.write_text(json.dumps(done[seed], indent=1))
        os.replace(part, path)
        draw(gan, images, args.output / f"seed_{seed}")
    for name, heading in FIGURES.items():
        values = [done[seed][name] for seed in args.seeds]
        each = "  ".join(f"{value:7.2f}" for value in values)
        print(f"{heading:34} {each}   mean {np.mean(values):.2f}")


def truth(args):
    """Print what share of its objects the world itself can be seen to move."""
    for seed in args.seeds:
        # Not the worlds that are scored, nor those that are trained on.
        world, n = 20_000 + seed, 2 * N_SAMPLES
        originals, centers = make_images(args, n, world)
        images = as_colour(originals)
        inward, roomy = choose_moves(images, np.random.default_rng(seed))

        def painted(chosen, world=world, n=n, centers=centers, images=images):
            side, steps = images.shape[1], [None] * n
            for k, mask, _, way in chosen:
                gaps = np.linalg.norm(centers[k] - centroid(mask) / side, axis=1)
                steps[k] = int(gaps.argmin()), MOVE / side * way
            new, _ = make_images(args, n, world, moves=steps)
            return [as_colour(new)[move.index] for move in chosen]

        moved, whole, stay = shares(images, roomy, painted(roomy))
        print(
            f"world {world}: {100 * len(roomy) / len(inward):.1f} % of objects have "
            f"room; of these {moved:.1f} % moved, {whole:.1f} % as a whole, in "
            f"{stay:.1f} % the others stayed; inward, "
            f"{shares(images, inward, painted(inward))[0]:.1f} % of all moved"
        )


def main(argv=None):
    """Run what the command line asks for."""
    args = parse_arguments(argv)
    if args.truth:
        truth(args)
    else:
        run(args)


if __name__ == "__main__":
    main()
