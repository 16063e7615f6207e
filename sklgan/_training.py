"""The training engine: the adversarial loop over skorch, and what it is made of.

It sees tensors and callables; estimators, labels' meaning, NumPy and image layouts
are unknown here. This is the only module that imports skorch.
"""

import copy
import math

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, EpochTimer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

# Means and variances over this many images are exact to well under a per cent.
_STATISTICS_ROWS = 10_000


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


def equal_batches(n_rows, batch_size):
    """Return batch boundaries: sizes differ by 1 at most, none is 1 if n_rows > 1."""
    n_batches = max(1, min(math.ceil(n_rows / batch_size), n_rows // 2))
    return [n_rows * k // n_batches for k in range(n_batches + 1)]


class InMemoryBatches:
    """Batches of one tensor in a new random order each epoch.

    Slicing a tensor by a permutation is several times faster than a DataLoader, and
    the permutation is drawn where the tensor is, so nothing waits for the device.
    """

    def __init__(self, dataset, batch_size):
        self.rows, self.y = dataset.X, dataset.y
        self.boundaries = equal_batches(len(self.rows), batch_size)

    def __len__(self):
        """Return the number of batches."""
        return len(self.boundaries) - 1

    def __iter__(self):
        """Yield (rows, y) with y None where there are no labels."""
        order = torch.randperm(len(self.rows), device=self.rows.device)
        for start, stop in zip(self.boundaries, self.boundaries[1:], strict=False):
            chosen = order[start:stop]
            yield self.rows[chosen], None if self.y is None else self.y[chosen]


@torch.no_grad()
def gather_batch_norm(module, batches):
    """Set the running statistics of batch normalisation to their mean over batches.

    The statistics left by training belong to weights that have since moved, or to
    weights that are an average (see Newmu/dcgan_code, which recomputes them too).
    Returns the module, in evaluation mode.
    """
    module.eval()
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    if not layers:
        return module
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative average
        layer.train()
    for batch in batches:
        module(batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return module.eval()


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


def _is_early_stop(net, error):
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


class AdversarialNet(NeuralNet):
    """skorch's net with two modules, one optimiser and the adversarial step.

    Parameters
    ----------
    generator, discriminator : callable
        Return a new module each; see the contract in :mod:`sklgan.networks`.
    discriminator_loss : callable
        ``(discriminator, real, fake, y) -> scalar``.
    generator_loss : callable
        ``(discriminator, real, fake) -> scalar``.
    to_batch : callable
        Rows as they are stored to what the discriminator takes, on the device.
    latent_dim : int
        Number of latent variables, drawn from N(0, 1).
    augment : callable
        Applied to real and to fake batches.
    n_critic : int
        The generator is updated at each ``n_critic``-th batch.
    ema_decay : float
        Of the average of the generator's weights; 0 for none.
    autocast : bool
        Whether forward passes run in bfloat16 where that is safe.
    **kwargs
        Parameters of :class:`skorch.NeuralNet`.
    """

    def __init__(
        self,
        *,
        generator,
        discriminator,
        discriminator_loss,
        generator_loss,
        to_batch,
        latent_dim,
        augment,
        n_critic,
        ema_decay,
        autocast,
        **kwargs,
    ):
        self.generator = generator
        self.discriminator = discriminator
        self.discriminator_loss = discriminator_loss
        self.generator_loss = generator_loss
        self.to_batch = to_batch
        self.latent_dim = latent_dim
        self.augment = augment
        self.n_critic = n_critic
        self.ema_decay = ema_decay
        self.autocast = autocast
        super().__init__(
            module=nn.Identity,
            criterion=nn.Identity,
            iterator_train=InMemoryBatches,
            train_split=None,
            **kwargs,
        )

    @property
    def _default_callbacks(self):
        return [("epoch_timer", EpochTimer())]

    def initialize_module(self):
        """Build both networks and the averaged generator."""
        self.generator_ = self.generator()
        self.discriminator_ = self.discriminator()
        self.ema_generator_ = copy.deepcopy(self.generator_)
        for module in (self.generator_, self.discriminator_, self.ema_generator_):
            module.to(memory_format=torch.channels_last)
        self.n_steps_ = 0
        return self

    def initialize_criterion(self):
        """Do nothing: the losses are plain functions."""
        return self

    def initialize_optimizer(self, triggered_directly=None):
        """Build one Adam for both networks, so that schedulers reach both.

        Each step sees gradients of one network alone: the other's are None, and Adam
        leaves such parameters, and their moments, as they are.
        """
        groups = [
            {"params": list(module.parameters())}
            for module in (self.discriminator_, self.generator_)
        ]
        fused = torch.device(self.device).type in ("cpu", "cuda")
        self.optimizer_ = torch.optim.Adam(
            groups, lr=self.lr, betas=(0.5, 0.999), fused=fused
        )
        return self

    def train(self, rows, y=None):
        """Run ``max_epochs`` epochs; an interruption leaves the last whole epoch.

        skorch's ``fit_loop`` calls ``run_single_epoch`` for each, and that
        ``train_step`` for each batch of ``InMemoryBatches``.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight is NaN or infinite, after the weights of the last
            good epoch have been restored; the message says what it is.
        KeyboardInterrupt
            As it came, after the same.
        """
        self._keep_epoch()
        self.notify("on_train_begin", X=rows, y=y)
        try:
            self.fit_loop(rows, y)
        except (KeyboardInterrupt, TrainingDivergedError) as error:
            if not _is_early_stop(self, error):
                self._restore_epoch()
                raise
        finally:
            self.notify("on_train_end", X=rows, y=y)
        return self

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        """Run one epoch; losses are added up on the device, which is asked once."""
        if iterator is None:
            return
        sums, counts = {}, {}
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            losses = step_fn(batch, **fit_params)
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0.0) + loss
                counts[name] = counts.get(name, 0) + 1
            self.history.record_batch("train_batch_size", len(batch[0]))
            # Scoring callbacks ask for predictions, which a GAN does not make.
            self.notify(
                "on_batch_end", batch=batch, training=training, y_pred=None, **losses
            )
        means = {name: float(sums[name]) / counts[name] for name in sums}
        for name, mean in means.items():
            self.history.record(name, mean)
        if not all(math.isfinite(mean) for mean in means.values()):
            figures = ", ".join(f"{name} = {mean}" for name, mean in means.items())
            raise TrainingDivergedError(figures, means)
        if not self._weights_are_finite():
            raise TrainingDivergedError("the weights are not finite", means)
        self._keep_epoch()

    def train_step(self, batch, **fit_params):
        """Update the discriminator, then at every ``n_critic``-th batch the generator.

        Returns
        -------
        dict of Tensor
            ``"d_loss"`` and, where the generator was updated, ``"g_loss"``.
        """
        rows, y = batch
        self._set_training(True)
        self.n_steps_ += 1
        updates_generator = self.n_steps_ % self.n_critic == 0
        real = self.augment(self.to_batch(rows))
        with self._autocast():
            with torch.set_grad_enabled(updates_generator):
                fake = self.generator_(self.draw_latent(len(real)))
            d_loss = self.discriminator_loss(
                self.discriminator_, real, self.augment(fake.detach().float()), y
            )
        self._update(d_loss)
        if not updates_generator:
            return {"d_loss": d_loss.detach()}
        # Frozen, the discriminator passes gradients on without gathering its own.
        self.discriminator_.requires_grad_(False)
        with self._autocast():
            g_loss = self.generator_loss(
                self.discriminator_, real, self.augment(fake.float())
            )
        self._update(g_loss)
        self.discriminator_.requires_grad_(True)
        self._update_average()
        return {"d_loss": d_loss.detach(), "g_loss": g_loss.detach()}

    def draw_latent(self, n_rows):
        """Draw latent vectors (n_rows, latent_dim) from N(0, 1), on the device."""
        return torch.randn(n_rows, self.latent_dim, device=self.device)

    def settled_discriminator(self, rows):
        """Return the discriminator, its BatchNorm statistics those of the rows."""
        order = torch.randperm(len(rows), device=rows.device)[:_STATISTICS_ROWS]
        bounds = equal_batches(len(order), self.batch_size)
        batches = (
            self.to_batch(rows[order[start:stop]])
            for start, stop in zip(bounds, bounds[1:], strict=False)
        )
        return gather_batch_norm(self.discriminator_, batches)

    def averaged_generator(self):
        """Return the generator with averaged weights, BatchNorm statistics to match."""
        if not self.ema_decay:
            self.ema_generator_.load_state_dict(self.generator_.state_dict())
        # Such as the vectors of spectral norms; BatchNorm's are gathered anew below.
        buffers = self.ema_generator_.buffers(), self.generator_.buffers()
        for averaged, last in zip(*buffers, strict=True):
            averaged.copy_(last)
        batches = (self.draw_latent(128) for _ in range(50))
        return gather_batch_norm(self.ema_generator_, batches)

    def history_rows(self, n_before):
        """Return a dict for each whole epoch, counted on from ``n_before``."""
        rows = []
        for epoch, row in enumerate(self.history, start=n_before + 1):
            figures = {
                name: value
                for name, value in row.items()
                if isinstance(value, float) and name != "dur"
            }
            duration = row.get("dur", float("nan"))
            rows.append({"epoch": epoch, **figures, "duration": duration})
        return rows

    def training_state(self):
        """Return all that a continuation needs, nested dicts of tensors and numbers."""
        return {
            "generator": self.generator_.state_dict(),
            "ema_generator": self.ema_generator_.state_dict(),
            "discriminator": self.discriminator_.state_dict(),
            "optimizer": self.optimizer_.state_dict(),
            "n_steps": self.n_steps_,
        }

    def load_training_state(self, state):
        """Go on from what :meth:`training_state` returned."""
        self.generator_.load_state_dict(state["generator"])
        self.ema_generator_.load_state_dict(state["ema_generator"])
        self.discriminator_.load_state_dict(state["discriminator"])
        self.optimizer_.load_state_dict(state["optimizer"])
        self.n_steps_ = state["n_steps"]

    def _weights_are_finite(self):
        """Tell whether all weights are finite numbers; the device is asked once."""
        modules = (self.generator_, self.discriminator_)
        finite = [p.isfinite().all() for m in modules for p in m.parameters()]
        return bool(torch.stack(finite).all())

    def _keep_epoch(self):
        """Remember the state, and how many epochs led to it."""
        self._kept = copy.deepcopy(self.training_state()), len(self.history)

    def _restore_epoch(self):
        """Go back to the end of the last whole epoch."""
        state, n_epochs = self._kept
        self.load_training_state(state)
        del self.history[n_epochs:]
        # An interruption may have come while the discriminator was frozen.
        self.discriminator_.requires_grad_(True)

    def _autocast(self):
        """Return the context of a forward pass."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.autocast)

    def _update(self, loss):
        """Step the optimiser for the parameters that ``loss`` depends on."""
        self.optimizer_.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer_.step()

    def _update_average(self):
        """Move the averaged generator; the average is short while training is young."""
        n_updates = self.n_steps_ // self.n_critic
        decay = min(self.ema_decay, (1 + n_updates) / (10 + n_updates))
        with torch.no_grad():
            get_ema_multi_avg_fn(decay)(
                list(self.ema_generator_.parameters()),
                list(self.generator_.parameters()),
                None,
            )
