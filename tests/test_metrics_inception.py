"""Inception features through torch-fidelity's interface, here with a small network.

torch-fidelity needs torchvision and weights from the network, so that its own extractor
cannot be had here; the one below takes and returns what that of version 0.4 does.
"""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from sklgan import DCGANFeatureExtractor
from sklgan.metrics import InceptionFeatures, sample_quality_scorer


class FeatureExtractorInceptionV3(torch.nn.Module):
    """Means and deviations of the channels, under the names of the layers."""

    def __init__(self, name, features_list, feature_extractor_weights_path=None):
        super().__init__()
        known = {"64", "192", "768", "2048", "logits_unbiased", "logits"}
        assert type(name) is str
        assert set(features_list) <= known
        self.features_list = features_list

    def forward(self, x):
        assert not self.training
        assert torch.is_tensor(x)
        assert x.dtype == torch.uint8
        assert x.dim() == 4
        assert x.shape[1] == 3
        x = x.float()
        moments = torch.cat([x.mean((2, 3)), x.std((2, 3))], dim=1)
        return tuple(moments for _ in self.features_list)


@pytest.fixture
def torch_fidelity(monkeypatch):
    """Let the small network be what torch-fidelity offers."""
    module = ModuleType("torch_fidelity")
    module.FeatureExtractorInceptionV3 = FeatureExtractorInceptionV3
    monkeypatch.setitem(sys.modules, "torch_fidelity", module)


def test_missing_package_is_named_with_the_remedy(monkeypatch, digits):
    """At the first fit, before anything is looked at."""
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ImportError, match="pip install torch-fidelity"):
        InceptionFeatures().fit(digits[0])


@pytest.mark.usefixtures("torch_fidelity")
def test_colour_images_reach_the_network_as_they_are(two_colours):
    """In 256 levels, channels in their order, in batches or at once, flat or not."""
    X = two_colours[0]
    expected = np.hstack(
        [X.mean(axis=(1, 2)), X.reshape(len(X), -1, 3).std(axis=1, ddof=1)]
    )
    features = InceptionFeatures(batch_size=10).fit_transform(X)
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    assert features.dtype == np.float32
    flat = InceptionFeatures(image_shape=(8, 8, 3)).fit(X.reshape(len(X), -1))
    np.testing.assert_array_equal(flat.transform(X), features)


@pytest.mark.usefixtures("torch_fidelity")
def test_grey_images_of_another_range_are_brought_to_256_levels(digits):
    """0 to 16 becomes 0 to 255, the same in three channels."""
    X = digits[0]
    features = InceptionFeatures().fit(X).transform(X[:7])
    means = np.round(X[:7] / 16 * 255).mean(axis=(1, 2))
    np.testing.assert_allclose(features[:, :3], np.repeat(means, 3).reshape(7, 3), 1e-5)


@pytest.mark.usefixtures("torch_fidelity")
def test_scores_on_inception_features(two_colours):
    """As the space of a scorer; images that a GAN has drawn have the same form."""
    X = two_colours[0]
    gan = DCGANFeatureExtractor(n_filters=4, max_epochs=1, random_state=0).fit(X)
    features = InceptionFeatures(image_shape=(8, 8, 3))
    scorer = sample_quality_scorer("frechet_distance", features=features)
    assert scorer(gan, X) < 0


@pytest.mark.usefixtures("torch_fidelity")
def test_what_is_no_picture_is_refused():
    """Flat rows and an alpha channel."""
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="flat, of 5 features"):
        InceptionFeatures().fit(rng.random((4, 5)))
    with pytest.raises(ValueError, match=r"\(6, 6, 4\).*alpha"):
        InceptionFeatures().fit(rng.random((4, 6, 6, 4)))
