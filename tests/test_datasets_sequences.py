"""Images on disk: indexed like arrays, decoded when needed, with the same results."""

import os
import pickle

import numpy as np
import pytest
from image_files import Dataset, encode, write_parquet
from numpy.testing import assert_array_equal
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate, train_test_split
from sklearn.pipeline import make_pipeline

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan.datasets import (
    HuggingFaceImages,
    ImageFolder,
    ImageSequence,
    NpyImages,
    ParquetImages,
)

KINDS = ("folder", "npy", "parquet", "huggingface")


@pytest.fixture(scope="session")
def sources(tmp_path_factory, two_colours):
    """Return the same 64 images with labels as a sequence of each kind."""
    folder = tmp_path_factory.mktemp("images")
    X, y = two_colours
    for name in ("0", "1"):
        (folder / "folder" / name).mkdir(parents=True)
    for i, (image, label) in enumerate(zip(X, y, strict=True)):
        Image.fromarray(image).save(folder / "folder" / str(label) / f"{i:02}.png")
    # The folder gives one class after the other.
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    np.save(folder / "images.npy", X)
    write_parquet(folder / "images.parquet", X, y.tolist(), row_group_size=10)
    dataset = Dataset(image=[encode(x) for x in X], label=y.tolist())
    return {
        "folder": ImageFolder(folder / "folder"),
        "npy": NpyImages(folder / "images.npy", y=y),
        "parquet": ParquetImages(folder / "images.parquet", label_column="label"),
        "huggingface": HuggingFaceImages(dataset, label_column="label"),
        "X": X,
        "y": y,
    }


@pytest.fixture(params=KINDS)
def images(request, sources):
    """Return a sequence of each kind in turn."""
    return sources[request.param]


@pytest.fixture
def streamed(monkeypatch):
    """Keep no rows in memory, however few they are."""
    monkeypatch.setattr("sklgan._placement._KEPT_BYTES", 0)


def extractor(**params):
    """Return a small transformer."""
    params = {"n_filters": 4, "max_epochs": 2, "batch_size": 16, **params}
    return DCGANFeatureExtractor(random_state=0, **params)


def weights(gan):
    """Return all weights of a fitted estimator as arrays."""
    state = gan.__getstate__()
    return {
        f"{name}{key}": value
        for name in ("generator_", "discriminator_")
        for key, value in state[name].items()
    }


def assert_same_weights(one, other):
    one, other = weights(one), weights(other)
    for name in one:
        assert_array_equal(one[name], other[name], err_msg=name)


# Indexing ------------------------------------------------------------------------


def test_a_sequence_is_like_the_array(images, sources):
    X = sources["X"]
    assert isinstance(images, ImageSequence)
    assert images.shape == X.shape
    assert images.ndim == 4
    assert images.dtype == np.uint8
    assert len(images) == len(X)
    assert_array_equal(images.y, sources["y"])
    assert images.classes.tolist() == [0, 1]
    assert_array_equal(np.asarray(images), X)
    assert_array_equal(images[5], X[5])
    assert_array_equal(images[-1], X[-1])
    assert_array_equal(list(images)[7], X[7])
    with pytest.raises(IndexError):
        images[64]


@pytest.mark.parametrize(
    "key",
    [
        slice(10, 40, 3),
        slice(None, None, -1),
        np.array([5, 1, 1, -2]),
        [3, 2],
        [],
        np.arange(64) % 3 == 0,
        (np.array([4, 3]), Ellipsis),
    ],
    ids=str,
)
def test_a_choice_of_rows_is_a_sequence_of_the_same_kind(images, sources, key):
    chosen = images[key]
    rows = key[0] if isinstance(key, tuple) else key
    rows = rows if len(np.shape(rows)) != 1 or len(rows) else slice(0)
    expected = sources["X"][rows]
    assert type(chosen) is type(images)
    assert chosen.shape == expected.shape
    assert_array_equal(np.asarray(chosen), expected)
    assert_array_equal(chosen.y, sources["y"][rows])
    assert len(images) == 64


def test_choices_of_choices_and_pickles_keep_their_rows(images, sources):
    chosen = pickle.loads(pickle.dumps(images[::2][[3, 1]]))
    assert_array_equal(np.asarray(chosen), sources["X"][[6, 2]])
    assert_array_equal(chosen.decode([1]), sources["X"][[2]])


def test_flattened_images(images, sources):
    flat = images.reshape(64, -1)
    assert flat.shape == (64, 192)
    assert_array_equal(np.asarray(flat[3:5]), sources["X"][3:5].reshape(2, -1))
    assert_array_equal(flat[3], sources["X"][3].ravel())
    assert flat.reshape(64, 8, 8, 3).shape == (64, 8, 8, 3)
    with pytest.raises(ValueError, match=r"not to \(32, 384\)"):
        images.reshape(32, 384)


def test_parts_of_images_are_refused(images):
    with pytest.raises(TypeError, match="Only whole images"):
        images[:, 0]
    with pytest.raises(IndexError, match="one dimension, got 2"):
        images[[[1, 2]]]
    with pytest.raises(ValueError, match="decoded to be an array"):
        images.__array__(copy=False)


def test_a_cache_is_written_once_and_has_the_same_images(images, sources, tmp_path):
    path = tmp_path / "cache.npy"
    cached = images[5:50:2].cache(path)
    assert isinstance(cached, NpyImages)
    assert_array_equal(np.asarray(cached), sources["X"][5:50:2])
    assert_array_equal(np.load(path), sources["X"][5:50:2])
    assert_array_equal(cached.array, sources["X"][5:50:2])
    assert_array_equal(cached.y, sources["y"][5:50:2])
    written = path.stat().st_mtime_ns
    again = images[5:50:2].reshape(23, -1).cache(path)
    assert again.shape == (23, 192)
    assert path.stat().st_mtime_ns == written
    assert os.listdir(tmp_path) == ["cache.npy"]


# Estimators ----------------------------------------------------------------------


@pytest.mark.usefixtures("streamed")
def test_fit_and_transform_give_what_the_array_gives(images, sources):
    X = sources["X"]
    lazy, plain = extractor().fit(images), extractor().fit(X)
    assert_same_weights(lazy, plain)
    assert lazy.n_features_in_ == 192
    assert lazy.image_shape_ == (8, 8, 3)
    assert_array_equal(lazy.transform(images), plain.transform(X))
    assert_array_equal(lazy.score_samples(images[:5]), plain.score_samples(X[:5]))
    sample = lazy.sample(2)
    assert sample.shape == (2, 8, 8, 3)
    assert sample.dtype == np.uint8


def test_few_images_are_kept_with_the_same_result(images, sources):
    assert_same_weights(extractor().fit(images), extractor().fit(sources["X"]))


@pytest.mark.usefixtures("streamed")
def test_flat_and_continued_fits_too(images, sources):
    X = sources["X"]
    for params in ({"image_shape": (8, 8, 3)}, {}):
        both = [
            extractor(warm_start=True, max_epochs=1, **params).fit(rows).fit(rows)
            for rows in (images.reshape(64, 192), X.reshape(64, 192))
        ]
        assert_same_weights(*both)
        assert both[0].sample().shape == (1, 192)


@pytest.mark.usefixtures("streamed")
def test_clusters_are_those_of_the_array(sources):
    labels = [
        CategoricalGANClusterer(2, n_filters=4, max_epochs=1, random_state=0)
        .fit(sources[name])
        .labels_
        for name in ("folder", "X")
    ]
    assert_array_equal(*labels)


@pytest.mark.usefixtures("streamed")
@pytest.mark.parametrize("room", [0, 2**20], ids=["read again", "kept"])
def test_a_classifier_learns_from_the_labels_of_a_folder(sources, room, monkeypatch):
    monkeypatch.setattr("sklgan._training._batches._KEPT_BYTES", room)
    images, X = sources["folder"], sources["X"]
    few = images.y.copy()
    few[np.arange(64) % 8 > 0] = -1
    both = [
        SemiSupervisedGANClassifier(n_filters=4, max_epochs=1, random_state=0).fit(
            rows, few
        )
        for rows in (images, X)
    ]
    assert_same_weights(*both)
    assert_array_equal(both[0].transduction_, both[1].transduction_)
    assert_array_equal(both[0].predict(images), both[1].predict(X))


def test_strings_are_classes_too(sources, tmp_path):
    for k, name in enumerate(["red"] * 4 + ["blue"] * 4 + ["unlabeled"] * 8):
        (tmp_path / name).mkdir(exist_ok=True)
        image = Image.fromarray(sources["X"][k if name == "red" else 32 + k])
        image.save(tmp_path / name / f"{k:02}.png")
    images = ImageFolder(tmp_path)
    gan = SemiSupervisedGANClassifier(n_filters=4, max_epochs=1, random_state=0)
    gan.fit(images, images.y)
    assert gan.classes_.tolist() == images.classes.tolist() == ["blue", "red"]
    assert set(gan.predict(images)) <= {"blue", "red"}
    assert gan.n_labeled_ == 8


def test_a_grid_search_gives_the_scores_of_the_array(images, sources):
    scores = []
    for X in (images, sources["X"]):
        model = make_pipeline(extractor(max_epochs=1), LogisticRegression())
        grid = {"dcganfeatureextractor__n_filters": [2, 4]}
        search = GridSearchCV(model, grid, cv=2).fit(X, sources["y"])
        scores.append(search.cv_results_["mean_test_score"])
        assert search.predict(X).shape == (64,)
    assert_array_equal(*scores)


def test_splits_are_sequences(images, sources):
    train, test, y_train, _ = train_test_split(images, images.y, random_state=0)
    assert type(train) is type(images)
    assert_array_equal(train.y, y_train)
    assert len(train) + len(test) == 64
    model = make_pipeline(extractor(max_epochs=0), LogisticRegression())
    assert len(cross_validate(model, images, images.y, cv=2)["test_score"]) == 2


@pytest.mark.usefixtures("streamed")
def test_a_checkpoint_is_resumed_with_a_sequence(sources, tmp_path):
    images = sources["folder"]
    params = {"checkpoint_interval": 0}
    extractor(checkpoint=tmp_path, max_epochs=1, **params).fit(images)
    resumed = extractor(checkpoint=tmp_path, **params).fit(images)
    assert_same_weights(resumed, extractor().fit(sources["X"]))
    assert resumed.n_iter_ == 2
    # What counts is the pixels, wherever they come from.
    extractor(checkpoint=tmp_path, **params).fit(sources["X"])
    with pytest.raises(ValueError, match="X was"):
        extractor(checkpoint=tmp_path, **params).fit(images[::-1])


def test_wrong_images_are_refused_as_arrays_are(sources):
    images = sources["folder"]
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        extractor().fit(images[:1])
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        extractor().fit(images).transform(images[:0])
    with pytest.raises(ValueError, match="was fitted on flat rows"):
        extractor().fit(sources["X"].reshape(64, -1)).transform(images)
    with pytest.raises(ValueError, match="does not match X of shape"):
        extractor(image_shape=(9, 9, 3)).fit(images)
    with pytest.raises(TypeError, match=r"HuggingFaceImages\(X\)"):
        extractor().fit(sources["huggingface"].dataset)
    with pytest.warns(UserWarning, match="outside the range of the model"):
        extractor().fit(sources["X"] / 255).transform(images)
