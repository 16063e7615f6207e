"""What all estimators have in common: scikit-learn's checks, and ours.

A new estimator is tested by a line in ESTIMATORS and, if it is a GAN, one in GANS.
"""

import inspect
import pickle
import random
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import skops.io
import torch
from numpy.testing import assert_allclose, assert_array_equal
from numpydoc.docscrape import ClassDoc
from PIL import Image
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.utils import check_random_state
from sklearn.utils.estimator_checks import (
    check_classifiers_classes,
    parametrize_with_checks,
)

from sklgan import (
    BlobGAN,
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    NearDuplicateDetector,
    SemiSupervisedGANClassifier,
    TorchLinearSVC,
)

# With their default parameters.
ESTIMATORS = [
    BlobGAN(),
    CategoricalGANClusterer(),
    DCGANFeatureExtractor(),
    NearDuplicateDetector(),
    SemiSupervisedGANClassifier(),
    TorchLinearSVC(),
]

# It trains on labels [-1, 1] and on strings, and spares scikit-learn's own classes by
# name; test_classes_as_scikit_learns_own runs it under such a name.
UNLABELED = {"check_classifiers_classes": "the label -1 means unlabelled"}

# It wants an error where X is of another array library than in fit, as sklearn's own
# estimators raise; ours take X of any.
ANY_ARRAY = {"check_array_api_same_namespace": "arrays of any namespace are taken"}

# Cheap, and on the CPU, where two runs give the same to the last bit.
CHEAP = {"n_filters": 4, "max_epochs": 1, "batch_size": 32, "random_state": 0}
GANS = {
    "mlp": DCGANFeatureExtractor(network="mlp", device="cpu", **CHEAP),
    "dcgan": DCGANFeatureExtractor(network="dcgan", device="cpu", **CHEAP),
    "dcgan-deep": DCGANFeatureExtractor(network="dcgan-deep", device="cpu", **CHEAP),
    "wasserstein": DCGANFeatureExtractor(
        loss="wasserstein", augment=["flip", "color"], device="cpu", **CHEAP
    ),
    "semi-supervised": SemiSupervisedGANClassifier(device="cpu", **CHEAP),
    "clusterer": CategoricalGANClusterer(2, device="cpu", **CHEAP),
    "blobs": BlobGAN(
        2, feature_dim=3, style_dim=2, latent_dim=8, device="cpu", **CHEAP
    ),
}
WITHOUT_TRANSFORM = ("semi-supervised", "clusterer")


def _expected_failures(estimator):
    is_classifier = isinstance(estimator, SemiSupervisedGANClassifier)
    return {**ANY_ARRAY, **(UNLABELED if is_classifier else {})}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=_expected_failures)
def test_scikit_learns_checks(estimator, check):
    """Every public estimator is a scikit-learn estimator."""
    check(estimator)


def test_classes_as_scikit_learns_own():
    """The check that is expected to fail passes without the label -1."""
    check_classifiers_classes("SelfTrainingClassifier", SemiSupervisedGANClassifier())


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_parameters_are_documented_and_constrained(estimator):
    """Each parameter of the constructor is described, and refuses nonsense by name."""
    parameters = inspect.signature(type(estimator)).parameters
    documented = [doc.name for doc in ClassDoc(type(estimator))["Parameters"]]
    assert documented == list(parameters)
    assert set(parameters) == set(type(estimator)._parameter_constraints)
    X, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    for name in parameters:
        nonsense = clone(estimator).set_params(**{name: object()})
        with pytest.raises((ValueError, TypeError), match=f"'{name}' parameter of"):
            nonsense.fit(X, y)


# Our own checks: each is given a clone, and the 64 images of `two_colours` ------------


def fit(estimator, X):
    """Return the estimator fitted; those that look at y get one label in four."""
    row = np.arange(len(X))
    return estimator.fit(X, np.where(row % 8 < 2, row % 2, -1))


def output(estimator, X):
    """Return what the estimator makes of X: features or probabilities."""
    transforms = hasattr(estimator, "transform")
    return estimator.transform(X) if transforms else estimator.predict_proba(X)


def check_same_seed_same_output(estimator, X):
    """random_state decides all; without it, or with another, the output differs."""
    other = fit(clone(estimator).set_params(random_state=1), X)
    again = fit(clone(estimator), X)
    fit(estimator, X)
    assert_array_equal(output(again, X), output(estimator, X))
    assert_array_equal(again.sample(5), estimator.sample(5))
    assert_array_equal(estimator.sample(5), estimator.sample(5))
    assert not np.array_equal(output(other, X), output(estimator, X))
    assert not np.array_equal(other.sample(5), estimator.sample(5))
    samples = estimator.sample(5, random_state=2)
    assert_array_equal(estimator.sample(5, random_state=2), samples)
    assert not np.array_equal(estimator.sample(5, random_state=3), samples)


def check_global_generators_are_left_alone(estimator, X):
    """The user's own random numbers are the same with and without us."""
    numpys = check_random_state(None)  # NumPy's global generator
    states = torch.get_rng_state(), numpys.get_state()[1], random.getstate()
    fit(estimator, X)
    estimator.sample(5)
    output(estimator, X)
    estimator.score_samples(X)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert_array_equal(numpys.get_state()[1], states[1])
    assert random.getstate() == states[2]


def check_global_generators_do_not_decide(estimator, X):
    """Nothing is drawn from them either."""
    features = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(2):
            torch.manual_seed(seed)
            features.append(output(fit(clone(estimator), X), X))
    assert_array_equal(*features)


def check_flattened_images_are_images(estimator, X):
    """Rows with image_shape give what the images give, to the last bit."""
    rows = X.reshape(len(X), -1)
    flat = fit(clone(estimator).set_params(image_shape=X.shape[1:]), rows)
    fit(estimator, X)
    assert flat.image_shape_ == estimator.image_shape_ == X.shape[1:]
    assert flat.n_features_in_ == estimator.n_features_in_ == rows.shape[1]
    assert_array_equal(output(flat, rows), output(estimator, X))
    assert_array_equal(output(flat, X), output(estimator, X))
    assert_array_equal(flat.score_samples(rows), estimator.score_samples(X))
    assert_array_equal(flat.sample(3), estimator.sample(3).reshape(3, -1))


def check_output_is_independent_of_the_batch(estimator, X):
    """What is beside a row does not matter: to the last bit for "mlp"."""
    X = np.tile(X, (3, 1, 1, 1)) / np.float32(255)
    fit(estimator, X)
    Z = np.random.default_rng(0).standard_normal((len(X), estimator.latent_dim))
    tolerance = 0 if estimator.network == "mlp" else 1e-5
    for method, rows in (
        (estimator.generate, Z),
        (partial(output, estimator), X),
        (estimator.score_samples, X),
    ):
        full = method(rows)
        assert len(full) == len(rows)
        for part in (slice(0, 1), slice(3, 10), slice(127, 130), slice(190, 192)):
            assert_allclose(method(rows[part]), full[part], rtol=0, atol=tolerance)


def check_generated_image_is_the_same_alone(estimator, X):
    """Alone and among 500: within 1e-5, or one step of 255 in uint8."""
    for images, tolerance in ((X / np.float32(255), 1e-5), (X, 1)):
        fit(estimator, images)
        Z = np.random.default_rng(0).standard_normal((500, estimator.latent_dim))
        among = estimator.generate(Z).astype(float)
        assert among.std() > 0
        for row in (0, 127, 128, 300, 499):
            (alone,) = estimator.generate(Z[row : row + 1]).astype(float)
            assert_allclose(alone, among[row], rtol=0, atol=tolerance)


def check_input_is_not_modified(estimator, X):
    """X may be read-only, and what may be written to stays as it is."""
    assert not X.flags.writeable
    for dtype in (np.uint8, np.float32, np.float64):
        given = X.astype(dtype)
        fit(estimator, given)
        features = output(estimator, given)
        features += 1
        samples = estimator.sample(2)
        samples += 1
        assert_array_equal(given, X)


def check_history_has_a_row_an_epoch(estimator, X):
    """Rows count from 1 and hold finite numbers."""
    fit(estimator.set_params(max_epochs=3), X)
    assert estimator.n_iter_ == 3
    assert [row["epoch"] for row in estimator.history_] == [1, 2, 3]
    n_warmup = int(3 * getattr(estimator, "warmup", 0))
    for row in estimator.history_:
        generated = ["g_loss"] if row["epoch"] > n_warmup else []
        assert list(row) == ["epoch", "d_loss", *generated, "duration"]
        assert np.isfinite(list(row.values())).all()
        assert row["duration"] > 0


def check_clone_keeps_nothing_fitted(estimator, X):
    """A clone has the parameters and nothing else."""
    copy = clone(fit(estimator, X))
    assert vars(copy).keys() == estimator.get_params().keys()
    with pytest.raises(NotFittedError):
        output(copy, X)


def check_frame_has_the_features_names(estimator, X):
    """set_output gives a data frame, its columns named as get_feature_names_out."""
    fit(estimator.set_output(transform="pandas"), X)
    frame = estimator.transform(X)
    assert frame.columns.tolist() == estimator.get_feature_names_out().tolist()
    assert_array_equal(frame, estimator.set_output(transform="default").transform(X))


def check_networks_are_ordinary_modules(estimator, X):
    """Weights are float32 on the device, and the modules do what the methods do."""
    fit(estimator, X)
    for module in (estimator.generator_, estimator.discriminator_):
        assert isinstance(module, torch.nn.Module)
        assert not any(layer.training for layer in module.modules())
        assert {p.dtype for p in module.parameters()} == {torch.float32}
        assert {p.device.type for p in module.parameters()} == {"cpu"}
    Z = np.random.default_rng(0).standard_normal((4, estimator.latent_dim))
    with torch.no_grad():
        images = estimator.generator_(torch.tensor(Z, dtype=torch.float32))
    expected = (images.permute(0, 2, 3, 1).numpy() + 1) * 127.5
    assert_allclose(estimator.generate(Z), expected, rtol=0, atol=0.51)


def check_copies_do_the_same(estimator, X):
    """Through pickle and through skops, the optimiser's state included."""
    fit(estimator.set_params(warm_start=True), X)
    data = skops.io.dumps(estimator)
    copies = [
        pickle.loads(pickle.dumps(estimator)),
        skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data)),
    ]
    for again in copies:
        assert_array_equal(output(again, X), output(estimator, X))
        assert_array_equal(again.score_samples(X), estimator.score_samples(X))
        assert_array_equal(again.sample(3), estimator.sample(3))
    fit(estimator, X)
    for again in copies:
        assert_array_equal(output(fit(again, X), X), output(estimator, X))
        assert again.n_iter_ == 2


def check_warm_start_set_after_fit_goes_on(estimator, X):
    """With the weights alone: a tiny step away from them, no step back to the start."""
    other = output(fit(clone(estimator).set_params(random_state=1), X), X)
    before = output(fit(estimator, X), X)
    after = output(fit(estimator.set_params(warm_start=True, learning_rate=1e-9), X), X)
    # BatchNorm's statistics are gathered over batches drawn anew.
    assert abs(after - before).max() < 0.1 * abs(other - before).max()
    assert estimator.n_iter_ == 2


CHECKS = [
    check_copies_do_the_same,
    check_warm_start_set_after_fit_goes_on,
    check_same_seed_same_output,
    check_global_generators_are_left_alone,
    check_global_generators_do_not_decide,
    check_flattened_images_are_images,
    check_output_is_independent_of_the_batch,
    check_generated_image_is_the_same_alone,
    check_input_is_not_modified,
    check_history_has_a_row_an_epoch,
    check_clone_keeps_nothing_fitted,
    check_frame_has_the_features_names,
    check_networks_are_ordinary_modules,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", GANS)
def test_our_checks(name, check, two_colours):
    """Every GAN estimator keeps what the documentation promises for all."""
    if check is check_frame_has_the_features_names and name in WITHOUT_TRANSFORM:
        assert not hasattr(GANS[name], "get_feature_names_out")
        return
    check(clone(GANS[name]), two_colours[0])


# Samples look like X ------------------------------------------------------------------

DTYPES = [np.uint8, np.int64, np.float32, np.float64]
RANGES = [(0, 16), (0, 255), (-1, 1), (0, 1)]


@pytest.mark.parametrize(
    "shape", [(8, 8), (8, 8, 1), (8, 8, 3), (8, 8, 4), (9, 5), (6, 11, 3)]
)
@pytest.mark.parametrize("name", ["mlp", "dcgan", "dcgan-deep"])
def test_samples_have_the_shape_of_X(name, shape):
    """Grey, colour or RGBA, square or not."""
    X = np.random.default_rng(0).integers(256, size=(40, *shape)).astype(np.uint8)
    gan = clone(GANS[name]).fit(X)
    assert gan.image_shape_ == (*shape, 1)[:3]
    for samples in (gan.sample(3), gan.generate(np.zeros((3, gan.latent_dim)))):
        assert samples.shape == (3, *shape)
        assert samples.dtype == np.uint8


@pytest.mark.parametrize("data_range", RANGES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_samples_have_dtype_and_range_of_X(dtype, data_range):
    """Images come back as they came: no conversion is left to the user."""
    low, high = data_range
    if dtype == np.uint8 and low < 0:
        low = 0
    values = np.random.default_rng(0).uniform(low, high, size=(64, 8, 8))
    values[0, 0, :2] = low, high
    X = values.round().astype(dtype) if np.dtype(dtype).kind in "iu" else values
    X = X.astype(dtype)
    gan = clone(GANS["dcgan"]).set_params(ema_decay=0.0, learning_rate=0.01)
    faint = pytest.warns(UserWarning, match="dtype uint8")
    with faint if dtype == np.uint8 and high < 255 else nullcontext():
        gan.fit(X)
    expected = (0, 255) if dtype == np.uint8 else (X.min(), X.max())
    assert gan.data_range_ == pytest.approx(expected, rel=1e-6)
    samples = gan.sample(50)
    assert samples.dtype == dtype
    assert expected[0] <= samples.min() <= samples.max() <= expected[1]
    # Neither stuck at one value nor squeezed into a corner of the range.
    assert samples.std() > 0 or np.ptp(X) <= 2
    span = expected[1] - expected[0]
    assert abs(samples.mean() - sum(expected) / 2) < 0.4 * span


def test_samples_of_boolean_images_are_boolean():
    """Ink and no ink."""
    X = np.random.default_rng(0).random((64, 8, 8)) < 0.5
    samples = clone(GANS["dcgan"]).fit(X).sample(20)
    assert samples.dtype == bool
    assert 0 < samples.mean() < 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_of_flat_rows_have_their_units(dtype):
    """Each column's mean and spread are those of X, about."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(200, 3)) * [1, 10, 1000] + [0, 50, -9000]).astype(dtype)
    gan = DCGANFeatureExtractor(
        n_filters=16, max_epochs=30, learning_rate=0.002, random_state=0
    ).fit(X)
    assert gan.image_shape_ is None
    assert gan.data_range_ is None
    samples = gan.sample(500)
    assert samples.dtype == dtype
    assert samples.shape == (500, 3)
    assert (abs(samples.mean(0) - X.mean(0)) < X.std(0)).all()
    assert (samples.std(0) < 2 * X.std(0)).all()
    assert (samples.std(0) > 0.2 * X.std(0)).all()


@pytest.mark.parametrize("kind", ["PIL images", "paths", "list of arrays"])
def test_pictures_are_images(two_colours, tmp_path, kind):
    """Pictures give what the array of their pixels gives."""
    X, _ = two_colours
    pictures = [Image.fromarray(image) for image in X]
    if kind == "paths":
        for index, picture in enumerate(pictures):
            picture.save(tmp_path / f"{index:02d}.png")
        pictures = sorted(tmp_path.glob("*.png"))
    if kind == "list of arrays":
        pictures = list(X)
    gan, expected = clone(GANS["dcgan"]).fit(pictures), clone(GANS["dcgan"]).fit(X)
    assert_array_equal(gan.transform(pictures), expected.transform(X))
    assert_array_equal(gan.transform(pictures[:2]), expected.transform(X[:2]))
    assert gan.sample(3).dtype == np.uint8
    assert_array_equal(gan.sample(3), expected.sample(3))


def test_memory_mapped_images_are_images(two_colours, tmp_path):
    """A read-only memory map works as it is."""
    X, _ = two_colours
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    gan, expected = clone(GANS["dcgan"]).fit(mapped), clone(GANS["dcgan"]).fit(X)
    assert_array_equal(gan.transform(mapped), expected.transform(X))


# Inside scikit-learn's own machinery --------------------------------------------------


def test_grid_search_over_a_cached_pipeline(two_colours, tmp_path):
    """Parameters of the GAN and of the classifier are searched together."""
    X, y = two_colours
    pipeline = Pipeline(
        [("gan", clone(GANS["dcgan"])), ("svm", LinearSVC())], memory=str(tmp_path)
    )
    grid = {"gan__pool_size": [1, 2], "svm__C": [0.01, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert search.score(X, y) > 0.9
    side = search.best_params_["gan__pool_size"]
    assert search.best_estimator_[:-1].transform(X).shape == (64, 4 * side**2)
    again = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert_array_equal(
        again.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )


@pytest.mark.parametrize("meta", [SelfTrainingClassifier, BaggingClassifier])
def test_meta_estimators_take_flattened_images(two_colours, meta):
    """They insist on two dimensions; with image_shape set, that is no loss."""
    X, y = two_colours
    gan = clone(GANS["dcgan"]).set_params(image_shape=(8, 8, 3))
    model = make_pipeline(gan, LogisticRegression())
    if meta is SelfTrainingClassifier:
        labels, classifier = np.where(np.arange(64) < 20, y, -1), meta(model)
    else:
        labels, classifier = y, meta(model, n_estimators=2, random_state=0)
    rows = X.reshape(64, -1)
    assert classifier.fit(rows, labels).score(rows, y) > 0.9
