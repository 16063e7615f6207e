"""Checkpoints: one file with all that a training needs to go on, whole or not there.

The tensors of a state lie in safetensors' format; the rest of it, what the training was
a training of, and a checksum over everything are JSON in the header. Nothing is ever
unpickled.
"""

import errno
import hashlib
import json
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from sklgan._files import remove_leftovers, write_whole
from sklgan._placement import read_batches

_FORMAT = 3

# What the user may know entries of a description by, where that is not their name.
_CALLED = {
    "random_state": "the seed drawn from random_state",
    "epochs before": "the number of epochs trained before this fit (warm_start)",
}

# What stands in the JSON where a tensor was.
_TENSOR = "__tensor__"


class CheckpointError(ValueError):
    """A checkpoint is damaged, or belongs to another training."""


class Checkpoint:
    """A file that a training writes to now and then, and resumes from.

    Parameters
    ----------
    path : Path
        The file; its folder is made where it is missing.
    description : dict
        What the training is a training of, by names to tell the user: plain values.
    interval : float
        Seconds that lie between two writes at least.
    writes : bool
        False in all but one of the processes that train together.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    CheckpointError
        If the file is damaged, or of a training with another description.
    """

    def __init__(self, path, description, interval=0.0, *, writes=True):
        if path.parent.is_file():
            raise NotADirectoryError(
                errno.ENOTDIR, "checkpoint is a file; set a folder", str(path.parent)
            )
        if path.is_dir():
            raise IsADirectoryError(
                errno.EISDIR, "A folder is in the checkpoint's way; move it", str(path)
            )
        self.path, self.interval, self.writes = path, interval, writes
        self.description = json.loads(json.dumps(description))
        self._written = time.monotonic()
        if writes:
            path.parent.mkdir(parents=True, exist_ok=True)
            attempt = path.with_name(path.name + ".try")
            write_whole(attempt, b"", shared=True)
            attempt.unlink(missing_ok=True)
            remove_leftovers(path)
        self.state = read_state(path, self.description) if path.exists() else None

    def take_state(self, training):
        """Return the state that was read, and let go of it; None if there was none.

        Raises
        ------
        CheckpointError
            If a network in ``training``, which is to be replaced, has weights of other
            names or shapes: a class of the user's may have changed under its name.
        """
        state, self.state = self.state, None
        if state is not None:
            for network in ("generator", "discriminator"):
                before = _shapes(network, state["training"])
                now = _shapes(network, training)
                for name in {**before, **now}:
                    _check_same(
                        self.path, {name: before.get(name)}, {name: now.get(name)}
                    )
        return state

    def due(self):
        """Tell whether the interval has passed."""
        return self.writes and time.monotonic() - self._written >= self.interval

    def save(self, state):
        """Write a nested state of tensors and plain values in place of the last one.

        Raises
        ------
        OSError
            If it cannot be written.
        CheckpointError
            If another training has written to the file in the meantime.
        """
        if self.writes:
            if self.path.exists():
                _check_same(self.path, read_description(self.path), self.description)
            # A twin, of the same description, may be writing at this moment.
            write_whole(self.path, to_bytes(state, self.description), shared=True)
            remove_leftovers(self.path)
        self._written = time.monotonic()


def to_bytes(state, description):
    """Return a file's bytes: the nested state, and what it is the state of."""
    save, _ = _safetensors()
    tensors = {}
    body = {
        "format": _FORMAT,
        "description": description,
        "state": _take_tensors(state, "", tensors),
    }
    text = json.dumps(body)
    metadata = {"sklgan": text, "sha256": _checksum(text, tensors)}
    return save(tensors, metadata)


def read_state(path, description):
    """Return the state in a file, if that is whole and of the right training.

    Raises
    ------
    CheckpointError
        If not; the message says what is wrong or different.
    """
    with _opened(path) as (file, metadata):
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        if metadata["sha256"] != _checksum(metadata["sklgan"], tensors):
            raise _damaged(path)
    body = json.loads(metadata["sklgan"])
    if body["format"] != _FORMAT:
        raise CheckpointError(
            f"{path} was written by another version of sklgan (format "
            f"{body['format']}, here {_FORMAT}); resume with that version, or delete "
            "it."
        )
    _check_same(path, body["description"], description)
    return _put_tensors(body["state"], tensors)


def read_description(path):
    """Return what the training that wrote a file was a training of."""
    with _opened(path) as (_, metadata):
        return json.loads(metadata["sklgan"])["description"]


@contextmanager
def _opened(path):
    """Open a checkpoint and its header, and say so if it is none."""
    _, safe_open = _safetensors()
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file, file.metadata() or {}
    except (OSError, MemoryError, CheckpointError):
        raise
    except Exception as error:  # safetensors' own, of which it makes no public class
        raise _damaged(path) from error


def _damaged(path):
    """Return the error for a file that cannot be a whole checkpoint."""
    return CheckpointError(
        f"{path} is damaged, or no checkpoint of sklgan's; delete it to train from the "
        "start, or set another folder as checkpoint."
    )


def _check_same(path, before, now):
    """Refuse a checkpoint of another training, and name the differences."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if not names:
        return
    differences = "; ".join(
        f"{_CALLED.get(name, name)} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in names
    )
    raise CheckpointError(
        f"{path} belongs to another training: {differences}. Repeat that training's "
        "parameters and data to resume it, or set another folder as checkpoint; in a "
        "search or cross-validation, leave checkpoint=None."
    )


def _shapes(network, training):
    """Return the shapes of a network's weights, by names to tell the user."""
    return {
        f"the shape of the {network}'s {name}": tuple(value.shape)
        for name, value in training[network].items()
    }


def _take_tensors(state, prefix, tensors):
    """Return the state as JSON can hold it, its tensors moved into ``tensors``."""
    if torch.is_tensor(state):
        # A copy each: safetensors refuses tensors that share memory.
        tensors[prefix] = state.detach().cpu().contiguous().clone()
        return {_TENSOR: prefix}
    if isinstance(state, dict):
        # Keys may be numbers, of which JSON makes strings; pairs keep them.
        return {
            "pairs": [
                [key, _take_tensors(value, f"{prefix}/{key}", tensors)]
                for key, value in state.items()
            ]
        }
    if isinstance(state, (list, tuple)):
        return [
            _take_tensors(value, f"{prefix}/{k}", tensors)
            for k, value in enumerate(state)
        ]
    return state


def _put_tensors(state, tensors):
    """Return what ``_take_tensors`` was given; tuples come back as lists."""
    if isinstance(state, list):
        return [_put_tensors(value, tensors) for value in state]
    if not isinstance(state, dict):
        return state
    if _TENSOR in state:
        return tensors[state[_TENSOR]]
    return {key: _put_tensors(value, tensors) for key, value in state["pairs"]}


def _checksum(text, tensors):
    """Return the SHA-256 of the JSON and of all tensors, as a string."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _safetensors():
    """Return safetensors' functions, or say how to get them."""
    try:
        from safetensors import safe_open
        from safetensors.torch import save
    except ImportError as error:
        raise ImportError(
            "checkpoint needs the package safetensors: pip install 'sklgan[safe]'."
        ) from error
    return save, safe_open


# What a training is a training of ---------------------------------------------------

# Parameters that change nothing in the weights, or that have an entry of their own.
_FREE = {
    "callbacks",
    "checkpoint",
    "checkpoint_interval",
    "device",
    "encoder_epochs",
    "max_epochs",
    "n_init",
    "random_state",
    "verbose",
    "warm_start",
}


def describe_training(gan, X, y, seed):
    """Return what decides the weights that a fit ends with, as plain values by name.

    Parameters
    ----------
    gan : BaseGAN
        Its parameters are read, and how many epochs it has behind it.
    X, y : ndarray, ImageSequence or None
        The rows to train on, of which the shape and a checksum are kept.
    seed : int
        Of the draws; not held against a training that was not given any.
    """
    params = gan.get_params(deep=False)
    return {
        "estimator": type(gan).__name__,
        **{name: _plain(params[name]) for name in params if name not in _FREE},
        "random_state": None if gan.random_state is None else int(seed),
        "epochs before": gan.n_iter_,
        "X": _describe_array(X),
        "y": None if y is None else _describe_array(y),
    }


def describe_run(gan, X, y, seed, checkpoint, device):
    """Return all that processes which train together have to have in common.

    Parameters
    ----------
    gan, X, y, seed
        As for ``describe_training``.
    checkpoint : Checkpoint or None
        What each has read must be the same.
    device : torch.device
        All compute on one kind.
    """
    state = None if checkpoint is None else checkpoint.state
    params = ("max_epochs", "n_init", "warm_start")
    return {
        **describe_training(gan, X, y, seed),
        **{name: getattr(gan, name) for name in params if hasattr(gan, name)},
        "callbacks": [_plain(callback) for callback in gan.callbacks or ()],
        "checkpoint": None if state is None else f"{len(state['rows'])} epochs",
        "device": device.type,
    }


def _plain(value):
    """Return a parameter as JSON holds it; functions and classes by their names.

    A module has its weights besides, though not its buffers, which may change in use.
    """
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return [[_plain(key), _plain(item)] for key, item in value.items()]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    named = value if hasattr(value, "__qualname__") else type(value)
    name = f"{named.__module__}.{named.__qualname__}"
    if isinstance(value, torch.nn.Module):
        weights = {
            part: tensor.detach().cpu().contiguous()
            for part, tensor in value.named_parameters()
        }
        return f"{name}, weights {_checksum('', weights)[:16]}"
    return name


def _describe_array(array):
    """Return shape, dtype and checksum of an array."""
    digest = hashlib.sha256()
    for _, batch in read_batches(array, 1024):
        batch = batch.cpu().numpy() if torch.is_tensor(batch) else batch
        digest.update(np.ascontiguousarray(batch).data)
    shape = "x".join(map(str, array.shape))
    dtype = str(array.dtype).removeprefix("torch.")
    return f"{shape} {dtype} with checksum {digest.hexdigest()[:16]}"


def open_checkpoint(gan, X, y, seed, number, *, writes=True):
    """Return the checkpoint of an estimator's training, or None without one.

    Parameters
    ----------
    gan, X, y, seed
        As for ``describe_training``.
    number : int
        Of the training among those of the fit.
    writes : bool
        Whether this process is the one that writes it.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    CheckpointError
        If the file is damaged, of another training, or beyond ``max_epochs``.
    """
    if gan.checkpoint is None:
        return None
    if gan.checkpoint == "":
        raise ValueError("checkpoint='' names no folder; use None for no checkpoint.")
    checkpoint = Checkpoint(
        Path(gan.checkpoint) / f"training_{number}.safetensors",
        describe_training(gan, X, y, seed),
        gan.checkpoint_interval,
        writes=writes,
    )
    n_epochs = len(checkpoint.state["rows"]) if checkpoint.state else 0
    if n_epochs > gan.max_epochs:
        raise CheckpointError(
            f"{checkpoint.path} has {n_epochs} epochs behind it, more than "
            f"max_epochs={gan.max_epochs}; increase max_epochs, or set another "
            "folder as checkpoint."
        )
    return checkpoint
