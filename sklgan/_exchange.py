"""Fitted estimators from the files of others, and files for others."""

from functools import partial

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklgan._architecture import choose_architecture
from sklgan._files import check_folder, write_whole
from sklgan._foreign import (
    fill_network,
    find_networks,
    is_standard,
    tutorial_state,
)
from sklgan._images import check_images
from sklgan._objectives import penalty_weight
from sklgan._onnx import GRAPHS, onnx_bytes
from sklgan._state_files import to_file_bytes
from sklgan._tensors import resolve_device, torch_seed
from sklgan._value_range import check_data_range
from sklgan.networks._build import network_builders
from sklgan.networks._tutorial import (
    AbsentNetwork,
    TutorialDiscriminator,
    TutorialGenerator,
)

_PARTS = ("generator", "discriminator")

# Parameters that the shapes in a file decide.
_IN_THE_FILE = ("latent_dim", "network", "n_filters", "image_shape")


class ExchangeMixin:
    """Read and write the PyTorch DCGAN tutorial's files, and write ONNX."""

    @classmethod
    def from_checkpoint(
        cls,
        path=None,
        *,
        generator=None,
        discriminator=None,
        data_range=(0, 255),
        **params,
    ):
        """Return an estimator fitted with the networks of a PyTorch DCGAN checkpoint.

        Reads what the PyTorch DCGAN tutorial and its copies save: a state dictionary,
        or several in one file, under whatever names. Latent size, widths, channels,
        image size, biases and batch normalisation are told from the shapes; strides,
        activations and the rest are taken to be the tutorial's, since no file has
        them. No code in a file is ever run.

        Parameters
        ----------
        path : str or path-like, default=None
            A file with a generator, a discriminator, or one of each: what
            ``torch.save`` has written, or safetensors if it ends in ``.safetensors``.
        generator, discriminator : str or path-like, default=None
            Files from which to read one network alone, in place of ``path``.
        data_range : pair of float, default=(0, 255)
            Values that mean black and white in X and in samples, where the networks
            see -1 and 1. With (0, 255) samples are uint8, else float32.
        **params : dict
            Other parameters of the estimator, such as ``layers``, ``pool_size``,
            ``device`` and ``random_state``.

        Returns
        -------
        gan : DCGANFeatureExtractor
            Fitted, with ``n_iter_`` 0. Images are ``(n, h, w, c)``, or ``(n, h, w)``
            if they are grey. What needs a network that was in no file raises a
            ValueError.

        Raises
        ------
        OSError
            If a file cannot be read.
        ValueError
            If a file is damaged, holds code or no DCGAN, or networks that do not fit
            together; the message names what was found.

        Examples
        --------
        >>> import tempfile
        >>> import torch
        >>> from torch import nn
        >>> from sklgan import DCGANFeatureExtractor
        >>> netD = nn.Sequential(
        ...     nn.Conv2d(1, 8, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
        ...     nn.Conv2d(8, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(netD.state_dict(), f"{folder}/netD.pth")
        ...     gan = DCGANFeatureExtractor.from_checkpoint(f"{folder}/netD.pth")
        >>> gan.image_shape_, gan.n_filters
        ((8, 8, 1), 8)
        """
        given = sorted(set(params) & set(_IN_THE_FILE))
        if given:
            raise ValueError(
                f"{given[0]}={params[given[0]]!r} is told by the file's shapes; leave "
                "it out."
            )
        found = _read_parts(path, generator, discriminator)
        gan = cls(data_range=data_range, **params)
        _adopt(gan, found)
        return gan

    def to_checkpoint(self, path, *, part="both"):
        """Write the networks in the form of the PyTorch DCGAN tutorial.

        The tutorial's own classes load the state dictionaries with
        ``load_state_dict``, since names and layers are theirs.

        Parameters
        ----------
        path : str or path-like
            The file, ``.pth`` or ``.pt`` for ``torch.load``, or ``.safetensors``. What
            is there is replaced once all is written.
        part : {"both", "generator", "discriminator"}, default="both"
            ``"both"`` writes a dictionary with the state dictionaries ``"generator"``
            and ``"discriminator"``, of which safetensors makes prefixes, such as
            ``generator.main.0.weight``. The others write one state dictionary.

        Raises
        ------
        OSError
            If the file cannot be written; what was there before is still there.
        ValueError
            If the ending is not known, or a network is not of the tutorial's form:
            ``network="dcgan"`` is, where sides are a power of 2 times those of the
            smallest map.
        """
        check_is_fitted(self)
        _check_choice("part", part, ("both", *_PARTS))
        path = check_folder(path)
        states = {
            name: tutorial_state(_present(self, name), name, self.image_shape_)
            for name in (_PARTS if part == "both" else [part])
        }
        data = to_file_bytes(states.get(part, states), path)
        write_whole(path, data, parameter="path", shared=True)

    def export_onnx(self, path, part="generator"):
        """Write a network as an ONNX graph that needs neither sklgan nor PyTorch.

        The graph takes and returns what the method of the estimator does: units,
        layout, rounding and pooling are part of it. Its first axis is of any length.

        Parameters
        ----------
        path : str or path-like
            The file; what is there is replaced once all is written.
        part : {"generator", "features", "score"}, default="generator"
            ``"generator"`` maps ``Z``, float32 of shape (n_samples, latent_dim), to
            ``images``, the same as :meth:`generate` in layout, dtype and range.
            ``"features"`` maps ``X`` to ``features``, float32, the same as
            :meth:`transform`; ``"score"`` to ``score``, the same as
            :meth:`score_samples`. ``X`` has the layout of the X given to ``fit`` and
            its dtype, if that is uint8, float32 or float64, else float32.

        Raises
        ------
        ImportError
            If onnx or onnxscript is missing: ``pip install 'sklgan[onnx]'``; or if
            torch is older than 2.8.
        OSError
            If the file cannot be written; what was there before is still there.
        """
        check_is_fitted(self)
        _check_choice("part", part, tuple(GRAPHS))
        path = check_folder(path)
        _present(self, "generator" if part == "generator" else "discriminator")
        write_whole(path, onnx_bytes(self, part), "graph", "path", shared=True)


def _check_choice(name, value, choices):
    """Raise ValueError unless a value is one of those there are."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} should be one of {list(choices)}.")


def _present(gan, part):
    """Return a network of an estimator, or raise the error that it was in no file."""
    network = getattr(gan, f"{part}_")
    if isinstance(network, AbsentNetwork):
        raise ValueError(network.message)
    return network


def _read_parts(path, generator, discriminator):
    """Return the networks that the files hold, by part."""
    alone = {"generator": generator, "discriminator": discriminator}
    alone = {part: file for part, file in alone.items() if file is not None}
    if (path is None) == (not alone):
        raise ValueError(
            "Pass either path, a file with one network or both, or generator and "
            f"discriminator, files of one each; got path={path!r} and {alone!r}."
        )
    if path is not None:
        found = find_networks(path)
    else:
        found = {
            part: find_networks(file, [part])[part] for part, file in alone.items()
        }
    shapes = {part: network.image_shape for part, network in found.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(
            f"The generator in {found['generator'].path} draws images of shape "
            f"{shapes['generator']} (h, w, c), but the discriminator in "
            f"{found['discriminator'].path} judges {shapes['discriminator']}: they "
            "are of different trainings. Read one alone: generator= or discriminator=."
        )
    return found


def _adopt(gan, found):
    """Let an estimator be fitted with the networks that were found."""
    gan._validate_params()
    device = resolve_device(gan.device)
    batch_norm = penalty_weight(gan) == 0
    shape = next(iter(found.values())).image_shape
    gan.set_params(**_describe(found, shape, batch_norm))
    low, high = check_data_range(gan.data_range)
    # Two black images tell the estimator of sizes and ranges what fit would.
    black = np.full((2, *shape), low, np.uint8 if (low, high) == (0, 255) else "f4")
    check_images(gan, black[..., 0] if shape[2] == 1 else black, reset=True)
    gan._architecture = choose_architecture(gan, batch_norm=batch_norm)
    gan._begin_anew()
    if "discriminator" in found:
        gan._choose_features()
    else:
        gan.layers_, gan._feature_shapes = [], []
    with torch_seed(0):
        builders = network_builders(**gan._architecture)
        for part, build in zip(_PARTS, builders, strict=True):
            network = build()
            if part in found:
                fill_network(network, found[part])
            network = network.to(device, memory_format=torch.channels_last)
            setattr(gan, f"{part}_", network.eval())


def _describe(found, image_shape, batch_norm):
    """Return the parameters of an estimator that has the networks found."""
    height, width, channels = image_shape
    generator, discriminator = (found.get(part) for part in _PARTS)
    params = {}
    if generator is not None:
        params["latent_dim"] = generator.latent_dim
    n_filters = generator.widths[-1] if generator else discriminator.widths[0]
    params["n_filters"] = n_filters
    if len(found) == 2:
        builders = network_builders(
            "dcgan",
            latent_dim=generator.latent_dim,
            shape=(channels, height, width),
            n_filters=n_filters,
            batch_norm=batch_norm,
        )
        with torch.device("meta"):  # shapes alone
            networks = [build() for build in builders]
        if all(map(is_standard, networks, (generator, discriminator))):
            return {**params, "network": "dcgan"}
    kinds = {"generator": TutorialGenerator, "discriminator": TutorialDiscriminator}
    pair = tuple(
        partial(kinds[part], **found[part].structure)
        if part in found
        else partial(AbsentNetwork, message=_absent(part, found))
        for part in _PARTS
    )
    return {**params, "network": pair}


def _absent(part, found):
    """Return the message of whoever asks for a network that was in no file."""
    other = next(iter(found.values()))
    return (
        f"There is no {part}: none was in {other.path}. Read both with "
        "from_checkpoint(generator=..., discriminator=...), or set network='dcgan' "
        "and fit to train anew."
    )
