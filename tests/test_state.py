"""What a fitted estimator carries with it: copies, files, continued training."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from skops import io as skops_io

from sklgan import DCGANFeatureExtractor

ROOT = Path(__file__).resolve().parents[1]
NETWORKS = ["mlp", "dcgan", "dcgan-deep"]

# Run in a process of its own: load each file, transform X, save what comes out.
APPLY = """
import pickle, sys
from pathlib import Path
import joblib, numpy as np, torch
from skops import io
torch.set_num_threads(1)
folder = Path(sys.argv[1])
X = np.load(folder / "X.npy")
load = {
    ".pkl": lambda file: pickle.loads(file.read_bytes()),
    ".joblib": joblib.load,
    ".skops": lambda file: io.load(file, trusted=io.get_untrusted_types(file=file)),
}
for file in folder.iterdir():
    if file.suffix in load:
        estimator = load[file.suffix](file)
        gan = getattr(estimator, "best_estimator_", {"gan": estimator})["gan"]
        np.savez(file.with_suffix(".npz"), gan.transform(X), gan.sample(3))
"""


def make_gan(**kwargs):
    """Return an estimator that is trained in a moment, bitwise repeatable."""
    options = {"n_filters": 4, "max_epochs": 1, "batch_size": 32, "random_state": 0}
    return DCGANFeatureExtractor(**(options | {"device": "cpu"} | kwargs))


def make_search(**kwargs):
    """Return a grid search over a pipeline of a GAN and a linear classifier."""
    steps = [("gan", make_gan(**kwargs)), ("linear", LogisticRegression())]
    return GridSearchCV(Pipeline(steps), {"gan__pool_size": [1, 2]}, cv=2)


@pytest.fixture(scope="module")
def fitted(two_colours):
    """Return {network: fitted estimator}; not to be fitted again."""
    X, _ = two_colours
    return {network: make_gan(network=network).fit(X) for network in NETWORKS}


@pytest.fixture(scope="module")
def search(two_colours):
    """Return a fitted grid search."""
    return make_search().fit(*two_colours)


def assert_same_output(estimator, other, X):
    """Check that two fitted estimators do the same to the last bit."""
    assert_array_equal(estimator.transform(X), other.transform(X))
    assert_array_equal(estimator.score_samples(X), other.score_samples(X))
    assert_array_equal(estimator.sample(3), other.sample(3))
    assert_array_equal(estimator.get_feature_names_out(), other.get_feature_names_out())
    for name in ("history_", "n_iter_", "image_shape_", "data_range_"):
        assert getattr(estimator, name) == getattr(other, name)


def through_joblib(estimator, tmp_path):
    """Return what joblib reads back."""
    joblib.dump(estimator, tmp_path / "gan.joblib")
    return joblib.load(tmp_path / "gan.joblib")


def through_skops(estimator, tmp_path):
    """Return what skops reads back."""
    data = skops_io.dumps(estimator)
    return skops_io.loads(data, trusted=skops_io.get_untrusted_types(data=data))


ROUND_TRIPS = {
    "pickle": lambda estimator, tmp_path: pickle.loads(pickle.dumps(estimator)),
    "deepcopy": lambda estimator, tmp_path: copy.deepcopy(estimator),
    "joblib": through_joblib,
    "skops": through_skops,
}


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@pytest.mark.parametrize("network", NETWORKS)
def test_round_trip_gives_the_same_output(
    fitted, two_colours, network, round_trip, tmp_path
):
    """A copy does what the original does, which is left as it was."""
    X, _ = two_colours
    gan = fitted[network]
    before = gan.transform(X)
    again = ROUND_TRIPS[round_trip](gan, tmp_path)
    assert_same_output(again, gan, X)
    assert_array_equal(gan.transform(X), before)
    assert not again.generator_.training
    assert not again.discriminator_.training
    for module in (*vars(again).values(), *vars(gan).values()):
        if isinstance(module, torch.nn.Module):
            assert all(weight.requires_grad for weight in module.parameters())


def test_round_trip_on_flat_rows(two_colours, tmp_path):
    """Rows that are no images are standardised after the round trip as before it."""
    X = two_colours[0].reshape(64, -1)[:, :9].astype(np.float64)
    gan = make_gan().fit(X)
    for round_trip in ROUND_TRIPS.values():
        assert_same_output(round_trip(gan, tmp_path), gan, X)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_round_trip_inside_a_grid_search(search, two_colours, round_trip, tmp_path):
    """So does an estimator in a pipeline in a grid search."""
    X, _ = two_colours
    again = ROUND_TRIPS[round_trip](search, tmp_path)
    assert_array_equal(again.decision_function(X), search.decision_function(X))
    assert_same_output(again.best_estimator_["gan"], search.best_estimator_["gan"], X)


def test_unfitted_estimator_makes_the_round_trip(tmp_path):
    """There need be no networks."""
    for round_trip in ROUND_TRIPS.values():
        again = round_trip(make_gan(layers=[1]), tmp_path)
        assert again.get_params() == make_gan(layers=[1]).get_params()


def test_round_trip_leaves_torchs_generator_alone(fitted):
    """Building the networks again draws weights, but not from the user's stream."""
    data = pickle.dumps(fitted["dcgan"])
    before = torch.get_rng_state()
    pickle.loads(data)
    assert torch.equal(torch.get_rng_state(), before)


def test_files_give_the_same_output_in_a_fresh_process(
    fitted, search, two_colours, tmp_path
):
    """Nothing that the output depends on stays behind in the process."""
    X, _ = two_colours
    np.save(tmp_path / "X.npy", X)
    kinds = {"gan": fitted["dcgan"], "mlp": fitted["mlp"], "search": search}
    for name, estimator in kinds.items():
        (tmp_path / f"{name}1.pkl").write_bytes(pickle.dumps(estimator))
        joblib.dump(estimator, tmp_path / f"{name}2.joblib")
        skops_io.dump(estimator, tmp_path / f"{name}3.skops")
    subprocess.run([sys.executable, "-c", APPLY, tmp_path], check=True, cwd=ROOT)
    results = sorted(tmp_path.glob("*.npz"))
    assert len(results) == 9
    for file in results:
        estimator = kinds[file.stem[:-1]]
        gan = getattr(estimator, "best_estimator_", {"gan": estimator})["gan"]
        features, samples = np.load(file).values()
        assert_array_equal(features, gan.transform(X))
        assert_array_equal(samples, gan.sample(3))


@pytest.mark.parametrize("warm_start", [False, True])
def test_skops_has_to_trust_nothing_but_our_class(two_colours, warm_start):
    """The state is made of arrays and plain values."""
    gan = make_gan(warm_start=warm_start).fit(two_colours[0])
    data = skops_io.dumps(gan)
    expected = [f"{type(gan).__module__}.{type(gan).__name__}"]
    assert skops_io.get_untrusted_types(data=data) == expected


def n_bytes_of_weights(gan):
    """Return the bytes of both networks' state."""
    return sum(
        tensor.numel() * tensor.element_size()
        for module in (gan.generator_, gan.discriminator_)
        for tensor in module.state_dict().values()
    )


@pytest.fixture(scope="module")
def large_images():
    """Return 32 colour images of 32 x 32, noise."""
    rng = np.random.default_rng(0)
    return rng.integers(256, size=(32, 32, 32, 3)).astype(np.uint8)


def test_file_is_as_large_as_the_weights(large_images, tmp_path):
    """Neither the images nor the optimiser's state are in the file."""
    gan = make_gan(n_filters=16).fit(large_images)
    joblib.dump(gan, tmp_path / "gan.joblib")
    size = (tmp_path / "gan.joblib").stat().st_size
    assert size == pytest.approx(n_bytes_of_weights(gan), rel=0.05)


def test_warm_start_keeps_the_optimisers_state(large_images):
    """It is what the larger file is for; without warm_start it is dropped."""
    gan = make_gan(n_filters=16, warm_start=True).fit(large_images)
    assert len(pickle.dumps(gan)) > 3 * n_bytes_of_weights(gan)
    gan.set_params(warm_start=False).fit(large_images)
    assert len(pickle.dumps(gan)) < 1.1 * n_bytes_of_weights(gan)


def test_warm_start_continues(two_colours):
    """A second fit of one epoch adds one to the first, with the same networks."""
    X, _ = two_colours
    gan = make_gan(warm_start=True).fit(X)
    first = gan.transform(X)
    assert gan.n_iter_ == 1
    assert gan.fit(X) is gan
    assert gan.n_iter_ == 2
    assert [row["epoch"] for row in gan.history_] == [1, 2]
    assert gan.history_[0]["d_loss"] != gan.history_[1]["d_loss"]
    second = gan.transform(X)
    assert not np.array_equal(second, first)
    # A learning rate of next to nothing shows that the weights are still there.
    gan.set_params(learning_rate=1e-12).fit(X)
    np.testing.assert_allclose(gan.transform(X), second, atol=1e-3)


def test_without_warm_start_fit_begins_anew(two_colours):
    """A second fit gives what the first gave."""
    X, _ = two_colours
    gan = make_gan().fit(X)
    first = gan.transform(X)
    gan.fit(X)
    assert gan.n_iter_ == len(gan.history_) == 1
    assert_array_equal(gan.transform(X), first)


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_warm_start_continues_after_a_round_trip(two_colours, round_trip, tmp_path):
    """Moments, steps and averages travel: the next epoch is bitwise the same."""
    X, _ = two_colours
    gan = make_gan(warm_start=True).fit(X)
    again = ROUND_TRIPS[round_trip](gan, tmp_path)
    gan.fit(X)
    again.fit(X)
    assert again.n_iter_ == 2
    for row, other in zip(gan.history_, again.history_, strict=True):
        assert row | {"duration": 0} == other | {"duration": 0}
    assert_array_equal(again.transform(X), gan.transform(X))
    assert_array_equal(again.sample(3), gan.sample(3))


def test_warm_start_set_after_fit_continues_from_the_weights(two_colours):
    """Without the optimiser's state the weights are still a beginning."""
    X, _ = two_colours
    gan = make_gan(learning_rate=0.01, max_epochs=3).fit(X)
    before = gan.transform(X)
    gan.set_params(warm_start=True, max_epochs=1, learning_rate=1e-12).fit(X)
    assert gan.n_iter_ == len(gan.history_) == 4
    np.testing.assert_allclose(gan.transform(X), before, atol=1e-3)


def test_warm_start_from_an_untrained_network(two_colours):
    """max_epochs=0 and then 1 is an epoch of training."""
    X, _ = two_colours
    gan = make_gan(warm_start=True, max_epochs=0).fit(X)
    gan.set_params(max_epochs=1).fit(X)
    assert gan.n_iter_ == len(gan.history_) == 1


def test_warm_start_takes_the_learning_rate_of_now(two_colours):
    """A schedule begins at the new rate, not at that of the last fit."""
    from skorch.callbacks import Callback, LRScheduler

    class Rates(Callback):
        def initialize(self):
            self.seen = []
            return self

        def on_epoch_begin(self, net, **kwargs):
            self.seen.append(net.optimizer_.param_groups[0]["lr"])

    rates = Rates()
    schedule = LRScheduler(policy="StepLR", step_size=1, gamma=0.5)
    gan = make_gan(warm_start=True, max_epochs=2, callbacks=[schedule, rates])
    gan.set_params(learning_rate=0.01).fit(two_colours[0])
    assert rates.seen == [0.01, 0.005]
    gan.set_params(learning_rate=0.001).fit(two_colours[0])
    assert rates.seen == [0.001, 0.0005]


def test_warm_start_needs_the_same_images(two_colours):
    """Other images are refused, and leave everything as it was."""
    X, _ = two_colours
    gan = make_gan(warm_start=True).fit(X)
    before = gan.transform(X)
    with pytest.raises(ValueError, match=r"was fitted on images of shape \(8, 8, 3\)"):
        gan.fit(X[:, 1:])
    with pytest.raises(ValueError, match="minimum of 2"):
        gan.fit(X[:1])
    assert_array_equal(gan.transform(X), before)
    assert gan.n_iter_ == len(gan.history_) == 1


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"network": "dcgan-deep"}, "network was 'dcgan' and is 'dcgan-deep'"),
        ({"n_filters": 8}, "n_filters was 4 and is 8"),
        ({"latent_dim": 7}, "latent_dim was 100 and is 7"),
        ({"loss": "wasserstein"}, "batch normalisation.*was True and is False"),
        ({"gradient_penalty": 1.0}, "batch normalisation.*was True and is False"),
    ],
    ids=str,
)
def test_warm_start_needs_the_same_networks(fitted, two_colours, params, match):
    """What would be ignored is refused instead, and the last fit stays."""
    X, _ = two_colours
    gan = copy.deepcopy(fitted["dcgan"]).set_params(warm_start=True, **params)
    with pytest.raises(ValueError, match=match):
        gan.fit(X)
    assert_same_output(gan, fitted["dcgan"], X)


def test_history_of_a_copy_is_its_own(two_colours):
    """A list that was taken from an estimator does not grow with the next fit."""
    gan = make_gan(warm_start=True).fit(two_colours[0])
    twin, history = copy.copy(gan), gan.history_
    gan.fit(two_colours[0])
    assert len(gan.history_) == 2
    assert len(history) == len(twin.history_) == twin.n_iter_ == 1


def test_failed_warm_start_leaves_the_history(two_colours):
    """An error after training takes back the rows of history that came with it."""
    X, _ = two_colours
    gan = make_gan(warm_start=True).fit(X)
    before = gan.transform(X)
    gan.set_params(layers=[99])
    with pytest.raises(ValueError, match="layer 99"):
        gan.fit(X)
    assert gan.n_iter_ == len(gan.history_) == 1
    assert_array_equal(gan.transform(X), before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_model_trained_on_cuda_loads_on_the_cpu(two_colours):
    """A file holds no device: where CUDA is missing, the CPU takes over."""
    X, _ = two_colours
    gan = make_gan(device="cuda", warm_start=True).fit(X)
    assert gan.discriminator_.head.weight.is_cuda
    program = (
        "import pickle, sys, warnings; warnings.simplefilter('ignore');"
        "gan = pickle.load(sys.stdin.buffer); X = pickle.load(sys.stdin.buffer);"
        "assert not gan.discriminator_.head.weight.is_cuda;"
        "sys.stdout.buffer.write(pickle.dumps(gan.transform(X)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps(gan) + pickle.dumps(X),
        env={"CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    np.testing.assert_allclose(
        pickle.loads(result.stdout), gan.transform(X), rtol=1e-3, atol=1e-3
    )


def test_loading_without_the_device_falls_back_to_the_cpu(fitted, two_colours):
    """A device that is not there is a warning, not an error."""
    gan = copy.deepcopy(fitted["dcgan"])
    gan.device = "cuda:99"  # what a file from a larger machine may say
    data = pickle.dumps(gan)
    with pytest.warns(UserWarning, match=r"device='cuda:99'.*loaded on the CPU"):
        again = pickle.loads(data)
    X, _ = two_colours
    assert_array_equal(again.transform(X), fitted["dcgan"].transform(X))
