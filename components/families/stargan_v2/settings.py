"""The settings of a ``stargan_v2`` run; defaults are the paper's (Choi et al. 2020, arXiv 1912.01865, appendix on training)."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from components.core.settings import RunSettings
from components.core.strict import Strict


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block."""

    batch_size: int = Field(ge=1, description="images an update; as many pairs of references")
    learning_rate: float = Field(default=1e-4, gt=0, description="Adam's, of all networks but the mapping network")
    mapping_learning_rate: float = Field(default=1e-6, gt=0, description="of the mapping network")
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = Field(default=1e-4, ge=0, description="L2, added to the gradient")
    style: float = Field(default=1.0, ge=0, description="lambda_sty: weight of the style reconstruction")
    diversity: float = Field(default=1.0, ge=0, description="lambda_ds at step 0: weight of the diversity")
    diversity_steps: int | None = Field(default=None, ge=1, description="until lambda_ds is 0; null: all steps")
    cycle: float = Field(default=1.0, ge=0, description="lambda_cyc: weight of the cycle consistency")
    r1: float = Field(default=1.0, ge=0, description="gamma: weight of R1, half the squared gradient; 0: none")
    r1_every: int = Field(default=1, ge=1, description="of so many discriminator updates one has R1, times as many")

    @model_validator(mode="after")
    def _can_be_trained(self) -> TrainSettings:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: {list(self.betas)} is not allowed: at least 0 and below 1")
        return self


def check_run(settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
    """ValueError("block.key: ...") where settings do not fit each other."""
    if settings.model.name != "stargan_v2":
        raise ValueError(f"model.name: {settings.model.name!r} is not the network of this recipe; allowed: stargan_v2")
    if settings.train.compile:
        raise ValueError("train.compile: true is not allowed: R1 needs second derivatives, which compiled networks do not give")
