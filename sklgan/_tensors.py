"""Between NumPy and torch: devices, shared memory, states, seeds."""

import os
import sys
import warnings
from contextlib import contextmanager
from multiprocessing import current_process

import numpy as np
import torch
from joblib.parallel import get_active_backend


def resolve_device(device):
    """Return the torch device meant by the parameter ``device``.

    Where there are several cards, ``"auto"`` takes that of the number which torchrun
    gives a process, or joblib or Dask a worker, so that processes share no card while
    there are as many.

    Raises
    ------
    ValueError
        If the name means nothing to torch, or the device is not there.
    """
    if device == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        number = process_number() % torch.cuda.device_count()
        return torch.device("cuda", number) if number else torch.device("cuda")
    try:
        resolved = torch.device(device)
        # "meta" has no values that could be copied back.
        torch.empty(0, device=resolved).cpu()
    except (RuntimeError, AssertionError) as error:
        # Some go on with all devices that torch has ever heard of.
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(
            f"device={device!r} cannot be used here ({reason}); use 'cpu', or 'auto' "
            "to take a GPU where there is one."
        ) from error
    return resolved


def process_number():
    """Return the number that tells this process from others of this machine, from 0."""
    if dask_worker() is not None:
        # Workers of dask_cuda see their own card first. Names may be given by the user.
        name = str(dask_worker().name)
        return int(name) if name.isdecimal() and "dask_cuda" not in sys.modules else 0
    if is_worker():
        # LokyProcess-1, ForkPoolWorker-1, ...; threads share the process's number.
        number = current_process().name.rpartition("-")[2]
        return int(number) - 1 if number.isdecimal() else 0
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    distributed = (
        torch.distributed.is_available() and torch.distributed.is_initialized()
    )
    return torch.distributed.get_rank() if distributed else 0


def is_worker():
    """Tell whether this process or thread is a worker of joblib's or of Dask's."""
    backend, _ = get_active_backend()
    return (backend.nesting_level or 0) > 0 or dask_worker() is not None


def dask_worker():
    """Return the Dask worker that runs the caller, or None."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def warn_if_card_is_shared(device):
    """Warn where joblib's workers train on one card for want of others."""
    crowded = device.type == "cuda" and is_worker() and dask_worker() is None
    if crowded and torch.cuda.device_count() == 1:
        warnings.warn(
            "Several workers (n_jobs > 1) train on one GPU, where they share memory "
            "and wait for each other; use n_jobs=1, or device='cpu'.",
            stacklevel=3,
        )


def device_or_cpu(device):
    """Return the device, or with a warning the CPU where the device is not there."""
    try:
        return resolve_device(device)
    except ValueError:
        warnings.warn(
            f"Fitted with device={device!r}, which is not there; the networks were "
            "loaded on the CPU.",
            stacklevel=3,
        )
        return torch.device("cpu")


def has_native_bfloat16(device):
    """Tell whether the hardware itself multiplies in bfloat16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    known = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(
        known.get("avx512_bf16") or known.get("amx_bf16")
    )


def as_tensor(array):
    """Return a tensor that shares the memory of a NumPy array, to be read only.

    What is a tensor already is returned as it is; an ImageSequence is decoded.
    """
    if torch.is_tensor(array):
        return array
    array = np.asarray(array)
    if any(stride < 0 for stride in array.strides):
        array = array.copy()  # torch has no negative strides
    with warnings.catch_warnings():
        # Memory maps may be read-only, and nothing here writes to what a user gave.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _map_leaves(function, state):
    """Apply ``function`` to all but the dicts and lists of a nested state."""
    if isinstance(state, dict):
        return {key: _map_leaves(function, value) for key, value in state.items()}
    if isinstance(state, list):
        return [_map_leaves(function, value) for value in state]
    return function(state)


def to_numpy(state):
    """Return a copy of a nested state in which tensors are NumPy arrays."""

    def convert(leaf):
        return leaf.detach().cpu().numpy().copy() if torch.is_tensor(leaf) else leaf

    return _map_leaves(convert, state)


def to_torch(state):
    """Return a copy of a nested state in which NumPy arrays are tensors."""

    def convert(leaf):
        return torch.tensor(leaf) if isinstance(leaf, np.ndarray) else leaf

    return _map_leaves(convert, state)


@contextmanager
def torch_seed(seed, device="cpu"):
    """Draw from ``seed`` within the context; torch's generators are then restored.

    They belong to the whole process, so that what parallel threads draw is not
    repeatable; what parallel processes draw is.
    """
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        # torch.manual_seed would seed all cards, also those that are not restored.
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def random_state(device):
    """Return the states of the generators that draw for a device, tensors by kind."""
    device = torch.device(device)
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states, device):
    """Draw as from where :func:`random_state` was called, as far as that is known."""
    device = torch.device(device)
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
