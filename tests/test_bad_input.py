"""Bad input is refused with what was found and what to do, before harm is done.

What the gate for images refuses in detail is tested in test_images.py and
test_decoding.py; here the whole estimator is, above all that a refused fit leaves it
as it was.
"""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from PIL import Image
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback

from sklgan import DCGANFeatureExtractor
from sklgan._tensors import resolve_device


def make_gan(**kwargs):
    """Return an estimator that is trained in a moment."""
    options = {"n_filters": 4, "max_epochs": 1, "batch_size": 32, "random_state": 0}
    return DCGANFeatureExtractor(**(options | {"device": "cpu"} | kwargs))


@pytest.fixture(scope="module")
def fitted(two_colours):
    """Return an estimator fitted on colour images; tests copy it before use."""
    return make_gan().fit(two_colours[0])


def assert_unchanged(gan, fitted, X):
    """Check that a copy of the fitted estimator still is what it was."""
    assert_array_equal(gan.transform(X), fitted.transform(X))
    assert_array_equal(gan.sample(2), fitted.sample(2))
    for name in ("image_shape_", "data_range_", "n_features_in_", "n_iter_"):
        assert getattr(gan, name) == getattr(fitted, name)
    assert gan.history_ == fitted.history_


def with_value(value, *shape):
    """Return zeros with one value in them."""
    X = np.zeros(shape, dtype=np.result_type(type(value), np.float64))
    X.flat[3] = value
    return X


BAD_ARRAYS = {
    "NaN": (with_value(np.nan, 4, 8, 8, 3), ValueError, "NaN"),
    "NaN in rows": (with_value(np.nan, 4, 5), ValueError, "NaN"),
    "infinity": (with_value(-np.inf, 4, 8, 8, 3), ValueError, "infinity"),
    "complex": (with_value(1j, 4, 8, 8, 3), ValueError, "Complex"),
    "strings": ([["a", "b"], ["c", "d"]], ValueError, "dtype <U1.*numbers"),
    "sparse": (csr_array(np.eye(4)), TypeError, "Sparse"),
    "empty": (np.empty((0, 8, 8, 3)), ValueError, "0 sample"),
    "one sample": (np.zeros((1, 8, 8, 3)), ValueError, "1 sample.*minimum of 2"),
    "ragged": ([np.zeros((8, 8)), np.zeros((8, 9))], ValueError, r"\(8, 9\)"),
    "channels first": (np.zeros((4, 3, 8, 8)), ValueError, r"transpose\(0, 2, 3, 1\)"),
    "2 channels": (np.zeros((4, 8, 8, 2)), ValueError, "2 channels"),
    "5 channels": (np.zeros((4, 8, 8, 5)), ValueError, "5 channels"),
    "one image": (np.zeros((8, 9, 3)), ValueError, r"X\[np.newaxis\]"),
    "5 dimensions": (np.zeros((2, 2, 8, 8, 3)), ValueError, "5 dimensions"),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
def test_bad_array_is_refused_and_leaves_the_last_fit(fitted, two_colours, kind):
    """fit raises, and transform gives the same as before to the last bit."""
    X, error, match = BAD_ARRAYS[kind]
    gan = copy.deepcopy(fitted)
    with pytest.raises(error, match=match):
        gan.fit(X)
    assert_unchanged(gan, fitted, two_colours[0])
    with pytest.raises(error, match=match):
        make_gan(warm_start=True).fit(X)


@pytest.mark.parametrize(
    "kind", [kind for kind in BAD_ARRAYS if kind not in ("one sample", "ragged")]
)
@pytest.mark.parametrize("method", ["transform", "score_samples"])
def test_bad_array_is_refused_after_fit(fitted, method, kind):
    """What fit refuses, the other methods refuse as well."""
    X, error, _ = BAD_ARRAYS[kind]
    with pytest.raises(error):
        getattr(fitted, method)(X)


@pytest.mark.parametrize(
    ("X", "match"),
    [
        (np.zeros((4, 9, 8, 3)), r"\(9, 8, 3\).*fitted on images of shape \(8, 8, 3\)"),
        (np.zeros((4, 8, 8)), r"\(8, 8, 1\).*fitted on images of shape \(8, 8, 3\)"),
        (np.zeros((4, 100)), "X has 100 features, but DCGAN.* is expecting 192"),
    ],
)
@pytest.mark.parametrize("method", ["transform", "score_samples"])
def test_other_images_than_in_fit_are_refused(fitted, method, X, match):
    """The message names both shapes."""
    with pytest.raises(ValueError, match=match):
        getattr(fitted, method)(X)


def test_values_far_outside_the_range_are_a_warning(digits):
    """The message names the range; the features are computed all the same."""
    X, _ = digits
    gan = make_gan().fit(X)
    with pytest.warns(UserWarning, match=r"from 0 to 160, outside.*\[0, 16\]"):
        assert gan.transform(10 * X[:3]).shape[0] == 3
    with pytest.warns(UserWarning, match=r"from 0 to 160, outside.*\[0, 16\]"):
        gan.score_samples(10 * X[:3])


def make_bad_file(kind, tmp_path):
    """Return the path of a file that is no good picture."""
    path = tmp_path / "bad.png"
    if kind == "truncated":
        noise = np.random.default_rng(0).integers(256, size=(8, 8, 3)).astype(np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:-80])
    elif kind == "no image":
        path.write_text("These are words.")
    elif kind == "bomb":
        Image.new("RGB", (64, 64)).save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("missing", "no such file"),
        ("truncated", "cannot be decoded"),
        ("no image", "not an image"),
        ("bomb", "decompression bomb"),
    ],
)
def test_bad_file_is_named(fitted, two_colours, tmp_path, monkeypatch, kind, match):
    """The message says which file it is and what is wrong with it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    X, _ = two_colours
    paths = []
    for index, image in enumerate(X[:3]):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(image).save(paths[-1])
    paths.insert(1, make_bad_file(kind, tmp_path))
    gan = copy.deepcopy(fitted)
    for method in (gan.fit, gan.transform):
        with pytest.raises(ValueError, match=f"bad.png.*{match}"):
            method(paths)
    assert_unchanged(gan, fitted, X)


def test_pictures_of_mixed_sizes_need_an_image_shape(fitted, two_colours):
    """The remedy is in the message, and works."""
    pictures = [Image.new("RGB", size) for size in [(8, 8), (8, 8), (9, 8)]]
    gan = copy.deepcopy(fitted)
    with pytest.raises(ValueError, match="image_shape"):
        gan.fit(pictures)
    assert_unchanged(gan, fitted, two_colours[0])
    gan.set_params(image_shape=(8, 8, 3)).fit(pictures)
    assert gan.image_shape_ == (8, 8, 3)


class NotAModule:
    """A class that is no network."""


BAD_PARAMETERS = [
    {"latent_dim": 0},
    {"latent_dim": 10.0},
    {"network": "resnet"},
    {"network": ()},
    {"network": (torch.nn.Identity,)},
    {"network": (1, 2)},
    {"network": (NotAModule, NotAModule)},
    {"network": (torch.nn.Identity(), torch.nn.Identity())},
    {"image_shape": (8, 8, 2)},
    {"image_shape": (4, 4, 3)},
    {"data_range": (1, 0)},
    {"data_range": "full"},
    {"n_filters": 0},
    {"loss": "dcgan"},
    {"gradient_penalty": -1.0},
    {"gradient_penalty": "none"},
    {"n_critic": 0},
    {"ema_decay": 1.0},
    {"ema_decay": -0.1},
    {"learning_rate": 0.0},
    {"learning_rate": float("nan")},
    {"batch_size": 1},
    {"max_epochs": -1},
    {"augment": "rotate"},
    {"augment": ["flip", "rotate"]},
    {"augment": 3},
    {"layers": []},
    {"layers": [0]},
    {"layers": [1, 99]},
    {"layers": [1, 1]},
    {"layers": [True]},
    {"layers": ["conv1"]},
    {"layers": "first"},
    {"pool_size": 0},
    {"precision": "float16"},
    {"device": "gpu"},
    {"device": "meta"},
    {"callbacks": "early"},
    {"callbacks": [3]},
    {"callbacks": [("stop", 3)]},
    {"callbacks": [NotAModule]},
    {"warm_start": "yes"},
    {"random_state": -1},
    {"verbose": -1},
]


@pytest.mark.parametrize("params", BAD_PARAMETERS, ids=str)
def test_bad_parameter_is_refused_by_name(fitted, two_colours, params):
    """The message names parameter and value; nothing is trained or overwritten."""
    X, _ = two_colours
    ((name, value),) = params.items()
    gan = copy.deepcopy(fitted).set_params(**params)
    with pytest.raises((ValueError, TypeError)) as caught:
        gan.fit(X)
    message = str(caught.value)
    assert name.removesuffix("s") in message
    shown = value[-1] if isinstance(value, list) and value else value
    assert str(shown) in message
    gan.set_params(**{name: getattr(fitted, name)})
    assert_unchanged(gan, fitted, X)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_without_a_gpu_is_refused(fitted, two_colours):
    """The remedy is to let the library choose."""
    gan = copy.deepcopy(fitted).set_params(device="cuda")
    with pytest.raises(ValueError, match=r"device='cuda'.*'cpu', or 'auto'"):
        gan.fit(two_colours[0])
    assert_unchanged(gan, fitted, two_colours[0])


def test_the_reason_of_a_missing_device_is_short(monkeypatch):
    """Of what torch says, the first sentence; it goes on with all devices there are."""

    def fail(*args, **kwargs):
        raise RuntimeError("No kernel here. There are: CPU, CUDA.\nAnd more")

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(ValueError, match=r"\(No kernel here\); use 'cpu'"):
        resolve_device("cpu")


class CountBatches(Callback):
    """Count the steps of training."""

    n_batches = 0

    def on_batch_end(self, net, **kwargs):
        self.n_batches += 1


@pytest.mark.parametrize("layers", [[], [0], [1, 99], [1, 1], [True], ["conv1"]])
def test_bad_layers_are_refused_before_training(two_colours, layers):
    """Nobody waits for hours to be told of a mistake in a parameter."""
    count = CountBatches()
    with pytest.raises(ValueError, match="layers=.*(numbers|twice|no layer)"):
        make_gan(layers=layers, callbacks=[count]).fit(two_colours[0])
    assert count.n_batches == 0


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"network": "dcgan"}, r"network='dcgan' needs images.*set image_shape"),
        ({"network": "dcgan-deep"}, r"network='dcgan-deep' needs images"),
        ({"augment": "flip"}, r"augment='flip' is for images.*set image_shape"),
        ({"image_shape": (2, 3)}, r"image_shape=\(2, 3\) means 6 values.*4 features"),
    ],
)
def test_flat_rows_are_not_taken_for_images(params, match):
    """The message says how rows become images."""
    X = np.random.default_rng(0).normal(size=(20, 4))
    gan = make_gan(**params)
    with pytest.raises(ValueError, match=match):
        gan.fit(X)
    with pytest.raises(NotFittedError):
        gan.transform(X)


def test_unknown_augmentation_is_refused_before_a_checkpoint_is_begun(
    two_colours, tmp_path
):
    """Of a run that cannot be, no folder remains."""
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="rotate"):
        make_gan(augment=["flip", "rotate"], checkpoint=folder).fit(two_colours[0])
    assert not folder.exists()


class Fail(Callback):
    """Fail in the second epoch."""

    def on_batch_end(self, net, **kwargs):
        if len(net.history) == 2:
            raise RuntimeError("The disk is full.")


@pytest.mark.parametrize("warm_start", [False, True])
def test_error_of_a_callback_leaves_the_last_fit(fitted, two_colours, warm_start):
    """Whatever fails in the middle of training, nothing is half new."""
    gan = copy.deepcopy(fitted)
    gan.set_params(warm_start=warm_start, max_epochs=3, callbacks=[Fail()])
    with pytest.raises(RuntimeError, match="The disk is full"):
        gan.fit(two_colours[0])
    assert_unchanged(gan, fitted, two_colours[0])


def interrupt(*args):
    """Do what Ctrl-C does while the networks are built."""
    raise KeyboardInterrupt


def test_interruption_before_training_leaves_the_last_fit(fitted, two_colours):
    """There are no new networks yet, so the old ones stay, with all that is theirs."""
    gan = copy.deepcopy(fitted).set_params(network=(interrupt, interrupt))
    with pytest.raises(KeyboardInterrupt):
        gan.fit(two_colours[0][:, :6, :5])
    assert_unchanged(gan, fitted, two_colours[0])


@pytest.mark.parametrize(
    "use",
    [
        lambda gan, X: gan.transform(X),
        lambda gan, X: gan.score_samples(X),
        lambda gan, X: gan.sample(),
        lambda gan, X: gan.generate(np.zeros((1, 100))),
        lambda gan, X: gan.get_feature_names_out(),
    ],
    ids=["transform", "score_samples", "sample", "generate", "get_feature_names_out"],
)
def test_unfitted_estimator_says_so(two_colours, use):
    """The error is scikit-learn's own."""
    with pytest.raises(NotFittedError, match="not fitted yet"):
        use(make_gan(), two_colours[0])


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "3", None])
def test_bad_number_of_samples_is_refused(fitted, n_samples):
    """It is an integer of at least 1."""
    with pytest.raises(ValueError, match=f"n_samples.*got {n_samples!r}"):
        fitted.sample(n_samples)


@pytest.mark.parametrize(
    ("Z", "match"),
    [
        (np.zeros((3, 99)), "99 columns.*latent_dim=100"),
        (np.zeros(100), "1D array"),
        (np.full((3, 100), np.nan), "Z contains NaN"),
        (np.empty((0, 100)), "0 sample"),
    ],
)
def test_bad_latent_vectors_are_refused(fitted, Z, match):
    """The message says what Z should be."""
    with pytest.raises(ValueError, match=match):
        fitted.generate(Z)
