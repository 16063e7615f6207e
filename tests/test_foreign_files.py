"""The tutorial's files as they are written, and files that are none of them."""

import os
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from tutorial_networks import (
    NDF,
    NGF,
    NZ,
    VARIANTS,
    Net,
    check_discriminator,
    discriminator_layers,
    generator_layers,
    lively,
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


# Writing ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    """Return an estimator that was trained a step on 32x32 colour images."""
    X = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    return DCGANFeatureExtractor(
        NZ, n_filters=NGF, max_epochs=1, data_range=(0, 255), random_state=0
    ).fit(X)


@pytest.mark.parametrize("ending", ["pth", "pt", "safetensors"])
def test_written_files_are_the_tutorials(fitted, tmp_path, ending):
    """The tutorial's classes load them strictly, and draw and judge the same."""
    netG = Net(generator_layers(stages=3))
    netD = Net(discriminator_layers(ndf=NGF, stages=3))
    path = tmp_path / f"model.{ending}"
    load = torch.load
    if ending == "safetensors":
        load = pytest.importorskip("safetensors.torch").load_file
    for part, net in {"generator": netG, "discriminator": netD}.items():
        fitted.to_checkpoint(path, part=part)
        net.load_state_dict(load(path), strict=True)
        net.eval()
    Z = np.random.default_rng(0).normal(size=(4, NZ)).astype(np.float32)
    with torch.no_grad():
        fake = netG(torch.from_numpy(Z)[:, :, None, None])
        scores = netD.main[:-1](fake).flatten()
    X = (fake.permute(0, 2, 3, 1).numpy() + 1) * 127.5
    assert np.abs(fitted.generate(Z) - X).max() <= 0.5001
    np.testing.assert_allclose(fitted.score_samples(X), scores, atol=1e-5)

    fitted.to_checkpoint(path)
    again = from_checkpoint(path)
    assert sorted(os.listdir(tmp_path)) == [path.name]
    assert (again.network, again.n_filters) == ("dcgan", NGF)
    np.testing.assert_array_equal(again.generate(Z), fitted.generate(Z))
    X = fitted.generate(Z)
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))


@pytest.mark.parametrize("n_filters", [3, 4])
def test_two_narrow_layers_are_told_apart(digits, tmp_path, n_filters):
    """The shapes of such a discriminator could be a generator's."""
    gan = DCGANFeatureExtractor(4, n_filters=n_filters, max_epochs=0, random_state=0)
    gan.fit(digits[0][:20])
    gan.to_checkpoint(tmp_path / "model.pth")
    again = from_checkpoint(tmp_path / "model.pth", data_range=(0, 16))
    X = gan.sample(3)
    np.testing.assert_allclose(again.transform(X), gan.transform(X), atol=1e-6)
    np.testing.assert_allclose(again.score_samples(X), gan.score_samples(X), atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_return_to_their_own_classes(path, variant):
    """A copy's file that was read is written as its class had it."""
    netG, netD = (Net(layers) for layers in VARIANTS[variant])
    torch.save({"g": netG.state_dict(), "d": netD.state_dict()}, path)
    gan = from_checkpoint(path)
    gan.to_checkpoint(path)
    states = torch.load(path)
    if variant == "blocks":
        netG, netD = Net(generator_layers()), Net(discriminator_layers())
    if variant == "norm without weights":  # all of ours have some
        netG = Net(generator_layers())
    netG.load_state_dict(states["generator"], strict=True)
    netD.load_state_dict(states["discriminator"], strict=True)


def test_networks_of_other_forms_are_not_written(tmp_path, digits):
    """The message says what can be written, and what to do instead."""
    path = tmp_path / "model.pth"
    X = digits[0][:10]
    params = {"n_filters": 4, "max_epochs": 0}
    deep = DCGANFeatureExtractor(network="dcgan-deep", **params).fit(X)
    with pytest.raises(ValueError, match=r"DeepDCGANGenerator.*joblib\.dump"):
        deep.to_checkpoint(path)
    odd = DCGANFeatureExtractor(network="dcgan", **params).fit(X[:, :7, :6])
    with pytest.raises(ValueError, match="Images of 7x6 have no generator"):
        odd.to_checkpoint(path)
    gan = DCGANFeatureExtractor(network="dcgan", **params).fit(X)
    with pytest.raises(ValueError, match=r"model\.ckpt.*should end in \.pth"):
        gan.to_checkpoint(tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match="part='netG' should be one of"):
        gan.to_checkpoint(path, part="netG")
    with pytest.raises(FileNotFoundError, match="no folder"):
        gan.to_checkpoint(tmp_path / "missing" / "model.pth")
    assert not os.listdir(tmp_path)


# Bad files --------------------------------------------------------------------------


class Attack:
    """What runs a command when it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("kind", ["zip", "old zip", "bare pickle", "beside weights"])
def test_code_is_never_run(nets, tmp_path, kind):
    """A file that would run a command is refused, and the command is not run."""
    trace, path = tmp_path / "trace", tmp_path / "model.pth"
    attack = Attack(f"touch {trace}")
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps(attack))
    elif kind == "beside weights":
        torch.save({"netG": nets[0].state_dict(), "args": attack}, path)
    else:
        torch.save(attack, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(ValueError, match=r"model\.pth"):
        from_checkpoint(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(attack))  # it would have worked
    assert trace.exists()


def test_whole_modules_are_refused_with_the_remedy(nets, path):
    """``torch.save(netG, path)`` pickles the class; the message says what to save."""
    torch.save(nets[0], path)
    with pytest.raises(
        ValueError, match=r"needs .*Net to be unpickled.*state_dict\(\)"
    ):
        from_checkpoint(path)


@pytest.mark.parametrize("protocol", [4, 5])
def test_pickles_of_others_are_not_called_damaged(nets, path, protocol):
    """Another copy would be no better; to save the weights with torch.save is."""
    arrays = {name: value.numpy() for name, value in nets[0].state_dict().items()}
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    with pytest.raises(ValueError, match=r"needs a pickle protocol.*state_dict\(\)"):
        from_checkpoint(path)


def test_list_within_itself(path):
    """It has no end, but an error."""
    endless = []
    endless.append(endless)
    torch.save({"netG": endless}, path)
    with pytest.raises(ValueError, match=r"model\.pth is damaged"):
        from_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.to_sparse(), "torch.sparse"),
        (lambda value: value.to("meta"), "on meta"),
        (lambda value: value.to(torch.complex64), "complex64"),
        (lambda value: value[..., :0], r"of shape \(10, .*, 0\)"),
    ],
    ids=["sparse", "meta", "complex", "empty"],
)
def test_weights_that_are_no_plain_numbers(nets, path, change, message):
    """They are named, and nothing fails further on."""
    state = nets[0].state_dict()
    name = next(iter(state))
    torch.save({**state, name: change(state[name])}, path)
    with pytest.raises(ValueError, match=rf"has {name} with .*{message}"):
        from_checkpoint(path)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_cut_off_files(nets, tmp_path, ending, share):
    """Whatever is missing, the error names the file."""
    path = tmp_path / f"model.{ending}"
    if ending == "pth":
        torch.save(nets[0].state_dict(), path)
    else:
        safetensors = pytest.importorskip("safetensors.torch")
        safetensors.save_file(nets[0].state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"model\.\w+ is damaged or cut off"):
        from_checkpoint(path)


def test_missing_file_and_folder(tmp_path):
    """They raise what opening them raises."""
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        from_checkpoint(tmp_path / "none.pth")
    with pytest.raises(IsADirectoryError):
        from_checkpoint(tmp_path)


def spectral(layers):
    """Return layers, the first with spectral normalisation."""
    return [nn.utils.parametrizations.spectral_norm(layers[0]), *layers[1:]]


def replaced(layers, k, layer):
    return [*layers[:k], layer, *layers[k + 1 :]]


D, G = discriminator_layers, generator_layers
NO_DCGAN = {
    "a perceptron": (
        lambda: nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 1)),
        r"Expected weights .*main\.0\.weight \(100, 512, 4, 4\).*"
        r"Found: 0\.weight \(3, 5\), 0\.bias \(3,\), 2\.weight \(1, 3\)",
    ),
    "nothing": (nn.Identity, "Found: no tensors"),
    "a classifier": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3), nn.Linear(8, 1)),
        r"has 2\.weight, 2\.bias, neither of a convolution",
    ),
    "other kernels": (
        lambda: Net(replaced(D(), 2, nn.Conv2d(NDF, 2 * NDF, 5, 2, 2, bias=False))),
        r"discriminator .* has a kernel of 5x5, in \(12, 6, 5, 5\)",
    ),
    "two outputs": (
        lambda: Net(replaced(D(), 11, nn.Conv2d(8 * NDF, 2, 4, bias=False))),
        "has 2 outputs instead of 1",
    ),
    "another width": (
        lambda: Net(replaced(D(), 2, nn.Conv2d(NDF + 1, 2 * NDF, 4, bias=False))),
        r"Found: main\.0\.weight \(6, 3, 4, 4\).* and \d+ more",
    ),
    "two channels": (lambda: Net(G(nc=2)), "holds no DCGAN"),
    "spectral normalisation": (lambda: Net(spectral(D())), "parametrizations"),
    "norm after the image": (
        lambda: Net([*G()[:-1], nn.BatchNorm2d(3), nn.Tanh()]),
        r"batch normalisation of 3 channels in main\.13",
    ),
    "norm of another width": (
        lambda: Net(replaced(D(), 3, nn.BatchNorm2d(7))),
        r"batch normalisation of 7 channels in main\.3",
    ),
    "norm without statistics": (
        lambda: Net(
            replaced(D(), 3, nn.BatchNorm2d(2 * NDF, track_running_stats=False))
        ),
        r"has main\.3\.weight, main\.3\.bias, neither",
    ),
    "NaN": (
        lambda: Net(replaced(D(), 0, not_finite(nn.Conv2d(3, NDF, 4, bias=False)))),
        r"NaN or infinity in main\.0\.weight",
    ),
}


def not_finite(layer):
    layer.weight.data[0, 0, 0, 0] = float("nan")
    return layer


@pytest.mark.parametrize("kind", NO_DCGAN)
def test_what_is_no_dcgan(path, kind):
    """The message names the file, what was expected and what was found."""
    build, message = NO_DCGAN[kind]
    torch.save(build().state_dict(), path)
    with pytest.raises(ValueError, match=message) as caught:
        from_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "main.0.weight" in str(caught.value)


def test_wrong_shapes_within(nets, path):
    """Biases and statistics must have as many values as the layer has channels."""
    state = nets[0].state_dict()
    torch.save({**state, "main.0.bias": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"bias of shape \(3,\) for 32 channels"):
        from_checkpoint(path)
    torch.save({**state, "main.1.running_var": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"main\.1 with shapes \[\(3,\), \(32,\)\]"):
        from_checkpoint(path)


def test_networks_that_are_mixed_up(nets, path):
    """Other image sizes, the wrong part, or several candidates are refused."""
    netG, netD = (net.state_dict() for net in nets)
    small = Net(discriminator_layers(nc=1, stages=3)).state_dict()
    torch.save({"netG": netG, "netD": small}, path)
    with pytest.raises(ValueError, match=r"\(64, 64, 3\).* judges \(32, 32, 1\)"):
        from_checkpoint(path)
    torch.save({"netG": netG, "netG_ema": netG, "netD": netD}, path)
    with pytest.raises(ValueError, match=r"several .*'netG' and 'netG_ema'"):
        from_checkpoint(path)
    check_discriminator(
        from_checkpoint(discriminator=path, data_range=(-1, 1)), nets[1]
    )
    torch.save(netD, path)
    with pytest.raises(ValueError, match="holds no generator"):
        from_checkpoint(generator=path)


def test_parameters(nets, path):
    """What the file tells, or what does not fit together, is refused."""
    torch.save(nets[0].state_dict(), path)
    with pytest.raises(ValueError, match="n_filters=8 is told by the file"):
        from_checkpoint(path, n_filters=8)
    with pytest.raises(ValueError, match="Pass either path"):
        from_checkpoint()
    with pytest.raises(ValueError, match="Pass either path"):
        from_checkpoint(path, generator=path)
    with pytest.raises(ValueError, match="data_range='auto'"):
        from_checkpoint(path, data_range="auto")
    with pytest.raises(ValueError, match="is not a range"):
        from_checkpoint(path, data_range=(1, 0))
    with pytest.raises(TypeError, match="colour"):
        from_checkpoint(path, colour=True)
    with pytest.raises(ValueError, match="pool_size"):
        from_checkpoint(path, pool_size=0)
