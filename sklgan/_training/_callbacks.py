"""skorch callbacks: those of the user, checked, and those of the engine itself."""

from skorch.callbacks import Callback, EarlyStopping
from tqdm import tqdm

from sklgan._training._distributed import EarlyStopElsewhere
from sklgan._training._errors import StopTraining


def check_callbacks(callbacks):
    """Raise TypeError where a list holds something else than skorch callbacks."""
    for item in callbacks:
        callback = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        fits = issubclass if isinstance(callback, type) else isinstance
        if not fits(callback, Callback):
            raise TypeError(
                f"callbacks holds {item!r}; each should be a skorch callback, its "
                "class, or a pair (name, callback)."
            )


def is_early_stop(net, error):
    """Tell whether a callback, not the user's keyboard, ended the training.

    skorch's EarlyStopping raises KeyboardInterrupt when its patience is at an end.
    """
    if isinstance(error, (StopTraining, EarlyStopElsewhere)):
        return True
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code is EarlyStopping.on_epoch_end.__code__ and any(
        isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience
        for _, callback in net.callbacks_
    )


class EpochProgress(Callback):
    """One tqdm bar for the whole fit, a tick a batch, losses after each epoch.

    Parameters
    ----------
    what : str, default=""
        What is trained, where that is not all of the fit.
    """

    def __init__(self, what=""):
        self.what = what

    def on_train_begin(self, net, **kwargs):
        """Open the bar."""
        epoch = self._name_epoch(len(net.past_rows_), net)
        self.bar_ = tqdm(total=0, unit="batch", desc=epoch)

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Learn the number of batches when the first epoch begins."""
        if not self.bar_.total:
            n_batches = len(net.get_iterator(dataset_train, training=True))
            self.bar_.total = n_batches * (net.max_epochs - len(net.past_rows_))

    def on_batch_end(self, net, **kwargs):
        """Tick."""
        self.bar_.update()

    def on_epoch_end(self, net, **kwargs):
        """Show the losses of the epoch."""
        row = net.history[-1]
        epoch = len(net.past_rows_) + row["epoch"]
        self.bar_.set_description(self._name_epoch(epoch, net))
        losses = {name: row[name] for name in ("d_loss", "g_loss") if name in row}
        if self.what:  # no discriminator, but what learns in its place
            losses = {"loss": row["d_loss"]}
        self.bar_.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items()})

    def on_train_end(self, net, **kwargs):
        """Close the bar, also when training was broken off."""
        self.bar_.close()

    def _name_epoch(self, epoch, net):
        """Return what stands before the bar."""
        name = f"epoch {epoch}/{net.max_epochs}"
        return f"{self.what}, {name}" if self.what else name


class EpochEnd(Callback):
    """What comes after all other callbacks: the checkpoint, then the end if asked for.

    The last, so that the figures which others record are in the checkpoint, and that
    they all see the last epoch.
    """

    def on_train_begin(self, net, **kwargs):
        """Remember what the checkpoint holds already."""
        self.held_ = net.n_epochs, net.stopped_early_

    def on_epoch_end(self, net, **kwargs):
        """Write, if the last time is long enough ago; then stop, if that is wanted."""
        if net.checkpoint is not None and net.checkpoint.due():
            self._write(net)
        if net.stop_requested_:
            raise StopTraining

    def on_train_end(self, net, **kwargs):
        """Write the last epoch, if it is not there yet."""
        held = net.n_epochs, net.stopped_early_
        if net.checkpoint is not None and self.held_ != held:
            self._write(net)

    def _write(self, net):
        net.checkpoint.save(net.state_to_resume())
        self.held_ = net.n_epochs, net.stopped_early_


class EpochTasks(Callback):
    """Report training and epochs to somebody who may want to end them.

    Parameters
    ----------
    tasks : object
        With the methods that are called here.
    """

    def __init__(self, tasks):
        self.tasks = tasks

    def on_train_begin(self, net, **kwargs):
        """Say that training begins."""
        self.tasks.begin_training()

    def on_epoch_begin(self, net, **kwargs):
        """Say that an epoch begins."""
        self.tasks.begin_epoch()

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        """Say that it has ended, and stop if that is the answer."""
        if self.tasks.end_epoch(net, dataset_train.X, dataset_train.y):
            net.stop_requested_ = True

    def on_train_end(self, net, **kwargs):
        """Say that training has ended, for whatever reason."""
        self.tasks.end_training()
