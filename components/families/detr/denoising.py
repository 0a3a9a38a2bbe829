"""Denoising queries (Li et al. 2022, arXiv 2203.01305): groups of noisy true boxes, reconstructed without matching."""

from __future__ import annotations

import torch
from torch import Tensor

from components.families.detr.boxes import Targets
from components.families.detr.losses import box_losses, cross_entropy_sums, focal, one_hot, share
from components.families.detr.network.detr import Noised, Predictions
from components.families.detr.settings import DENOISING, Weights

DRAWS = 6  # uniform numbers of a query: whether the label flips, to which class, four of the box


def add_noise(
    targets: Targets, uniform: Tensor, *, num_classes: int, num_queries: int, label_noise: float, box_noise: float
) -> Noised:
    """Noisy copies of the true boxes: ``uniform`` [N, groups, M, 6] in [0, 1) -> queries, group by group, [N, groups M].

    A label flips with probability ``label_noise`` to any class; a centre moves by up to ``box_noise`` of half the sides, a side
    changes by up to ``box_noise`` of itself (section 4.2; the published code).
    """
    boxes, label = targets.boxes[:, None].to(uniform.dtype), targets.label[:, None]
    sides = boxes[..., 2:]
    reach = box_noise * torch.cat([sides / 2, sides], -1)
    noisy = (boxes + (2 * uniform[..., 2:] - 1) * reach).clamp(0, 1)
    other = (uniform[..., 1] * num_classes).long().clamp(max=num_classes - 1)
    labels = torch.where(uniform[..., 0] < label_noise, other, label)
    return Noised(labels.flatten(1), noisy.flatten(1, 2), visible(targets.real, uniform.shape[1], num_queries))


def visible(real: Tensor, groups: int, num_queries: int) -> Tensor:
    """Which query sees which: real bool [N, M] -> bool [N, 1, P + Q, P + Q], P = groups M, True where the row sees the column.

    A group sees itself and the object queries, but no other group; object queries see no group, which knows the truth
    (section 4.3). Nobody sees a query without a true box, but itself, so that no row is empty.
    """
    count, most = real.shape
    members = groups * most
    group = torch.arange(members, device=real.device) // most
    rows = torch.cat([group, torch.full((num_queries,), -1, device=real.device)])
    allowed = (rows[:, None] == rows[None]) | (rows[None] == -1)
    there = torch.cat([real.repeat(1, groups), real.new_ones(count, num_queries)], 1)
    itself = torch.eye(members + num_queries, dtype=torch.bool, device=real.device)
    return ((allowed & there[:, None, :]) | itself)[:, None]


def denoising_loss(predictions: Predictions, targets: Targets, groups: int, weights: Weights) -> Tensor:
    """The loss of the denoising queries, [layers, N, groups M] of ``predictions``, of all layers; each knows its true box."""
    layers = predictions.logits.shape[0]
    real = targets.real.repeat(layers, groups)
    logits, boxes = (tensor.flatten(0, 1)[real] for tensor in predictions)
    label, true = targets.label.repeat(layers, groups)[real], targets.boxes.repeat(layers, groups, 1)[real].to(boxes.dtype)
    l1, giou = box_losses(boxes, true)
    if weights.focal:
        by_class = focal(logits, one_hot(label, logits.shape[-1])).sum()
    else:
        by_class = cross_entropy_sums(logits[None], label[None])[0].sum()
    count = share(targets.real.sum()[None].to(l1.dtype)) * groups
    return ((DENOISING.loss_class * by_class + DENOISING.loss_l1 * l1.sum() + DENOISING.loss_giou * giou.sum()) / count).sum()
