"""Networks in the form of the PyTorch DCGAN tutorial, found in files by their shapes.

Names differ from copy to copy: it is the order and the shapes of the weights that tell
what a network is. What is in no file is taken from the tutorial: strides, padding,
activations, and the epsilon of batch normalisation.
"""

import os
from typing import NamedTuple

import torch
from torch import nn

from sklgan._decoding import CHANNELS
from sklgan._state_files import read_tensors
from sklgan.networks._dcgan import DCGANDiscriminator, DCGANGenerator
from sklgan.networks._spectral import plain_copy
from sklgan.networks._tutorial import TutorialDiscriminator, TutorialGenerator

# What batch normalisation keeps; the last two alone are missing in some files.
_NORM = {"running_mean", "running_var", "weight", "bias", "num_batches_tracked"}

# A convolution's weights; the others those that spectral normalisation divides.
_WEIGHTS = {"weight", "weight_orig", "original"}

_EXPECTED = {
    "generator": "main.0.weight (100, 512, 4, 4), main.1.running_mean (512,), "
    "main.3.weight (512, 256, 4, 4), ..., main.12.weight (64, 3, 4, 4)",
    "discriminator": "main.0.weight (64, 3, 4, 4), main.2.weight (128, 64, 4, 4), "
    "main.3.running_mean (128,), ..., main.11.weight (1, 512, 4, 4)",
}


class FoundNetwork(NamedTuple):
    """A generator or a discriminator, as a file tells it."""

    path: str
    where: str
    convs: list  # dicts of weight and perhaps bias, from input to output
    norms: list  # dicts of batch normalisation for the hidden layers, or None
    latent_dim: int | None
    image_shape: tuple  # (h, w, c)
    widths: tuple

    @property
    def structure(self):
        """What tells the layers from those of another copy of the tutorial."""
        return {
            "widths": self.widths,
            "biases": tuple("bias" in conv for conv in self.convs),
            "norms": tuple(norm is not None for norm in self.norms),
        }


def find_networks(path, parts=("generator", "discriminator")):
    """Return the networks in a file, by part.

    Parameters
    ----------
    path : path-like
        As for :func:`sklgan._state_files.read_tensors`.
    parts : sequence of str
        Those that are looked for.

    Returns
    -------
    networks : dict of str to FoundNetwork
        At least one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it holds none, several of a kind, or one that differs from the tutorial's.
    """
    name = os.fspath(path)
    tensors = read_tensors(path)
    found, flaws = {}, {}
    for part, where, node in _candidates(tensors, ()):
        if part not in parts:
            continue
        try:
            network = _read_network(name, part, where, node)
        except ValueError as error:
            flaws.setdefault(part, error)
            continue
        if part in found:
            raise ValueError(
                f"{name} holds several networks that may be the {part}: "
                f"{found[part].where!r} and {where!r}. Save the one you mean in a file "
                f"of its own, and pass that as {part}=."
            )
        found[part] = network
    for part, flaw in flaws.items():
        if part not in found:
            raise flaw
    if not found:
        raise ValueError(_nothing_found(name, parts, tensors))
    return found


def _candidates(tensors, prefix):
    """Yield (part, where, tensors) of what may be a network, by its weights' shapes."""
    part = _part_of(tensors)
    if part is not None:
        yield part, ".".join(prefix), tensors
        return
    children = {}
    for way, tensor in tensors.items():
        if len(way) > 1:
            children.setdefault(way[0], {})[way[1:]] = tensor
    for name, child in children.items():
        yield from _candidates(child, (*prefix, name))


def _part_of(tensors):
    """Tell which part a chain of convolutions is; None if it is no chain."""
    maps = {way: tensor for way, tensor in tensors.items() if tensor.ndim == 4}
    # Noise to draw the same samples from has as many dimensions.
    if not {way[-1] for way in maps} <= _WEIGHTS:
        return None
    shapes = [tensor.shape for tensor in maps.values()]
    pairs = list(zip(shapes, shapes[1:], strict=False))
    if not pairs:
        return None
    # Transposed convolutions store (in, out, h, w), others (out, in, h, w).
    generates = shapes[-1][1] in CHANNELS and all(a[1] == b[0] for a, b in pairs)
    judges = shapes[0][1] in CHANNELS and all(a[0] == b[1] for a, b in pairs)
    if generates and judges:
        # Two narrow layers chain either way. A generator's are normalised but for the
        # last, a discriminator's but for the first, too.
        generates = sum(way[-1] == "running_mean" for way in tensors) >= len(pairs)
    if generates:
        return "generator"
    return "discriminator" if judges else None


def _read_network(path, part, where, tensors):
    """Return the network that these tensors are, or say what is wrong with them."""
    where = where or "the whole file"

    def refuse(reason):
        return ValueError(
            f"The {part} in {path} ({where}) {reason}, unlike the PyTorch DCGAN "
            f"tutorial's, which has {_EXPECTED[part]}. Only networks of that form can "
            "be read."
        )

    modules = {}
    for way, tensor in tensors.items():
        modules.setdefault(way[:-1], {})[way[-1]] = tensor
    convs, norms = _sort_modules(modules, refuse)
    out_axis, in_axis = (1, 0) if part == "generator" else (0, 1)
    shapes = [tuple(conv["weight"].shape) for conv in convs]
    whole, halving = (shapes[0], shapes[1:])
    if part == "discriminator":
        whole, halving = shapes[-1], shapes[:-1]
        if whole[0] != 1:
            raise refuse(f"has {whole[0]} outputs instead of 1")
    for shape in halving:
        if shape[2:] != (4, 4):
            raise refuse(f"has a kernel of {shape[2]}x{shape[3]}, in {shape}")
    outputs = [shape[out_axis] for shape in shapes]
    for conv, n_outputs in zip(convs, outputs, strict=True):
        if "bias" in conv and conv["bias"].shape != (n_outputs,):
            found = tuple(conv["bias"].shape)
            raise refuse(f"has a bias of shape {found} for {n_outputs} channels")
    channels = shapes[-1][1] if part == "generator" else shapes[0][1]
    scale = 2 ** len(halving)
    return FoundNetwork(
        path,
        where,
        convs,
        _assign_norms(modules, norms, outputs, refuse),
        shapes[0][in_axis] if part == "generator" else None,
        (whole[2] * scale, whole[3] * scale, channels),
        tuple(outputs[:-1]),
    )


def _sort_modules(modules, refuse):
    """Return the convolutions, and the batch normalisations by name."""
    convs, norms = [], {}
    for way, module in modules.items():
        ndim = module["weight"].ndim if "weight" in module else None
        if ndim == 4 and set(module) <= {"weight", "bias"}:
            convs.append(module)
        elif {"running_mean", "running_var"} <= set(module) <= _NORM:
            norms[way] = module
            shapes = {
                tuple(tensor.shape)
                for name, tensor in module.items()
                if name != "num_batches_tracked"
            }
            if len(shapes) > 1 or len(next(iter(shapes))) != 1:
                raise refuse(f"has {'.'.join(way)} with shapes {sorted(shapes)}")
        else:
            names = [f"{'.'.join((*way, key))}" for key in module]
            raise refuse(
                f"has {_shown(names)}, neither of a convolution nor of batch "
                "normalisation with running statistics"
            )
        for key, tensor in module.items():
            name = ".".join((*way, key))
            if not _is_plain(tensor):
                raise refuse(
                    f"has {name} with layout {tensor.layout}, {tensor.dtype}, on "
                    f"{tensor.device}, of shape {tuple(tensor.shape)}, instead of some "
                    "real numbers"
                )
            if not tensor.isfinite().all():
                raise refuse(f"has NaN or infinity in {name}")
    return convs, norms


def _is_plain(tensor):
    """Tell whether a tensor holds real numbers, one at least, each by itself."""
    return (
        tensor.layout == torch.strided
        and tensor.numel() > 0
        and not (tensor.is_complex() or tensor.is_quantized or tensor.is_meta)
    )


def _assign_norms(modules, norms, outputs, refuse):
    """Return the batch normalisation of each hidden layer, None where it has none.

    They follow their convolution, or, where they are listed apart, each other.
    """
    assigned = [None] * len(outputs)
    last, n_before, follows = -1, 0, False
    for way, module in modules.items():
        if way not in norms:
            n_before, follows = n_before + 1, True
            continue
        n_features = len(module["running_mean"])
        fits = [k for k, n in enumerate(outputs) if k > last and n == n_features]
        if follows and n_before - 1 in fits:
            fits = [n_before - 1]
        follows = False
        if len(fits) != 1 or fits[0] == len(outputs) - 1:
            raise refuse(
                f"has batch normalisation of {n_features} channels in "
                f"{'.'.join(way)}, which does not tell its hidden layer: those have "
                f"{outputs[:-1]}"
            )
        last = fits[0]
        assigned[last] = module
    return assigned[:-1]


def _nothing_found(path, parts, tensors):
    """Return the message for a file without a network of the tutorial's."""
    expected = "; or, ".join(f"for a {part}, {_EXPECTED[part]}" for part in parts)
    names = [f"{'.'.join(way)} {tuple(t.shape)}" for way, t in tensors.items()]
    found = _shown(names) if names else "no tensors"
    what = parts[0] if len(parts) == 1 else "DCGAN"
    return (
        f"{path} holds no {what} of the PyTorch tutorial's form. Expected weights by "
        f"names such as these, with any prefix: {expected}. Found: {found}."
    )


def _shown(names):
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


# Into our networks, and back ---------------------------------------------------------


def is_standard(network, found):
    """Tell whether a network of ours, with values or not, has the layers of a file."""
    convs, norms = _layers(network)
    shapes = [tuple(conv["weight"].shape) for conv in found.convs]
    return (
        [tuple(conv.weight.shape) for conv in convs] == shapes
        and not any(found.structure["biases"])
        and [len(n["running_mean"]) for n in found.norms if n is not None]
        == [norm.num_features for norm in norms]
    )


def fill_network(network, found):
    """Copy the values of a file into a network of the same layers."""
    convs, norms = _layers(network)
    pairs = list(zip(convs, found.convs, strict=True))
    pairs += zip(norms, [n for n in found.norms if n is not None], strict=True)
    with torch.no_grad():
        for norm in norms:
            norm.reset_parameters()  # where they are not learned, they are left out
        for module, values in pairs:
            for name, value in values.items():
                getattr(module, name).copy_(value)


def _layers(network):
    """Return the convolutions and the batch normalisations of a network, in order."""
    modules = list(network.modules())
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return (
        [module for module in modules if isinstance(module, kinds)],
        [module for module in modules if isinstance(module, nn.BatchNorm2d)],
    )


def tutorial_state(network, part, image_shape):
    """Return a network's state by the tutorial's names, ``main.0.weight`` and so on.

    Raises
    ------
    ValueError
        If the network or the size of its images is not of the tutorial's form.
    """
    ours = {
        "generator": (DCGANGenerator, TutorialGenerator),
        "discriminator": (DCGANDiscriminator, TutorialDiscriminator),
    }
    if not isinstance(network, ours[part]):
        raise ValueError(
            f"The {part} is a {type(network).__name__}, but only networks of "
            "network='dcgan' and objective='adversarial' can be written in the PyTorch "
            "tutorial's form; part='generator' may be one. joblib.dump keeps the "
            "estimator, export_onnx the network."
        )
    convs, _ = _layers(network)
    whole, *halving = convs if part == "generator" else convs[::-1]
    sides = tuple(side * 2 ** len(halving) for side in whole.kernel_size)
    if sides != tuple(image_shape[:2]) or any(c.stride != (2, 2) for c in halving):
        raise ValueError(
            f"Images of {image_shape[0]}x{image_shape[1]} have no {part} of the "
            "PyTorch tutorial's form, which doubles the sides of a map: train on "
            "images of sides such as 32, 48 or 64, or keep the estimator with "
            "joblib.dump."
        )
    # The tutorial's form has no spectral norms: the weights are written as divided.
    modules = list(plain_copy(network).modules())
    leaves = [module for module in modules if not list(module.children())]
    return {
        f"main.{k}.{name}": value.detach().cpu().contiguous().clone()
        for k, leaf in enumerate(leaves)
        for name, value in leaf.state_dict().items()
    }
