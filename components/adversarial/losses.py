"""What discriminator and generator want, in four ways. All read numbers of any shape, [N, ...], and return a scalar mean.

``real`` and ``fake`` are the discriminator's outputs (logits, or a critic's scores) for real and for made images.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G)), D a sigmoid of the logits (Goodfellow et al. 2014, arXiv 1406.2661, eq. 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def logistic_generator(fake: Tensor) -> Tensor:
    """-E log D(G): not saturating where D is sure (arXiv 1406.2661, section 3)."""
    return F.softplus(-fake).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E (D(x) - 1)^2 + E D(G)^2: twice LSGAN's eq. 2 with a = 0, b = 1 (Mao et al. 2017, arXiv 1611.04076), as in MUNIT."""
    return (real - 1).square().mean() + fake.square().mean()


def least_squares_generator(fake: Tensor) -> Tensor:
    """E (D(G) - 1)^2: twice eq. 2 with c = 1 (arXiv 1611.04076)."""
    return (fake - 1).square().mean()


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E D(G) - E D(x), with a critic that is nearly 1-Lipschitz (Arjovsky et al. 2017, arXiv 1701.07875, eq. 2)."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E D(G) (arXiv 1701.07875, algorithm 1)."""
    return -fake.mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G)) (Lim & Ye 2017, arXiv 1705.02894; Miyato et al. 2018, 1802.05957, eq. 16)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """-E D(G) (arXiv 1802.05957, eq. 17)."""
    return -fake.mean()
