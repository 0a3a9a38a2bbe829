"""Settings of a ``stargan_vc`` run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from components.core.config.strict import Strict
from components.core.recipe import Schedule
from components.core.settings import RunSettings
from components.translation.interface import Betas


class TrainSettings(Strict):
    """StarGAN-VC's part of the ``train`` block. The defaults are those of the authors' code."""

    batch_size: int = Field(ge=2, description="a multiple of the voices; published: 12")
    learning_rate: float = Field(default=5e-4, gt=0, description="Adam's, of generator and classifier")
    discriminator_learning_rate: float = Field(default=5e-6, gt=0, description="Adam's, of the discriminator")
    betas: Betas = Field(default=(0.9, 0.999), description="Adam's beta_1 and beta_2, of generator and classifier")
    discriminator_betas: Betas = Field(default=(0.5, 0.999), description="the discriminator's")
    schedule: Schedule = Field(default="constant", description="of all learning rates")
    clip_norm: float | None = Field(default=1.0, gt=0, description="of each network's gradient")
    adversarial: Literal["wasserstein", "logistic"] = Field(
        default="wasserstein", description="logistic: the paper's eq. 1 and 2; wasserstein: the authors' code, with a penalty"
    )
    gradient_penalty: float = Field(
        default=1.0, ge=0, description="of the discriminator's gradient between real and translated"
    )
    classification: float = Field(default=1.0, ge=0, description="lambda_cls")
    cycle: float = Field(default=1.0, ge=0, description="lambda_cyc")
    identity: float = Field(default=1.0, ge=0, description="lambda_id")
    critic_steps: int = Field(default=1, ge=1, description="the generator is updated at every n-th step")


def check_run(settings: RunSettings, view: Any) -> None:
    """Raise ValueError("block.key: ...") if settings do not fit each other."""
    train = settings.train
    if settings.model.name != "stargan_vc":
        raise ValueError(f"model.name: {settings.model.name!r} is no StarGAN-VC; allowed: stargan_vc")
    if train.compile:
        raise ValueError(
            "train.compile: true is not allowed: the penalty differentiates a gradient, and compiled networks cannot"
        )
    if train.steps < train.critic_steps:
        fault = f"train.steps: {train.steps} is not allowed: the generator is first updated at step {train.critic_steps}"
        raise ValueError(f"{fault} (train.critic_steps)")
