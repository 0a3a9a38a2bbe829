"""Hungarian matching of queries and true boxes (Carion et al. 2020, eq. 1), for all images and layers; one copy to the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from components.families.detr.boxes import Targets, corners, overlaps
from components.families.detr.settings import FOCAL_ALPHA, FOCAL_GAMMA, Weights

EPSILON = 1e-8  # Conditional DETR's code


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, targets: Targets, weights: Weights) -> Tensor:
    """The query of each true box, of the least total cost: logits [B, Q, K'], boxes [B, Q, 4] -> int64 [B, M].

    Rows without a true box are 0. At most Q boxes an image.
    """
    costs = cost(logits.float(), boxes.float(), targets, weights).cpu().numpy()
    counts = targets.real.sum(1).tolist()
    queries = np.zeros((costs.shape[0], costs.shape[2]), np.int64)
    for row, count in enumerate(counts):
        queries[row, :count] = assign(costs[row, :, :count])
    return torch.from_numpy(queries).to(logits.device)


def assign(costs: np.ndarray) -> np.ndarray:
    """The row of each column, all different, with the least sum: [Q, n], n <= Q -> int64 [n]."""
    from scipy.optimize import linear_sum_assignment

    # Costs of a network that has diverged: any assignment will do, its loss is not finite either, and the loop says so.
    if not np.isfinite(costs).all():
        costs = np.zeros_like(costs)
    columns, rows = linear_sum_assignment(costs.T)
    assert len(columns) == costs.shape[1], "more boxes than queries"
    return np.asarray(rows[np.argsort(columns)], np.int64)


def cost(logits: Tensor, boxes: Tensor, targets: Targets, weights: Weights) -> Tensor:
    """Cost of each pair [B, Q, M]: of the class, the L1 distance and the generalised IoU."""
    true = targets.boxes.to(boxes.dtype)
    distance = (boxes[:, :, None] - true[:, None]).abs().sum(-1)
    _, generalised = overlaps(corners(boxes)[:, :, None], corners(true)[:, None])
    by_class = class_cost(logits, weights)
    index = targets.label[:, None].expand(-1, logits.shape[1], -1)
    return weights.cost_class * by_class.gather(2, index) + weights.cost_l1 * distance - weights.cost_giou * generalised


def class_cost(logits: Tensor, weights: Weights) -> Tensor:
    """Cost of each class [B, Q, K']: minus the softmax probability, or the difference of the focal loss's two sides."""
    if not weights.focal:
        return -logits.softmax(-1)
    p = logits.sigmoid()
    positive = FOCAL_ALPHA * (1 - p) ** FOCAL_GAMMA * -(p + EPSILON).log()
    negative = (1 - FOCAL_ALPHA) * p**FOCAL_GAMMA * -(1 - p + EPSILON).log()
    return positive - negative
