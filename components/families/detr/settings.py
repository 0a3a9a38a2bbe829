"""Settings of the recipe's blocks, and the published constants of costs and losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from components.core.config.strict import Strict
from components.core.recipe import BatchSize, Schedule


@dataclass(frozen=True)
class Weights:
    """Weights of the matching's costs and of the losses; ``focal``: sigmoids with the focal loss, else softmax."""

    focal: bool
    cost_class: float
    cost_l1: float
    cost_giou: float
    loss_class: float
    loss_l1: float
    loss_giou: float


# Carion et al. 2020, section A.4: L1 5, GIoU 2; class and cost of class 1: its code, main.py.
PLAIN = Weights(focal=False, cost_class=1, cost_l1=5, cost_giou=2, loss_class=1, loss_l1=5, loss_giou=2)
# Meng et al. 2021, section 4.1 ("Training"): the focal loss with weight 2; the rest as DETR.
CONDITIONAL = Weights(focal=True, cost_class=2, cost_l1=5, cost_giou=2, loss_class=2, loss_l1=5, loss_giou=2)
# Li et al. 2022: its code's defaults; there is no matching. The class loss is that of the decoder.
DENOISING = Weights(focal=True, cost_class=0, cost_l1=0, cost_giou=0, loss_class=1, loss_l1=5, loss_giou=2)
NO_OBJECT = 0.1  # Carion et al. 2020, section 3.1: the weight of "no object" is divided by 10
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0  # Lin et al. 2017, arXiv 1708.02002, section 5.1


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block. Defaults: Carion et al. 2020, section 4 and A.4, and Li et al. 2022."""

    batch_size: BatchSize = Field(default=64, description="images per update (section A.4: 4 on each of 16 GPUs)")
    learning_rate: float = Field(default=1e-4, gt=0, description="of AdamW, for the transformer and the heads (section 4)")
    backbone_learning_rate: float = Field(default=1e-5, gt=0, description="for the backbone (section 4)")
    weight_decay: float = Field(default=1e-4, ge=0, description="of all weights (section 4)")
    clip_norm: float | None = Field(default=0.1, gt=0, description="bound on the global gradient norm (section A.4)")
    schedule: Schedule = Field(default="constant_linear", description="the paper divides the rate by 10 after two thirds")
    constant_fraction: float = Field(default=2 / 3, ge=0, lt=1, description="of the updates, before constant_linear falls")
    denoising_groups: int = Field(default=5, ge=0, le=100, description="noisy copies of the true boxes; needs model.denoising")
    label_noise: float = Field(default=0.2, ge=0, le=1, description="probability that a noisy copy's class is drawn anew")
    box_noise: float = Field(default=0.4, ge=0, le=1, description="largest change of a noisy copy, as a share of its sides")
    standardise: Literal["view", "half", "imagenet"] = Field(
        default="imagenet", description="mean and std: of the training images; 0.5 and 0.5 in [0, 1]; ImageNet's"
    )


class ExportSettings(Strict):
    """The graph ``model``, and with ``attention`` a second one for the pictures of the evaluation."""

    detections: int = Field(default=100, ge=1, le=1000, description="boxes per picture, the best ones")
    attention: bool = Field(default=True, description="export the attention too, which doubles the size of the export")
