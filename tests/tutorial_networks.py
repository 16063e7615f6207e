"""The networks of the PyTorch DCGAN tutorial and of its copies, written plainly."""

import numpy as np
import torch
from torch import nn

NZ, NGF, NDF = 10, 4, 6


class Net(nn.Module):
    """A network whose layers lie in an attribute, ``main`` for the tutorial's."""

    def __init__(self, layers, name="main"):
        super().__init__()
        self.name = name
        setattr(self, name, nn.Sequential(*layers))

    def forward(self, x):
        return getattr(self, self.name)(x)


def lively(network, seed=0):
    """Return a network, in evaluation mode, in which no value is that of a new one."""
    rng = np.random.default_rng(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            # Weights are such that activations keep their size from layer to layer.
            scale = (8 * max(tensor.shape[:2])) ** -0.5 if tensor.ndim == 4 else 0.2
            values = rng.normal(size=tensor.shape) * scale
            if tensor.ndim == 1:
                values += name.endswith(("running_var", "weight"))
            tensor.copy_(torch.from_numpy(values))
    return network.eval()


def generator_layers(nc=3, ngf=NGF, nz=NZ, bias=False, first=4, stages=4):
    """Return the tutorial's layers; ``bias`` for copies that leave it out."""
    width = ngf * 2 ** (stages - 1)
    layers = [nn.ConvTranspose2d(nz, width, first, 1, 0, bias=bias)]
    for _ in range(stages - 1):
        layers += [nn.BatchNorm2d(width), nn.ReLU(True)]
        layers.append(nn.ConvTranspose2d(width, width // 2, 4, 2, 1, bias=bias))
        width //= 2
    layers += [nn.BatchNorm2d(width), nn.ReLU(True)]
    return [*layers, nn.ConvTranspose2d(width, nc, 4, 2, 1, bias=bias), nn.Tanh()]


def discriminator_layers(nc=3, ndf=NDF, bias=False, last=4, stages=4):
    """Return the tutorial's layers; ``bias`` for copies that leave it out."""
    layers = [nn.Conv2d(nc, ndf, 4, 2, 1, bias=bias), nn.LeakyReLU(0.2, inplace=True)]
    width = ndf
    for _ in range(stages - 1):
        layers += [nn.Conv2d(width, width * 2, 4, 2, 1, bias=bias)]
        layers += [nn.BatchNorm2d(width * 2), nn.LeakyReLU(0.2, inplace=True)]
        width *= 2
    return [*layers, nn.Conv2d(width, 1, last, 1, 0, bias=bias), nn.Sigmoid()]


def check_generator(gan, netG, atol=1e-6):
    """Assert that an estimator with data_range (-1, 1) draws what a network draws."""
    Z = np.random.default_rng(1).normal(size=(3, gan.latent_dim)).astype(np.float32)
    with torch.no_grad():
        expected = netG(torch.from_numpy(Z)[:, :, None, None]).permute(0, 2, 3, 1)
    drawn = gan.generate(Z).reshape(expected.shape)
    assert expected.std() > 0.05
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=atol)


def check_discriminator(gan, netD, atol=1e-6):
    """Assert that the score is a network's output before the sigmoid."""
    shape = (3, *gan.image_shape_)
    X = np.random.default_rng(1).uniform(-1, 1, size=shape).astype(np.float32)
    seen = []
    with torch.no_grad():
        sigmoid = [
            module for module in netD.modules() if isinstance(module, nn.Sigmoid)
        ]
        hook = sigmoid[-1].register_forward_hook(lambda _, args, out: seen.extend(args))
        netD(torch.from_numpy(X).permute(0, 3, 1, 2))
        hook.remove()
    logits = seen[0].flatten().numpy()
    assert logits.std() > 0.05
    np.testing.assert_allclose(gan.score_samples(X), logits, rtol=0, atol=atol)


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def blocks(layers, start):
    """Return layers in which convolution, norm and activation are a block."""
    return [
        *layers[:start],
        *(nn.Sequential(*layers[k : k + 3]) for k in range(start, len(layers) - 2, 3)),
        *layers[-2:],
    ]


def without_norm(layers, which):
    """Return layers without the batch normalisation of this number."""
    norm = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)][which]
    return [layer for layer in layers if layer is not norm]


VARIANTS = {
    "biases everywhere": (generator_layers(bias=True), discriminator_layers(bias=True)),
    "blocks": (blocks(generator_layers(), 0), blocks(discriminator_layers(), 2)),
    "no batch norm in one layer": (
        without_norm(generator_layers(), 1),
        without_norm(discriminator_layers(), 2),
    ),
    "no batch norm at all in the critic": (
        generator_layers(),
        [
            x
            for x in discriminator_layers(bias=True)
            if not isinstance(x, nn.BatchNorm2d)
        ],
    ),
    "norm without weights": (
        [
            nn.BatchNorm2d(x.num_features, affine=False)
            if isinstance(x, nn.BatchNorm2d)
            else x
            for x in generator_layers()
        ],
        discriminator_layers(),
    ),
}
