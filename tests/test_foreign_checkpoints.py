"""The files of the PyTorch DCGAN tutorial and of its copies, read and written.

The networks are the tutorial's, written plainly and at small widths.
"""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from tutorial_networks import (
    NDF,
    NGF,
    NZ,
    VARIANTS,
    Net,
    check_discriminator,
    check_generator,
    discriminator_layers,
    generator_layers,
    lively,
    prefixed,
)

from sklgan import DCGANFeatureExtractor

from_checkpoint = DCGANFeatureExtractor.from_checkpoint


@pytest.fixture(scope="module")
def nets():
    """Return (netG, netD) of 64x64 colour images; not to be changed."""
    return lively(Net(generator_layers())), lively(Net(discriminator_layers()))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pth"


# What is written under which names, as found in public copies of the tutorial.
FORMS = {
    "netG, netD, optimisers": lambda G, D: {
        "epoch": 5,
        "netG": G,
        "netD": D,
        "optimG": torch.optim.Adam(Net(generator_layers()).parameters()).state_dict(),
        "params": {"nz": NZ, "lr": 2e-4, "names": ["a"]},
    },
    "noise before the generator": lambda G, D: {
        "fixed_noise": torch.randn(64, NZ, 1, 1),
        "G": G,
        "D": D,
        "G_losses": [0.5, torch.tensor(0.4)],
    },
    "gen_state_dict": lambda G, D: {"gen_state_dict": G, "disc_state_dict": D},
    "Generator": lambda G, D: {"Generator": G, "Discriminator": D},
    "modelG_state_dict": lambda G, D: {"modelD_state_dict": D, "modelG_state_dict": G},
    "state_dict of both": lambda G, D: {
        "state_dict": {"generator": G, "discriminator": D},
        "optimizer": {"generator": {"state": {}, "param_groups": []}},
    },
    "DataParallel": lambda G, D: {
        "generator": prefixed(G, "module."),
        "discriminator": prefixed(D, "module."),
    },
    "one module of both": lambda G, D: {
        "state_dict": {**prefixed(G, "generator."), **prefixed(D, "discriminator.")},
        "hyper_parameters": {"latent_dim": NZ},
    },
    "list": lambda G, D: [G, D],
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_both(nets, path, form):
    """Whatever the names, the networks compute what the tutorial's do."""
    netG, netD = nets
    torch.save(FORMS[form](netG.state_dict(), netD.state_dict()), path)
    gan = from_checkpoint(path, data_range=(-1, 1))
    check_generator(gan, netG)
    check_discriminator(gan, netD)
    assert (gan.latent_dim, gan.image_shape_) == (NZ, (64, 64, 3))


def test_trained_adam_state_is_no_network(nets, path):
    """Moments of an optimiser have the shapes of the weights."""
    netG = lively(Net(generator_layers())).train()
    adam = torch.optim.Adam(netG.parameters())
    netG(torch.randn(2, NZ, 1, 1)).sum().backward()
    adam.step()
    torch.save({"state_dict": netG.state_dict(), "optimizer": adam.state_dict()}, path)
    check_generator(from_checkpoint(path, data_range=(-1, 1)), netG.eval())


@pytest.mark.parametrize("stages", [2, 3, 4, 5])
def test_sizes_of_equal_widths_are_the_dcgan_network(path, stages):
    """Where all is as in the tutorial, so are the estimator's parameters."""
    netG = lively(Net(generator_layers(nc=1, stages=stages)))
    netD = lively(Net(discriminator_layers(nc=1, ndf=NGF, stages=stages)))
    torch.save([netG.state_dict(), netD.state_dict()], path)
    gan = from_checkpoint(path, data_range=(-1, 1))
    side = 4 * 2**stages
    assert gan.image_shape_ == (side, side, 1)
    assert (gan.network, gan.n_filters) == ("dcgan", NGF)
    check_generator(gan, netG)
    check_discriminator(gan, netD)


def test_first_kernel_of_7(path):
    """Copies for MNIST begin with a map of 7x7."""
    netG = lively(Net(generator_layers(nc=1, first=7, stages=2)))
    netD = lively(Net(discriminator_layers(nc=1, last=7, stages=2)))
    torch.save({"G": netG.state_dict(), "D": netD.state_dict()}, path)
    gan = from_checkpoint(path, data_range=(-1, 1))
    assert gan.image_shape_ == (28, 28, 1)
    check_generator(gan, netG)
    check_discriminator(gan, netD)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_layers(tmp_path, variant, ending):
    """Biases, and batch normalisation left out, are kept; also in a pickle."""
    netG, netD = (lively(Net(layers, "net")) for layers in VARIANTS[variant])
    states = {"gen": netG.state_dict(), "disc": netD.state_dict()}
    path = tmp_path / f"model.{ending}"
    if ending == "pth":
        torch.save(states, path)
    else:
        save_file = pytest.importorskip("safetensors.torch").save_file
        flat = [prefixed(state, f"{part}.") for part, state in states.items()]
        save_file({**flat[0], **flat[1]}, path)
    gan = from_checkpoint(path, data_range=(-1, 1))
    gan = pickle.loads(pickle.dumps(gan))
    check_generator(gan, netG)
    check_discriminator(gan, netD)


class Named(nn.Module):
    """A discriminator whose layers have names, the norms after all convolutions."""

    def __init__(self):
        super().__init__()
        widths = [3, 5, 10, 20, 40]
        for k in range(4):
            conv = nn.Conv2d(widths[k], widths[k + 1], 4, 2, 1, bias=False)
            setattr(self, f"conv{k + 1}", conv)
        self.conv5 = nn.Conv2d(40, 1, 4, bias=False)
        self.sigmoid = nn.Sigmoid()
        for k in range(1, 4):
            setattr(self, f"bn{k + 1}", nn.BatchNorm2d(widths[k + 1]))

    def forward(self, x):
        x = nn.functional.leaky_relu(self.conv1(x), 0.2)
        for k in range(2, 5):
            x = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(x))
            x = nn.functional.leaky_relu(x, 0.2)
        return self.sigmoid(self.conv5(x))


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_layers_by_name(tmp_path, ending):
    """Norms that are listed apart from the convolutions are told by their widths."""
    netD = lively(Named())
    path = tmp_path / f"model.{ending}"
    if ending == "pth":
        torch.save(netD.state_dict(), path)
    else:
        safetensors = pytest.importorskip("safetensors.torch")
        safetensors.save_file(netD.state_dict(), path)
    check_discriminator(from_checkpoint(path, data_range=(-1, 1)), netD)


def test_half_precision_old_format_and_no_counters(nets, path):
    """What is older, smaller or sparser than the tutorial's files is read as well."""
    state = {
        name: value.half()
        for name, value in nets[0].state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save(state, path, _use_new_zipfile_serialization=False)
    gan = from_checkpoint(str(path), data_range=(-1, 1))
    check_generator(gan, nets[0], atol=5e-3)
    assert gan.generate(np.zeros((1, NZ))).dtype == np.float32


def test_two_files(nets, tmp_path):
    """The tutorial saves each network in a file of its own."""
    for name, net in zip("GD", nets, strict=True):
        torch.save(net.state_dict(), tmp_path / f"net{name}_epoch_24.pth")
    gan = from_checkpoint(
        generator=tmp_path / "netG_epoch_24.pth",
        discriminator=tmp_path / "netD_epoch_24.pth",
        data_range=(-1, 1),
    )
    check_generator(gan, nets[0])
    check_discriminator(gan, nets[1])


def test_one_network_alone(nets, path):
    """What there is works; what needs the other says that it was in no file."""
    images = np.zeros((2, 64, 64, 3), np.uint8)
    torch.save(nets[0].state_dict(), path)
    gan = pickle.loads(pickle.dumps(from_checkpoint(path)))
    assert gan.sample(2, random_state=0).shape == (2, 64, 64, 3)
    for use in (gan.transform, gan.score_samples, gan.partial_fit, clone(gan).fit):
        with pytest.raises(ValueError, match=r"no discriminator: none was in .*model"):
            use(images)
    assert gan.sample(2, random_state=0).shape == (2, 64, 64, 3)

    torch.save(nets[1].state_dict(), path)
    gan = pickle.loads(pickle.dumps(from_checkpoint(path)))
    assert gan.transform(images).shape == (2, 16 * NDF * (1 + 2 + 4 + 8))
    for use in (gan.sample, lambda: gan.partial_fit(images)):
        with pytest.raises(ValueError, match=r"no generator: none was in .*model"):
            use()


@pytest.mark.parametrize("part", [0, 1])
def test_one_network_of_a_file_of_both(nets, path, part):
    """``generator=`` and ``discriminator=`` leave the other alone."""
    states = [net.state_dict() for net in nets]
    torch.save({"netG": states[0], "netD": states[1]}, path)
    names = ["generator", "discriminator"]
    gan = from_checkpoint(**{names[part]: path}, data_range=(-1, 1))
    [check_generator, check_discriminator][part](gan, nets[part])
    with pytest.raises(ValueError, match=f"no {names[1 - part]}"):
        gan.to_checkpoint(path.with_name("other.pth"))


@pytest.mark.parametrize("channels", [1, 3])
def test_estimator_is_fitted(path, channels):
    """Every method works; samples are uint8; the global generators stay as they are."""
    netG = Net(generator_layers(nc=channels, stages=3))
    netD = Net(discriminator_layers(nc=channels, stages=3))
    torch.save({"G": netG.state_dict(), "D": netD.state_dict()}, path)
    before = torch.get_rng_state()
    gan = from_checkpoint(
        path, pool_size=2, layers=[2, 3], random_state=0, device="cpu"
    )
    X = gan.sample(40)
    features = gan.transform(X)
    assert torch.equal(torch.get_rng_state(), before)
    assert X.shape == ((40, 32, 32) if channels == 1 else (40, 32, 32, 3))
    assert X.dtype == np.uint8
    assert X.std() > 0
    assert features.shape == (40, 4 * 6 * NDF)
    assert gan.get_feature_names_out()[0] == "conv2_ch000_r0_c0"
    assert (gan.n_iter_, gan.history_, gan.data_range_) == (0, [], (0, 255))
    assert gan.n_features_in_ == 32 * 32 * channels
    np.testing.assert_array_equal(gan.transform(X.reshape(40, -1)), features)


@pytest.mark.parametrize("variant", ["dcgan", "ngf is not ndf", "biases"])
def test_training_goes_on(path, variant):
    """The weights of the file are where partial_fit and warm_start begin."""
    bias, ndf = variant == "biases", NGF if variant == "dcgan" else NDF
    netG = Net(generator_layers(nc=1, stages=2, bias=bias))
    netD = Net(discriminator_layers(nc=1, ndf=ndf, stages=2, bias=bias))
    torch.save({"G": netG.state_dict(), "D": netD.state_dict()}, path)
    X = np.random.default_rng(0).integers(0, 256, (8, 16, 16), np.uint8)
    # A step this small leaves the weights where they were.
    params = {"learning_rate": 1e-12, "random_state": 0, "max_epochs": 1}
    still = from_checkpoint(path, **params).partial_fit(X)
    warm = from_checkpoint(path, warm_start=True, **params).fit(X)
    weight = netD.main[0].weight.detach()
    for gan in (still, warm):
        assert gan.n_iter_ == 1
        found = next(gan.discriminator_.parameters()).detach()
        torch.testing.assert_close(found, weight, rtol=0, atol=1e-6)
    moved = clone(still).set_params(learning_rate=1e-3).fit(X)
    assert moved.sample(1).shape == (1, 16, 16)
