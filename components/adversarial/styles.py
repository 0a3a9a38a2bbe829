"""StarGAN v2's terms beside the adversarial one (Choi et al. 2020, arXiv 1912.01865, section 2.2)."""

from __future__ import annotations

from torch import Tensor


def style_reconstruction(style: Tensor, found: Tensor) -> Tensor:
    """E |s - E_y(G(x, s))|_1 (eq. 2), the mean over the numbers: styles given, and found in the images, both [N, S]."""
    return (style - found).abs().mean()


def diversity(image: Tensor, other: Tensor) -> Tensor:
    """E |G(x, s_1) - G(x, s_2)|_1 (eq. 3), the mean over the numbers, both [N, C, H, W]. To be made larger: subtract it.

    A gradient through ``image`` alone will do, as in the authors' training: then make ``other`` without one.
    """
    return (image - other).abs().mean()


def cycle_consistency(image: Tensor, back: Tensor) -> Tensor:
    """E |x - G(G(x, s), E_y(x))|_1 (eq. 4; StarGAN, arXiv 1711.09020, eq. 4), the mean over the numbers."""
    return (image - back).abs().mean()


def linear_decay(weight: float, step: int, steps: int) -> float:
    """``weight`` at step 0, in a straight line to 0 at ``steps``, 0 ever after: diversity's (appendix on training)."""
    return weight * max(0.0, 1.0 - step / steps)
