"""TorchLinearSVC: the objective of LinearSVC on features too large for it."""

import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_class_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from sklgan._namespaces import (
    is_dispatched,
    like,
    numpy_dtype,
    take,
    to_host,
    to_tensor,
    without_namespace,
)
from sklgan._newton import Rows, minimize_squared_hinge
from sklgan._tensors import as_tensor, resolve_device

_DTYPES = [np.float32, np.float64]
_TENSOR_DTYPES = [torch.float32, torch.float64]


class TorchLinearSVC(ClassifierMixin, BaseEstimator):
    """Linear support vector classification in float32, on CPU or GPU, without copies.

    Minimises the objective of :class:`sklearn.svm.LinearSVC` with
    ``penalty="l2", loss="squared_hinge"``, one class against the rest, the intercept
    regularised as liblinear does. Made for the features of a discriminator: dense,
    many columns, float32. X is neither copied nor, but for a few rows at a time,
    converted to float64. Beyond X, ``fit`` takes some 400 bytes a row and class and at
    most a quarter of X, or half where float32 does not suffice: little for wide X, but
    twice X itself for 513 columns and 10 classes.

    Parameters
    ----------
    C : float, default=1.0
        Weight of the loss, summed over rows, against the penalty. Smaller is smoother;
        features of different scale and number need different C.

    tol : float, default=1e-4
        Stop when the decrease that is still in sight is below this part of the
        objective. With more than 512 columns nothing is out of sight: no weights can
        lower the objective by more, up to the rounding of margins in float64 and of
        ``coef_`` to the dtype of X.

    fit_intercept : bool, default=True
        Whether to add a constant column.

    intercept_scaling : float, default=1.0
        Value of the constant column. The intercept is regularised; increase this to
        regularise it less.

    class_weight : dict or "balanced", default=None
        Factors of C by class; ``"balanced"`` is inverse to the classes' frequencies.

    max_iter : int, default=200
        Steps at most. A class ends earlier where steps no longer get anywhere. Either
        is warned of, and leaves the best weights found.

    device : str or torch.device, default="auto"
        ``"auto"`` takes a CUDA GPU where there is one, else the CPU. X stays where it
        is, and goes to the device in blocks, if it takes more than half of the
        device's free memory.

    verbose : int, default=0
        1 prints a line a step: how many classes are left, and the objective of all
        classes. With up to 512 columns that is the one before the step, at a C that
        still grows to its value.

    Attributes
    ----------
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Weights of the features, in the dtype of X.

    intercept_ : ndarray of shape (1,) or (n_classes,)
        Constants of the decision function.

    classes_ : ndarray of shape (n_classes,)
        The classes.

    n_iter_ : int
        Steps taken.

    n_features_in_ : int
        Number of columns of X.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, where it was a data frame with string names.

    See Also
    --------
    DCGANFeatureExtractor : Makes such features.

    References
    ----------
    Fan et al., "LIBLINEAR: A Library for Large Linear Classification", JMLR 9, 2008,
    for the objective; Keerthi and DeCoste, "A Modified Finite Newton Method for Fast
    Solution of Large Scale Linear SVMs", JMLR 6, 2005, for the method with few columns;
    Nocedal and Wright, "Numerical Optimization", 2006, section 16.6, for the
    interior-point method with many.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklgan import TorchLinearSVC
    >>> X, y = load_digits(return_X_y=True)
    >>> svm = TorchLinearSVC(C=0.01).fit(X.astype("float32"), y)
    >>> svm.coef_.shape, svm.coef_.dtype
    ((10, 64), dtype('float32'))
    """

    _parameter_constraints: dict = {
        "C": [Interval(Real, 0, None, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "fit_intercept": ["boolean"],
        "intercept_scaling": [Interval(Real, 0, None, closed="neither")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        C=1.0,
        tol=1e-4,
        fit_intercept=True,
        intercept_scaling=1.0,
        class_weight=None,
        max_iter=200,
        device="auto",
        verbose=0,
    ):
        self.C = C
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.device = device
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Find the weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of numbers; float32 and float64 are kept, others become float32.
        y : array-like of shape (n_samples,)
            Classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Factors of C by row. A row of weight 0 takes no part.

        Returns
        -------
        self : TorchLinearSVC
            The fitted estimator.
        """
        device = resolve_device(self.device)
        given, X, dtypes = X, *_tensor_if_dispatched(X)
        X, y = validate_data(self, X, to_host(y), dtype=dtypes, ensure_min_samples=2)
        dtype = numpy_dtype(X)
        check_classification_targets(y)
        sample_weight = _check_sample_weight(
            to_host(sample_weight), y, dtype=np.float64, ensure_non_negative=True
        )
        classes, codes = np.unique(y, return_inverse=True)
        present = np.unique(codes[sample_weight > 0])
        if len(present) < 2:
            raise ValueError(
                "This solver needs samples of at least 2 classes in the data, but the "
                f"data contains only one class: {classes[present]}"
            )
        bias = self._bias(dtype)
        rows = Rows(_place(as_tensor(X), device), bias, device)
        Y, weights = self._targets(classes, codes, sample_weight, dtype)
        if not np.isfinite(rows.mean_square()):
            raise ValueError(
                f"The rows of X are too long for {dtype}; scale the columns of X."
            )
        W, self.n_iter_, converged = minimize_squared_hinge(
            rows,
            Y.to(device),
            weights.to(device),
            tol=self.tol,
            max_iter=self.max_iter,
            report=print if self.verbose else None,
        )
        if not converged:
            warnings.warn(
                f"No convergence in {self.n_iter_} steps of at most max_iter="
                f"{self.max_iter}; scale the columns of X, decrease C, or increase "
                "max_iter or tol.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.classes_ = classes
        W = W.to(as_tensor(X[:0]).dtype)
        self.coef_ = like(W[:-1].T.contiguous(), given)
        self.intercept_ = like(bias * W[-1], given)
        return self

    def _bias(self, dtype):
        """Return the value of the constant column, 0 for none."""
        if not self.fit_intercept:
            return 0.0
        most = float(np.sqrt(np.finfo(dtype).max))
        if self.intercept_scaling > most:
            raise ValueError(
                f"intercept_scaling={self.intercept_scaling!r} is too large for "
                f"{dtype}; use at most {most:.1e}."
            )
        return float(self.intercept_scaling)

    def _targets(self, classes, codes, sample_weight, dtype):
        """Return labels -1 and 1, and C, as tensors (n, k); k is 1 for 2 classes.

        As in liblinear, one class against the rest has the class's own weight on the
        one side and none on the other; two classes have both weights.
        """
        factors = compute_class_weight(
            self.class_weight, classes=classes, y=classes[codes]
        )
        if not (factors >= 0).all():
            raise ValueError(
                f"class_weight={self.class_weight!r} has a negative factor or NaN; use "
                "factors of 0 or more."
            )
        columns = np.arange(1, 2) if len(classes) == 2 else np.arange(len(classes))
        positive = codes[:, None] == columns
        rest = factors[0] if len(classes) == 2 else 1.0
        C = self.C * sample_weight[:, None] * np.where(positive, factors[columns], rest)
        limits = np.finfo(dtype)
        if C.max() > limits.max:
            raise ValueError(
                f"C={self.C!r} times the weights is too large for {dtype}; lower C."
            )
        if C.max() < limits.tiny:
            raise ValueError(
                f"C={self.C!r} times the weights is too small for {dtype}; raise C or "
                "the weights."
            )
        # Below that, 1 / C would be infinite.
        C[C < limits.tiny] = 0
        Y = np.where(positive, 1, -1)
        return torch.from_numpy(Y.astype(dtype)), torch.from_numpy(C.astype(dtype))

    def decision_function(self, X):
        """Return the distance to each hyperplane, times the norm of its weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As in ``fit``.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, positive means ``classes_[1]``.
        """
        given, X, dtypes = X, *_tensor_if_dispatched(X)
        scores = self._scores(X, dtypes)
        return like(scores, given) if torch.is_tensor(scores) else scores

    def _scores(self, X, dtypes):
        """Return the same, of and as a NumPy array or a tensor."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=dtypes, reset=False)
        coef, intercept = (_beside(w, X) for w in (self.coef_, self.intercept_))
        scores = X @ coef.T + intercept
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        """Return the class of the largest score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As in ``fit``.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Elements of ``classes_``.
        """
        scores = as_tensor(self._scores(*_tensor_if_dispatched(X)))
        chosen = (scores > 0).long() if scores.ndim == 1 else scores.argmax(dim=1)
        return take(self.classes_, chosen, X)

    def __getstate__(self):
        """Return the state with weights as NumPy arrays, free of any device."""
        state = super().__getstate__()
        return {name: without_namespace(value) for name, value in state.items()}

    def __sklearn_tags__(self):
        """Say that arrays of other namespaces and devices are taken and given back."""
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags


def _tensor_if_dispatched(X):
    """Return X, as a tensor if it is dispatched, and the dtypes to check it for."""
    return (to_tensor(X), _TENSOR_DTYPES) if is_dispatched(X) else (X, _DTYPES)


def _place(X, device):
    """Return X on the device if it takes up to half of what is free there."""
    if device.type != "cuda":
        return X.to(device)
    free, _ = torch.cuda.mem_get_info(device)
    fits = X.numel() * X.element_size() <= free // 2
    return X.to(device) if fits else X


def _beside(weights, X):
    """Return weights, of any namespace, as NumPy array or tensor beside X."""
    if not torch.is_tensor(X):
        return without_namespace(weights)
    is_array = isinstance(weights, np.ndarray)
    return (as_tensor(weights) if is_array else to_tensor(weights)).to(X)
