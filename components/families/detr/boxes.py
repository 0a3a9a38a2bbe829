"""Boxes as tensors: (cx, cy, w, h) relative to the image, and their corners; intersection over union and its generalisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from components.core.batch import Batch

SMALLEST = 1e-12  # area: two boxes without area have an overlap of 0, not 0 / 0


@dataclass(frozen=True)
class Targets:
    """True boxes of N images: ``boxes`` [N, M, 4], ``label`` int64 [N, M], ``real`` bool [N, M]: the first of each row are."""

    boxes: Tensor
    label: Tensor
    real: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Targets:
        """The boxes of a batch, without the columns that no image uses."""
        most = max(1, int(batch["box_mask"].sum(1).max()))
        return cls(batch["boxes"][:, :most], batch["box_label"][:, :most], batch["box_mask"][:, :most])

    def repeated(self, times: int) -> Targets:
        """The same targets ``times`` times: [times N, M]."""
        return Targets(self.boxes.repeat(times, 1, 1), self.label.repeat(times, 1), self.real.repeat(times, 1))


def corners(boxes: Tensor) -> Tensor:
    """(cx, cy, w, h) [..., 4] -> (x_min, y_min, x_max, y_max) [..., 4]."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def overlaps(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """(IoU, generalised IoU) of corners [..., 4], broadcast against each other.

    GIoU = IoU - |C without the union| / |C|, C the smallest box around both (Rezatofighi et al. 2019, arXiv 1902.09630,
    algorithm 1).
    """
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    union = area(one) + area(other) - intersection
    around = (torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])).prod(-1)
    iou = intersection / union.clamp(min=SMALLEST)
    return iou, iou - (around - union) / around.clamp(min=SMALLEST)


def area(box: Tensor) -> Tensor:
    """Area of corners [..., 4]."""
    return (box[..., 2:] - box[..., :2]).prod(-1)
