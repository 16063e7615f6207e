"""Searches on Dask: the scores of one process, and workers that have numbers."""

import pytest
from distributed import Client, LocalCluster
from joblib import Parallel, delayed, parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sklgan import SemiSupervisedGANClassifier
from sklgan._tensors import is_worker, process_number

GRID = {
    "learning_rate": [1e-3, 3e-3],
    "entropy_weight": [0.0, 1.0],
    "loss": ["hinge", "nonsaturating"],
}


@pytest.fixture(scope="module")
def client():
    """Return a client of two workers, processes of this machine with a thread each."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def search(n_jobs=None):
    """Return the scores of a grid of 8 cells."""
    X, y = load_digits(n_class=3, return_X_y=True)
    gan = SemiSupervisedGANClassifier(
        image_shape=(8, 8), n_filters=2, latent_dim=4, max_epochs=1, random_state=0
    )
    found = GridSearchCV(gan, GRID, cv=2, n_jobs=n_jobs).fit(X[:60], y[:60])
    return {k: list(v) for k, v in found.cv_results_.items() if "score" in k}


def test_a_grid_over_two_workers_has_exactly_the_scores_of_one_process(client):
    with parallel_config("dask"):
        scores = search()
    alone = search(n_jobs=1)
    timed = {"mean_score_time", "std_score_time"}
    assert len(alone["mean_test_score"]) == 8
    assert scores.keys() == alone.keys()
    for name in scores.keys() - timed:
        assert scores[name] == alone[name]


def test_dask_workers_are_told_from_each_other(client):
    numbers = [
        client.submit(process_number, workers=[address], pure=False).result()
        for address in client.scheduler_info()["workers"]
    ]
    assert sorted(numbers) == [0, 1]
    with parallel_config("dask"):
        assert Parallel()(delayed(is_worker)() for _ in range(2)) == [True, True]


def test_the_workers_of_joblib_are_told_from_each_other():
    numbers = Parallel(2, backend="loky")(delayed(process_number)() for _ in range(8))
    assert all(isinstance(number, int) and number >= 0 for number in numbers)
    for backend in ("loky", "threading"):
        assert all(Parallel(2, backend=backend)(delayed(is_worker)() for _ in "ab"))
    assert not is_worker()
