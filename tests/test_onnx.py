"""ONNX files compute what the estimator's methods do, in its units and layouts."""

import os

import numpy as np
import pytest
import torch

from sklgan import DCGANFeatureExtractor

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
OLD = torch.__version__ < "2.8"
needs_exporter = pytest.mark.skipif(OLD, reason="export_onnx needs torch 2.8")


def run(path, values):
    """Return the only output of a graph for its only input, and their names."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    return session.run(None, {source.name: values})[0], source.name, target.name


def images(dtype, shape):
    """Return images from 3 to 200, or of True and False."""
    X = np.random.default_rng(0).integers(3, 201, shape)
    return (X > 100) if dtype == "bool" else X.astype(dtype)


# X and parameters; together every layout, and windows of one size and of several.
CASES = {
    "uint8, colour": (images("uint8", (9, 16, 16, 3)), {"pool_size": 4}),
    "float64, grey, uneven": (images("float64", (9, 8, 11)), {"pool_size": 3}),
    "float32, flattened": (
        images("float32", (9, 64)),
        {"image_shape": (8, 8), "layers": [1], "data_range": (-10, 210)},
    ),
    "float32, flat": (images("float32", (9, 6)), {}),
}
# An export takes seconds: the rest of them are for `make test-slow`.
FAST = [
    ("uint8, colour", "generator"),
    ("uint8, colour", "features"),
    ("float64, grey, uneven", "features"),
]
REST = [
    pytest.param(case, part, marks=pytest.mark.slow)
    for case in CASES
    for part in ("generator", "features", "score")
    if (case, part) not in FAST
]


@needs_exporter
@pytest.mark.parametrize(("case", "part"), [*FAST, *REST])
def test_graph_does_what_the_method_does(tmp_path, case, part):
    """To 1e-5, for any number of samples; whatever was in the file is replaced."""
    X, params = CASES[case]
    gan = DCGANFeatureExtractor(5, n_filters=4, max_epochs=1, random_state=0, **params)
    gan.fit(X)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"what was there")
    before = torch.get_rng_state()
    gan.export_onnx(path, part)
    assert os.listdir(tmp_path) == [path.name]
    assert torch.equal(torch.get_rng_state(), before)
    method = {
        "generator": gan.generate,
        "features": gan.transform,
        "score": gan.score_samples,
    }[part]
    given = X
    if part == "generator":
        given = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    names = {"generator": ("Z", "images")}.get(part, ("X", part))
    for n_samples in (1, 9):
        expected = method(given[:n_samples])
        found, *found_names = run(path, given[:n_samples])
        assert tuple(found_names) == names
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        scale = max(1.0, np.abs(expected.astype(float)).max())
        if expected.dtype == np.uint8:
            assert np.abs(found.astype(int) - expected).max() <= 1
        else:
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)
    assert expected.std() > 0


@needs_exporter
@pytest.mark.slow
def test_whole_numbers_are_rounded_and_clipped(tmp_path):
    """Signed integers keep their dtype and range."""
    X = images("int16", (9, 8, 8))
    gan = DCGANFeatureExtractor(5, n_filters=4, max_epochs=1, random_state=0).fit(X)
    path = tmp_path / "model.onnx"
    gan.export_onnx(path)
    Z = 100 * np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    found, expected = run(path, Z)[0], gan.generate(Z)
    assert found.dtype == expected.dtype == np.int16
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found.min(), found.max()) == (expected.min(), expected.max())


@needs_exporter
def test_spectral_norms_become_plain_weights(tmp_path, two_colours):
    """The score is the same, and the network itself is left as it was."""
    X, path = two_colours[0], tmp_path / "score.onnx"
    gan = DCGANFeatureExtractor(5, network="sndcgan", n_filters=2, max_epochs=0).fit(X)
    scores = gan.score_samples(X)
    gan.export_onnx(path, "score")
    assert np.array_equal(gan.score_samples(X), scores)
    np.testing.assert_allclose(run(path, X)[0], scores, atol=1e-5)


@pytest.mark.skipif(not OLD, reason="needs a torch older than 2.8")
def test_old_torch_is_named(tmp_path, digits):
    """Before anything is written, instead of the exporter's own errors."""
    gan = DCGANFeatureExtractor(5, n_filters=4, max_epochs=0).fit(digits[0][:10])
    with pytest.raises(ImportError, match="needs torch 2.8 or newer"):
        gan.export_onnx(tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == []


def test_bad_calls_leave_the_file_alone(tmp_path, digits):
    """Another part, no folder, or no network to write."""
    gan = DCGANFeatureExtractor(5, n_filters=4, max_epochs=0).fit(digits[0][:10])
    with pytest.raises(ValueError, match="part='discriminator' should be one of"):
        gan.export_onnx(tmp_path / "model.onnx", "discriminator")
    with pytest.raises(FileNotFoundError, match="no folder"):
        gan.export_onnx(tmp_path / "missing" / "model.onnx")
    gan.to_checkpoint(tmp_path / "netG.pth", part="generator")
    gan = DCGANFeatureExtractor.from_checkpoint(tmp_path / "netG.pth")
    with pytest.raises(ValueError, match="There is no discriminator"):
        gan.export_onnx(tmp_path / "model.onnx", "features")
    assert os.listdir(tmp_path) == ["netG.pth"]
