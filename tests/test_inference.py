"""Fitted networks at work: batches, and what happens when memory is short."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklgan import DCGANFeatureExtractor
from sklgan._inference import for_each_batch
from sklgan.networks import DCGANDiscriminator, DCGANGenerator


def run_with_room_for(n_rows_at_most):
    """Return what records the batches that fit, and refuses those that do not."""
    batches = []

    def run(rows, batch_size):
        if rows.stop - rows.start > n_rows_at_most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        batches.append((rows.start, rows.stop, batch_size))

    return run, batches


def test_each_row_is_in_one_batch():
    run, batches = run_with_room_for(100)
    for_each_batch(10, run, batch_size=4)
    assert batches == [(0, 4, 4), (4, 8, 4), (8, 10, 4)]


def test_batches_are_halved_until_they_fit_and_no_row_is_done_twice():
    run, batches = run_with_room_for(3)
    for_each_batch(7, run, batch_size=8)
    assert batches == [(0, 2, 2), (2, 4, 2), (4, 6, 2), (6, 7, 2)]


def test_a_row_that_does_not_fit_alone_is_an_error():
    run, _ = run_with_room_for(0)
    with pytest.raises(torch.OutOfMemoryError):
        for_each_batch(7, run)


class ShortOfMemory:
    """Let a network refuse large batches once it is fitted, as a full card does."""

    room = None

    def forward(self, x):
        if self.room is not None and len(x) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


class Generator(ShortOfMemory, DCGANGenerator):
    pass


class Discriminator(ShortOfMemory, DCGANDiscriminator):
    pass


def test_transform_and_sample_go_on_with_smaller_batches(two_colours):
    X = np.tile(two_colours[0], (3, 1, 1, 1))
    gan = DCGANFeatureExtractor(
        network=(Generator, Discriminator), max_epochs=1, random_state=0
    ).fit(X)
    outputs = []
    for room in (None, 30):
        gan.generator_.room = gan.discriminator_.room = room
        outputs.append((gan.transform(X), gan.score_samples(X), gan.sample(150)))
    for roomy, cramped in zip(*outputs, strict=True):
        assert roomy.shape == cramped.shape
        assert_allclose(cramped, roomy, rtol=0, atol=1 if roomy.ndim == 4 else 1e-5)
