"""Files of tensors by name, ``.pth`` and safetensors: never is code in them run."""

import io
import os
import re
import warnings
from pathlib import Path
from pickle import FRAME, UnpicklingError

import torch

_SAFETENSORS = ".safetensors"

# With this operation pickles of the protocols 4 and 5 begin.
_FRAME = FRAME[0]


def read_tensors(path):
    """Return all tensors in a file by the way to them.

    Parameters
    ----------
    path : path-like
        Of what ``torch.save`` has written, or ending in ``.safetensors``.

    Returns
    -------
    tensors : dict of tuple of str to Tensor
        By ways such as ("netG", "main", "0", "weight"), on the CPU, in the order of
        the layers. The states of optimisers are left out.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is damaged, in another format, or can only be read by running code.
    """
    path = Path(path)
    # At once: from now on all errors are those of what is in it.
    data = path.read_bytes()
    read = _read_safetensors if path.suffix.lower() == _SAFETENSORS else _read_pth
    try:
        return dict(_tensors(read(data, path), ()))
    except RecursionError as error:  # a list that holds itself
        raise _damaged(path) from error


def _read_pth(data, path):
    """Return what ``torch.save`` has written, if that is tensors and plain values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of archives that are then refused
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except UnpicklingError as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        needed = code and code[1]
        if f"Unsupported operand {_FRAME}" in str(error):
            needed = "a pickle protocol above 2, torch.save's own,"
        if not needed:
            raise _damaged(path) from error
        raise ValueError(
            f"{path} needs {needed} to be unpickled, which may run any code, and is "
            "not read. Where you trust the file, save its weights alone, for example "
            "torch.save({'generator': netG.state_dict(), 'discriminator': "
            "netD.state_dict()}, path)."
        ) from error
    except Exception as error:  # of many classes, by what is cut off
        raise _damaged(path) from error


def _read_safetensors(data, path):
    """Return the tensors of a safetensors file, in the order of their names.

    The format keeps no other; numbers in names are compared as numbers.
    """
    try:
        tensors = _safetensors(path).load(data)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # safetensors' own, of which it makes no public class
        raise _damaged(path) from error
    return {name: tensors[name] for name in sorted(tensors, key=_natural)}


def _natural(name):
    """Return what names sort by so that ``main.10`` comes after ``main.2``."""
    parts = re.split(r"(\d+)", name)
    return [int(part) if k % 2 else part for k, part in enumerate(parts)]


def _damaged(path):
    """Return the error for a file that neither format explains."""
    return ValueError(
        f"{path} is damaged or cut off, or was not written by torch.save or "
        "safetensors; copy or download it again."
    )


def _tensors(value, way):
    """Yield (way, tensor) for all tensors in nested dicts and lists."""
    if torch.is_tensor(value):
        # A name such as main.0.weight is a way, too.
        yield tuple(".".join(way).split(".")), value
    elif isinstance(value, dict) and "param_groups" not in value:
        for key, inner in value.items():
            yield from _tensors(inner, (*way, str(key)))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from _tensors(inner, (*way, str(number)))


def to_file_bytes(states, path):
    """Return the bytes of a file of one state dictionary, or of several by name.

    Parameters
    ----------
    states : dict
        Tensors by name, or such dicts by name.
    path : Path
        Its ending decides the format.

    Raises
    ------
    ValueError
        If the ending is not known.
    ImportError
        If safetensors is needed and not there.
    """
    if path.suffix.lower() in (".pth", ".pt"):
        file = io.BytesIO()
        torch.save(states, file)
        return file.getvalue()
    if path.suffix.lower() != _SAFETENSORS:
        raise ValueError(
            f"path={os.fspath(path)!r} should end in .pth, .pt or .safetensors, which "
            "decides the format."
        )
    tensors = {".".join(way): tensor for way, tensor in _tensors(states, ())}
    return _safetensors(path).save(tensors)


def _safetensors(path):
    """Return safetensors' module for torch, or say how to get it."""
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            f"{path} needs the package safetensors: pip install 'sklgan[safe]'."
        ) from error
    return safetensors.torch
