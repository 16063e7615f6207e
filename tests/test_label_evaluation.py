"""Tests of the evaluations with few labels or none, at toy size on made-up images."""

import importlib
import json
import pickle
import shutil
import struct
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
TINY = "--n-filters 2 --max-epochs 1 --latent-dim 4 --device cpu".split()
NETWORKS = [
    "network, labels only",
    "network, no generator",
    "SemiSupervisedGANClassifier",
]


def import_script(name):
    """Return a script of the examples or benchmarks as a module."""
    folders = [str(ROOT / folder) for folder in ("examples", "benchmarks")]
    before = list(sys.path)
    sys.path[:0] = folders
    try:
        return importlib.import_module(name)
    finally:
        sys.path[:] = before


@pytest.fixture(scope="module")
def helper():
    """Return what the scripts share."""
    return import_script("_label_evaluation")


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """Return a folder like MNIST's, of 300 and 50 images, a bright band to a class."""
    folder = tmp_path_factory.mktemp("mnist")
    rng = np.random.default_rng(0)
    for part, n_rows in (("train", 300), ("t10k", 50)):
        labels = (np.arange(n_rows) % 10).astype(np.uint8)
        images = rng.integers(0, 100, size=(n_rows, 28, 28), dtype=np.uint8)
        for k in range(10):
            images[labels == k, 2 * k + 4 : 2 * k + 6] += 150
        header = struct.pack(">4I", 0x803, n_rows, 28, 28)
        path = folder / f"{part}-images-idx3-ubyte"
        path.write_bytes(header + images.tobytes())
        path = folder / f"{part}-labels-idx1-ubyte"
        path.write_bytes(struct.pack(">2I", 0x801, n_rows) + labels.tobytes())
    return folder


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory):
    """Return a folder like CIFAR-10's, of 200 and 40 images, a colour to a class."""
    folder = tmp_path_factory.mktemp("cifar10")
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, size=(10, 3, 1))
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        labels = np.arange(40) % 10
        noise = rng.integers(-40, 40, size=(40, 3, 1024))
        rows = (colours[labels] + noise).astype(np.uint8).reshape(40, 3072)
        batch = {b"data": rows, b"labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    return folder


def run(script, data, output, *options):
    """Run a script, and return the rows that it has kept."""
    arguments = [f"--data={data}", f"--output={output}", *TINY, *options]
    import_script(script).main(arguments)
    return json.loads((output / "results.json").read_text())


@pytest.fixture(scope="module")
def first_run(mnist, tmp_path_factory):
    """Return the folder of a run of all methods on one draw, and its rows."""
    output = tmp_path_factory.mktemp("output") / "mnist"
    options = ["--rows=150", "--draws=0", "--keep"]
    return output, run("mnist_100_labels", mnist, output, *options)


def test_every_method_has_a_row_with_its_figures(first_run):
    """Networks have probabilities, hence all figures; the SVC has not."""
    output, rows = first_run
    assert [row["row"] for row in rows] == ["SVC, labels only", *NETWORKS]
    # The bands are easily told: 0.1 would be chance.
    assert rows[0]["accuracy"] > 0.9
    assert rows[0]["log_loss"] is rows[0]["calibration_error"] is None
    for row in rows[1:]:
        assert 0 <= row["accuracy"] <= 1
        assert 0 <= row["calibration_error"] <= 1
        assert row["log_loss"] > 0
        assert row["seconds"] > 0
    assert len({row["log_loss"] for row in rows[1:]}) == 3
    assert not list(output.glob("*.part"))


def test_kept_classifiers_are_those_of_the_rows(first_run, mnist, helper):
    """A classifier that was kept has the settings and the score of its row."""
    output, rows = first_run
    script = import_script("mnist_100_labels")
    args = helper.make_parser("", "").parse_args([f"--data={mnist}"])
    args.rows = 150
    X, _, X_test, y_test = script.load(args)
    for method, row in zip(helper.METHODS, rows, strict=True):
        classifier = joblib.load(output / f"{method}_draw0.joblib")
        figures = helper.score(classifier, X_test, y_test)
        assert figures["accuracy"] == row["accuracy"]
        assert figures["log_loss"] == pytest.approx(row["log_loss"])
    assert classifier.n_labeled_ == 100
    assert len(classifier.transduction_) == len(X) == 150


def test_second_run_keeps_rows_and_adds_draws(first_run, mnist, capsys):
    """Finished rows stay as they are; the table has mean and spread over draws."""
    output, before = first_run
    options = ["--rows=150", "--draws", "0", "1", "--methods", "svc"]
    rows = run("mnist_100_labels", mnist, output, *options)
    assert rows[:4] == before
    assert [(row["row"], row["draw"]) for row in rows[4:]] == [("SVC, labels only", 1)]
    text = capsys.readouterr().out
    assert text.count("kept from before") == 1
    accuracies = [100 * rows[k]["accuracy"] for k in (0, 4)]
    mean, spread = np.mean(accuracies), np.std(accuracies, ddof=1)
    line = f"SVC, labels only 2 {mean:.1f} ± {spread:.1f} - -"
    assert line in " ".join(text.split())


class BrokenOff(Exception):
    """What ends a run in the tests."""


@pytest.mark.parametrize("n_scored", [0, 1, 2])
def test_run_that_is_broken_off_goes_on_within_a_row(
    mnist, tmp_path, helper, monkeypatch, n_scored
):
    """The row is that of a run that was not, and so is its curve."""
    options = ["--rows=150", "--draws=0", "--methods=gan", "--max-epochs=3"]
    (plain,) = run("mnist_100_labels", mnist, tmp_path / "plain", *options)
    output = tmp_path / "broken"
    calls = []

    def break_off(*arguments):
        calls.append(arguments)
        if len(calls) > n_scored:
            raise BrokenOff
        return score(*arguments)

    score = helper.score
    monkeypatch.setattr(helper, "score", break_off)
    with pytest.raises(BrokenOff):
        run("mnist_100_labels", mnist, output, "--curve", *options)
    monkeypatch.setattr(helper, "score", score)
    assert (output / "gan_draw0_curve" / "training_0.safetensors").exists()
    (row,) = run("mnist_100_labels", mnist, output, "--curve", *options)
    assert len(row["curve"]) == 3
    assert row["curve"][-1] == row["accuracy"] == plain["accuracy"]
    assert row["log_loss"] == plain["log_loss"]
    assert not list(output.glob("*_curve"))
    assert not list((tmp_path / "plain").glob("*_training"))


@pytest.mark.parametrize("n_done", [1, 3])
def test_curve_goes_on_after_its_last_score(mnist, tmp_path, helper, n_done):
    """Scores that stand are not computed again, but that of the last epoch is."""
    options = ["--rows=150", "--draws=0", "--methods=gan", "--max-epochs=3", "--curve"]
    folder = tmp_path / "output" / "gan_draw0_curve"
    folder.mkdir(parents=True)
    (folder / "curve.json").write_text(json.dumps([0.5, 0.25, 0.125][:n_done]))
    (row,) = run("mnist_100_labels", mnist, tmp_path / "output", *options)
    assert row["curve"][: min(n_done, 2)] == [0.5, 0.25][:n_done]
    assert row["curve"][2] == row["accuracy"] != 0.125


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--rows=140", "--rows was 150 and is 140"),
        ("--holdout", "--holdout was False and is True"),
        ("--learning-rate=0.1", "--learning-rate was 0.001 and is 0.1"),
        ("--augment=none", "--augment was 'auto' and is None"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(
    first_run, mnist, option, message
):
    """What differs is named, and nothing in the folder changes."""
    output, _ = first_run
    names = ("settings.json", "results.json")
    before = [(output / name).read_bytes() for name in names]
    with pytest.raises(SystemExit, match=message):
        run("mnist_100_labels", mnist, output, "--rows=150", option)
    assert [(output / name).read_bytes() for name in names] == before


@pytest.mark.parametrize(
    ("script", "data", "option", "method", "n_scored"),
    [
        ("mnist_100_labels", "mnist", "--rows=150", "svc", 50),
        ("cats_and_dogs", "cifar10", "--n-labels=10", "gan", 4),
        ("cifar10_semi_supervised", "cifar10", "--n-labels=50", "no-generator", 20),
    ],
)
def test_scripts_score_on_rows_held_out_from_training(
    request, tmp_path, capsys, script, data, option, method, n_scored
):
    """With --holdout no script so much as needs the test files."""
    train = tmp_path / "train"
    train.mkdir()
    for path in request.getfixturevalue(data).iterdir():
        if not path.name.startswith(("t10k", "test")):
            shutil.copy(path, train)
    options = [option, "--holdout", "--draws=7", "--methods", method]
    (row,) = run(script, train, tmp_path / "output", *options)
    assert row["draw"] == 7
    assert f"{n_scored} held-out training rows" in capsys.readouterr().out


@pytest.mark.parametrize("holdout", [False, True])
@pytest.mark.parametrize("script", ["cats_and_dogs", "cifar10_semi_supervised"])
def test_rows_of_cifar10_are_as_told(helper, cifar10, script, holdout):
    """The hold-out is the last tenth of the training rows, in file order."""
    options = [f"--data={cifar10}", *["--holdout"] * holdout]
    args = helper.make_parser("", "").parse_args(options)
    X, y, X_test, y_test = import_script(script).load(args)
    n_fit, n_scored = (180, 20) if holdout else (200, 40)
    expected = np.arange(200) % 10, np.arange(n_scored) % 10
    if script == "cats_and_dogs":
        n_fit, n_scored = n_fit // 5, n_scored // 5
        expected = [(y[(y == 3) | (y == 5)] == 5).astype(int) for y in expected]
    assert (len(X), len(X_test)) == (n_fit, n_scored)
    np.testing.assert_array_equal(y, expected[0][:n_fit])
    np.testing.assert_array_equal(y_test, expected[1])


def test_labels_are_drawn_as_by_the_rivals(helper):
    """Draw s permutes the rows of each class in turn with one generator."""
    y = np.random.default_rng(0).integers(0, 3, size=60)
    rng = np.random.default_rng(4)
    expected = [rng.permutation(np.flatnonzero(y == c))[:5] for c in range(3)]
    drawn = helper.draw_per_class(y, 5, 4)
    np.testing.assert_array_equal(drawn, np.concatenate(expected))
    with pytest.raises(SystemExit, match=r"Class 0 has \d+ rows, not 50"):
        helper.draw_per_class(y, 50, 4)


def test_more_mnist_rows_bring_no_other_labels():
    """Labels are drawn among the first 10,000 rows, however many there are."""
    draw_labels = import_script("mnist_100_labels").draw_labels
    y = np.random.default_rng(0).integers(0, 10, size=20_000)
    np.testing.assert_array_equal(draw_labels(y, 0), draw_labels(y[:10_000], 0))


def test_rows_that_each_method_sees(helper):
    """Labels only means that no other row is seen, in as many steps."""
    y, labeled = np.arange(20) % 2, np.array([3, 8, 5])
    rows, labels = helper.rows_to_fit("svc", y, labeled)
    np.testing.assert_array_equal(rows, labeled)
    np.testing.assert_array_equal(labels, [1, 0, 1])
    rows, labels = helper.rows_to_fit("labels-only", y, labeled)
    assert len(rows) == 20
    assert set(rows) == set(labeled)
    np.testing.assert_array_equal(labels, y[rows])
    for method in ("no-generator", "gan"):
        rows, labels = helper.rows_to_fit(method, y, labeled)
        np.testing.assert_array_equal(np.arange(20)[rows], np.arange(20))
        np.testing.assert_array_equal(np.flatnonzero(labels >= 0), [3, 5, 8])
        np.testing.assert_array_equal(labels[labeled], [1, 0, 1])


def test_baselines_differ_in_the_weights_of_losses_alone(helper):
    """Whatever else the command line sets is the same for all networks."""
    options = ["--data=x", "--n-filters=7", "--augment=flip", "--strong-augment=none"]
    args = helper.make_parser("", "").parse_args(options)
    gan, no_generator, labels_only = (
        helper.make_classifier(method, args, 3).get_params()
        for method in ("gan", "no-generator", "labels-only")
    )
    rows = (gan, no_generator, labels_only)
    # No training goes on from that of another row.
    assert len({params.pop("checkpoint") for params in rows}) == 3
    assert (gan["n_filters"], gan["augment"], gan["random_state"]) == (7, ["flip"], 3)
    assert gan["strong_augment"] is None
    assert no_generator == {**gan, "adversarial_weight": 0.0}
    # It differs in the rows that it sees; see rows_to_fit.
    assert labels_only == no_generator


def test_calibration_error_agrees_with_its_definition(helper):
    """Gaps between accuracy and confidence, weighted by the rows of each bin."""
    correct = np.array([True, False, True, True])
    confidence = np.array([0.62, 0.66, 0.95, 1.0])
    # Of 15 bins the first two rows share the tenth, the others the last.
    expected = 0.5 * abs(0.5 - 0.64) + 0.5 * abs(1 - 0.975)
    found = helper.calibration_error(correct, confidence)
    assert found == pytest.approx(expected)
    assert helper.calibration_error(correct, correct.astype(float)) == 0


def test_a_stopped_run_keeps_its_finished_rows(helper, tmp_path):
    """Ctrl-C ends with a sentence, and what was done is not done again."""
    computed = []

    def compute(method, seed):
        if computed == [0, 1]:
            raise KeyboardInterrupt
        computed.append(seed)
        return {"accuracy": 0.5}

    wanted = [("a", "A", seed) for seed in range(3)]
    with pytest.raises(SystemExit, match="goes on from what is kept"):
        helper.fill_in(tmp_path, {"rows": 1}, wanted, compute)
    computed = []
    rows = helper.fill_in(tmp_path, {"rows": 1}, wanted, compute)
    assert computed == [2]
    assert [row["draw"] for row in rows] == [0, 1, 2]


def test_missing_data_are_named(tmp_path):
    """A folder without MNIST ends with the remedy, not with a traceback."""
    with pytest.raises(SystemExit, match=r"lacks train-images-idx3-ubyte.*https://"):
        run("mnist_100_labels", tmp_path, tmp_path / "output")
    assert not (tmp_path / "output").exists()


# Of so few digits, some are neighbours of each other alone.
@pytest.mark.filterwarnings("ignore:Graph is not fully connected:UserWarning")
def test_clusterings_are_kept_and_other_settings_refused(tmp_path, capsys):
    """Every method has a row, a second run keeps them, objectives are the GAN's own."""
    options = ["--rows=200", "--seeds=0", "--n-init=2"]
    rows = run("bench_clustering", "digits", tmp_path, *options)
    names = list(import_script("bench_clustering").METHODS.values())
    assert [row["row"] for row in rows] == names
    for row in rows:
        assert 0.1 <= row["accuracy"] <= 1
        assert 0 <= row["nmi"] <= 1
        assert (row["objective"] is None) == ("GAN" not in row["row"])
    assert rows[0]["accuracy"] > 0.5
    table = capsys.readouterr().out
    assert f"{100 * rows[0]['accuracy']:.1f}" in table
    options = [*options, "--seeds", "0", "1", "--methods", "kmeans"]
    again = run("bench_clustering", "digits", tmp_path, *options)
    assert again[:-1] == rows
    assert again[-1]["seed"] == 1
    with pytest.raises(SystemExit, match="--n-init was 2 and is 3"):
        run("bench_clustering", "digits", tmp_path, *options, "--n-init=3")


def test_clusterings_read_mnist(mnist, tmp_path):
    """A folder of MNIST is taken in place of the digits."""
    options = ["--rows=150", "--seeds=0", "--methods", "kmeans"]
    (row,) = run("bench_clustering", mnist, tmp_path, *options)
    assert row["accuracy"] > 0.5
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert (settings["data"], settings["rows"]) == ("MNIST", 150)


@pytest.mark.parametrize("method", ["svc", "labels-only", "no-generator", "gan"])
def test_hidden_labels_cannot_reach_a_row_of_the_table(helper, method, tmp_path):
    """Their true values are at hand there, and any others give the same figures."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 255, size=(90, 8, 8), dtype=np.uint8)
    y = np.arange(90) % 3
    args = helper.make_parser("", tmp_path).parse_args(["--data=none", *TINY])
    labeled, test = np.arange(12), slice(60, None)
    figures = []
    for others in (y[12:60], rng.permutation(y[12:60])):
        truth = np.concatenate([y[:12], others])
        images = X[:60], truth, X[test], y[test]
        figures.append(helper.compute_row(method, 0, args, images, labeled))
    for row in figures:
        row.pop("seconds")
    assert figures[0] == figures[1]
