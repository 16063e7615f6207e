"""Run by tests/test_distributed.py on each rank: distributed_script.py MODE FOLDER."""

import os
import pickle
import sys
import warnings
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from skorch.callbacks import Callback, EarlyStopping
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sklgan import (
    BlobGAN,
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    DistributedTrainingError,
    KeepBest,
    SampleGrid,
    SemiSupervisedGANClassifier,
    networks,
)
from sklgan._training._distributed import joined_processes
from sklgan._training._shares import (
    layers_of_the_joined_batch,
    shared,
    sum_gradients,
)
from sklgan.networks._blobs import EvenSizes

RANK = int(os.environ.get("RANK", 0))
AUGMENTATIONS = ["flip", "translation", "affine", "color", "cutout"]


def without_batch_norm(module):
    """Replace the layers that make an image's output depend on its batch."""
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, nn.Identity())
        without_batch_norm(child)


class Generator(networks.DCGANGenerator):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        without_batch_norm(self)


class Discriminator(networks.DCGANDiscriminator):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        without_batch_norm(self)


class Classifier(networks.CNNDiscriminator):
    """Has dropout, whose masks are drawn for the joined batch too."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        without_batch_norm(self)


def data():
    """Return 61 images, whose batches cannot be halved, and labels, 40 of them -1."""
    rng = np.random.default_rng(0)
    y = np.arange(61) % 3
    X = rng.normal(size=(61, 8, 8, 1)) + y[:, None, None, None] - 1
    return X.clip(-3, 3).astype(np.float32), np.where(np.arange(61) < 21, y, -1)


def estimators(folder):
    """Return those to fit, by name."""
    small = {"n_filters": 4, "batch_size": 25, "max_epochs": 2, "random_state": 0}
    # bfloat16 rounds each rank's sums by more than they may differ.
    small["precision"] = "float32"
    short = {"max_epochs": 1}
    nets = {"network": (Generator, Discriminator), **small}
    return {
        "nonsaturating": DCGANFeatureExtractor(augment=AUGMENTATIONS, **nets),
        "wasserstein": DCGANFeatureExtractor(loss="wasserstein", n_critic=2, **nets),
        "relativistic": DCGANFeatureExtractor(loss="relativistic", **nets),
        # Pairs of rows, both views in one pass, must still be pairs when gathered.
        "contrastive": DCGANFeatureExtractor(
            objective="contrastive", spectral_norm=True, **small
        ),
        "classifier": SemiSupervisedGANClassifier(
            network=(Generator, Classifier),
            loss="hinge",
            class_weight={0: 1.0, 1: 2.0, 2: 3.0},
            learning_rate=2e-4,
            **{**small, **short},
        ),
        "batch_norm": DCGANFeatureExtractor(**small, verbose=1),
        # Its gradient penalty differentiates batch normalisation twice.
        "batch_norm_penalized": DCGANFeatureExtractor(
            loss="wasserstein", **{**small, **short}
        ),
        "batch_norm_classifier": SemiSupervisedGANClassifier(**{**small, **short}),
        "clusterer": CategoricalGANClusterer(3, n_init=2, **{**small, **short}),
        "resumed": DCGANFeatureExtractor(checkpoint=folder, **small),
        # Its deviation within a batch is that of a process's own rows.
        "blobs": BlobGAN(2, encoder_epochs=0, **small),
    }


def state(gan):
    """Return the weights of both networks as arrays, and the losses."""
    arrays = {
        f"{name}{key}": value.numpy()
        for name in ("generator_", "discriminator_")
        for key, value in getattr(gan, name).state_dict().items()
    }
    losses = [[row["d_loss"], row["g_loss"]] for row in gan.history_]
    return {**arrays, "losses": np.asarray(losses)}


def convolution():
    """Return the smallest network with batch normalisation."""
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))


def noisy_blobs():
    """Return a generator whose noise can be seen, as after some training."""
    network = networks.BlobGenerator(4, (1, 8, 8), 2, 2, 3, 2)
    for first, second, _ in network.stages:
        first.noise_strength.data += 0.5
        second.noise_strength.data += 0.5
    return network


def pass_rows(build, *shape):
    """Return the gradients of rows of a shape and of the first weights of a network."""
    with joined_processes(), torch.random.fork_rng():
        torch.manual_seed(0)
        network = build()
        x = torch.randn(*shape, requires_grad=True)
        with layers_of_the_joined_batch(network):
            pickle.dumps(network)  # as a user's callback may do
            shared(network)(x).pow(3).sum().backward()
        sum_gradients(network.parameters())
    gradients = {"x": x.grad, "weight": next(network.parameters()).grad}
    return {name: value.numpy() for name, value in gradients.items()}


def fit_all(folder):
    """Fit every estimator; return what each ends with."""
    X, y = data()
    results = {}
    for name, gan in estimators(folder).items():
        if name == "resumed":
            # The second fit goes on from the file that one rank alone has written.
            gan.set_params(max_epochs=1).fit(X)
            gan.set_params(max_epochs=2)
        results[name] = state(gan.fit(X, y))
    unseeded = DCGANFeatureExtractor(n_filters=4, max_epochs=1).fit(X)
    results["unseeded"] = state(unseeded)
    # Of one row the first of two ranks has no share.
    results["one row"] = pass_rows(convolution, 1, 1, 8, 8)
    results["sizes of blobs"] = pass_rows(lambda: EvenSizes(3), 5, 3)
    results["noise of blobs"] = pass_rows(noisy_blobs, 5, 4)
    return results


def write(path, results):
    """Write nested results as arrays with names such as ``estimator/weight``."""
    named = results.items()
    np.savez(path, **{f"{name}/{key}": v for name, r in named for key, v in r.items()})


class OnRank1(Callback):
    """Raise an error in the second epoch of rank 1, in the middle of a step."""

    def __init__(self, error):
        self.error = error

    def on_batch_end(self, net, **kwargs):
        if RANK == 1 and len(net.history) == 2:
            if self.error is None:
                os._exit(1)
            raise self.error


class StopOnRank1(EarlyStopping):
    """Stop at the second epoch on one rank alone."""

    def on_epoch_end(self, net, **kwargs):
        net.history.record("own", float(len(net.history) if RANK == 1 else 0))
        super().on_epoch_end(net, **kwargs)


class FailsOnRank1(networks.DCGANGenerator):
    """Raises an error on rank 1, in the middle of a step."""

    def forward(self, z):
        if RANK == 1:
            raise ValueError("a network's own")
        return super().forward(z)


def distance_that_fails(images, others):
    """Return an encoder's perceptual distance; raise on rank 1."""
    if RANK == 1:
        raise ValueError("a distance's own")
    return (images - others).square().flatten(1).mean(1)


def told_while_kept(gan, X):
    """Return how a fit ends if a program keeps its error and with it a step's frames.

    Rank 1, where it fails, keeps it until rank 0 says that it has been told.
    """
    try:
        gan.fit(X)
    except (ValueError, DistributedTrainingError) as error:
        kept = error
    ending = f"{type(kept).__name__}, of which both know"
    try:
        if RANK == 0:
            dist.send(torch.ones(1), 1)
        else:
            dist.irecv(torch.ones(1), 0).wait(timedelta(seconds=20))
    except RuntimeError:
        ending = f"{type(kept).__name__}, of which nobody was told"
    del kept
    return ending


def outcome(gan, X):
    """Return what a fit ends with, in a line."""
    try:
        gan.fit(X)
    except BaseException as error:
        return f"{type(error).__name__}: {error}".replace("\n", " ")
    counted = [c.first for c in gan.callbacks or () if isinstance(c, CountFrom)]
    begun = f", from {counted[0]}" if counted else ""
    return f"{gan.n_iter_} epochs{begun}"


class CountFrom(Callback):
    """Note how many epochs a training has behind it when it begins."""

    def on_train_begin(self, net, **kwargs):
        self.first = len(net.past_rows_)


class Noise(networks.DCGANGenerator):
    """Draws as many numbers as its rank has rows."""

    def forward(self, z):
        return super().forward(z + 0.1 * torch.randn_like(z))


def fail_all(out):
    """Let fits fail on one rank, and write how they end on each; then die."""
    X, _ = data()
    params = {"n_filters": 4, "batch_size": 25, "max_epochs": 3, "random_state": 0}

    def fit(X=X, **changes):
        return outcome(DCGANFeatureExtractor(**{**params, **changes}), X)

    stop = StopOnRank1(monitor="own", patience=1)
    once = {"checkpoint": out / "once", "checkpoint_interval": 0}
    other = X + np.float32(RANK)
    hole = np.where(RANK == 1, np.nan, X)
    fails = {**params, "network": (FailsOnRank1, networks.DCGANDiscriminator)}
    blobs = {**params, "max_epochs": 1, "perceptual": distance_that_fails}
    lines = {
        "parameters": fit(learning_rate=1e-3 * (RANK + 1)),
        "epochs": fit(max_epochs=1 + RANK),
        "data": fit(other),
        "rows": fit(X[: 50 + RANK]),
        "bad data": fit(hole),
        "noise": fit(network=(Noise, networks.DCGANDiscriminator)),
        "callback": fit(callbacks=[OnRank1(ValueError("a callback's own"))]),
        "ctrl-c": fit(callbacks=[OnRank1(KeyboardInterrupt())]),
        "early stop": fit(callbacks=[stop]),
        "own callback": fit(callbacks=[SampleGrid(out / "grid")] if RANK else None),
        "held out": fit(callbacks=[KeepBest(X[20 * RANK :][:20])]),
        "best": fit(callbacks=[KeepBest(X[:20]), SampleGrid(out / "grid")]),
        "diverged": fit(learning_rate=1e30),
        "memory": fit(callbacks=[OnRank1(torch.OutOfMemoryError("CUDA is full"))]),
        "afterwards": fit(),
        "file": fit(**once, callbacks=[OnRank1(ValueError("cut"))]),
        "file again": fit(**once, callbacks=[CountFrom()]),
        "encoder": outcome(BlobGAN(**blobs), X[:60]),
        "kept": told_while_kept(DCGANFeatureExtractor(**fails), X),
    }
    path = out / f"lines{RANK}.txt"
    path.write_text("".join(f"{name}| {line}\n" for name, line in lines.items()))
    line = fit(callbacks=[OnRank1(None)])
    with path.open("a") as file:
        file.write(f"death| {line}\n")


def main(mode, out):
    torch.set_num_threads(1)
    # What a user would be told of is an error, as in all tests.
    warnings.simplefilter("error")
    if mode == "fail":
        fail_all(out)
        return
    # As a user may have done before.
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    write(out / f"rank{RANK}.npz", fit_all(out / "checkpoint"))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
