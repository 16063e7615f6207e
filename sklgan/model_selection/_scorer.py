"""Scores that pass unlabelled rows by."""

from copy import deepcopy
from inspect import signature

from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score, check_scoring
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

from sklgan._labels import find_labels
from sklgan._namespaces import to_host
from sklgan.model_selection._labels import take_labeled


def labeled_scorer(scoring):
    """Make a scorer that passes rows with the label -1 by.

    scikit-learn's scorers count each row with the label -1 as an error of the
    classifier. The scorer that this returns hands the labelled rows alone to the
    estimator and to the metric, and goes wherever a scorer goes: the parameter
    ``scoring`` of :class:`~sklearn.model_selection.GridSearchCV`,
    :func:`~sklearn.model_selection.cross_validate` and their like.

    Parameters
    ----------
    scoring : str, callable, list, tuple, set, dict or None
        What :func:`sklearn.metrics.check_scoring` takes: the name of a metric, a
        scorer, several of them, or None for the estimator's own ``score``.

    Returns
    -------
    scorer : callable
        Called as ``scorer(estimator, X, y, **params)``, returns what the given scorer
        returns for the labelled rows. Those of `params` that have an entry a row, such
        as ``sample_weight``, are cut like X. It asks for the metadata that the given
        scorer asks for (``scoring=None``: for none), and can be pickled if that can.
        It raises ValueError if no row is labelled, or y holds no classes.

    See Also
    --------
    SemiSupervisedKFold : Makes test sets of labelled rows.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklgan.model_selection import labeled_scorer
    >>> X, y = [[0], [0], [0], [0]], [1, 1, 0, -1]
    >>> classifier = DummyClassifier(strategy="constant", constant=1).fit(X, y)
    >>> labeled_scorer("accuracy")(classifier, X, y)
    0.66...
    """
    return _LabeledScorer(scoring)


class _LabeledScorer:
    """The scorer that `labeled_scorer` returns."""

    def __init__(self, scoring):
        self._scoring = scoring
        # None means the estimator's score, and the estimator is not known yet.
        self._scorer = None if scoring is None else check_scoring(scoring=scoring)

    def __repr__(self):
        return f"labeled_scorer({self._scoring!r})"

    def __call__(self, estimator, X, y=None, **params):
        y, rows = find_labels(
            y,
            repr(self),
            allow_strings=True,
            remedy="In cross-validation, SemiSupervisedKFold puts labelled rows into "
            "every test set.",
        )
        X, y, params = take_labeled(X, y, rows, params)
        scorer = check_scoring(estimator) if self._scorer is None else self._scorer
        return scorer(estimator, X, y, **params)

    def _accept_sample_weight(self):
        """Say whether the metric takes weights; scikit-learn's searches ask for it."""
        if self._scorer is None:
            return True
        if hasattr(self._scorer, "_accept_sample_weight"):
            return self._scorer._accept_sample_weight()
        return "sample_weight" in signature(self._scorer).parameters

    def get_metadata_routing(self):
        """Return the metadata that the given scorer asks for."""
        if self._scorer is None:
            return MetadataRequest(owner=repr(self))
        return get_routing_for_object(self._scorer)

    def set_score_request(self, **requests):
        """Ask for metadata, as scikit-learn's scorers do."""
        if not hasattr(self._scorer, "set_score_request"):
            raise TypeError(
                f"{self!r} cannot ask for metadata, because the scorer in it cannot; "
                "give labeled_scorer the name of a metric, or what make_scorer returns."
            )
        self._scorer = deepcopy(self._scorer).set_score_request(**requests)
        return self


class LabeledClassifierMixin(ClassifierMixin):
    """A classifier whose ``score`` passes rows with the label -1 by."""

    def score(self, X, y, sample_weight=None):
        """Return the accuracy on the labelled rows.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in ``fit``.
        y : array-like of shape (n_samples,)
            Classes; rows with -1 are passed by, instead of counted as errors.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Between 0 and 1.

        Raises
        ------
        ValueError
            If no row is labelled.
        """
        y, rows = find_labels(y, type(self).__name__, allow_strings=True)
        weights = {"sample_weight": sample_weight}
        X, y, weights = take_labeled(X, y, rows, weights)
        return float(accuracy_score(y, to_host(self.predict(X)), **weights))
