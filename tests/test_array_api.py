"""Tensors in, tensors out under scikit-learn's array API dispatch.

scikit-learn's own checks of it run in test_common.py.
"""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
    TorchLinearSVC,
)
from sklgan._namespaces import moments

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ),
]
CHEAP = {"n_filters": 4, "max_epochs": 1, "batch_size": 32, "random_state": 0}
ESTIMATORS = {
    "extractor": DCGANFeatureExtractor(**CHEAP),
    "classifier": SemiSupervisedGANClassifier(**CHEAP),
    "clusterer": CategoricalGANClusterer(2, **CHEAP),
}
METHODS = (
    "transform",
    "score_samples",
    "predict_proba",
    "decision_function",
    "predict",
)


def outputs(estimator, X):
    """Return what the methods of an estimator make of X, by name."""
    return {
        name: getattr(estimator, name)(X)
        for name in METHODS
        if hasattr(estimator, name)
    }


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_tensors_give_what_arrays_give(kind, dtype, device, two_colours):
    """The same numbers, as tensors on the device of X; fitted on tensors as well."""
    X, y = two_colours
    tensor = torch.tensor(X, dtype=dtype, device=device)
    array, labels = tensor.cpu().numpy(), np.where(np.arange(len(y)) < 20, y, -1)
    expected = clone(ESTIMATORS[kind]).set_params(device=device).fit(array, labels)
    with config_context(array_api_dispatch=True):
        gan = clone(expected).fit(tensor, torch.tensor(labels, device=device))
        results = [outputs(gan, tensor), outputs(expected, tensor)]
    for name, values in outputs(expected, array).items():
        for result in results:
            assert torch.is_tensor(result[name])
            assert result[name].device == tensor.device
            assert not result[name].requires_grad
            assert result[name].cpu().numpy().dtype == values.dtype
        # Two trainings on a GPU differ.
        for result in results if device == "cpu" else results[1:]:
            assert_array_equal(result[name].cpu(), values)
    assert gan.sample(2).dtype == array.dtype
    for name in ("labels_", "transduction_"):
        assert torch.is_tensor(getattr(gan, name, tensor))


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_state_holds_no_tensor(kind, two_colours):
    """A model fitted on tensors is loaded without their namespace or device."""
    X, y = two_colours
    with config_context(array_api_dispatch=True):
        gan = clone(ESTIMATORS[kind]).fit(torch.tensor(X), torch.tensor(y))
    again = pickle.loads(pickle.dumps(gan))
    assert not any(torch.is_tensor(value) for value in vars(again).values())
    for name, values in outputs(gan, X).items():
        assert_array_equal(outputs(again, X)[name], values)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_without_dispatch_arrays_come_back(kind, two_colours):
    """Tensors are taken all the same."""
    X, y = two_colours
    gan = clone(ESTIMATORS[kind]).fit(torch.tensor(X), torch.tensor(y))
    for values in outputs(gan, torch.tensor(X)).values():
        assert isinstance(values, np.ndarray)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "classifier",
    [LogisticRegression(), RidgeClassifier(solver="svd"), TorchLinearSVC()],
    ids=lambda classifier: type(classifier).__name__,
)
def test_pipeline_stays_on_the_device(classifier, device, two_colours):
    """Images, features and predictions are tensors where X is."""
    X, y = (torch.tensor(part, device=device) for part in two_colours)
    with config_context(array_api_dispatch=True):
        model = make_pipeline(clone(ESTIMATORS["extractor"]), clone(classifier))
        model.fit(X, y)
        predicted, scores = model.predict(X), model.decision_function(X)
        assert model.score(X, y) > 0.9
    assert predicted.device == scores.device == X.device
    assert (predicted == y).float().mean() > 0.9


@pytest.mark.parametrize("kind", ["extractor", "classifier"])
def test_partial_fit_takes_tensors(kind, two_colours):
    """And trains as on arrays, remembered rows included."""
    X, y = two_colours
    classes = {"classes": [0, 1]} if kind == "classifier" else {}
    expected = clone(ESTIMATORS[kind]).partial_fit(X, y, **classes).partial_fit(X, y)
    with config_context(array_api_dispatch=True):
        tensor = torch.tensor(X)
        gan = clone(ESTIMATORS[kind]).partial_fit(tensor, torch.tensor(y), **classes)
        gan.partial_fit(tensor, torch.tensor(y))
    for name, values in outputs(expected, X).items():
        assert_array_equal(outputs(gan, X)[name], values)


def test_linear_svc_takes_either_kind(digits):
    """Weights follow X; a model that was fitted on one kind takes the other."""
    X, y = digits[0].reshape(200, -1), digits[1]
    expected = TorchLinearSVC(C=0.01, device="cpu").fit(X, y)
    with config_context(array_api_dispatch=True):
        svm = clone(expected).fit(torch.tensor(X), torch.tensor(y))
        assert torch.is_tensor(svm.coef_)
        assert torch.is_tensor(svm.intercept_)
        scores = expected.decision_function(torch.tensor(X))
        assert_array_equal(svm.predict(torch.tensor(X)), expected.predict(X))
    assert_array_equal(svm.coef_, expected.coef_)
    assert_array_equal(svm.decision_function(X), expected.decision_function(X))
    assert_allclose(scores, expected.decision_function(X), rtol=1e-4, atol=1e-4)
    again = pickle.loads(pickle.dumps(svm))
    assert isinstance(again.coef_, np.ndarray)
    assert_array_equal(again.predict(X), expected.predict(X))


@pytest.mark.parametrize("estimator", ["gan", "svm"])
def test_strings_as_classes(estimator, two_colours):
    """They are in no other namespace, and come back as NumPy's."""
    X, y = two_colours
    names = np.array(["red", "blue"], dtype=object)[y]
    model = clone(ESTIMATORS["classifier"]) if estimator == "gan" else TorchLinearSVC()
    rows = torch.tensor(X.reshape(64, -1)).float()
    with config_context(array_api_dispatch=True):
        predicted = model.fit(rows, names).predict(rows)
    assert isinstance(predicted, np.ndarray)
    assert set(predicted) <= {"red", "blue"}


@pytest.mark.parametrize(
    ("X", "match"),
    [
        (torch.full((4, 8, 8), float("nan")), "NaN"),
        (torch.zeros(4, 8, 8, dtype=torch.complex64), "Complex data not supported"),
        (torch.zeros(4, 3, 8, 8), "channels first"),
        (torch.zeros(0, 8, 8), "0 sample"),
        (torch.zeros(1, 8, 8), "minimum of 2"),
    ],
)
def test_bad_tensors_are_refused(X, match):
    """With the messages that arrays get."""
    gan = clone(ESTIMATORS["extractor"])
    with (
        config_context(array_api_dispatch=True),
        pytest.raises(ValueError, match=match),
    ):
        gan.fit(X)


@pytest.mark.parametrize("device", DEVICES)
def test_moments_are_those_of_standard_scaler(device):
    """Constant columns, also far from 0, have scale 1."""
    X = np.random.default_rng(0).normal(1e3, [1, 1e-3, 50, 0], size=(9000, 4))
    mean, scale = moments(torch.tensor(X, device=device), batch_size=1000)
    assert_allclose(mean, X.mean(axis=0), rtol=1e-12)
    assert_allclose(scale[:3], X.std(axis=0)[:3], rtol=1e-9)
    assert scale[3] == 1
