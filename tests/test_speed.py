"""What makes training fast: no waiting for the device, cuDNN's settings, graphs."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
)
from sklgan._tensors import torch_seed
from sklgan._training import AdversarialNet
from sklgan.augment import AUGMENTATIONS, compose
from sklgan.losses import ADVERSARIAL_LOSSES, discriminator_loss, generator_loss
from sklgan.networks import DCGANDiscriminator, DCGANGenerator

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

SHAPE = (3, 16, 16)
# Operations whose result the host has to see, or whose shape depends on values.
WAITING = {
    "_local_scalar_dense",
    "bincount",
    "equal",
    "is_nonzero",
    "masked_select",
    "nonzero",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
}


class Watch(TorchDispatchMode):
    """Note the operations that would make the host wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.found, self.n_seen = set(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        self.n_seen += 1
        if name in WAITING:
            self.found.add(name)
        if name in ("index", "index_put", "index_put_"):
            indices = [index for index in args[1] if index is not None]
            if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
                self.found.add(f"{name} by a mask")
        return function(*args, **(kwargs or {}))


class Watched(Callback):
    """Watch from the first batch of an epoch to its last."""

    def __init__(self, n_batches):
        self.n_batches = n_batches

    def on_epoch_begin(self, net, **kwargs):
        self.n_seen, self.watch = 0, Watch()

    def on_batch_begin(self, net, **kwargs):
        if self.n_seen == 0:
            self.watch.__enter__()

    def on_batch_end(self, net, **kwargs):
        self.n_seen += 1
        if self.n_seen == self.n_batches:
            self.watch.__exit__(None, None, None)


GANS = {
    **{
        loss: DCGANFeatureExtractor(loss=loss, augment=list(AUGMENTATIONS))
        for loss in ADVERSARIAL_LOSSES
    },
    "classifier": SemiSupervisedGANClassifier(network="cnn", labeled_batch_size=8),
    "classifier, flat": SemiSupervisedGANClassifier(loss="hinge", network="mlp"),
    "clusterer": CategoricalGANClusterer(3),
}


@pytest.mark.parametrize("kind", GANS)
def test_no_step_waits_for_the_device(kind):
    """Neither batches nor augmentations, losses, optimiser or averages ask it."""
    X = np.random.default_rng(0).integers(256, size=(40, 16, 16, 3)).astype(np.uint8)
    y = np.where(np.arange(40) < 12, np.arange(40) % 3, -1)
    watched = Watched(4)
    gan = copy.deepcopy(GANS[kind]).set_params(
        n_filters=4, max_epochs=1, batch_size=10, callbacks=[watched], device="cpu"
    )
    gan.fit(X, y)
    assert watched.n_seen == 4
    assert watched.watch.n_seen > 100
    assert watched.watch.found == set()


def test_the_watch_sees_what_waits():
    """It would find each of the usual ways to wait."""
    x = torch.arange(4.0)
    for wait in (
        lambda: float(x[0]),
        lambda: x[x > 1],
        lambda: torch.bincount(x.long()),
        lambda: bool((x > 1).any()),
        lambda: x.nonzero(),
    ):
        with Watch() as watch:
            wait()
        assert watch.found


class Settings(Callback):
    """Note cuDNN's settings within an epoch."""

    def on_batch_end(self, net, **kwargs):
        cudnn = torch.backends.cudnn
        self.seen = cudnn.benchmark, cudnn.allow_tf32


@pytest.fixture
def cudnn():
    """Return cuDNN's settings, and restore them afterwards."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.allow_tf32, cudnn.deterministic
    yield cudnn
    cudnn.benchmark, cudnn.allow_tf32, cudnn.deterministic = before


@pytest.mark.parametrize("tf32", [False, True])
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_cudnn_is_fast_within_training_only(
    cudnn, two_colours, precision, deterministic, tf32
):
    """float32 is no TF32; who asks for deterministic algorithms gets them."""
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = deterministic, False, tf32
    settings = Settings()
    options = {"n_filters": 4, "max_epochs": 1, "callbacks": [settings]}
    DCGANFeatureExtractor(precision=precision, **options).fit(two_colours[0])
    assert settings.seen == (not deterministic, tf32 and precision == "bfloat16")
    assert (cudnn.benchmark, cudnn.allow_tf32) == (False, tf32)


def train(device, graphs, n_critic=1, augment=(), max_epochs=4):
    """Return an engine after a few epochs of batches of two sizes."""
    with torch_seed(0, device):
        net = AdversarialNet(
            generator=partial(DCGANGenerator, 5, SHAPE, n_filters=4),
            discriminator=partial(DCGANDiscriminator, SHAPE, n_filters=4),
            discriminator_loss=partial(discriminator_loss, loss="nonsaturating"),
            generator_loss=partial(generator_loss, loss="nonsaturating"),
            to_batch=lambda rows: rows.unflatten(1, SHAPE),
            latent_dim=5,
            augment=compose(augment),
            n_critic=n_critic,
            ema_decay=0.9,
            autocast=False,
            graphs=graphs,
            lr=1e-3,
            max_epochs=max_epochs,
            batch_size=8,
            callbacks=[],
            device=device,
            verbose=0,
        ).initialize()
        net.train(torch.rand(61, 3 * 16 * 16, device=device))
    return net


def test_graphs_without_cuda_are_plain_steps():
    """The option does no harm where there is no card."""
    plain, other = train("cpu", False), train("cpu", True)
    for a, b in zip(
        plain.module_.parameters(), other.module_.parameters(), strict=True
    ):
        assert torch.equal(a, b)


@needs_cuda
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_critic": 2},
        {"augment": ("translation", "cutout")},
        {"augment": ("simclr",)},
    ],
    ids=str,
)
def test_graphs_train_as_plain_steps_do(options, cudnn):
    """The same random numbers, the same weights but for rounding, the same losses."""
    cudnn.deterministic = True
    plain, graphed = train("cuda", False, **options), train("cuda", True, **options)
    assert graphed.graphed_steps_.graphs
    assert not graphed.graphed_steps_.is_broken
    for a, b in zip(plain.history, graphed.history, strict=True):
        assert a["d_loss"] == pytest.approx(b["d_loss"], rel=1e-3)
        assert a["g_loss"] == pytest.approx(b["g_loss"], rel=1e-3)
    assert_close(
        dict(plain.module_.named_parameters()),
        dict(graphed.module_.named_parameters()),
        rtol=1e-2,
        atol=1e-3,
    )


@needs_cuda
def test_a_step_that_cannot_be_captured_is_plain():
    """A function of the user that waits for the device costs the graphs, no more."""

    def waits(images):
        return images * float(images.abs().max() >= 0)

    def train_with(graphs):
        net = train("cuda", graphs, max_epochs=0)
        net.augment, net.max_epochs = waits, 3
        with torch_seed(1, "cuda"):
            net.train(torch.rand(61, 3 * 16 * 16, device="cuda"))
        return net

    with pytest.warns(UserWarning, match="could not be captured"):
        graphed = train_with(True)
    assert graphed.graphed_steps_.is_broken
    assert len(graphed.history) == 3


@needs_cuda
def test_no_step_synchronises_on_cuda():
    """PyTorch itself raises an error where the host would wait."""
    net = train("cuda", False, augment=tuple(AUGMENTATIONS))
    rows = torch.rand(8, 3 * 16 * 16, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        net.train_step((rows, None))
    finally:
        torch.cuda.set_sync_debug_mode("default")
