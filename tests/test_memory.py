"""Training where the device's memory is short."""

from contextlib import suppress

import pytest
import torch

from sklgan import DCGANFeatureExtractor
from sklgan.networks import DCGANDiscriminator, DCGANGenerator


class ShortOfMemory(DCGANDiscriminator):
    """Takes no more than 20 images at once, as a full card does."""

    def forward(self, x):
        if len(x) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(x)


def make(**params):
    params = {"network": (DCGANGenerator, ShortOfMemory), **params}
    return DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0, **params)


def test_a_batch_that_does_not_fit_names_the_one_to_try(two_colours):
    X, _ = two_colours
    with pytest.raises(torch.OutOfMemoryError, match="Set batch_size=16,.*2 GiB"):
        make(batch_size=32).fit(X)
    assert make(batch_size=16).fit(X).n_iter_ == 1


def test_the_estimator_is_then_as_it_was(two_colours):
    X, _ = two_colours
    gan = make(batch_size=16).fit(X)
    before = vars(gan).copy()
    with pytest.raises(torch.OutOfMemoryError):
        gan.set_params(batch_size=32).fit(X)
    assert vars(gan) == {**before, "batch_size": 32}
    assert gan.transform(X[:2]).shape[0] == 2


def test_the_error_holds_no_tensors(two_colours):
    """What hangs on its traceback would keep a card full."""
    X, _ = two_colours
    with pytest.raises(torch.OutOfMemoryError) as info:
        make(batch_size=32).fit(X)
    error, held = info.value, []
    while error is not None:
        frame = error.__traceback__
        while frame is not None:
            values = frame.tb_frame.f_locals.values()
            held += [value for value in values if torch.is_tensor(value)]
            frame = frame.tb_next
        error = error.__context__
    assert held == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_card_has_its_memory_back_after_fits(two_colours):
    X, _ = two_colours
    make(batch_size=16, device="cuda").fit(X)
    before = torch.cuda.memory_reserved()
    for batch_size in (16, 32):
        with suppress(torch.OutOfMemoryError):
            make(batch_size=batch_size, device="cuda").fit(X)
        assert torch.cuda.memory_reserved() <= before
