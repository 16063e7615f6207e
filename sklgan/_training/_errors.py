"""What training raises when it goes wrong."""


class TrainingDivergedError(ValueError):
    """Raised by ``fit`` when a loss or a weight becomes NaN or infinite.

    The estimator keeps the weights of the last good epoch and can be used.

    Parameters
    ----------
    message : str
        What happened, and what to change.
    losses : dict of str to float, optional
        The mean losses of the epoch that was lost.
    """

    def __init__(self, message, losses=None):
        # A pickle calls the class with the message alone.
        super().__init__(message)
        self.losses = losses or {}


class StopTraining(Exception):
    """Ends a training after an epoch, as asked for; nothing has gone wrong."""


class DistributedTrainingError(RuntimeError):
    """Raised by ``fit`` when another process of the same training is lost.

    It has failed, has ended, or does not answer. The estimator keeps the weights of the
    last whole epoch, if there is one, and ``checkpoint`` goes on from it.
    """


# After these a fit goes back to the last whole epoch and keeps it.
BROKEN_OFF = (KeyboardInterrupt, TrainingDivergedError, DistributedTrainingError)
