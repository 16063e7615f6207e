"""Samples of a GAN as a score: in searches, pipelines, and spaces of features."""

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer

from sklgan import DCGANFeatureExtractor, SemiSupervisedGANClassifier
from sklgan.metrics import (
    density_coverage,
    frechet_distance,
    kernel_distance,
    precision_recall,
    sample_quality_scorer,
)


@pytest.fixture(scope="module")
def gan(digits):
    """Return an extractor, fitted on the first 100 digits."""
    X, _ = digits
    gan = DCGANFeatureExtractor(8, n_filters=4, max_epochs=2, random_state=0)
    return gan.fit(X[:100])


FIGURES = {
    "kernel_distance": lambda X, Y: -kernel_distance(X, Y)[0],
    "frechet_distance": lambda X, Y: -frechet_distance(X, Y)[0],
    "precision": lambda X, Y: precision_recall(X, Y)[0],
    "recall": lambda X, Y: precision_recall(X, Y)[1],
    "density": lambda X, Y: density_coverage(X, Y)[0],
    "coverage": lambda X, Y: density_coverage(X, Y)[1],
}


@pytest.mark.parametrize("metric", FIGURES)
def test_score_is_the_figure_of_held_out_and_generated_features(gan, digits, metric):
    """Of as many samples as held-out images, in the space of a fitted transformer."""
    X = digits[0]
    pca = PCA(3).fit(X[:100].reshape(100, -1))
    samples = gan.sample(100, random_state=5).reshape(100, -1)
    real, fake = (pca.transform(A) for A in (X[100:].reshape(100, -1), samples))
    scorer = sample_quality_scorer(metric, features=pca, random_state=5)
    assert scorer(gan, X[100:]) == pytest.approx(FIGURES[metric](real, fake), rel=1e-6)


def test_features_that_are_not_fitted_are_those_of_the_held_out_images(gan, digits):
    """A copy is fitted: what was given stays as it is."""
    X = digits[0][100:]
    pca = PCA(3)
    score = sample_quality_scorer(features=pca)(gan, X)
    assert not hasattr(pca, "components_")
    fitted = PCA(3).fit(X.reshape(100, -1))
    assert score == sample_quality_scorer(features=fitted)(gan, X)


def test_pipeline_whose_last_step_has_no_state_is_fitted_too(gan, digits):
    """scikit-learn takes such a pipeline for fitted, whatever stands before."""
    X = digits[0][100:]
    pipeline = make_pipeline(PCA(3), Normalizer())
    score = sample_quality_scorer(features=pipeline)(gan, X)
    assert not hasattr(pipeline[0], "components_")
    fitted = clone(pipeline).fit(X.reshape(100, -1))
    assert score == sample_quality_scorer(features=fitted)(gan, X)


class Halved(TransformerMixin, BaseEstimator):
    """Without state, which it does not say."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X / 2


def test_fitted_pipeline_with_a_step_that_has_no_state_is_used_as_it_is(gan, digits):
    """Fitted on other images, it is not fitted again on the held-out ones."""
    X = digits[0].reshape(200, -1)
    fitted = PCA(3).fit(X[:100] / 2)
    pipeline = make_pipeline(Halved(), fitted)
    score = sample_quality_scorer(features=pipeline)(gan, X[100:])
    real, fake = (
        pipeline.transform(A.reshape(100, -1)) for A in (X[100:], gan.sample(100))
    )
    assert score == pytest.approx(-kernel_distance(real, fake)[0], rel=1e-6)


class Broken(TransformerMixin, BaseEstimator):
    """Fitted, with a mistake in its transform."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return self.no_such_attribute


def test_mistake_of_a_fitted_transformer_is_its_own(gan, digits):
    """It is not taken for one that wants to be fitted on the held-out images."""
    broken = Broken().fit(None)
    for features in (broken, make_pipeline(broken, Normalizer())):
        with pytest.raises(AttributeError, match="no_such_attribute"):
            sample_quality_scorer(features=features)(gan, digits[0][100:])


def test_another_extractor_gives_the_space(gan, digits):
    """Fitted on images, it takes flattened ones too."""
    X = digits[0]
    space = DCGANFeatureExtractor(n_filters=4, max_epochs=0, random_state=1).fit(X)
    real, fake = (space.transform(A) for A in (X[100:], gan.sample(50, random_state=0)))
    scorer = sample_quality_scorer(features=space, n_samples=50)
    expected = -kernel_distance(real, fake)[0]
    assert scorer(gan, X[100:]) == pytest.approx(expected, rel=1e-6)


def test_training_is_worth_something_in_the_default_space(digits):
    """It can tell an untrained generator from one that has learned."""
    X = digits[0]
    untrained, trained = (
        DCGANFeatureExtractor(
            8, n_filters=8, max_epochs=epochs, learning_rate=2e-3, random_state=0
        ).fit(X[:100])
        for epochs in (0, 40)
    )
    for metric in ("kernel_distance", "coverage", "density"):
        scorer = sample_quality_scorer(metric)
        assert scorer(trained, X[100:]) > scorer(untrained, X[100:])


def test_default_space_does_not_depend_on_the_estimator(gan, digits):
    """Two estimators that draw the same images have the same score."""

    X = digits[0]
    scores = []
    for n_filters, network in ((4, "dcgan"), (8, "mlp")):
        other = DCGANFeatureExtractor(
            n_filters=n_filters, network=network, max_epochs=0, random_state=0
        ).fit(X[:100])
        other.sample = lambda n_samples, random_state: X[:n_samples]  # a perfect one
        scores.append(sample_quality_scorer()(other, X[100:]))
    assert scores[0] == scores[1]
    assert scores[0] > sample_quality_scorer()(gan, X[100:])


def test_an_int_decides_the_score_and_global_generators_are_left_alone(gan, digits):
    """Also in a copy that was pickled."""
    X = digits[0][100:]
    scorer = sample_quality_scorer()
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    score = scorer(gan, X)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert score == scorer(gan, X)
    assert score == pickle.loads(pickle.dumps(scorer))(gan, X)
    assert score != sample_quality_scorer(random_state=1)(gan, X)


def test_search_without_labels(digits):
    """The cell that trains at all is the better one."""
    X = digits[0]
    gan = DCGANFeatureExtractor(8, n_filters=4, learning_rate=5e-3, random_state=0)
    grid, scorer = {"max_epochs": [0, 10]}, sample_quality_scorer()
    search = GridSearchCV(gan, grid, scoring=scorer, cv=2).fit(X)
    assert search.best_params_ == {"max_epochs": 10}
    assert search.best_score_ == search.cv_results_["mean_test_score"][1] < 0


def test_several_figures_at_once_and_labels_of_minus_1(digits):
    """y is handed to fit; its -1 rows count like others in the score."""
    X, y = digits
    y = np.where(np.arange(len(y)) % 2, y, -1)
    classifier = SemiSupervisedGANClassifier(n_filters=4, max_epochs=1, random_state=0)
    scoring = {
        name: sample_quality_scorer(name) for name in ("kernel_distance", "recall")
    }
    scores = cross_validate(
        classifier, X, y, scoring=scoring, cv=2, error_score="raise"
    )
    assert (scores["test_kernel_distance"] < 0).all()
    assert scores["test_recall"].shape == (2,)


def test_pipeline_that_ends_with_a_gan(digits):
    """Images are compared as the GAN sees them."""
    X = digits[0].reshape(200, -1)
    scaler = MinMaxScaler(clip=True).fit(X[:100])
    gan = DCGANFeatureExtractor(
        image_shape=(8, 8), n_filters=4, max_epochs=1, random_state=0
    )
    pipeline = make_pipeline(MinMaxScaler(clip=True), gan).fit(X[:100])
    scorer = sample_quality_scorer()
    alone = gan.fit(scaler.transform(X[:100]))
    assert scorer(pipeline, X[100:]) == scorer(alone, scaler.transform(X[100:]))


def test_flat_rows(digits):
    """Their columns are standardised by the held-out rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)) * [1, 10, 0] + [0, 50, 7]
    gan = DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0).fit(X[:100])
    assert sample_quality_scorer()(gan, X[100:]) < 0


def test_images_of_files_and_uint8(two_colours, tmp_path):
    """Whatever ``fit`` takes is scored."""
    from PIL import Image

    X, _ = two_colours
    paths = []
    for number, image in enumerate(X):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image).save(paths[-1])
    gan = DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0).fit(X)
    scorer = sample_quality_scorer()
    assert scorer(gan, paths) == scorer(gan, X)


def test_what_cannot_be_scored_is_refused(gan, digits):
    """Unknown figures, what draws nothing, too few held-out images for the figure."""
    X, y = digits
    with pytest.raises(ValueError, match=r"metric='fid' is none of \['coverage'"):
        sample_quality_scorer("fid")
    with pytest.raises(ValueError, match="n_samples=0"):
        sample_quality_scorer(n_samples=0)
    with pytest.raises(TypeError, match="features='pca' is no transformer"):
        sample_quality_scorer(features="pca")
    with pytest.raises(TypeError, match=r"PCA'> is no transformer; .*PCA\(n_comp"):
        sample_quality_scorer(features=PCA)
    pipeline = make_pipeline(gan, LogisticRegression())
    with pytest.raises(TypeError, match="LogisticRegression cannot draw samples"):
        sample_quality_scorer()(pipeline.fit(X[:50], y[:50]), X)
    with pytest.raises(ValueError, match=r"X has 100 row.*minimum of \d+.*PCA"):
        sample_quality_scorer("frechet_distance")(gan, X[100:])
