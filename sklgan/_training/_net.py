"""AdversarialNet: the adversarial loop over skorch."""

import copy
import math
from functools import partial

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer
from torch import nn

from sklgan._tensors import random_state, set_random_state
from sklgan._training._averages import (
    are_finite,
    batch_norm_in_training,
    move_average,
)
from sklgan._training._batches import ShuffledBatches
from sklgan._training._callbacks import EpochEnd, is_early_stop
from sklgan._training._cuda import GraphedSteps, fast_cudnn
from sklgan._training._distributed import (
    check_shares,
    n_processes,
    same_epoch,
    same_weights,
    stopping_together,
)
from sklgan._training._errors import BROKEN_OFF, StopTraining, TrainingDivergedError
from sklgan._training._shares import (
    layers_of_the_joined_batch,
    shared,
    sum_gradients,
)

_LAST = ("end_of_epoch", EpochEnd)


class AdversarialNet(NeuralNet):
    """skorch's net with two modules, one optimiser and the adversarial step.

    Parameters
    ----------
    generator, discriminator : callable
        Return a new module each; see the contract in :mod:`sklgan.networks`.
    discriminator_loss : callable
        ``(discriminator, real, fake, y) -> scalar``. ``y`` are the labels of the first
        ``len(y)`` real rows, or None; there are as many fake as other real rows.
    generator_loss : callable or None
        ``(discriminator, real, fake) -> scalar``. With None nothing is generated and
        the generator stays as it is; ``fake`` is None.
    to_batch : callable
        Rows as they are stored to what the discriminator takes, on the device.
    latent_dim : int
        Number of latent variables, drawn from N(0, 1).
    augment : callable
        Applied to real and to fake batches.
    n_critic : int
        The generator is updated at each ``n_critic``-th batch.
    warmup_epochs : int
        In so many epochs at first nothing is generated; ``fake`` is None.
    ema_decay : float
        Of the average of the generator's weights; 0 for none.
    average_discriminator : bool
        Whether there is an average of the discriminator's weights too. It is what
        remains after training, and ``discriminator_loss`` gets it, for targets of its
        own, as keyword ``averaged``: its dropout is off, its BatchNorm takes batches.
    autocast : bool
        Whether forward passes run in bfloat16 where that is safe.
    loss_state : dict of Tensor
        What the losses remember from batch to batch, changed by them in place.
    checkpoint : Checkpoint or None
        What to resume from, if it holds a state, and to write to after epochs.
    graphs : bool
        Whether steps on a CUDA device are captured as graphs; others stay plain.
    to_rows : callable
        Any X of the user's to rows as an array, for callbacks that hold some.
    from_batch : callable
        What the generator returns, as an array, to the user's form of X, for callbacks.
    callbacks : list
        Of skorch's callbacks.
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
        warmup_epochs=0,
        average_discriminator=False,
        loss_state=None,
        checkpoint=None,
        graphs=False,
        to_rows=None,
        from_batch=None,
        callbacks=(),
        iterator_train=ShuffledBatches,
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
        self.warmup_epochs = warmup_epochs
        self.average_discriminator = average_discriminator
        self.loss_state = loss_state
        self.checkpoint = checkpoint
        self.graphs = graphs
        self.to_rows = to_rows
        self.from_batch = from_batch
        super().__init__(
            module=nn.Identity,
            criterion=nn.Identity,
            iterator_train=iterator_train,
            train_split=None,
            callbacks=[*callbacks, _LAST],
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
        if self.average_discriminator:
            self.ema_discriminator_ = copy.deepcopy(self.discriminator_)
        networks = {name.rstrip("_"): getattr(self, name) for name in self.module_names}
        # All of them, under the name by which skorch's callbacks save and restore.
        self.module_ = nn.ModuleDict(networks).to(memory_format=torch.channels_last)
        self.n_steps_, self.n_generator_steps_ = 0, 0
        self.past_rows_, self.stopped_early_ = [], False
        captures = self.graphs and torch.device(self.device).type == "cuda"
        self.graphed_steps_ = GraphedSteps(self) if captures else None
        self.best_, self.notes_, self.stop_requested_ = None, {}, False
        return self

    @property
    def module_names(self):
        """Names of the attributes that hold networks."""
        names = ["generator_", "discriminator_", "ema_generator_"]
        return [*names, "ema_discriminator_"] if self.average_discriminator else names

    @property
    def n_epochs(self):
        """Number of epochs begun, those before a resumption included."""
        return len(self.past_rows_) + len(self.history)

    @property
    def final_epoch(self):
        """Number of the epoch whose weights there are after :meth:`train`."""
        return self.best_[1] if self.best_ else self.n_epochs

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
            groups,
            lr=self.lr,
            betas=(0.5, 0.999),
            fused=fused,
            capturable=self.graphed_steps_ is not None,
        )
        return self

    def train(self, rows, y=None):
        """Run up to ``max_epochs`` epochs; an interruption leaves the last whole epoch.

        Those that the checkpoint knows of are not run again. skorch's ``fit_loop``
        calls ``run_single_epoch`` for each, and that ``train_step`` for each batch of
        ``ShuffledBatches``.

        Raises
        ------
        TrainingDivergedError
            If a loss or a weight is NaN or infinite, after the weights of the last
            good epoch have been restored; the message says what it is.
        KeyboardInterrupt, DistributedTrainingError
            As it came, after the same.
        """
        check_shares(len(rows), self.batch_size, n_processes())
        if self.checkpoint is not None:
            self._resume(self.checkpoint.take_state(self.training_state()))
        same_weights(self.module_)
        self._keep_epoch()
        self.notify("on_train_begin", X=rows, y=y)
        n_left = self.max_epochs - len(self.past_rows_)
        try:
            with fast_cudnn(self.autocast), layers_of_the_joined_batch(self.module_):
                self.fit_loop(rows, y, epochs=0 if self.stopped_early_ else n_left)
        except (StopTraining, *BROKEN_OFF) as error:
            self.stopped_early_ = is_early_stop(self, error)
            if not self.stopped_early_:
                self._restore_epoch()
                raise
        except BaseException:
            # No checkpoint may count the epoch that was broken off.
            self._restore_epoch()
            raise
        finally:
            self.notify("on_train_end", X=rows, y=y)
            if self.best_ is not None:
                self.load_training_state(self.best_[0])
        return self

    def remember_best(self):
        """Let :meth:`train` end with the state of this epoch, and return that."""
        self.best_ = self._kept[0], self.n_epochs
        return self.best_[0]

    def notify(self, method_name, **kwargs):
        """Call a method of all callbacks; ranks stop early together."""
        if method_name != "on_epoch_end":
            return super().notify(method_name, **kwargs)
        with stopping_together(partial(is_early_stop, self)):
            return super().notify(method_name, **kwargs)

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
        means = same_epoch(self.module_, means, random_state(self.device))
        for name, mean in means.items():
            self.history.record(name, mean)
        if not all(math.isfinite(mean) for mean in means.values()):
            figures = ", ".join(f"{name} = {mean}" for name, mean in means.items())
            raise TrainingDivergedError(figures, means)
        if not are_finite(self.generator_, self.discriminator_):
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
        generates = self.generator_loss is not None and not self.is_warming_up()
        updates_generator = generates and self.n_steps_ % self.n_critic == 0
        update = self.graphed_steps_ or self.update_networks
        losses = update(rows, y, generates, updates_generator)
        self._move_averages(updates_generator)
        return losses

    def update_networks(self, rows, y, generates, updates_generator):
        """Step the discriminator, and the generator if it is its turn; return losses.

        Nothing here waits for the device or depends on what it has computed.
        """
        n_labeled = 0 if y is None else len(y)
        real, fake = self.augment(self.to_batch(rows)), None
        if generates:
            with self._autocast(), torch.set_grad_enabled(updates_generator):
                latent = self.draw_latent(len(real) - n_labeled)
                fake = shared(self.generator_)(latent).float()
        losses = {"d_loss": self._update_discriminator(real, fake, y)}
        if updates_generator:
            losses["g_loss"] = self._update_generator(real[n_labeled:], fake)
        return losses

    def is_warming_up(self):
        """Tell whether the epoch is one of the first, in which nothing is generated."""
        return max(1, self.n_epochs) <= self.warmup_epochs

    def _update_discriminator(self, real, fake, y):
        """Step the discriminator; return the loss."""
        if fake is not None:
            fake = self.augment(fake.detach())
        with self._autocast():
            loss = self.discriminator_loss(
                shared(self.discriminator_), real, fake, y, **self._averaged()
            )
        self._update(loss)
        return loss.detach()

    def _update_generator(self, real, fake):
        """Step the generator; return the loss."""
        # Frozen, the discriminator passes gradients on without gathering its own.
        self.discriminator_.requires_grad_(False)
        with self._autocast():
            discriminator = shared(self.discriminator_)
            loss = self.generator_loss(discriminator, real, self.augment(fake))
        self._update(loss)
        self.discriminator_.requires_grad_(True)
        return loss.detach()

    def _move_averages(self, updates_generator):
        """Move the averages of the networks that have been updated."""
        if self.average_discriminator:
            networks = self.ema_discriminator_, self.discriminator_
            move_average(*networks, self.n_steps_, self.ema_decay)
        if updates_generator:
            self.n_generator_steps_ += 1
            networks = self.ema_generator_, self.generator_
            move_average(*networks, self.n_generator_steps_, self.ema_decay)

    def _averaged(self):
        """Return the averaged discriminator as the keyword of a loss that wants it."""
        if not self.average_discriminator:
            return {}
        averaged = batch_norm_in_training(self.ema_discriminator_)
        return {"averaged": shared(averaged)}

    def draw_latent(self, n_rows):
        """Draw latent vectors (n_rows, latent_dim) from N(0, 1), on the device."""
        return torch.randn(n_rows, self.latent_dim, device=self.device)

    def history_rows(self, n_before):
        """Return a dict for each whole epoch, counted on from ``n_before``."""
        rows = [{**row, "epoch": n_before + row["epoch"]} for row in self.past_rows_]
        for epoch, row in enumerate(self.history, start=n_before + len(rows) + 1):
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
        networks = {
            name.rstrip("_"): getattr(self, name).state_dict()
            for name in self.module_names
        }
        return {
            **networks,
            "optimizer": self.optimizer_.state_dict(),
            "loss": dict(self.loss_state or {}),
            "n_steps": self.n_steps_,
            "n_generator_steps": self.n_generator_steps_,
        }

    def load_training_state(self, state):
        """Go on from what :meth:`training_state` returned."""
        for name in self.module_names:
            getattr(self, name).load_state_dict(state[name.rstrip("_")])
        self.optimizer_.load_state_dict(state["optimizer"])
        for group in self.optimizer_.param_groups:
            group["capturable"] = self.optimizer_.defaults["capturable"]
        if self.graphed_steps_ is not None:
            self.graphed_steps_.clear()
        # Fused Adam goes through memory: moments have to lie there as weights do.
        for parameter, moments in self.optimizer_.state.items():
            for name, value in moments.items():
                if value.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter).copy_(value)
        for name, value in (self.loss_state or {}).items():
            # A state that an earlier version wrote may lack it: then it begins anew.
            value.copy_(state["loss"].get(name, value))
        self.n_steps_ = state["n_steps"]
        self.n_generator_steps_ = state["n_generator_steps"]

    def state_to_resume(self):
        """Return what a checkpoint has to hold of the last whole epoch."""
        training, _, drawn = self._kept
        return {
            "training": training,
            "random": drawn,
            "rows": self.history_rows(0),
            "stopped_early": self.stopped_early_,
            "warmup_epochs": self.warmup_epochs,
            "notes": self.notes_,
        }

    def _resume(self, state):
        """Go on from what :meth:`state_to_resume` returned, if it is there."""
        if state is None:
            return
        self.load_training_state(state["training"])
        set_random_state(state["random"], self.device)
        self.past_rows_, self.stopped_early_ = state["rows"], state["stopped_early"]
        # More epochs than before do not lead back into the warm-up.
        self.notes_, self.warmup_epochs = state["notes"], state["warmup_epochs"]

    def _keep_epoch(self):
        """Remember the state, how many epochs led to it, and what is drawn next."""
        drawn = random_state(self.device)
        self._kept = copy.deepcopy(self.training_state()), len(self.history), drawn

    def _restore_epoch(self):
        """Go back to the end of the last whole epoch."""
        state, n_epochs, _ = self._kept
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
        sum_gradients(p for g in self.optimizer_.param_groups for p in g["params"])
        self.optimizer_.step()
