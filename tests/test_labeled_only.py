"""LabeledOnly: a classifier of scikit-learn's among unlabelled rows."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from few_irises import (
    FEW,
    LABELED,
    TARGETS,
    TRUTH,
    WEIGHTS,
    X,
    Y,
    accuracy,
    both_targets,
    lda,
    logistic,
    pipeline,
)
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils import estimator_checks

from sklgan.model_selection import (
    LabeledOnly,
    SemiSupervisedKFold,
)

# scikit-learn exempts its own semi-supervised classes from this check, by name.
EXPECTED_FAILURES = {
    "check_classifiers_classes": "trains on the labels -1 and 1, and on string dtypes; "
    "-1 means unlabelled here, and a string dtype cannot hold it"
}


@estimator_checks.parametrize_with_checks(
    [LabeledOnly(LinearSVC()), LabeledOnly(LogisticRegression())],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES,
)
def test_scikit_learns_checks(estimator, check):
    """LabeledOnly is a scikit-learn estimator."""
    check(estimator)


def test_classes_are_kept_as_in_semi_supervised_classifiers():
    """The check that fails above passes where -1 and string dtypes are left out."""
    for estimator in (LinearSVC(), LogisticRegression()):
        check = estimator_checks.check_classifiers_classes
        check("SelfTrainingClassifier", LabeledOnly(estimator))


@both_targets
def test_only_labelled_rows_are_fitted(kind):
    """Inside a pipeline, the scaler has all rows and the classifier the labelled."""
    model = clone(pipeline).fit(X, TARGETS[kind])
    scaled = StandardScaler().fit(X).transform(X)
    expected = clone(logistic).fit(scaled[LABELED], TRUTH[kind][LABELED])
    assert_allclose(model[-1].estimator_.coef_, expected.coef_, rtol=1e-5)
    assert_array_equal(model.classes_, np.unique(TRUTH[kind]))
    assert_array_equal(model.predict(X), expected.predict(scaled))
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        actual = getattr(model, method)(X)
        assert_allclose(actual, getattr(expected, method)(scaled), atol=1e-4)
    labeled = scaled[LABELED], TRUTH[kind][LABELED]
    assert model.score(X, TARGETS[kind]) == expected.score(*labeled)
    assert model.score(X, TRUTH[kind]) == expected.score(scaled, TRUTH[kind])


def test_methods_and_attributes_are_the_estimators():
    """What the estimator has not, LabeledOnly has not; what it was given, it keeps."""
    assert not hasattr(LabeledOnly(LinearSVC()), "predict_proba")
    assert not hasattr(LabeledOnly(LinearSVC()), "transform")
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = LabeledOnly(clone(logistic)).set_params(estimator__C=0.5)
    with pytest.raises(NotFittedError):
        model.score(X, Y)
    model.fit(frame, FEW)
    assert model.estimator_.C == 0.5
    assert not hasattr(model.estimator, "coef_")
    assert model.n_features_in_ == 4
    assert_array_equal(model.feature_names_in_, list("abcd"))


def test_supervised_transformers_are_wrapped_too():
    """They learn from the labelled rows, transform all, and give data frames."""
    frame = pd.DataFrame(X, columns=list("abcd"))
    expected = SelectKBest(k=2).fit(X[LABELED], Y[LABELED]).transform(X)
    transformer = LabeledOnly(SelectKBest(k=2))
    assert_array_equal(transformer.fit_transform(X, FEW), expected)
    model = make_pipeline(transformer, LabeledOnly(lda)).set_output(transform="pandas")
    frame_out = model.fit(frame, FEW)[:-1].transform(frame)
    assert frame_out.columns.tolist() == ["c", "d"]
    assert transformer.fit(frame, FEW).get_feature_names_out().tolist() == ["c", "d"]
    assert_array_equal(transformer.inverse_transform(expected)[:, 2:], expected)


@pytest.mark.parametrize(
    "classifier", [LogisticRegression(), ExtraTreesClassifier(random_state=0)]
)
def test_columns_are_chosen_by_what_the_estimator_says_of_them(classifier):
    """coef_ or feature_importances_, for those who ask for it."""
    classifier = LabeledOnly(classifier)
    assert SelectFromModel(classifier).fit(X, FEW).transform(X).shape[1] < 4
    assert RFE(classifier, n_features_to_select=1).fit(X, FEW).n_features_ == 1


def test_sample_weight_is_cut():
    """In fit and in score, with metadata routing and without."""
    labeled = X[LABELED], Y[LABELED], WEIGHTS[LABELED]
    expected = clone(logistic).fit(*labeled)
    search = GridSearchCV(LabeledOnly(logistic), {}, cv=3, scoring=accuracy)
    piped = make_pipeline("passthrough", LabeledOnly(logistic))
    fitted = [
        LabeledOnly(logistic).fit(X, FEW, sample_weight=WEIGHTS),
        search.fit(X, FEW, sample_weight=WEIGHTS).best_estimator_,
        piped.fit(X, FEW, labeledonly__sample_weight=WEIGHTS)[-1],
    ]
    with sklearn.config_context(enable_metadata_routing=True):
        asking = clone(logistic).set_fit_request(sample_weight=True)
        asking.set_score_request(sample_weight=True)
        fitted.append(LabeledOnly(asking).fit(X, FEW, sample_weight=WEIGHTS))
        routed_score = fitted[-1].score(X, FEW, sample_weight=WEIGHTS)
        with pytest.raises(UnsetMetadataPassedError, match="LabeledOnly"):
            LabeledOnly(logistic).fit(X, FEW, sample_weight=WEIGHTS)
    for model in fitted:
        assert_allclose(model.estimator_.coef_, expected.coef_, rtol=1e-5)
    score = fitted[0].score(X, FEW, sample_weight=WEIGHTS)
    assert score == routed_score == expected.score(*labeled)


def test_a_search_weighs_its_scores_as_scikit_learns():
    """Where sample_weight is given to fit, scores are weighted by it too."""
    weight = np.random.default_rng(0).uniform(0.1, 9.0, size=len(X))
    cv = SemiSupervisedKFold(3)
    kept = np.flatnonzero(LABELED)
    expected = GridSearchCV(SVC(), {}, cv=list(cv.split(X[kept], FEW[kept]))).fit(
        X[kept], FEW[kept], sample_weight=weight[kept]
    )
    search = GridSearchCV(LabeledOnly(SVC()), {}, cv=cv)
    search.fit(X, FEW, sample_weight=weight)
    assert search.best_score_ == pytest.approx(expected.best_score_)
    unweighted = GridSearchCV(LabeledOnly(SVC()), {}, cv=cv).fit(X, FEW)
    assert search.best_score_ != pytest.approx(unweighted.best_score_)


def test_labeled_only_asks_for_no_metadata_of_its_own():
    """What fit and score are given is for the classifier inside."""
    assert not hasattr(LabeledOnly(SVC()), "set_score_request")
