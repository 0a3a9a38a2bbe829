"""What the network predicts: x0, eps or v (Salimans & Ho 2022, arXiv 2202.00512), exact conversions, and the loss weights.

At a given x_t each of the three is an affine function of the others. Their squared errors differ by a factor of the SNR alone:
|eps error|^2 = SNR |x0 error|^2 and |v error|^2 = |x0 error|^2 / sigma^2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .schedules import alpha_sigma

Target = Literal["x0", "eps", "v"]
Weighting = Literal["simple", "vlb", "min_snr", "plain"]


def make_target(target: Target, x0: Tensor, eps: Tensor, log_snr: Tensor) -> Tensor:
    """The regression target: x0, eps, or v = alpha eps - sigma x0; all [N, ...], log SNR [] or [N]."""
    if target == "v":
        alpha, sigma = alpha_sigma(log_snr, x0)
        return alpha * eps - sigma * x0
    return {"x0": x0, "eps": eps}[target]


def to_x0(target: Target, prediction: Tensor, x: Tensor, log_snr: Tensor) -> Tensor:
    """Convert a prediction at x = x_t to x_0; log SNR must be finite for eps (at alpha = 0, eps does not determine x_0)."""
    if target == "x0":
        return prediction
    alpha, sigma = alpha_sigma(log_snr, x)
    if target == "eps":
        return (x - sigma * prediction) / alpha
    return alpha * x - sigma * prediction


def loss_weight(
    target: Target, weighting: Weighting, log_snr: Tensor, vlb: Tensor | None = None, min_snr_gamma: float = 5.0
) -> Tensor:
    """float64 [N]: the factor of |target - prediction|^2, for log SNR [N].

    In terms of |eps error|^2: "simple" is 1 (DDPM, eq. 14), "vlb" is ``vlb`` (objective.vlb_weight; VDM, eq. 13 and 17),
    "min_snr" is min(SNR, gamma) / SNR (Hang et al. 2023, arXiv 2303.09556). For x0 and v these are divided by the factors
    above, so the loss does not depend on which target is predicted. "plain" is 1 for every target: three different losses.
    """
    snr = log_snr.double().exp()
    if weighting == "plain":
        return torch.ones_like(snr)
    if weighting == "vlb":
        assert vlb is not None
        of_eps = vlb.double()
    else:
        of_eps = torch.ones_like(snr) if weighting == "simple" else (min_snr_gamma / snr).clamp(max=1.0)
    return of_eps * {"x0": snr, "eps": torch.ones_like(snr), "v": log_snr.double().sigmoid()}[target]
