"""The set loss (Carion et al. 2020, eq. 2 and section A.2): class, L1 and generalised IoU of every layer's matched queries."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from components.core.step import gather, processes
from components.families.detr.boxes import Targets, corners, overlaps
from components.families.detr.matching import match
from components.families.detr.network.detr import Predictions
from components.families.detr.settings import FOCAL_ALPHA, FOCAL_GAMMA, NO_OBJECT, Weights


class Sums(NamedTuple):
    """Sums over the queries of each image, [B]: the class loss and the weights of its terms, L1, 1 - GIoU; ``boxes``: count."""

    by_class: Tensor
    class_weight: Tensor
    l1: Tensor
    giou: Tensor
    boxes: Tensor


def set_loss(predictions: Predictions, targets: Targets, weights: Weights) -> dict[str, Tensor]:
    """Weighted terms over the global batch: ``class``, ``l1``, ``giou`` of the last layer, ``auxiliary`` of all others.

    Every layer is matched anew. L1 and GIoU, and the focal loss, are divided by the number of true boxes (at least 1), the
    cross-entropy by its weights.
    """
    layers = predictions.logits.shape[0]
    logits, boxes, repeated = predictions.logits.flatten(0, 1), predictions.boxes.flatten(0, 1), targets.repeated(layers)
    sums = matched_sums(logits, boxes, repeated, match(logits, boxes, repeated, weights), weights)
    terms = {name: term.view(layers, -1).sum(1) for name, term in sums._asdict().items()}
    count = share(terms["boxes"])
    by_class = terms["by_class"] / (count if weights.focal else share(terms["class_weight"], least=0.0))
    found = {
        "class": weights.loss_class * by_class,
        "l1": weights.loss_l1 * terms["l1"] / count,
        "giou": weights.loss_giou * terms["giou"] / count,
    }
    losses = {name: values[-1] for name, values in found.items()}
    if layers > 1:
        losses["auxiliary"] = torch.stack(list(found.values()))[:, :-1].sum()
    return losses


def share(count: Tensor, least: float = 1.0) -> Tensor:
    """The count [L] of the global batch, divided by the processes: ``optimize`` averages over them. At least ``least``."""
    return (gather(count[None]).sum(0) / processes()[1]).clamp(min=least)


def matched_sums(logits: Tensor, boxes: Tensor, targets: Targets, queries: Tensor, weights: Weights) -> Sums:
    """Sums of the losses of each image: logits [B, Q, K'], boxes [B, Q, 4], ``queries`` int64 [B, M]: of each true box."""
    image, place = targets.real.nonzero(as_tuple=True)
    query = queries[image, place]
    classes = torch.full(logits.shape[:2], -1, dtype=torch.int64, device=logits.device)
    classes[image, query] = targets.label[image, place]
    by_class, class_weight = focal_sums(logits, classes) if weights.focal else cross_entropy_sums(logits, classes)
    mine, true = boxes[image, query], targets.boxes[image, place].to(boxes.dtype)
    l1, giou = box_losses(mine, true)
    zeros = torch.zeros(len(logits), dtype=l1.dtype, device=logits.device)
    sums = [zeros.index_add(0, image, values) for values in (l1, giou, torch.ones_like(l1))]
    return Sums(by_class, class_weight, *sums)


def box_losses(boxes: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """(L1, 1 - GIoU) of pairs of boxes [n, 4] -> [n] each."""
    return (boxes - true).abs().sum(-1), 1 - overlaps(corners(boxes), corners(true))[1]


def cross_entropy_sums(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax cross-entropy: logits [B, Q, K + 1], the last "no object", classes [B, Q], -1 for it -> sums, weights [B]."""
    nothing = classes < 0
    weight = torch.where(nothing, logits.new_full((), NO_OBJECT), logits.new_ones(()))
    target = classes.masked_fill(nothing, logits.shape[-1] - 1)
    surprise = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    return (weight * surprise).sum(1), weight.sum(1)


def focal_sums(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Focal loss (Lin et al. 2017, eq. 5): logits [B, Q, K], classes [B, Q], -1 for none -> sums [B] and the queries [B]."""
    terms = focal(logits, one_hot(classes, logits.shape[-1]))
    return terms.sum((1, 2)), torch.full_like(terms[:, 0, 0], logits.shape[1])


def one_hot(classes: Tensor, number: int) -> Tensor:
    """int64 [...], -1 for none -> float [..., number]."""
    return (classes.unsqueeze(-1) == torch.arange(number, device=classes.device)).float()


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss of sigmoids with alpha 0.25 and gamma 2; ``target`` 0 or 1, of the shape of ``logits``."""
    p = logits.sigmoid()
    surprise = F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="none")
    p_true = p * target + (1 - p) * (1 - target)
    return (FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)) * surprise * (1 - p_true) ** FOCAL_GAMMA
