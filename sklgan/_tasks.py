"""scikit-learn's own callbacks, ``sklearn.callback``: a fit as a tree of tasks.

The fit is a task, each epoch one within it, and between the two stands each training
where a fit has more than one. ``set_callbacks`` and what it takes came with
scikit-learn 1.9; before that there is nothing here to do.
"""

import copy
from contextlib import contextmanager

import numpy as np
import torch

from sklgan._training import settled

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:
        """Stand where scikit-learn's mixin of this name will stand."""


def _n_trainings(gan):
    """Return how often a fit trains."""
    continued = gan.warm_start and hasattr(gan, "generator_")
    return 1 if continued else getattr(gan, "n_init", 1)


@contextmanager
def fit_task(gan):
    """Begin the task of a fit, and end it when the context is left without an error.

    scikit-learn's ``_fit_context`` cleans up behind both.
    """
    if not hasattr(gan, "_init_callback_context"):
        yield
        return
    n_trainings = _n_trainings(gan)
    task = gan._init_callback_context(
        max_subtasks=gan.max_epochs if n_trainings == 1 else n_trainings
    )
    task.call_on_fit_task_begin(estimator=gan)
    yield
    task.call_on_fit_task_end(estimator=gan, reconstruction_attributes=dict)


class TrainingTasks:
    """The tasks of one training, for the engine to report.

    Parameters
    ----------
    gan : BaseGAN
        Within :func:`fit_task`.
    X : ndarray, Tensor or ImageSequence of shape (n_samples, n_features)
        The rows of the fit.
    """

    def __init__(self, gan, X):
        self.gan, self.X = gan, X
        self.task = self.fit = gan._callback_fit_ctx
        self.has_several = _n_trainings(gan) > 1

    def begin_training(self):
        """Begin a task, if the fit has several trainings."""
        if self.has_several:
            self.task = self.fit.subcontext(
                task_name="training", max_subtasks=self.gan.max_epochs
            )
            self.task.call_on_fit_task_begin(estimator=self.gan)

    def begin_epoch(self):
        """Begin the task of an epoch."""
        self.epoch = self.task.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(estimator=self.gan)

    def end_epoch(self, net, rows, codes):
        """End it, and return whether a callback wants training to stop.

        Callbacks that ask for it are given the rows, their labels, and an estimator as
        ``fit`` would leave it.
        """
        return self.epoch.call_on_fit_task_end(
            estimator=self.gan,
            X=lambda: self.X.cpu().numpy() if torch.is_tensor(self.X) else self.X,
            y=lambda: self._labels(codes),
            reconstruction_attributes=lambda: self._fitted(net, rows),
        )

    def end_training(self):
        """End the task of the training, if it has one."""
        if self.has_several:
            self.task.call_on_fit_task_end(estimator=self.gan)

    def _labels(self, codes):
        """Return the user's labels for the engine's."""
        if codes is None:
            return None
        codes = codes.cpu().numpy()
        return np.where(codes < 0, -1, self.gan.classes_[codes])

    def _fitted(self, net, rows):
        """Return the fitted attributes that the training would leave now."""
        with settled(net) as network:
            generator = copy.deepcopy(network)
        with settled(net, rows) as network:
            discriminator = copy.deepcopy(network)
        history = [*self.gan.history_, *net.history_rows(self.gan.n_iter_)]
        return {
            "generator_": generator,
            "discriminator_": discriminator,
            "history_": history,
            "n_iter_": len(history),
        }
