"""Losses and penalties of adversarial training, one equation per function, and ``frozen`` for updates of one side.

``real`` and ``fake`` are the discriminator's outputs (logits, or a critic's scores), [N, ...], for real and for generated
images; every function returns a scalar mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ------------------------------------------------------------------------------------------------ discriminator and generator


def logistic_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G)), D a sigmoid of the logits (Goodfellow et al. 2014, arXiv 1406.2661, eq. 1)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def logistic_generator(fake: Tensor) -> Tensor:
    """-E log D(G): does not saturate when D is sure (arXiv 1406.2661, section 3)."""
    return F.softplus(-fake).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E (D(x) - 1)^2 + E D(G)^2: twice LSGAN's eq. 2 with a = 0, b = 1 (Mao et al. 2017, arXiv 1611.04076), as in MUNIT."""
    return (real - 1).square().mean() + fake.square().mean()


def least_squares_generator(fake: Tensor) -> Tensor:
    """E (D(G) - 1)^2: twice eq. 2 with c = 1 (arXiv 1611.04076)."""
    return (fake - 1).square().mean()


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E D(G) - E D(x), for a critic that is nearly 1-Lipschitz (Arjovsky et al. 2017, arXiv 1701.07875, eq. 2)."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """-E D(G) (arXiv 1701.07875, algorithm 1)."""
    return -fake.mean()


def category_loss(logits: Tensor, category: Tensor) -> Tensor:
    """-E log D_cls(c | x) (StarGAN, arXiv 1711.09020, eq. 2 and 3) for exclusive domains; logits [N, K], category int64 [N]."""
    return F.cross_entropy(logits, category)


def attribute_loss(logits: Tensor, attributes: Tensor) -> Tensor:
    """-E log D_cls(c | x) (arXiv 1711.09020, eq. 2 and 3) for K independent attributes; logits and degrees 0 to 1, [N, K].

    Binary cross-entropy, summed over the attributes: the log-likelihood of all of them.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return F.binary_cross_entropy_with_logits(logits, attributes.to(logits.dtype), reduction="sum") / len(logits)


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Exclude the networks' weights from gradients; those that they hold stay as they are.

    Gradients still pass through the networks to their inputs. Weights that are never trained stay so.
    """
    parameters = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


# ------------------------------------------------------------------------------------------------ penalties on D's gradient
# An image's gradient is that of the sum of its scores; no layer may mix images (batch norm).


def r1_penalty(scores: Tensor, images: Tensor) -> Tensor:
    """1/2 E ||grad D(x)||^2 on real images (Mescheder et al. 2018, arXiv 1801.04406, eq. 9), without its gamma.

    scores [N, ...] of images [N, ...], which require a gradient. A lazy penalty, computed at every k-th update, counts k times
    (Karras et al. 2020, arXiv 1912.04958, section 3.1).
    """
    return 0.5 * image_gradients(scores, images).square().sum(1).mean()


def gradient_penalty(scores: Tensor, between: Tensor) -> Tensor:
    """E (||grad D(x^)|| - 1)^2 (Gulrajani et al. 2017, arXiv 1704.00028, eq. 3), without its lambda.

    scores [N, ...] of ``between`` [N, ...], from ``interpolate``. If a gradient is exactly 0, its penalty is 1 and passes no
    gradient on, instead of nan.
    """
    return (torch.linalg.vector_norm(image_gradients(scores, between), dim=1) - 1).square().mean()


def interpolate(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """x^ = share x + (1 - share) G, share [N] from U[0, 1] (arXiv 1704.00028, algorithm 1): a leaf that requires a gradient."""
    share = share.view(-1, *[1] * (real.dim() - 1)).to(real)
    return torch.lerp(fake.detach().to(real), real.detach(), share).requires_grad_()  # under autocast fake is bf16


def image_gradients(scores: Tensor, images: Tensor) -> Tensor:
    """d sum(scores[n]) / d images[n], float32 at least, [N, values per image], itself differentiable."""
    (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
    return gradient.flatten(1).to(torch.promote_types(gradient.dtype, torch.float32))


# ------------------------------------------------------------------------------------------------ styles and cycles


def style_reconstruction(style: Tensor, found: Tensor) -> Tensor:
    """E |s - E_y(G(x, s))|_1 (StarGAN v2, arXiv 1912.01865, eq. 2), mean over elements; both styles [N, S]."""
    return (style - found).abs().mean()


def diversity(image: Tensor, other: Tensor) -> Tensor:
    """E |G(x, s_1) - G(x, s_2)|_1 (arXiv 1912.01865, eq. 3), mean over elements, both [N, C, H, W]; to be maximised.

    A gradient through ``image`` alone is enough, as in the authors' training: compute ``other`` without one.
    """
    return (image - other).abs().mean()


def cycle_consistency(image: Tensor, back: Tensor) -> Tensor:
    """E |x - G(G(x, s), E_y(x))|_1 (arXiv 1912.01865, eq. 4; StarGAN, arXiv 1711.09020, eq. 4), mean over elements."""
    return (image - back).abs().mean()


def linear_decay(weight: float, step: int, steps: int) -> float:
    """``weight`` at step 0, falling linearly to 0 at ``steps``, then 0: the diversity's weight (arXiv 1912.01865, appendix)."""
    return weight * max(0.0, 1.0 - step / steps)
