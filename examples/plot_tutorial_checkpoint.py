"""
===============================
A checkpoint of PyTorch's DCGAN
===============================

The networks of PyTorch's DCGAN tutorial, trained in a plain loop on the digits,
are saved as the tutorial saves them. The file becomes a fitted estimator, without
training again.
"""

# %%
# The tutorial, in short
# ----------------------
# Convolutions of 4x4 and stride 2, batch normalisation, Adam, binary cross-entropy: as
# in the tutorial, for images of 16x16 and with fewer filters, so that it takes seconds.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import nn

from sklgan import DCGANFeatureExtractor, SamplesDisplay

torch.manual_seed(0)
digits = load_digits()
pixels = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
images = nn.functional.interpolate(pixels, (16, 16), mode="bilinear").clamp(-1, 1)

nz, ngf, ndf = 32, 32, 16
netG = nn.Sequential(
    nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
    nn.BatchNorm2d(ngf * 2),
    nn.ReLU(True),
    nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
    nn.BatchNorm2d(ngf),
    nn.ReLU(True),
    nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False),
    nn.Tanh(),
)
netD = nn.Sequential(
    nn.Conv2d(1, ndf, 4, 2, 1, bias=False),
    nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
    nn.BatchNorm2d(ndf * 2),
    nn.LeakyReLU(0.2, inplace=True),
    nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
    nn.Sigmoid(),
)


def weights_init(module):
    """Draw the weights that the tutorial begins with."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def train(n_epochs, batch_size=64):
    """Update the discriminator, then the generator, batch by batch."""
    netG.apply(weights_init)
    netD.apply(weights_init)
    criterion = nn.BCELoss()
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=5e-4, betas=(0.5, 0.999))
        for net in (netD, netG)
    ]
    for _ in range(n_epochs):
        for real in images[torch.randperm(len(images))].split(batch_size):
            fake = netG(torch.randn(len(real), nz, 1, 1))
            ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
            optimizers[0].zero_grad()
            loss = criterion(netD(real).flatten(), ones)
            loss = loss + criterion(netD(fake.detach()).flatten(), zeros)
            loss.backward()
            optimizers[0].step()
            optimizers[1].zero_grad()
            criterion(netD(fake).flatten(), ones).backward()
            optimizers[1].step()


train(n_epochs=40)
path = Path(tempfile.mkdtemp()) / "model.pth"
torch.save({"epoch": 40, "netG": netG.state_dict(), "netD": netD.state_dict()}, path)

# %%
# From the file to an estimator
# -----------------------------
# Latent size, widths, channels and image size are told from the shapes in the file.
# ``data_range`` says in which units images come and go: here those of the digits.

gan = DCGANFeatureExtractor.from_checkpoint(path, data_range=(0, 16), random_state=0)
print(f"latent_dim={gan.latent_dim}, image_shape_={gan.image_shape_}")

# %%
# Samples
# -------
# Above, real digits as the networks saw them; below, what the generator draws.

X = ((images[:, 0] + 1) * 8).numpy()
figure, axes = plt.subplots(2, figsize=(7, 3.6))
SamplesDisplay(X[:20], data_range=(0, 16)).plot(n_columns=10, ax=axes[0])
SamplesDisplay.from_estimator(gan, n_samples=20, n_columns=10, ax=axes[1])
axes[0].set_title("digits")
axes[1].set_title("samples of the checkpoint")
figure.tight_layout()
plt.show()

# %%
# Features
# --------
# What the discriminator sees helps a linear classifier more than the pixels do, on this
# one split. Networks and features are the checkpoint's: nothing was trained again.

X_train, X_test, y_train, y_test = train_test_split(
    X, digits.target, train_size=200, random_state=0
)
for name, represent in {
    "features": gan.transform,
    "pixels": lambda X: X.reshape(len(X), -1),
}.items():
    model = make_pipeline(StandardScaler(), LinearSVC(C=0.001))
    model.fit(represent(X_train), y_train)
    accuracy = model.score(represent(X_test), y_test)
    print(f"{name}: accuracy {accuracy:.3f} with 200 labels")
