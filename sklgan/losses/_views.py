"""Losses of two views of each image, which tell it from others."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def nt_xent(first: Tensor, second: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the normalised, temperature-scaled cross-entropy of two views.

    Each projection has to tell that of the same image's other view from those of all
    other images: the mean over all 2n of -log(exp(s_ij / T) / sum_k exp(s_ik / T)), s
    the cosine, j the other view and k all but i.

    Parameters
    ----------
    first, second : Tensor
        (n, d), projections of two views of the same n images.
    temperature : float, default=0.1
        T.

    Returns
    -------
    Tensor
        A scalar, log(2n - 1) where projections say nothing.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    Chen et al. 2020, equation 1 (arXiv:2002.05709).
    """
    if first.shape != second.shape:
        raise ValueError(
            f"first has shape {tuple(first.shape)} and second {tuple(second.shape)}; "
            "give two views of the same images."
        )
    z = torch.cat([first, second])
    similarity = _cosine(z, z) / temperature
    own = torch.eye(len(z), dtype=torch.bool, device=z.device)
    partner = torch.arange(len(z), device=z.device).roll(len(first))
    return cross_entropy(similarity.masked_fill(own, -torch.inf), partner)


def fakes_apart(fake: Tensor, real: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the supervised contrastive loss that draws fakes together, off the real.

    The mean over pairs i, j of fakes of -log(exp(s_ij / T) / sum_k exp(s_ik / T)), s
    the cosine and k all fakes but i and all real images.

    Parameters
    ----------
    fake : Tensor
        (n, d), projections of at least 2 generated images.
    real : Tensor
        (m, d), projections of real images, of all their views.
    temperature : float, default=0.1
        T.

    Returns
    -------
    Tensor
        A scalar, log(n + m - 1) where projections say nothing.

    References
    ----------
    Jeong and Shin 2021, section 3 (arXiv:2103.09742), after Khosla et al. 2020.
    """
    n = len(fake)
    own = torch.eye(n, dtype=torch.bool, device=fake.device)
    among = (_cosine(fake, fake) / temperature).masked_fill(own, -torch.inf)
    to_real = _cosine(fake, real) / temperature
    log_p = among - torch.cat([among, to_real], dim=1).logsumexp(dim=1, keepdim=True)
    return -log_p.masked_fill(own, 0.0).sum() / (n * (n - 1))


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosines of all pairs of rows, (n, m), in float32.

    Under autocast their errors would be a third of the temperature.
    """
    with torch.autocast(first.device.type, enabled=False):
        return normalize(first.float(), dim=1) @ normalize(second.float(), dim=1).T
