"""Generators and discriminators, plain modules that know no loss and no device.

The contract, for networks of your own as well: ``Generator(latent_dim, out_shape)``
with ``forward(z) -> images (n, c, h, w) in [-1, 1]``, and ``Discriminator(in_shape,
n_outputs)`` with ``forward(x) -> (features, logits)``, where ``features`` is a list
with one activation a layer, (n, c, h, w) or (n, units), and ``logits`` is
(n, n_outputs). For flat X the shapes are ``(d,)`` and images are rows (n, d).

In all discriminators here but BlobGAN's the logits are a linear function of the last
activation, flattened.
"""

from sklgan.networks._blobs import BlobGenerator
from sklgan.networks._build import NETWORKS
from sklgan.networks._cnn import CNNDiscriminator
from sklgan.networks._dcgan import (
    DCGANDiscriminator,
    DCGANGenerator,
    DeepDCGANDiscriminator,
    DeepDCGANGenerator,
)
from sklgan.networks._heads import SelfTaughtDiscriminator
from sklgan.networks._init import initialize_weights
from sklgan.networks._mlp import MLPDiscriminator, MLPGenerator
from sklgan.networks._residual import BlobDiscriminator, BlobEncoder
from sklgan.networks._resnet import ResNet18Discriminator, ResNetGenerator
from sklgan.networks._sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from sklgan.networks._spectral import add_spectral_norm

__all__ = [
    "NETWORKS",
    "BlobDiscriminator",
    "BlobEncoder",
    "BlobGenerator",
    "CNNDiscriminator",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DeepDCGANDiscriminator",
    "DeepDCGANGenerator",
    "MLPDiscriminator",
    "MLPGenerator",
    "ResNet18Discriminator",
    "ResNetGenerator",
    "SNDCGANDiscriminator",
    "SNDCGANGenerator",
    "SelfTaughtDiscriminator",
    "add_spectral_norm",
    "initialize_weights",
]
