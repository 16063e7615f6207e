"""See whether diagnose() finds what was made to fail, and leaves alone what is well.

Trainings on scikit-learn's digits and on MNIST, shrunk to 14 x 14 to be quick, some as
they should be, others spoilt on purpose; over several seeds each::

    python benchmarks/check_diagnosis.py --mnist FOLDER --seeds 3
"""

import argparse
import time
import warnings
from functools import partial

import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch.callbacks import Callback
from torch import nn

from sklgan import (
    CategoricalGANClusterer,
    DCGANFeatureExtractor,
    SemiSupervisedGANClassifier,
    TrainingWarning,
)
from sklgan.datasets import load_mnist
from sklgan.networks import DCGANDiscriminator, DCGANGenerator


class Rates(Callback):
    """Multiply the learning rates of discriminator and generator."""

    def __init__(self, discriminator=1.0, generator=1.0):
        self.discriminator, self.generator = discriminator, generator

    def on_epoch_begin(self, net, **kwargs):
        factors = self.discriminator, self.generator
        for group, factor in zip(net.optimizer_.param_groups, factors, strict=True):
            group["lr"] = net.lr * factor


class FewImages(nn.Module):
    """A generator that knows so many latent vectors only, and what is close to them."""

    def __init__(self, latent_dim, out_shape, n_images):
        super().__init__()
        self.generator = DCGANGenerator(latent_dim, out_shape, 16)
        self.register_buffer("known", torch.randn(n_images, latent_dim))

    def forward(self, z):
        chance = torch.distributions.Normal(0, 1).cdf(z[:, 0])
        index = (chance * len(self.known)).long().clamp(max=len(self.known) - 1)
        return self.generator(self.known[index] + 0.02 * z)


def collapsed(n_images):
    """Return the networks of a training whose generator draws so many images."""
    return (
        partial(FewImages, n_images=n_images),
        lambda in_shape, n_outputs: DCGANDiscriminator(in_shape, n_outputs, 16),
    )


def on_digits(**params):
    """Return an estimator whose 640 steps suffice."""
    return DCGANFeatureExtractor(
        **{
            "n_filters": 32,
            "max_epochs": 40,
            "learning_rate": 2e-3,
            "ema_decay": 0.9,
            **params,
        }
    )


def on_mnist(**params):
    """Return an estimator whose 564 steps suffice."""
    return DCGANFeatureExtractor(
        **{
            "n_filters": 16,
            "max_epochs": 12,
            "batch_size": 64,
            "learning_rate": 5e-4,
            "ema_decay": 0.99,
            **params,
        }
    )


def classifier(**params):
    """Return a small classifier."""
    return SemiSupervisedGANClassifier(**{"n_filters": 8, "max_epochs": 15, **params})


def clusterer(**params):
    """Return a small clusterer."""
    return CategoricalGANClusterer(10, **{"n_filters": 8, "max_epochs": 15, **params})


FLAT = {"n_filters": 64, "batch_size": 128}

# Name, of what diagnose() should find something, data, how to make the estimator.
RUNS = [
    ("digits", None, "digits", on_digits),
    ("digits, defaults", None, "digits", DCGANFeatureExtractor),
    ("digits, short", None, "digits", partial(DCGANFeatureExtractor, max_epochs=3)),
    (
        "digits, 10 epochs",
        None,
        "digits",
        partial(DCGANFeatureExtractor, max_epochs=10),
    ),
    ("digits, flat", None, "flat", partial(on_digits, **FLAT)),
    ("digits, classifier", None, "labels", classifier),
    ("digits, clusterer", None, "digits", clusterer),
    ("MNIST", None, "MNIST", on_mnist),
    ("MNIST, hinge", None, "MNIST", partial(on_mnist, loss="hinge")),
    ("MNIST, least squares", None, "MNIST", partial(on_mnist, loss="least_squares")),
    ("MNIST, relativistic", None, "MNIST", partial(on_mnist, loss="relativistic")),
    ("MNIST, Wasserstein", None, "MNIST", partial(on_mnist, loss="wasserstein")),
    ("MNIST, faster", None, "MNIST", partial(on_mnist, learning_rate=2e-3)),
    *(
        (f"{n} images on {name}", "mode_collapse", name, partial(make, network=pair))
        for n in (1, 2, 5, 10, 20)
        for name, make in (("digits", on_digits), ("MNIST", on_mnist))
        for pair in [collapsed(n)]
    ),
    *(
        (
            f"rate {rate} on {name}",
            "mode_collapse discriminator_won",
            name,
            partial(make, learning_rate=rate),
        )
        for rate in (0.1, 1.0)
        for name, make in (("digits", on_digits), ("MNIST", on_mnist))
    ),
    *(
        (
            f"rates x{d:g}, x{g:g} on {name}",
            "discriminator_won",
            name,
            lambda make=make, d=d, g=g, **kw: make(callbacks=[Rates(d, g)], **kw),
        )
        for d, g in ((1, 0), (5, 0.02), (10, 0.1))
        for name, make in (("digits", on_digits), ("MNIST", on_mnist))
    ),
    *(
        (f"rate 1e-9, {what}", "no_learning", name, partial(make, learning_rate=1e-9))
        for what, name, make in (
            ("digits", "digits", on_digits),
            ("MNIST", "MNIST", on_mnist),
            ("flat", "flat", partial(on_digits, **FLAT)),
            ("classifier", "labels", classifier),
            ("clusterer", "digits", clusterer),
        )
    ),
]


def load(mnist):
    """Return (X, y) by name."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:1000], y[:1000]
    images = X.reshape(-1, 8, 8)
    data = {
        "digits": (images, None),
        "flat": (X, None),
        "labels": (images, np.where(np.arange(1000) < 100, y, -1)),
    }
    if mnist:
        X = load_mnist(mnist).data[:3000].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
        data["MNIST"] = X.astype(np.uint8), None
    return data


def main():
    """Print a row for each training, and how many were judged right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", help="folder with MNIST's idx files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of the names to run")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data, n_right, n_runs = load(args.mnist), 0, 0
    for name, expected, source, make in RUNS:
        if source not in data or args.only not in name:
            continue
        X, y = data[source]
        for seed in range(args.seeds):
            started = time.perf_counter()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", TrainingWarning)
                gan = make(random_state=seed).fit(X, y)
            spent = time.perf_counter() - started
            diagnosis = gan.diagnose(X, random_state=seed)
            names = diagnosis.names
            warned = any(issubclass(w.category, TrainingWarning) for w in caught)
            right = not names and not warned
            if expected:
                right = any(name in expected.split() for name in names)
            n_right, n_runs = n_right + right, n_runs + 1
            figures = " ".join(f"{v:9.3g}" for v in diagnosis.figures.values())
            if n_runs == 1:
                print(f"{'':30} {' '.join(f'{n[:9]:>9}' for n in diagnosis.figures)}")
            print(
                f"{name:27}{seed:2} {figures} {spent:5.1f} s "
                f"{'warned' if warned else '':7}{'' if right else 'WRONG '}"
                f"{', '.join(names) or 'nothing'}",
                flush=True,
            )
    print(f"{n_right} of {n_runs} right")


if __name__ == "__main__":
    main()
