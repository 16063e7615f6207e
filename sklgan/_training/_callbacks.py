"""skorch callbacks: those of the user, checked, and our progress bar."""

from skorch.callbacks import Callback, EarlyStopping
from tqdm import tqdm

from sklgan._training._batches import equal_batches


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
    """Tell whether EarlyStopping, not the user's keyboard, ended the training.

    It stops by raising KeyboardInterrupt itself, when its patience is at an end.
    """
    traceback = error.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code is EarlyStopping.on_epoch_end.__code__ and any(
        isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience
        for _, callback in net.callbacks_
    )


class EpochProgress(Callback):
    """One tqdm bar for the whole fit, a tick a batch, losses after each epoch."""

    def on_train_begin(self, net, **kwargs):
        """Open the bar."""
        self.bar_ = tqdm(total=0, unit="batch", desc=f"epoch 0/{net.max_epochs}")

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Learn the number of batches when the first epoch begins."""
        n_batches = len(equal_batches(len(dataset_train), net.batch_size)) - 1
        self.bar_.total = n_batches * net.max_epochs

    def on_batch_end(self, net, **kwargs):
        """Tick."""
        self.bar_.update()

    def on_epoch_end(self, net, **kwargs):
        """Show the losses of the epoch."""
        row = net.history[-1]
        self.bar_.set_description(f"epoch {row['epoch']}/{net.max_epochs}")
        losses = {name: row[name] for name in ("d_loss", "g_loss") if name in row}
        self.bar_.set_postfix({name: f"{loss:.3f}" for name, loss in losses.items()})

    def on_train_end(self, net, **kwargs):
        """Close the bar, also when training was broken off."""
        self.bar_.close()
