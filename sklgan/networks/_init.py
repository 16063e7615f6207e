"""The weight initialisation that all networks share."""

from torch import nn

_LINEAR = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def initialize_weights(module: nn.Module) -> None:
    """Draw weights from N(0, 0.02), batch normalisation's gain from N(1, 0.02).

    Pass it to :meth:`torch.nn.Module.apply`. Biases become 0.

    Parameters
    ----------
    module : torch.nn.Module
        The layer to initialise in place; layers of other kinds are left alone.

    References
    ----------
    Radford, Metz and Chintala, "Unsupervised Representation Learning with Deep
    Convolutional Generative Adversarial Networks", 2015, section 4
    (arXiv:1511.06434); the gain of batch normalisation is the PyTorch tutorial's.
    """
    if isinstance(module, _LINEAR):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
