"""What a fitted classifier says of rows: logits, probabilities, classes."""

from sklgan._namespaces import like, take


class PredictionMixin:
    """Predictions of an estimator with ``classes_`` and ``_logits(X)``, a tensor."""

    def decision_function(self, X):
        """Return the logits of X.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in ``fit``.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes), float32
            For two classes the difference of their logits: positive means
            ``classes_[1]``.
        """
        logits = self._logits(X)
        return like(logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else logits, X)

    def predict_proba(self, X):
        """Return the probability of each class, of real images.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in ``fit``.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes), float32
            In the order of ``classes_``.
        """
        return like(self._logits(X).softmax(dim=1), X)

    def predict_log_proba(self, X):
        """Return the logarithm of the probability of each class, of real images.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in ``fit``.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes), float32
            In the order of ``classes_``; finite where a probability is too small for
            float32.
        """
        return like(self._logits(X).log_softmax(dim=1), X)

    def predict(self, X):
        """Return the most probable class.

        Parameters
        ----------
        X : array-like or sequence of paths or of PIL images
            As in ``fit``.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Elements of ``classes_``.
        """
        chosen = self._logits(X).argmax(dim=1)
        return take(self.classes_, chosen, X)
