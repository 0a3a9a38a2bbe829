"""The loop's settings: a part of every run's ``train`` block, apart from the loop, whose code no export depends on."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from components.core.config.strict import Strict
from components.core.recipe import Schedule


class LoopSettings(Strict):
    """The loop's part of a run's ``train`` block. The recipe adds its own keys, and its paper's defaults for these."""

    renamed: ClassVar[dict[str, str]] = {"average_decay": "ema_decay"}

    seed: int = Field(default=0, ge=0, lt=2**31, description="of initial weights, order, augmentation and noise")
    threads: int = Field(default=1, ge=1, le=256, description="CPU threads of a process; bits of the result depend on it")
    processes: int = Field(default=1, ge=1, le=4096, description="that share each batch; bits of the result depend on it")
    precision: Literal["fp32", "bf16", "auto"] = Field(
        default="auto",
        description="of the networks' arithmetic; auto: bf16 where the hardware multiplies it and the model allows it",
    )
    steps: int = Field(ge=1, description="updates, the only unit of training time")
    warmup: int = Field(default=0, ge=0, description="updates of linear learning-rate warm-up")
    schedule: Schedule = Field(default="cosine", description="of the learning rate, after the warm-up")
    schedule_steps: int | None = Field(default=None, ge=1, description="updates until schedule step halves the learning rate")
    constant_fraction: float = Field(default=0.5, ge=0, lt=1, description="of the updates, before constant_linear falls")
    ema_decay: float | None = Field(default=None, gt=0, lt=1, description="of the moving average of weights; null: none")
    ema_ramp_up: bool = Field(default=False, description="ema_decay is at most (1 + step) / (10 + step)")
    validate_every: int | None = Field(
        default=None, ge=0, description="updates between points of the validation curve; null: about 20 points, 0: no curve"
    )
    select: Literal["last", "best"] = Field(
        default="last", description="the weights that are saved: after the last update, or of the best validation"
    )
    select_metric: str | None = Field(
        default=None, description="validation figure that select: best and patience follow; null: the recipe's first"
    )
    patience: int | None = Field(
        default=None, ge=1, description="validations without a better figure, after which the training stops; null: never"
    )
    batch_norm: Literal["copied", "reestimated"] = Field(
        default="copied", description="running statistics that are saved: of the last updates, or re-estimated on 50 batches"
    )
    workers: int = Field(default=0, ge=0, le=64, description="processes that prepare batches; the result does not depend on it")
    compile: bool = Field(default=False, description="torch.compile the networks")
    checkpoint_every: int = Field(default=500, ge=1, description="updates")
    log_every: int = Field(default=20, ge=1, description="updates")

    @property
    def follows_validation(self) -> bool:
        """Whether the saved weights depend on the validation curve."""
        return self.select == "best" or self.patience is not None

    @model_validator(mode="after")
    def _schedule_fits(self) -> Self:
        given = self.model_fields_set
        if self.warmup > self.steps:
            raise ValueError(f"warmup: {self.warmup} is not allowed: at most steps, {self.steps}")
        if self.schedule == "step" and self.schedule_steps is None:
            raise ValueError("schedule_steps: missing; schedule step needs it")
        for key, schedule in (("schedule_steps", "step"), ("constant_fraction", "constant_linear")):
            if key in given and self.schedule != schedule:
                raise ValueError(f"{key}: not allowed with schedule {self.schedule}; it belongs to {schedule}")
        if self.ema_ramp_up and "ema_ramp_up" in given and self.ema_decay is None:
            raise ValueError("ema_ramp_up: true is not allowed without ema_decay")
        return self

    @model_validator(mode="after")
    def _selection_fits(self) -> Self:
        if self.follows_validation and self.validate_every == 0:
            key = "select: best" if self.select == "best" else f"patience: {self.patience}"
            raise ValueError(f"{key} is not allowed with validate_every: 0; it follows the validation curve")
        if self.select_metric is not None and not self.follows_validation:
            raise ValueError(f"select_metric: {self.select_metric} is not allowed without select: best or patience")
        return self
