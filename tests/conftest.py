"""Fixtures for all tests: small images, and one thread for torch."""

import os
import sys
from importlib.metadata import version

os.environ.setdefault("MPLBACKEND", "Agg")

# scikit-learn dispatches to other array libraries if SciPy was told so when imported.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
if tuple(map(int, version("scikit-learn").split(".")[:2])) < (1, 9):
    # Older ones need a further package for it, and have no linear classifier to test.
    collect_ignore = ["test_array_api.py"]

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

# Tiny tensors are slower on several threads, and pytest-xdist's workers compete.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _close_figures():
    """Begin and end without open figures; examples in documentation leave some."""

    def close():
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")

    close()
    yield
    close()


@pytest.fixture(scope="session")
def digits():
    """Return (X, y): 200 grey 8 x 8 images as (200, 8, 8) in [0, 16]; read-only."""
    images, y = load_digits(return_X_y=True)
    X = images[:200].reshape(-1, 8, 8).astype(np.float32)
    X.flags.writeable = False
    return X, y[:200]


@pytest.fixture(scope="session")
def two_colours():
    """Return (X, y): 64 noisy 8 x 8 images, red (0) or blue (1), uint8; read-only."""
    rng = np.random.default_rng(0)
    y = np.arange(64) % 2
    colours = np.array([[200, 30, 30], [30, 30, 200]])
    noise = rng.integers(-25, 26, size=(64, 8, 8, 3))
    X = (colours[y][:, None, None, :] + noise).astype(np.uint8)
    X.flags.writeable = False
    return X, y
