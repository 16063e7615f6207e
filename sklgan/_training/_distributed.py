"""One training in several processes: their group, and what they have to agree on.

What each then computes is the matter of ``_shares``. In a single process, and outside
of ``joined_processes``, all functions here do nothing.
"""

import atexit
import hashlib
import os
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import partial

import torch
import torch.distributed as dist

from sklgan._tensors import is_worker
from sklgan._training._batches import equal_batches
from sklgan._training._errors import DistributedTrainingError, StopTraining

# How long a rank waits for one that neither answers nor has ended.
_TIMEOUT = timedelta(minutes=10)

_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

# The process group of the fit that runs in this thread.
_GROUP: ContextVar = ContextVar("group", default=None)


# The group ---------------------------------------------------------------------------


@contextmanager
def joined_processes():
    """Train as one with the other ranks of torch.distributed within the context.

    Under torchrun this begins torch.distributed, if the user has not. A fit has a group
    of its own: the rank that leaves it with an error closes it, and under gloo all that
    wait for this rank are told at once, while the user's group remains usable.
    """
    if current_group() is not None or not _begin():
        yield
        return
    _GROUP.set(communicate(dist.new_group, backend=_backend(), timeout=_TIMEOUT))
    try:
        # Only then are all connected: a rank that closes a group which another is about
        # to open would leave that one without it.
        gather_objects(None)
        yield
        if current_group() is not None:
            # Who closed the group earlier would cut off those that still read from it.
            gather_objects(None)
    finally:
        leave_group()


def leave_group():
    """Go on alone: nothing waits for other ranks any more, nor they for this one."""
    group = current_group()
    if group is not None:
        _GROUP.set(None)
        _disconnect(group)
        dist.destroy_process_group(group)


def _disconnect(group):
    """Close gloo's connections of a group, which tells all who wait for this rank.

    torch closes them when nobody holds the group any more. An error may hold it for as
    long as a program keeps the error: by the frames of the step that failed, or by the
    graph of a tensor in one of them.
    """
    # Each network interface that gloo is to use has connections of its own, and tags
    # take them in turn.
    n_interfaces = 1 + os.environ.get("GLOO_SOCKET_IFNAME", "").count(",")
    for tag in range(n_interfaces):
        # Nobody sends this. On Linux, gloo closes the connections to all ranks when a
        # receive is not answered in time.
        with suppress(RuntimeError):
            unanswered = dist.irecv(torch.empty(1, device="cpu"), group=group, tag=tag)
            unanswered.wait(timedelta(milliseconds=1))


def _begin():
    """Tell whether there are several ranks; begin torch.distributed if need be."""
    # Workers of a search that a rank has started inherit its environment.
    if not dist.is_available() or is_worker():
        return False
    if not dist.is_initialized():
        if not all(name in os.environ for name in _TORCHRUN):
            return False
        if int(os.environ["WORLD_SIZE"]) > 1:
            communicate(dist.init_process_group, _backend(), timeout=_TIMEOUT)
            atexit.register(_end)
    return dist.is_initialized() and dist.get_world_size() > 1


def _end():
    """Take leave of the other ranks, which torch wants to be done."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _backend():
    """Return NCCL for tensors on GPUs, unless the user has chosen gloo, and gloo."""
    if dist.is_initialized() and dist.get_backend() == "gloo":
        return "gloo"
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    return "cpu:gloo,cuda:nccl" if has_nccl else "gloo"


def current_group():
    """Return the process group of the fit that runs, or None for a single process."""
    return _GROUP.get()


def n_processes():
    """Return the number of processes that train together."""
    group = current_group()
    return 1 if group is None else group.size()


def is_main_process():
    """Tell whether this process writes files and progress: rank 0, or the only one."""
    group = current_group()
    return group is None or dist.get_rank(group) == 0


def communicate(operation, *args, **kwargs):
    """Call a function of torch.distributed; say in our own words that it failed."""
    try:
        return operation(*args, **kwargs)
    except RuntimeError as error:
        raise DistributedTrainingError(
            "Another process of this training has failed, has ended or did not answer "
            f"within {_TIMEOUT.seconds} s, so that this one cannot go on; its own "
            "message says why."
        ) from error


# What ranks agree on -----------------------------------------------------------------


def gather_objects(value):
    """Return the plain values of all ranks in a list."""
    group = current_group()
    if group is None:
        return [value]
    values = [None] * group.size()
    communicate(dist.all_gather_object, values, value, group=group)
    return values


def of_rank_0(value):
    """Return the plain value that rank 0 has."""
    return gather_objects(value)[0]


def check_same_fit(describe):
    """Raise ValueError on all ranks if ``describe()`` is not the same dict on all."""
    if current_group() is None:
        return
    first, *others = gather_objects(describe())
    for rank, other in enumerate(others, start=1):
        differences = "; ".join(
            f"{name} is {first.get(name)!r} on rank 0 and {other.get(name)!r} on rank "
            f"{rank}"
            for name in {**first, **other}
            if first.get(name) != other.get(name)
        )
        if differences:
            # Who leaves the group at once would cut off those that still read.
            with suppress(DistributedTrainingError):
                gather_objects(None)
            raise ValueError(
                f"The processes of one training differ: {differences}. Give each the "
                "same data and parameters; every rank takes its share by itself."
            )


def check_shares(n_rows, batch_size, n_processes):
    """Raise ValueError if a batch has fewer rows than there are processes."""
    smallest = n_rows // (len(equal_batches(n_rows, batch_size)) - 1)
    if smallest < n_processes:
        raise ValueError(
            f"A batch of {smallest} rows (batch_size={batch_size}, n_samples={n_rows}) "
            f"cannot be shared by {n_processes} processes; increase batch_size or "
            "start fewer."
        )


def same_epoch(module, figures, drawn):
    """Return the figures of an epoch as rank 0 has them, and let all have its weights.

    Ranks on unlike hardware would else drift apart by rounding.

    Parameters
    ----------
    module : torch.nn.Module
        All networks; changed in place.
    figures : dict of str to float
    drawn : dict of Tensor
        States of the random numbers, which must be the same on all ranks.

    Raises
    ------
    ValueError
        If they are not, on all ranks.
    """
    if current_group() is None:
        return figures
    states = b"".join(state.numpy().tobytes() for state in drawn.values())
    gathered = gather_objects((figures, hashlib.sha256(states).hexdigest()))
    if len({digest for _, digest in gathered}) > 1:
        raise ValueError(
            "The processes have drawn unequal random numbers: a network, a callback or "
            "an augmentation of yours draws as many as its rank has rows. Let it draw "
            "from a torch.Generator of its own, or choose a batch_size and a number of "
            "rows that the number of processes divides."
        )
    same_weights(module)
    return gathered[0][0]


@torch.no_grad()
def same_weights(module):
    """Give a module on all ranks the parameters and buffers it has on rank 0."""
    group = current_group()
    if group is not None:
        tensors = [*module.parameters(), *module.buffers()]
        in_place(partial(dist.broadcast, src=0, group=group), tensors)
    return module


def in_place(operation, tensors):
    """Apply a collective operation to tensors, those of one dtype together."""
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor for tensor in tensors if tensor.dtype == dtype]
        joined = torch.cat([tensor.reshape(-1) for tensor in alike])
        communicate(operation, joined)
        parts = joined.split([tensor.numel() for tensor in alike])
        for tensor, part in zip(alike, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


class EarlyStopElsewhere(KeyboardInterrupt):
    """A callback of another rank has ended the training, as one of this rank may."""


@contextmanager
def stopping_together(is_early_stop):
    """Let an early stop that leaves the context on one rank leave it on all."""
    if current_group() is None:
        yield
        return
    stop = None
    try:
        yield
    except (KeyboardInterrupt, StopTraining) as error:
        if not is_early_stop(error):
            raise
        stop = error
    if any(gather_objects(stop is not None)):
        raise stop or EarlyStopElsewhere()
