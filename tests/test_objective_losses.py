"""Each objective's losses are the sums that their papers have, term by term."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch import nn
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from sklgan import DCGANFeatureExtractor
from sklgan._objectives import PROJECTIONS, bind_objective
from sklgan.losses import ADVERSARIAL_LOSSES, fakes_apart, nt_xent
from sklgan.networks import DCGANDiscriminator, SelfTaughtDiscriminator

REAL, FAKE = torch.randn(2, 10, 3, 4, 4, generator=torch.Generator().manual_seed(0))
WEIGHTS = (0.5, 2.0)


class Columns(nn.Module):
    """A discriminator whose outputs in training are so many fixed linear ones."""

    def __init__(self, n_columns):
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        self.weights = torch.randn(48, n_columns, generator=draw)

    def forward(self, images):
        return [], images.flatten(1) @ self.weights


def bind(objective, loss, weight=1.0, augment=torch.tanh):
    """Return an objective's discriminator, and its pair of losses."""
    gan = DCGANFeatureExtractor(
        objective=objective, loss=loss, adversarial_weight=weight, augment=augment
    )
    gan.image_shape_ = (4, 4, 3)
    losses = bind_objective(gan)
    discriminator = Columns(2 + sum(PROJECTIONS[objective]))
    return discriminator, losses["discriminator_loss"], losses["generator_loss"]


def turns_of(discriminator, images, seed):
    """Return the cross-entropy of the four turns of the images that a seed draws."""
    torch.manual_seed(seed)
    drawn = torch.rand(len(images)).argsort()[: -(-len(images) // 4)]
    turned = [
        (np.rot90(image, turn, (1, 2)).copy(), turn)
        for image in images[drawn].numpy()
        for turn in range(4)
    ]
    logits = discriminator(torch.as_tensor(np.stack([image for image, _ in turned])))[1]
    return cross_entropy(logits[:, -4:], torch.tensor([turn for _, turn in turned]))


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("loss", ["nonsaturating", "hinge", "least_squares"])
def test_contrastive_discriminator(loss, weight):
    """Two views of real images, fakes told from both views, and the GAN's."""
    discriminator, d_loss, _ = bind("contrastive", loss, weight)
    real, fake = (discriminator(torch.tanh(images))[1] for images in (REAL, FAKE))
    both = torch.cat([real, real])
    views = nt_xent(real[:, 2:130], real[:, 2:130])
    apart = fakes_apart(fake[:, 130:], both[:, 130:])
    gan = ADVERSARIAL_LOSSES[loss][0](both[:, 1], fake[:, 1])
    expected = views + weight * (apart + gan)
    assert_close(d_loss(discriminator, REAL, FAKE), expected)
    assert_close(d_loss(discriminator, REAL, None), views)


@pytest.mark.parametrize("loss", ["nonsaturating", "hinge", "least_squares"])
def test_contrastive_generator(loss):
    """It sees changed fakes, as the discriminator does, and the first realness."""
    discriminator, _, g_loss = bind("contrastive", loss)
    logits = discriminator(torch.tanh(FAKE))[1]
    expected = ADVERSARIAL_LOSSES[loss][1](logits[:, 0])
    assert_close(g_loss(discriminator, REAL, FAKE), expected)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("loss", ["nonsaturating", "hinge", "least_squares"])
def test_rotation_discriminator(loss, weight):
    """Turns of real images, and the GAN's loss of images that are not turned."""
    discriminator, d_loss, _ = bind("rotation", loss, weight)
    turns = turns_of(discriminator, torch.tanh(REAL), 3)
    real, fake = (discriminator(torch.tanh(images))[1] for images in (REAL, FAKE))
    gan = ADVERSARIAL_LOSSES[loss][0](real[:, 0], fake[:, 0])
    torch.manual_seed(3)
    assert_close(d_loss(discriminator, REAL, FAKE), turns + weight * gan)
    torch.manual_seed(3)
    assert_close(d_loss(discriminator, REAL, None), turns)


@pytest.mark.parametrize("loss", ["nonsaturating", "hinge", "least_squares"])
def test_rotation_generator(loss):
    """A fifth of the turns of changed fakes is added to its own loss."""
    discriminator, _, g_loss = bind("rotation", loss)
    turns = turns_of(discriminator, torch.tanh(FAKE), 3)
    logits = discriminator(torch.tanh(FAKE))[1]
    expected = ADVERSARIAL_LOSSES[loss][1](logits[:, 0]) + 0.2 * turns
    torch.manual_seed(3)
    assert_close(g_loss(discriminator, REAL, FAKE), expected)


def test_views_are_simclrs_unless_told_otherwise():
    """Of images; the docstring says so."""
    X = np.random.RandomState(0).randint(256, size=(20, 8, 8, 3)).astype(np.uint8)

    def features(augment):
        gan = DCGANFeatureExtractor(
            objective="contrastive",
            n_filters=4,
            max_epochs=2,
            batch_size=10,
            augment=augment,
            random_state=0,
            device="cpu",
        )
        return gan.fit_transform(X)

    assert_array_equal(features(None), features("simclr"))
    assert not np.allclose(features(None), features("flip"))


def test_heads_have_a_hidden_layer_and_realness_the_gans_weights():
    """What is not linear is odd nowhere."""
    torch.manual_seed(0)
    shape = (3, 16, 16)
    network = SelfTaughtDiscriminator(
        lambda: DCGANDiscriminator(shape, n_filters=32), shape, (5, 6)
    )
    x = torch.randn(10, 64)
    for head in (network.realness, *network.heads):
        odd = (head(x) - head(-x)) / 2 + head(torch.zeros(1, 64))
        assert (head(x) - odd).abs().max() > 1e-4
    weights = torch.cat([p.flatten().detach() for p in network.realness.parameters()])
    assert float(weights[weights != 0].std()) == pytest.approx(0.02, rel=0.1)
