"""A card's memory: given back after a fit, and what to do where it is short."""

import gc
import traceback
from contextlib import contextmanager

import torch


@contextmanager
def memory_given_back(batch_size):
    """Leave none of a card's memory taken by a fit, and say what to do if it is short.

    Raises
    ------
    torch.OutOfMemoryError
        In place of torch's own, which does not know the batch size.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
        # What the frames of the traceback hold would stay there as long as the error.
        traceback.clear_frames(error.__traceback__)
        raise torch.OutOfMemoryError(
            f"The device's memory does not suffice for batch_size={batch_size}. Set "
            f"batch_size={max(2, batch_size // 2)}, or take smaller networks "
            f"(n_filters); the estimator is as it was before. ({reason})"
        ) from None
    finally:
        if torch.cuda.is_initialized():
            # The engine, its optimiser and callbacks hold each other.
            gc.collect()
            torch.cuda.empty_cache()
