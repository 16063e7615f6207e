"""Fitted networks as ONNX graphs, units, layout and pooling included."""

import logging
import warnings
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from sklgan._features import pool
from sklgan._images import to_batch
from sklgan.networks._spectral import plain_copy

# Part -> the names of the graph's input and output.
GRAPHS = {
    "generator": ("Z", "images"),
    "features": ("X", "features"),
    "score": ("X", "score"),
}


def onnx_bytes(gan, part):
    """Return the bytes of an ONNX file.

    Parameters
    ----------
    gan : DCGANFeatureExtractor
        Fitted.
    part : str
        A key of ``GRAPHS``.

    Raises
    ------
    ImportError
        If onnx or onnxscript is not there, or torch is older than 2.8.
    """
    # The exporters of torch 2.6 and 2.7 fail on batch normalisation, on uint8 input
    # or on the number of samples.
    if torch.__version__ < "2.8":
        raise ImportError(
            f"export_onnx needs torch 2.8 or newer, and this is {torch.__version__}: "
            "pip install -U torch."
        )
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "export_onnx needs the packages onnx and onnxscript: "
            "pip install 'sklgan[onnx]'."
        ) from error
    if part == "generator":
        module = _Drawing(gan)
        example = torch.zeros(2, gan._architecture["latent_dim"])
    else:
        module = _Looking(gan, part)
        example = torch.zeros(2, *_input_shape(gan), dtype=_input_dtype(gan))
    source, target = GRAPHS[part]
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            (example,),
            dynamo=True,
            verbose=False,
            input_names=[source],
            output_names=[target],
            dynamic_shapes=({0: torch.export.Dim("n_samples")},),
        )
    return program.model_proto.SerializeToString()


@contextmanager
def _quiet_exporter():
    """Keep to itself what the exporter says of its future, and of torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _input_shape(gan):
    """Return the shape of a sample in the layout of the fitted X."""
    ndim = gan._input_layout["ndim"]
    if ndim == 2:
        return (gan.n_features_in_,)
    return gan.image_shape_[:2] if ndim == 3 else gan.image_shape_


def _input_dtype(gan):
    """Return the dtype to which ``transform`` converts an X like the fitted one."""
    name = gan._input_layout["dtype"]
    known = {"uint8": torch.uint8, "float64": torch.float64}
    return known.get(name, torch.float32)


def _on_cpu(network):
    """Return a copy of a network to trace, on the CPU."""
    return plain_copy(network).to("cpu", memory_format=torch.contiguous_format)


class _Drawing(nn.Module):
    """What ``generate`` does."""

    def __init__(self, gan):
        super().__init__()
        self.generator = _on_cpu(gan.generator_)
        self.dtype = np.dtype(gan._input_layout["dtype"])
        self.flat = gan.image_shape_ is None
        self.sample_shape = _input_shape(gan)
        # As in from_batch: float32 does not hold every integer of an image.
        exact = np.float32 if self.dtype in (np.float16, np.float32) else np.float64
        center, half_range = (torch.as_tensor(p.astype(exact)) for p in gan._scale)
        self.register_buffer("center", center)
        self.register_buffer("half_range", half_range)
        self.low, self.high = (None, None) if self.flat else gan.data_range_
        if self.dtype.kind in "iu":
            info = np.iinfo(self.dtype)
            highest = float(np.nextafter(float(info.max), 0))
            low, high = (-np.inf, np.inf) if self.flat else gan.data_range_
            self.low = float(max(np.ceil(low), info.min))
            self.high = float(min(np.floor(high), highest))

    def forward(self, Z):
        """Return images for Z."""
        batch = self.generator(Z)
        if not self.flat:
            batch = batch.permute(0, 2, 3, 1)
        X = batch.to(self.center.dtype) * self.half_range + self.center
        if self.dtype.kind == "b":
            X = X >= 0.5
        elif self.low is not None:
            X = X.clamp(self.low, self.high)
        if self.dtype.kind in "iu":
            X = X.round()
        return X.to(_torch_dtype(self.dtype)).reshape(-1, *self.sample_shape)


def _torch_dtype(dtype):
    """Return torch's dtype of the same values."""
    return torch.from_numpy(np.zeros(1, dtype)).dtype


class _Looking(nn.Module):
    """What ``transform`` or ``score_samples`` does."""

    def __init__(self, gan, part):
        super().__init__()
        self.discriminator = _on_cpu(gan.discriminator_)
        self.part = part
        self.image_shape = gan.image_shape_
        self.layers = list(zip(gan.layers_, gan._feature_shapes, strict=True))
        center, half_range = map(torch.as_tensor, gan._scale)
        self.register_buffer("center", center)
        self.register_buffer("half_range", half_range)

    def forward(self, X):
        """Return the features, or the realness logits, of X."""
        rows = X.flatten(1)
        batch = to_batch(rows, self.center, self.half_range, self.image_shape)
        features, logits = self.discriminator(batch)
        if self.part == "score":
            return logits[:, 0]
        pooled = [_pool(features[k - 1], shape).flatten(1) for k, shape in self.layers]
        return torch.cat(pooled, dim=1)


def _pool(activation, shape):
    """Do what :func:`sklgan._features.pool` does, in operations that ONNX has."""
    sides, grid = activation.shape[2:], shape[1:]
    if len(shape) == 1 or all(s % n == 0 for s, n in zip(sides, grid, strict=True)):
        return pool(activation, shape)
    # The maximum of a window is that of its rows' maxima.
    for axis, side, n_cells in zip((2, 3), sides, grid, strict=True):
        cells = [
            activation.narrow(axis, start, stop - start).amax(axis, keepdim=True)
            for start, stop in _windows(side, n_cells)
        ]
        activation = torch.cat(cells, dim=axis)
    return activation


def _windows(side, n_cells):
    """Return (start, stop) of the windows of adaptive pooling."""
    return [
        (k * side // n_cells, -((-(k + 1) * side) // n_cells)) for k in range(n_cells)
    ]
