"""LeakageReport: test rows that training rows give away."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, repr=False, eq=False)
class LeakageReport:
    """What ``leakage_report`` found; text if printed.

    Parameters
    ----------
    pairs : ndarray of shape (n_leaked, 2), int64
        For each test row with a near-duplicate among the training rows, in order: the
        number of the nearest training row, and that of the test row.
    distances : ndarray of shape (n_leaked,), int64
        The number of bits in which the hashes of a pair differ.
    n_train, n_test : int
        How many rows were compared.

    Attributes
    ----------
    n_leaked : int
        Number of test rows with a near-duplicate among the training rows.
    fraction : float
        Their part of the test rows.

    See Also
    --------
    NearDuplicateDetector : Makes such reports.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import NearDuplicateDetector
    >>> X = load_digits().images
    >>> detector = NearDuplicateDetector(max_hamming=0, random_state=0).fit(X[:500])
    >>> report = detector.leakage_report(X[:500], X[[7, 3]])
    >>> report.pairs.tolist(), report.fraction
    ([[7, 0], [3, 1]], 1.0)
    >>> print(report)
    2 of 2 test rows (100.00 %) have a near-duplicate among 500 training rows.
    """

    pairs: np.ndarray
    distances: np.ndarray
    n_train: int
    n_test: int

    @property
    def n_leaked(self):
        """Number of test rows with a near-duplicate among the training rows."""
        return len(self.pairs)

    @property
    def fraction(self):
        """Their part of the test rows."""
        return self.n_leaked / self.n_test

    def __str__(self):
        """Return the report in a sentence."""
        return (
            f"{self.n_leaked} of {self.n_test} test rows ({self.fraction:.2%}) have a "
            f"near-duplicate among {self.n_train} training rows."
        ).replace("%", " %")

    __repr__ = __str__
