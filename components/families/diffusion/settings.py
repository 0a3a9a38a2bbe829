"""The ``train`` block of a ``diffusion`` run; its defaults are DDPM's for CIFAR-10 (Ho et al. 2020, arXiv 2006.11239)."""

from __future__ import annotations

import string
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from components.core.config.strict import Strict
from components.core.recipe import BatchSize, Schedule
from components.diffusion.conditions import NUM_TOKENS
from components.diffusion.parametrisation import Target, Weighting
from components.diffusion.schedules import ScheduleName, make_schedule


class NoiseSettings(Strict):
    """``schedule`` of log SNR; ``num_steps``: T of a discrete schedule, null for continuous time."""

    schedule: ScheduleName = Field(description="log SNR over time")
    num_steps: int | None = Field(ge=1, le=100_000, description="T, or null for continuous time")


class TextSettings(Strict):
    """The view's own captions, or one made of the class name. A transformer encodes the words of its UTF-8 bytes."""

    template: str | None = Field(
        default=None, description="the caption, with {label} for the class name; null: the view's own, whose tokeniser is bytes"
    )
    context: int = Field(default=32, ge=1, le=1024, description="maximum number of bytes")
    unit: Literal["words", "bytes"] = Field(
        default="words", description="what has a vector: a word between spaces, or a byte, for languages without spaces"
    )
    width: int = Field(default=64, ge=1, description="of the transformer's vectors")
    depth: int = Field(default=2, ge=1, description="blocks of the transformer")
    heads: int = Field(default=2, ge=1, description="of its attention")

    @field_validator("template")
    @classmethod
    def _has_a_label(cls, template: str | None) -> str | None:
        if template is not None and [field for _, field, _, _ in string.Formatter().parse(template) if field is not None] != [
            "label"
        ]:
            raise ValueError("{label} is expected in it, once, and no other field")
        return template

    def of(self, label: str) -> str:
        """Return the caption of a class; only with a template."""
        assert self.template is not None
        return self.template.format(label=label)

    def encoder_options(self) -> dict[str, int]:
        """Arguments of the caption transformer."""
        return self.model_dump(exclude={"template", "unit"}) | {"num_tokens": NUM_TOKENS, "words": self.unit == "words"}


class LowResolutionSettings(Strict):
    """Condition on the image reduced by ``factor``, to which training adds noise of up to ``noise`` in units of [-1, 1]."""

    factor: int = Field(ge=2, le=64, description="by which the sides are reduced")
    noise: float = Field(default=0.0, ge=0, le=1, description="largest standard deviation (Ho et al. 2022, arXiv 2106.15282)")


class Conditions(Strict):
    """The conditions of an image, and the share of images that are trained without any: guidance needs some."""

    renamed: ClassVar[dict[str, str]] = {"dropout": "label_dropout"}

    label: bool = Field(default=False, description="whether the class is given")
    text: TextSettings | None = None
    low_resolution: LowResolutionSettings | None = None
    label_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="p_uncond of Ho & Salimans (2022, arXiv 2207.12598), who use 0.1; of all conditions",
    )

    def names(self) -> tuple[str, ...]:
        """The keys of ``components.diffusion.conditions``."""
        settings = {"label": self.label, "tokens": self.text, "low_resolution": self.low_resolution}
        return tuple(name for name, value in settings.items() if value)

    @property
    def captions(self) -> bool:
        """Whether images are conditioned on the view's own captions."""
        return self.text is not None and self.text.template is None

    def need_classes(self) -> bool:
        """Whether a condition is made of the class."""
        return self.label or (self.text is not None and not self.captions)

    def network_options(self, image_size: int, channels: int, classes: int) -> dict[str, Any]:
        """Arguments of the U-Net that follow from the data and the conditions."""
        return {
            "image_size": image_size,
            "channels": channels,
            "num_classes": classes if self.label else None,
            "text_width": self.text.width if self.text else None,
            "low_resolution": self.low_resolution is not None,
        }

    @model_validator(mode="after")
    def _something_to_drop(self) -> Conditions:
        if self.label_dropout and not self.names():
            raise ValueError("label_dropout without a condition: add label, text or low_resolution")
        return self


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block.

    DDPM's appendix B: linear betas, 1,000 steps, eps with the simple loss, Adam, batch 128, learning rate 2e-4, moving average
    0.9999. Its code adds: gradient norm 1, a constant learning rate after 5,000 updates of warm-up (``warmup``).
    """

    renamed: ClassVar[dict[str, str]] = {"min_snr_clip": "min_snr_gamma"}

    batch_size: BatchSize = Field(default=128, description="DDPM, appendix B")
    learning_rate: float = Field(default=2e-4, gt=0, description="of Adam, at the top of the schedule (DDPM, appendix B)")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="of Adam (DDPM, appendix B: standard values)")
    clip_norm: float | None = Field(default=1.0, gt=0, description="bound on the global gradient norm (DDPM's code)")
    schedule: Schedule = Field(default="constant", description="DDPM, appendix B")
    ema_decay: float | None = Field(default=0.9999, gt=0, lt=1, description="of the moving average (DDPM, appendix B)")
    noise: NoiseSettings = Field(
        default=NoiseSettings(schedule="linear", num_steps=1000), description="beta from 1e-4 to 0.02 (DDPM, section 4)"
    )
    target: Target = Field(default="eps", description="what the network predicts (DDPM, eq. 14)")
    weighting: Weighting = Field(default="simple", description="of the squared error, see loss_weight (DDPM, eq. 14)")
    min_snr_gamma: float = Field(default=5.0, gt=0, description="of the weighting min_snr (Hang et al. 2023, arXiv 2303.09556)")
    conditions: Conditions = Conditions()

    @model_validator(mode="after")
    def _can_be_trained(self) -> TrainSettings:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: {list(self.betas)} is not allowed: at least 0 and below 1")
        if self.noise.schedule == "vdm_learned" and self.weighting != "vlb":
            raise ValueError("noise.schedule: vdm_learned is learnt from the bound: weighting must be vlb")
        make_schedule(self.noise.schedule, self.noise.num_steps)
        return self
