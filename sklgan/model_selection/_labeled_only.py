"""LabeledOnly: an ordinary classifier among unlabelled rows."""

from copy import deepcopy

import numpy as np
from sklearn.base import (
    BaseEstimator,
    MetaEstimatorMixin,
    _fit_context,
    clone,
    is_regressor,
)
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils._set_output import _safe_set_output
from sklearn.utils.metadata_routing import (
    UNUSED,
    MetadataRouter,
    MethodMapping,
    _routing_enabled,
    process_routing,
)
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _estimator_has, check_is_fitted

from sklgan._labels import find_labels, warn_of_one_class
from sklgan.model_selection._labels import take_labeled

_PREDICTIONS = (
    "predict",
    "predict_proba",
    "predict_log_proba",
    "decision_function",
    "transform",
    "inverse_transform",
)


class LabeledOnly(MetaEstimatorMixin, BaseEstimator):
    """Fit a classifier on the labelled rows alone.

    An ordinary classifier takes -1 for one class more. As the last step of a pipeline,
    ``LabeledOnly(classifier)`` lets the steps before it learn from all rows while the
    classifier learns from those whose label is not -1.

    Parameters
    ----------
    estimator : estimator object
        A classifier, or anything else that learns from classes, for example a pipeline,
        a search, or a supervised transformer. Not a regressor: among its targets -1 is
        a number like any other.

    Attributes
    ----------
    estimator_ : estimator object
        The clone of `estimator` that was fitted on the labelled rows.

    classes_ : ndarray of shape (n_classes,)
        The classes, without -1. Only if `estimator_` has it.

    coef_, feature_importances_ : ndarray
        What `estimator_` says of the columns of X, for ``SelectFromModel`` and
        ``RFECV``. Only if it has them.

    n_features_in_ : int
        Number of columns of X. Only if `estimator_` has it.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X. Only if `estimator_` has it.

    See Also
    --------
    sklearn.semi_supervised.SelfTrainingClassifier : Uses the unlabelled rows too, by
        labelling those that it is sure of.

    Notes
    -----
    X is not looked at here: it may hold whatever `estimator` takes, and need not be
    finite where no label is. Parameters of ``fit`` and ``score`` that have an entry a
    row, such as ``sample_weight``, are cut like X; they go to `estimator` as they are,
    or through metadata routing where that is enabled.

    Ensembles such as :class:`~sklearn.ensemble.BaggingClassifier`, and calibration,
    number the classes before their members see them, and -1 becomes one of these. So
    wrap the ensemble, ``LabeledOnly(BaggingClassifier(...))``, not its members.
    Pipelines and searches hand y on as it is: put LabeledOnly inside or outside of
    them, as the case needs.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.svm import LinearSVC
    >>> from sklgan.model_selection import LabeledOnly, mask_labels
    >>> X, y = load_digits(return_X_y=True)
    >>> few = mask_labels(y, n_per_class=10, random_state=0)
    >>> model = make_pipeline(PCA(16), LabeledOnly(LinearSVC(random_state=0)))
    >>> model.fit(X, few).classes_
    array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    """

    _parameter_constraints: dict = {"estimator": [HasMethods(["fit"])]}

    # The wrapped estimator is what asks for it.
    __metadata_request__score = {"sample_weight": UNUSED}

    def __init__(self, estimator):
        self.estimator = estimator

    @_fit_context(prefer_skip_nested_validation=False)  # the estimator validates itself
    def fit(self, X, y, **fit_params):
        """Fit a clone of the estimator on the labelled rows.

        Parameters
        ----------
        X : array-like of length n_samples
            What the estimator takes: array, sparse matrix, data frame, list ...
        y : array-like of shape (n_samples,)
            Classes, whole numbers or strings, and the integer -1 for unlabelled rows.
            Strings need dtype object, because a string dtype cannot hold -1.
        **fit_params : dict
            Passed to the estimator's ``fit``, cut to the labelled rows.

        Returns
        -------
        self : LabeledOnly
            The fitted estimator.

        Raises
        ------
        ValueError
            If no row is labelled, y holds no classes, or the estimator is a regressor.
        """
        if is_regressor(self.estimator):
            raise ValueError(
                f"{self._name()} wraps a regressor, and in the target of a regression "
                "-1 is a number like any other. Leave out the rows without a target "
                "before fit: X[known], y[known]."
            )
        fit_params = self._routed("fit", fit_params)
        X, y, fit_params = self._take_labeled(X, y, fit_params, warns=True)
        self.estimator_ = clone(self.estimator).fit(X, y, **fit_params)
        return self

    @available_if(_estimator_has("transform"))
    def fit_transform(self, X, y, **fit_params):
        """Fit on the labelled rows, then transform all rows.

        Parameters
        ----------
        X : array-like of length n_samples
            As in ``fit``.
        y : array-like of shape (n_samples,)
            As in ``fit``.
        **fit_params : dict
            As in ``fit``.

        Returns
        -------
        X_new : array-like of shape (n_samples, n_features_out)
            What the estimator's ``transform`` returns.
        """
        return self.fit(X, y, **fit_params).transform(X)

    @available_if(_estimator_has("score"))
    def score(self, X, y, sample_weight=None, **params):
        """Score the labelled rows, with the estimator's own ``score``.

        Rows whose label is -1 are passed by, instead of counted as errors. Where all
        rows are labelled, as test sets should be, this is the estimator's ``score``.

        Parameters
        ----------
        X : array-like of length n_samples
            As in ``fit``.
        y : array-like of shape (n_samples,)
            Classes, and the integer -1 for unlabelled rows. Here strings may have a
            string dtype: then all rows are labelled.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, if the estimator's ``score`` takes them.
        **params : dict
            Passed to the estimator's ``score``; those that have an element for each
            row are cut to the labelled rows, as ``sample_weight`` is.

        Returns
        -------
        score : float
            For classifiers, the accuracy on the labelled rows.

        Raises
        ------
        ValueError
            If no row is labelled, or y holds no classes.
        """
        check_is_fitted(self)
        if sample_weight is not None:
            params["sample_weight"] = sample_weight
        params = self._routed("score", params)
        X, y, params = self._take_labeled(X, y, params, allow_strings=True)
        return self.estimator_.score(X, y, **params)

    @available_if(_estimator_has("predict"))
    def predict(self, X, **params):
        """Return what the fitted estimator predicts, for all rows.

        Parameters
        ----------
        X : array-like of length n_samples
            As in ``fit``.
        **params : dict
            Passed to the estimator's ``predict``.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Elements of ``classes_``, hence never -1.
        """
        return self._delegate("predict", X, params)

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X, **params):
        """Return the fitted estimator's probabilities, for all rows.

        Parameters
        ----------
        X : array-like of length n_samples
            As in ``fit``.
        **params : dict
            Passed to the estimator's ``predict_proba``.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return self._delegate("predict_proba", X, params)

    @available_if(_estimator_has("predict_log_proba"))
    def predict_log_proba(self, X, **params):
        """Return the fitted estimator's logarithms of probabilities, for all rows.

        Parameters
        ----------
        X : array-like of length n_samples
            As in ``fit``.
        **params : dict
            Passed to the estimator's ``predict_log_proba``.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return self._delegate("predict_log_proba", X, params)

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X, **params):
        """Return the fitted estimator's decision function, for all rows.

        Parameters
        ----------
        X : array-like of length n_samples
            As in ``fit``.
        **params : dict
            Passed to the estimator's ``decision_function``.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, positive means ``classes_[1]``.
        """
        return self._delegate("decision_function", X, params)

    @available_if(_estimator_has("transform"))
    def transform(self, X, **params):
        """Return what the fitted estimator makes of X, for all rows.

        Parameters
        ----------
        X : array-like of length n_samples
            As in ``fit``.
        **params : dict
            Passed to the estimator's ``transform``.

        Returns
        -------
        X_new : array-like of shape (n_samples, n_features_out)
            What the estimator's ``transform`` returns.
        """
        return self._delegate("transform", X, params)

    @available_if(_estimator_has("inverse_transform"))
    def inverse_transform(self, X, **params):
        """Return what the fitted estimator makes of transformed rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features_out)
            As ``transform`` returns it.
        **params : dict
            Passed to the estimator's ``inverse_transform``.

        Returns
        -------
        X_original : array-like of shape (n_samples, n_features)
            What the estimator's ``inverse_transform`` returns.
        """
        return self._delegate("inverse_transform", X, params)

    @available_if(_estimator_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns that ``transform`` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Passed to the estimator.

        Returns
        -------
        names : ndarray of str, shape (n_features_out,)
            The estimator's names.
        """
        check_is_fitted(self)
        return self.estimator_.get_feature_names_out(input_features)

    @available_if(_estimator_has("transform"))
    def set_output(self, *, transform=None):
        """Set what ``transform`` returns, as scikit-learn's transformers do.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            The container; None changes nothing.

        Returns
        -------
        self : LabeledOnly
            This estimator, and the one it wraps, are changed.
        """
        _safe_set_output(self.estimator, transform=transform)
        if hasattr(self, "estimator_"):
            _safe_set_output(self.estimator_, transform=transform)
        return self

    @property
    def classes_(self):
        """The classes, without -1."""
        return self.estimator_.classes_

    @property
    def coef_(self):
        """The fitted estimator's coefficients."""
        return self.estimator_.coef_

    @property
    def feature_importances_(self):
        """The fitted estimator's importances of columns."""
        return self.estimator_.feature_importances_

    @property
    def n_features_in_(self):
        """Number of columns of X."""
        return self.estimator_.n_features_in_

    @property
    def feature_names_in_(self):
        """Names of the columns of X."""
        return self.estimator_.feature_names_in_

    def get_metadata_routing(self):
        """Say which metadata the estimator's methods ask for.

        Returns
        -------
        routing : MetadataRouter
            One that passes all metadata on to the estimator.
        """
        mapping = MethodMapping().add(caller="fit_transform", callee="fit")
        for method in ("fit", "score", *_PREDICTIONS):
            mapping.add(caller=method, callee=method)
        # scikit-learn 1.6 prints the owner as it is, so it is a name.
        router = MetadataRouter(owner=type(self).__name__)
        return router.add(estimator=self.estimator, method_mapping=mapping)

    def __sklearn_tags__(self):
        tags = deepcopy(get_tags(self.estimator))
        tags.target_tags.required = True
        tags.target_tags.multi_output = False
        tags.array_api_support = False
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        return tags

    def _name(self):
        """Return this estimator's name in messages."""
        return f"LabeledOnly({type(self.estimator).__name__})"

    def _take_labeled(self, X, y, params, *, allow_strings=False, warns=False):
        """Return the labelled rows of X, y and params."""
        y, rows = find_labels(
            y,
            self._name(),
            allow_strings=allow_strings,
            remedy="Label some rows; in cross-validation, SemiSupervisedKFold puts "
            "labelled rows into every training and test set.",
        )
        if warns:
            warn_of_one_class("y", np.unique(y[rows]), len(y) - len(rows))
        return take_labeled(X, y, rows, params)

    def _routed(self, method, params):
        """Return those of params that the estimator's method is to have."""
        if not _routing_enabled():
            return params
        return process_routing(self, method, **params)["estimator"][method]

    def _delegate(self, method, X, params):
        """Call a method of the fitted estimator."""
        check_is_fitted(self)
        return getattr(self.estimator_, method)(X, **self._routed(method, params))
