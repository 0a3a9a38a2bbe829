"""Losses of a classifier against the ground truth, and the targets that they take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def smoothed(label: Tensor, classes: int, smoothing: float) -> Tensor:
    """One-hot vectors float32 [N, K] of int64 [N] with ``smoothing`` spread evenly over all classes (Szegedy et al. 2016)."""
    return F.one_hot(label, classes).float() * (1 - smoothing) + smoothing / classes


def softmax_loss(
    logits: Tensor, target: Tensor, *, smoothing: float = 0.0, weight: Tensor | None = None, gamma: float | None = None
) -> Tensor:
    """-sum_k w_k y_k (1 - p_k)^gamma log p_k, the mean over the images. ``target``: int64 [N], or float32 [N, K] as it is.

    ``weight`` [K]; the mean is over N and not over the sum of weights, so that N processes have the gradient of one.
    ``gamma``: of the focal loss (Lin et al. 2017, arXiv 1708.02002, eq. 4).
    """
    if gamma is None and weight is None:
        return F.cross_entropy(logits, target, label_smoothing=smoothing if target.dim() == 1 else 0.0)
    target = smoothed(target, logits.shape[1], smoothing) if target.dim() == 1 else target
    log_p = logits.log_softmax(1)
    factor = target if weight is None else target * weight
    factor = factor if gamma is None else factor * (1 - log_p.exp()) ** gamma
    return -(factor * log_p).sum(1).mean()


def sigmoid_loss(logits: Tensor, target: Tensor, *, weight: Tensor | None = None, gamma: float | None = None) -> Tensor:
    """Binary cross-entropy of each class, the mean over images and classes. ``target`` float32 [N, K], degrees 0 to 1.

    ``gamma``: the focal loss of each class by itself, (1 - p_t)^gamma with p_t = p y + (1 - p)(1 - y).
    """
    loss = F.binary_cross_entropy_with_logits(logits, target, weight=weight, reduction="none")
    if gamma is not None:
        p = logits.sigmoid()
        loss = loss * (1 - (p * target + (1 - p) * (1 - target))) ** gamma
    return loss.mean()


def weights_by_name(given: Mapping[str, float], classes: tuple[str, ...]) -> Tensor:
    """Weights float32 [K] in the order of ``classes``, 1 if not given. ValueError for a name that is no class."""
    if unknown := [name for name in given if name not in classes]:
        listed = ", ".join(classes[:8]) + (", ..." if len(classes) > 8 else "")
        raise ValueError(f"train.class_weights.{unknown[0]}: no such class; the view has: {listed}")
    return torch.tensor([given.get(name, 1.0) for name in classes])


def balanced_weights(counts: np.ndarray) -> Tensor:
    """N / (K n_k) float32 [K] of counts [K]: their mean over the training images is 1. Classes without images get 0."""
    present = counts > 0
    weights = np.where(present, counts.sum() / (present.sum() * np.maximum(counts, 1)), 0.0)
    return torch.from_numpy(weights.astype(np.float32))
