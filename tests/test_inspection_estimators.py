"""What looks inside a GAN wants the GAN, not what holds it, and says so."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from sklgan import (
    BlobsDisplay,
    DCGANFeatureExtractor,
    SamplesDisplay,
    TrainingHistoryDisplay,
    inspection,
)

Z = np.eye(2, 100)
IMAGES = np.zeros((30, 8, 8))

USES = {
    "decision_map": lambda gan: inspection.decision_map(gan, IMAGES),
    "directions": inspection.directions,
    "filter_importance": lambda gan: inspection.filter_importance(gan, np.ones(64)),
    "fit_encoder": inspection.fit_encoder,
    "generate_without": lambda gan: inspection.generate_without(gan, Z, [(1, 0)]),
    "guided_backprop": lambda gan: inspection.guided_backprop(gan, IMAGES, (1, 0)),
    "interpolate": lambda gan: inspection.interpolate(gan, Z),
    "memorization_report": lambda gan: inspection.memorization_report(
        gan, IMAGES, IMAGES
    ),
    "nearest_samples": lambda gan: inspection.nearest_samples(gan, IMAGES, IMAGES),
    "object_filters": lambda gan: inspection.object_filters(gan, Z, boxes=[[], []]),
    "project": lambda gan: inspection.project(gan, IMAGES),
    "top_images": lambda gan: inspection.top_images(gan, IMAGES, [(1, 0)]),
    "traverse": lambda gan: inspection.traverse(gan, Z[0], dimensions=0),
    "untrained_copy": lambda gan: inspection.untrained_copy(gan, IMAGES),
    "vector_arithmetic": lambda gan: inspection.vector_arithmetic(gan, Z, Z, Z),
    "InterpolationDisplay": lambda gan: inspection.InterpolationDisplay.from_estimator(
        gan, Z
    ),
    "TraversalDisplay": lambda gan: inspection.TraversalDisplay.from_estimator(
        gan, Z[0], dimensions=0
    ),
    "SamplesDisplay": SamplesDisplay.from_estimator,
    "TrainingHistoryDisplay": TrainingHistoryDisplay.from_estimator,
    "BlobsDisplay": BlobsDisplay.from_estimator,
}


@pytest.fixture(scope="module")
def pipeline(digits):
    """Return a fitted pipeline of a GAN and a classifier."""
    gan = DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0)
    X, y = digits
    return Pipeline([("gan", gan), ("svm", LogisticRegression())]).fit(X[:60], y[:60])


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_pipeline_is_told_from_the_gan_in_it(pipeline, use):
    """The message says how to get at it."""
    with pytest.raises(TypeError, match=r"Pipeline is no .*pipeline\['gan'\]"):
        use(pipeline)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_unfitted_estimator_says_so(use):
    """As everywhere in scikit-learn; only BlobGAN has blobs to display."""
    error = TypeError if use is USES["BlobsDisplay"] else NotFittedError
    with pytest.raises(error):
        use(DCGANFeatureExtractor())
