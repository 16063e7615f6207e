"""Runs that go wrong: what has happened, in words and figures, and what to change."""


def divergence_message(gan, error, autocast, final_epoch):
    """Return which epoch was lost, why, and what to change.

    Parameters
    ----------
    gan : BaseGAN
        With the whole epochs counted.
    error : TrainingDivergedError
        What the engine found.
    autocast : bool
        Whether it computed in bfloat16.
    final_epoch : int
        Epoch whose weights have been kept.
    """
    remedies = [f"Lower learning_rate (now {gan.learning_rate})"]
    if getattr(gan, "loss", "hinge") not in ("hinge", "nonsaturating"):
        remedies.append("choose loss='hinge' or 'nonsaturating'")
    if autocast:
        remedies.append("set precision='float32'")
    return (
        f"Training diverged in epoch {gan.n_iter_ + 1}: {error}. The weights of epoch "
        f"{final_epoch} have been kept. {', or '.join(remedies)}."
    )
