"""Between an estimator and the engine: what goes in, and what outlives it."""

from functools import partial

from sklgan._images import check_images, from_batch
from sklgan._tasks import TrainingTasks
from sklgan._tensors import has_native_bfloat16, to_numpy, to_torch
from sklgan._training import (
    AdversarialNet,
    EpochProgress,
    EpochTasks,
    is_main_process,
    settled_discriminator,
    settled_generator,
)
from sklgan.networks._build import network_builders


def build_net(gan, X, device, **options):
    """Return the engine with an estimator's parameters, not yet initialised.

    X are the rows of the fit, for scikit-learn's callbacks that ask for them.
    """
    generator, discriminator = network_builders(**gan._architecture)
    # Casting costs more than it saves on small matrices.
    small = gan._architecture["network"] == "mlp"
    shows = gan.verbose and is_main_process()
    ours = [("progress", EpochProgress())] if shows else []
    if hasattr(gan, "_callback_fit_ctx"):
        ours.append(("tasks", EpochTasks(TrainingTasks(gan, X))))
    return AdversarialNet(
        generator=generator,
        discriminator=discriminator,
        to_batch=gan._make_to_batch(device),
        to_rows=partial(check_images, gan, reset=False),
        from_batch=partial(from_batch, gan),
        latent_dim=gan._architecture["latent_dim"],
        n_critic=gan.n_critic,
        ema_decay=gan.ema_decay,
        autocast=gan.precision == "bfloat16"
        or (gan.precision == "auto" and not small and has_native_bfloat16(device)),
        lr=gan.learning_rate,
        batch_size=gan.batch_size,
        callbacks=[*(gan.callbacks or ()), *ours],
        device=device,
        verbose=0,
        **options,
    )


def load_last_fit(gan, net):
    """Let a new engine go on from the last fit of an estimator."""
    if gan._training_state is not None:
        net.load_training_state(to_torch(gan._training_state))
        for group in net.optimizer_.param_groups:
            group["lr"] = gan.learning_rate
        return
    for name in net.module_names:
        kept = gan.generator_ if "generator" in name else gan.discriminator_
        getattr(net, name).load_state_dict(kept.state_dict())


def keep_trained(gan, net, rows, streamed=False):
    """Let an estimator take over what outlives the engine.

    Networks, history, and the state to go on from where that is wanted. After a chunk
    of a stream, ``streamed``, batch normalisation remembers earlier ones.
    """
    gan.history_ = [*gan.history_, *net.history_rows(gan.n_iter_)]
    gan.n_iter_ = len(gan.history_)
    state = net.training_state() if gan.warm_start or streamed else None
    gan._training_state = to_numpy(state)
    before = vars(gan) if streamed else {}
    gan.discriminator_ = settled_discriminator(net, rows, before.get("discriminator_"))
    # Last: with it, all is new; see BaseGAN._unchanged_on_error.
    gan.generator_ = settled_generator(net, before.get("generator_"))
