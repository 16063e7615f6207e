"""DCGANFeatureExtractor: which activations the features are, and how they are named."""

import re
import tracemalloc

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn
from torch.testing import assert_close

from sklgan import DCGANFeatureExtractor
from sklgan.losses import ADVERSARIAL_LOSSES


def make_gan(**kwargs):
    """Return an estimator that is trained in a moment."""
    options = {"n_filters": 4, "max_epochs": 1, "batch_size": 32, "random_state": 0}
    return DCGANFeatureExtractor(**(options | {"device": "cpu"} | kwargs))


def make_images(n=40, height=16, width=16, channels=3):
    """Draw uint8 images, the first half of them darker."""
    rng = np.random.default_rng(0)
    X = rng.integers(256, size=(n, height, width, channels))
    X[: n // 2] //= 3
    return X.astype(np.uint8)


@pytest.fixture(scope="module")
def square():
    """Return (X, estimator) of square images; two convolutions."""
    X = make_images()
    return X, make_gan().fit(X)


@pytest.fixture(scope="module")
def odd():
    """Return (X, estimator) of 18 x 23 images, whose maps no window divides."""
    X = make_images(height=18, width=23)
    return X, make_gan(max_epochs=0).fit(X)


def activations(gan, X):
    """Return the discriminator's activations of uint8 images, by hand."""
    x = torch.from_numpy(X.astype(np.float32) / 127.5 - 1).permute(0, 3, 1, 2)
    with torch.no_grad():
        features, logits = gan.discriminator_(x)
    return [feature.numpy() for feature in features], logits.numpy()


def pooled(activation, size):
    """Max-pool maps (n, c, h, w) to at most size x size; windows overlap if uneven."""
    n, channels, height, width = activation.shape
    rows, columns = min(size, height), min(size, width)
    result = np.empty((n, channels, rows, columns), dtype=np.float32)
    for i in range(rows):
        for j in range(columns):
            window = activation[
                :,
                :,
                i * height // rows : -(-(i + 1) * height // rows),
                j * width // columns : -(-(j + 1) * width // columns),
            ]
            result[:, :, i, j] = window.max((2, 3))
    return result


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize("images", ["square", "odd"])
def test_features_are_pooled_activations(request, images, size):
    """Maximum of each cell of the grid, flattened, layer after layer."""
    X, gan = request.getfixturevalue(images)
    gan = make_gan(max_epochs=0, pool_size=size).fit(X)
    features, _ = activations(gan, X)
    expected = np.hstack([pooled(f, size).reshape(len(X), -1) for f in features])
    assert len(features) == 2
    assert_allclose(gan.transform(X), expected, rtol=1e-5, atol=1e-5)


def test_features_of_a_trained_network_are_its_activations(square):
    """After training, too."""
    X, gan = square
    expected = [pooled(f, 4).reshape(len(X), -1) for f in activations(gan, X)[0]]
    assert_allclose(gan.transform(X), np.hstack(expected), rtol=1e-5, atol=1e-5)


def test_names_tell_layer_channel_row_and_column(odd):
    """Each name leads to the value that stands in its column."""
    X, gan = odd
    features, _ = activations(gan, X)
    pools = [pooled(feature, 4) for feature in features]
    values = gan.transform(X)
    names = gan.get_feature_names_out()
    assert names.dtype == object
    assert names.shape == (values.shape[1],)
    assert len(set(names)) == len(names)
    for column, name in enumerate(names):
        layer, *place = re.fullmatch(r"conv(\d)_ch(\d{3})_r(\d)_c(\d)", name).groups()
        channel, i, j = map(int, place)
        expected = pools[int(layer) - 1][:, channel, i, j]
        assert_allclose(values[:, column], expected, rtol=1e-5, atol=1e-5)


def test_layers_chooses_and_orders_the_features(square):
    """Features and names come layer by layer, in the order asked for."""
    X, gan = square
    everything, names = gan.transform(X), gan.get_feature_names_out()
    n_first = 4 * 4 * 4
    first, second = np.arange(n_first), np.arange(n_first, len(names))
    for layers, columns in (
        ([1], first),
        ((2,), second),
        ([2, 1], np.r_[second, first]),
        (np.array([1, 2]).tolist(), np.r_[first, second]),
    ):
        chosen = make_gan(layers=layers).fit(X)
        assert chosen.layers_ == list(layers)
        assert_array_equal(chosen.transform(X), everything[:, columns])
        assert_array_equal(chosen.get_feature_names_out(), names[columns])


def test_dense_layers_have_names_of_their_own(square):
    """Fully connected layers have units, and no grid."""
    X, _ = square
    gan = make_gan(network="mlp", n_filters=25).fit(X)
    names = gan.get_feature_names_out()
    assert len(names) == gan.transform(X).shape[1] == 200
    assert names[[0, 99, 100]].tolist() == ["dense1_u000", "dense1_u099", "dense2_u000"]


def test_deep_network_on_small_colour_images():
    """On 32 x 32 images it has n_filters / 64 of the paper's 28,672 features."""
    X = make_images(n=4, height=32, width=32)
    gan = make_gan(network="dcgan-deep", max_epochs=0).fit(X)
    assert gan.transform(X).shape == (4, 28_672 * 4 // 64)
    assert gan.get_feature_names_out()[-1] == "conv6_ch031_r3_c3"


def test_names_check_the_input_names(square):
    """As in scikit-learn, the input's names are held against those of fit."""
    _, gan = square
    with pytest.raises(ValueError, match="input_features should have length"):
        gan.get_feature_names_out(["a", "b"])


def test_features_are_float32_and_repeatable(square):
    """Whatever X is, and a second call gives the same again."""
    X, gan = square
    features = gan.transform(X)
    assert features.dtype == np.float32
    assert features.flags.c_contiguous
    assert features.flags.writeable
    assert_array_equal(gan.transform(X), features)
    assert gan.transform(X.astype(np.float64)).dtype == np.float32


def test_refitted_parameters_do_not_reach_transform(square):
    """What was fitted decides until the next fit."""
    X, gan = square
    expected, names = gan.transform(X), gan.get_feature_names_out()
    params = gan.get_params()
    gan.set_params(pool_size=1, layers=[1], network="mlp", n_filters=64, latent_dim=2)
    try:
        assert_array_equal(gan.transform(X), expected)
        assert_array_equal(gan.get_feature_names_out(), names)
        assert gan.sample(2).shape == (2, 16, 16, 3)
    finally:
        gan.set_params(**params)


def test_no_epochs_give_an_untrained_baseline():
    """Nothing is trained, but everything can be used."""
    X = make_images()
    gan = make_gan(max_epochs=0).fit(X)
    assert gan.n_iter_ == 0
    assert gan.history_ == []
    assert np.isfinite(gan.transform(X)).all()
    assert gan.sample(2).shape == (2, 16, 16, 3)
    weight = gan.discriminator_.head.weight.detach()
    assert float(weight.std()) == pytest.approx(0.02, rel=0.2)
    trained = make_gan(max_epochs=1).fit(X)
    assert not np.array_equal(trained.transform(X), gan.transform(X))


def test_score_samples_is_the_discriminators_logit(square):
    """One float32 a sample, from the fitted discriminator."""
    X, gan = square
    score = gan.score_samples(X)
    assert score.shape == (len(X),)
    assert score.dtype == np.float32
    assert_allclose(score, activations(gan, X)[1][:, 0], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def trained():
    """Return (X, estimator) of light squares on black, trained for some time."""
    X = np.zeros((100, 8, 8), dtype=np.uint8)
    X[:, 2:6, 2:6] = np.random.default_rng(0).integers(200, 256, size=(100, 4, 4))
    return X, make_gan(n_filters=8, max_epochs=30, learning_rate=0.002).fit(X)


def test_trained_scores_tell_images_from_noise(trained):
    """After some training, images like those of fit seem more real than others."""
    X, gan = trained
    noise = np.random.default_rng(1).integers(256, size=X.shape).astype(np.uint8)
    assert np.median(gan.score_samples(X)) > np.median(gan.score_samples(noise))


def test_samples_resemble_the_images_after_training(trained):
    """The generator learns where the images are light and where dark."""
    _, gan = trained
    mean = gan.sample(100).mean(0)
    inside = np.zeros((8, 8), dtype=bool)
    inside[2:6, 2:6] = True
    assert mean[inside].min() > mean[~inside].max()


def test_features_separate_two_colours(two_colours):
    """The two kinds of image lie apart in the features."""
    X, y = two_colours
    features = make_gan(max_epochs=3).fit_transform(X)
    center = np.array([features[y == label].mean(0) for label in (0, 1)])
    distance = ((features[:, None] - center) ** 2).sum(2)
    assert (distance.argmin(1) == y).all()


def test_transform_allocates_its_output_alone(square):
    """NumPy's memory grows by the features and little besides."""
    X, gan = square
    X = np.tile(X, (20, 1, 1, 1))
    gan.transform(X[:200])
    tracemalloc.start()
    try:
        features = gan.transform(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.05 * features.nbytes + 50_000


@pytest.mark.parametrize("max_epochs", [0, 2])
def test_fitted_discriminator_has_the_statistics_of_X(two_colours, max_epochs):
    """Whatever was trained, each layer normalises the images of X."""
    X, _ = two_colours
    X = X.repeat(2, axis=1).repeat(2, axis=2)
    gan = make_gan(batch_size=64, max_epochs=max_epochs).fit(X)
    norms = [m for m in gan.discriminator_.modules() if isinstance(m, nn.BatchNorm2d)]
    inputs = []
    for norm in norms:
        norm.register_forward_hook(lambda module, args, out: inputs.append(args[0]))
    gan.score_samples(X)
    assert len(inputs) == len(norms) > 0
    for norm, x in zip(norms, inputs, strict=True):
        assert_close(norm.running_mean, x.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
        variance = x.transpose(0, 1).flatten(1).var(1)
        assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "penalty"),
    [("float32", "auto"), ("float32", 0.5), ("bfloat16", "auto")],
)
@pytest.mark.parametrize("loss", ADVERSARIAL_LOSSES)
def test_every_loss_trains_in_every_precision(two_colours, loss, precision, penalty):
    """Losses are finite, weights float32; a penalty leaves no batch normalisation."""
    X, _ = two_colours
    gan = make_gan(
        loss=loss, precision=precision, gradient_penalty=penalty, max_epochs=1
    )
    gan.fit(X.repeat(2, axis=1).repeat(2, axis=2))
    for row in gan.history_:
        assert np.isfinite([row["d_loss"], row["g_loss"]]).all()
    for module in (gan.generator_, gan.discriminator_):
        assert {p.dtype for p in module.parameters()} == {torch.float32}
    has_norm = any(isinstance(m, nn.BatchNorm2d) for m in gan.discriminator_.modules())
    penalised = penalty != "auto" or loss in ("wasserstein", "relativistic")
    assert has_norm == (not penalised)


def test_bfloat16_is_another_computation(two_colours):
    """The parameter has an effect, and a small one."""
    X, _ = two_colours
    full, half = (
        make_gan(max_epochs=1, precision=precision).fit(X)
        for precision in ("float32", "bfloat16")
    )
    assert full.history_[0]["d_loss"] != half.history_[0]["d_loss"]
    assert full.history_[0]["d_loss"] == pytest.approx(
        half.history_[0]["d_loss"], rel=0.05
    )
