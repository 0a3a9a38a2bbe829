"""Settings of a ``stargan_v2`` run, and checks; defaults are the paper's (arXiv 1912.01865, appendix on training)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from components.core.config.strict import Strict
from components.core.recipe import Schedule
from components.core.settings import RunSettings
from components.translation.interface import Betas


class TrainSettings(Strict):
    """StarGAN v2's part of the ``train`` block."""

    batch_size: int = Field(ge=1, description="images, and pairs of references, per update; the paper's: 8")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's, of all networks but the mapping network")
    mapping_learning_rate: float = Field(default=1e-6, gt=0, description="of the mapping network")
    betas: Betas = Field(default=(0.0, 0.99), description="Adam's beta_1 and beta_2")
    schedule: Schedule = Field(default="constant", description="of the learning rate")
    ema_decay: float | None = Field(default=0.999, gt=0, lt=1, description="of the moving average of all but the discriminator")
    weight_decay: float = Field(default=1e-4, ge=0, description="L2, added to the gradient")
    style: float = Field(default=1.0, ge=0, description="lambda_sty: weight of the style reconstruction")
    diversity: float = Field(
        default=1.0, ge=0, description="lambda_ds at step 0: weight of the diversity; the paper's for animals: 2"
    )
    diversity_steps: int | None = Field(default=None, ge=1, description="until lambda_ds is 0; null: all steps")
    cycle: float = Field(default=1.0, ge=0, description="lambda_cyc: weight of the cycle consistency")
    r1: float = Field(default=1.0, ge=0, description="gamma: weight of R1, half the squared gradient; 0: no R1")
    r1_every: int = Field(default=1, ge=1, description="lazy R1: every n-th discriminator update has it, n times as large")


def check_run(settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
    """Raise ValueError("block.key: ...") if settings do not fit each other."""
    if settings.model.name != "stargan_v2":
        raise ValueError(f"model.name: {settings.model.name!r} is not the network of this recipe; allowed: stargan_v2")
    if settings.train.compile:
        raise ValueError("train.compile: true is not allowed: R1 needs second derivatives, which compiled networks do not give")
