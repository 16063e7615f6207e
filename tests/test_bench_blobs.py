"""The benchmark of blobs: what it counts as moved, in a world whose truth is known."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

ROOT = Path(__file__).resolve().parents[1]
SIDE, SEED, N = 32, 7, 40


def load(name):
    """Return a script as a module."""
    before = list(sys.path)
    sys.path[:0] = [str(ROOT / folder) for folder in ("examples", "benchmarks")]
    try:
        return importlib.import_module(name)
    finally:
        sys.path[:] = before


bench, blob_world = load("bench_blobs"), load("_blob_world")
centroid, make_world = blob_world.centroid, blob_world.make_world


@pytest.fixture(scope="module")
def world():
    """Images, centres, and a move of an object of each where it has room."""
    images, centers = make_world(N, random_state=SEED)
    _, roomy = bench.choose_moves(images, np.random.default_rng(0))
    return images, centers, roomy


def paint(moves, centers):
    """Return the world with the objects of moves where they go."""
    steps = [None] * N
    for move in moves:
        gaps = centers[move.index] - centroid(move.mask) / SIDE
        nearest = int(np.linalg.norm(gaps, axis=1).argmin())
        steps[move.index] = nearest, bench.MOVE / SIDE * move.direction
    return make_world(N, random_state=SEED, moves=steps)[0]


def outcomes(images, moves, new):
    """Return (moved, as a whole, others stay), a row for each move."""
    return np.array([bench.outcome(images[m.index], m, new[m.index]) for m in moves])


def test_the_world_itself_meets_all_that_is_counted(world):
    """All else of an image stays as it was, to the bit."""
    images, centers, roomy = world
    new = paint(roomy, centers)
    results = outcomes(images, roomy, new)
    assert results[:, :2].all()
    assert np.nanmin(results[:, 2]) == 1
    assert np.isnan(results[:, 2]).any()
    assert len(roomy) > N * 0.8
    for move in roomy:
        apart = np.ones((SIDE, SIDE), dtype=bool)
        for center in (centroid(move.mask), centroid(move.mask) + 6 * move.direction):
            rows, columns = np.ogrid[:SIDE, :SIDE]
            apart &= np.hypot(columns - center[0], rows - center[1]) > 10
        assert_array_equal(images[move.index][apart], new[move.index][apart])


def test_what_stays_has_not_moved(world):
    """Nor have objects of which another moves."""
    images, centers, roomy = world
    assert not outcomes(images, roomy, images)[:, :2].any()
    crowded = [move for move in roomy if move.others]
    others = [
        bench.Move(
            move.index, move.others[0], [move.mask, *move.others[1:]], move.direction
        )
        for move in crowded
    ]
    results = outcomes(images, others, paint(crowded, centers))
    assert not results.any()


def test_what_moves_in_part_is_no_whole_and_what_takes_all_along_is_seen(world):
    """A shrunken object counts as moved only; a shifted image moves the others."""
    images, centers, roomy = world
    new = paint(roomy, centers)
    for move in roomy:
        target = bench.moved_mask(move.mask, move.direction)
        x, y = centroid(target)
        rows, columns = np.ogrid[:SIDE, :SIDE]
        rim = target & (np.maximum(abs(columns + 0.5 - x), abs(rows + 0.5 - y)) > 2.5)
        new[move.index][rim] = 128
    moved, whole, _ = outcomes(images, roomy, new).T
    assert moved.mean() > 0.8
    assert whole.mean() < 0.5
    shifted = images.copy()
    for move in roomy:
        step = (bench.MOVE * move.direction)[::-1]
        shifted[move.index] = np.roll(images[move.index], step, axis=(0, 1))
    stay = outcomes(images, roomy, shifted)[:, 2]
    assert np.nanmean(stay) < 0.1


def test_strokes_of_a_digit_are_one_object():
    """Grey ones that are two pixels apart; farther ones, and coloured ones, are two."""
    grey = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    grey[5:9, 4:10] = grey[11:15, 4:10] = grey[18:22, 4:10] = 200
    found = blob_world.find_objects(grey)
    assert [mask.sum() for mask in found] == [48, 24]
    assert len(blob_world.find_objects(grey * np.uint8([1, 0, 0]))) == 3


def test_digits_have_room_where_they_would_not_look_like_one():
    """Moved up, the lower one would be 3 pixels from the other: colours may be."""
    image = np.zeros((1, SIDE, SIDE, 3), dtype=np.uint8)
    image[0, 5:9, 14:18] = image[0, 18:22, 14:18] = 200
    up = np.array([0, -1])
    for colour, moves_up in (([1, 0, 0], True), ([1, 1, 1], False)):
        coloured = image * np.uint8(colour)
        tried = [
            bench.choose_moves(coloured, np.random.default_rng(seed))[1]
            for seed in range(8)
        ]
        lower = [move for (move,) in tried if move.mask[20, 15]]
        assert 0 < len(lower) < 8
        assert all((move.direction == up).all() == moves_up for move in lower)


def test_room_is_within_the_image_and_apart_from_others():
    """x is the columns."""
    mask, other = np.zeros((2, SIDE, SIDE), dtype=bool)
    mask[12:16, 2:6] = True
    right, down, left, up = bench.DIRECTIONS
    has_room = bench.has_room
    assert not has_room(mask, [], left)
    assert has_room(mask, [], right)
    assert has_room(mask, [], up)
    other[12:16, 14:18] = True
    assert has_room(mask, [other], right)  # columns 8 to 11, then 2 free ones
    other[12:16, 13] = True
    assert not has_room(mask, [other], right)
    assert has_room(mask, [other], down)
    assert_array_equal(bench.ways(mask)[0], right)
