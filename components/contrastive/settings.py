"""Settings of a run on pairs of pictures and captions: blocks ``train`` and ``export``, and the prompts of its classes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from components.contrastive.prompts import Prompts
from components.core.config.strict import Strict
from components.core.recipe import Schedule


class PairSettings(Strict):
    """What a recipe on pairs has in its ``train`` block, with CLIP's values.

    Section 2.5 and tables 18 to 20: Adam with decoupled weight decay, a cosine schedule, 2,000 updates of warm-up
    (``warmup``), 32 epochs of batches of 32,768. A smaller batch wants a smaller rate or more warm-up.
    """

    batch_size: int = Field(default=32768, ge=1, description="pairs per update, over all processes (table 18)")
    learning_rate: float = Field(default=5e-4, gt=0, description="at the top of the schedule (ViT-B/32, RN50: table 19 and 20)")
    betas: tuple[float, float] = Field(default=(0.9, 0.98), description="of Adam (table 18; 0.9, 0.999 for ResNets)")
    eps: float = Field(default=1e-6, gt=0, description="of Adam (table 18; 1e-8 for ResNets)")
    weight_decay: float = Field(default=0.2, ge=0, description="of matrices and kernels; none for gains and biases (table 18)")
    clip_norm: float | None = Field(default=None, gt=0, description="bound on the global gradient norm")
    schedule: Schedule = Field(default="cosine", description="of the learning rate, after the warm-up (section 2.5)")
    ema_decay: float | None = Field(default=None, gt=0, lt=1, description="of the moving average of weights; null: none")
    loss: Literal["softmax", "sigmoid"] = Field(
        default="softmax", description="symmetric cross-entropy (CLIP), or a sigmoid per pair (SigLIP, Zhai et al. 2023)"
    )
    positives: Literal["pair", "caption", "column"] = Field(
        default="caption",
        description="which pictures and captions of a batch belong together: the pair (as published), also pairs with the same "
        "caption, or also those of the same class in positives_column",
    )
    positives_column: str = Field(default="label", min_length=1, description="the view's column for positives: column")
    standardise: Literal["view", "half", "openai"] = Field(
        default="view", description="mean and std: of the training images; 0.5 and 0.5 in [0, 1]; those of OpenAI's files"
    )

    @model_validator(mode="after")
    def _can_be_trained(self) -> PairSettings:
        if self.batch_size < 2:
            raise ValueError("batch_size: 1 is not allowed: a batch of one pair has no negatives; at least 2")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: {list(self.betas)} is not allowed: at least 0 and below 1")
        if "positives_column" in self.model_fields_set and self.positives != "column":
            raise ValueError(f"positives_column: not allowed with positives {self.positives}; it belongs to column")
        return self


class ExportSettings(Prompts):
    """Classes and prompts of a request that names no classes."""

    column: str = Field(default="label", min_length=1, description="the view's column whose classes they are")
