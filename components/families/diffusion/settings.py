"""The settings of a ``diffusion`` run, and which of them fit each other and the runs that it is linked to."""

from __future__ import annotations

import string
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from components.core.settings import RunSettings
from components.core.strict import Strict
from components.diffusion.making import ScheduleName, make_schedule
from components.diffusion.parametrisation import Target, Weighting
from components.diffusion.sampling import Manner

SamplerName = Literal["ancestral", "ddim", "heun", "dpm_solver_2m"]
CLASSIFIERS = ("classification", "noisy_classifier")  # recipes whose served code tells logits and features


class NoiseSettings(Strict):
    """``schedule`` of log SNR; ``num_steps``: T of a discrete one, null for continuous time."""

    schedule: ScheduleName
    num_steps: int | None = Field(ge=1, le=100_000, description="T, or null for continuous time")


class TextSettings(Strict):
    """A caption made of the class: ``template`` holds ``{label}``. Its UTF-8 bytes are read by a transformer."""

    template: str
    context: int = Field(default=32, ge=1, le=1024, description="bytes at most")
    width: int = Field(default=64, ge=1)
    depth: int = Field(default=2, ge=1)
    heads: int = Field(default=2, ge=1)

    @field_validator("template")
    @classmethod
    def _has_a_label(cls, template: str) -> str:
        if [field for _, field, _, _ in string.Formatter().parse(template) if field is not None] != ["label"]:
            raise ValueError("{label} is expected in it, once, and no other field")
        return template

    def of(self, label: str) -> str:
        return self.template.format(label=label)


class LowResolutionSettings(Strict):
    """The image made smaller by ``factor``; ``noise``: in training, of a deviation up to this in units of [-1, 1]."""

    factor: int = Field(ge=2, le=64)
    noise: float = Field(default=0.0, ge=0, le=1)


class Conditions(Strict):
    """What an image is conditioned on, and the share ``dropout`` of images that are trained without: guidance needs some."""

    label: bool = False
    text: TextSettings | None = None
    low_resolution: LowResolutionSettings | None = None
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def names(self) -> tuple[str, ...]:
        """The keys of ``components.diffusion.conditions``."""
        asked = {"label": self.label, "tokens": self.text, "low_resolution": self.low_resolution}
        return tuple(name for name, value in asked.items() if value)

    @model_validator(mode="after")
    def _something_to_drop(self) -> Conditions:
        if self.dropout and not self.names():
            raise ValueError("dropout without a condition: add label, text or low_resolution")
        return self


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block."""

    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="Adam's, at the top of the schedule")
    betas: tuple[float, float] = (0.9, 0.999)
    clip_norm: float | None = Field(default=None, gt=0, description="bound on the global gradient norm")
    noise: NoiseSettings
    target: Target = Field(description="what the network predicts")
    weighting: Weighting = Field(default="simple", description="of the squared error, see diffusion/parametrisation.py")
    min_snr_clip: float = Field(default=5.0, gt=0, description="gamma of Hang et al. 2023")
    conditions: Conditions = Conditions()

    @model_validator(mode="after")
    def _can_be_trained(self) -> TrainSettings:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: {list(self.betas)} is not allowed: at least 0 and below 1")
        if self.noise.schedule == "vdm_learned" and self.weighting != "vlb":
            raise ValueError("noise.schedule: vdm_learned is learnt from the bound: weighting must be vlb")
        make_schedule(self.noise.schedule, self.noise.num_steps)
        return self


class NoSettings(Strict):
    """Nothing to say."""


class SamplerRow(Strict):
    """A row of the table of samplers."""

    sampler: SamplerName
    steps: int = Field(ge=1)
    eta: float = Field(default=0.0, ge=0, le=1)


class EvaluateSettings(Strict):
    """``split``: of the bound, and of the real images that samples are compared with.

    ``samples`` images are made for each figure that a classifier (link ``classifier``) gives: for ``gamma``, for each guidance
    scale of ``sweep``, for each row of ``samplers``. Everything else is made with ``sampler`` and ``steps``.
    """

    split: Literal["train", "validation", "test"] = "test"
    seed: int = Field(default=0, ge=0, lt=2**31)
    bound_draws: int = Field(default=1, ge=0, le=1000, description="times and noises an image; 0: no bound")
    sampler: SamplerName = "dpm_solver_2m"
    steps: int = Field(default=20, ge=1)
    gamma: float = Field(default=1.0, ge=0, description="guidance scale: 0 ignores the condition, 1 follows it")
    guidance: Literal["free", "classifier"] = "free"
    rows: int = Field(default=6, ge=1, le=64, description="of the sheet of samples")
    samples: int = Field(default=256, ge=6, le=1_000_000)
    dimensions: int | None = Field(default=None, ge=1, description="of the features, reduced to them by PCA if they are more")
    sweep: tuple[float, ...] = ()
    samplers: tuple[SamplerRow, ...] = ()

    @field_validator("sweep")
    @classmethod
    def _rising(cls, sweep: tuple[float, ...]) -> tuple[float, ...]:
        if any(gamma < 0 for gamma in sweep) or sorted(set(sweep)) != list(sweep):
            raise ValueError("guidance scales of at least 0 are expected, rising")
        return sweep


def check_run(settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
    """ValueError("block.key: ...") where settings, view, and the runs behind links do not fit each other."""
    train, evaluate, export = settings.train, settings.evaluate, linked.get("export", {})
    if settings.model.name != "unet":
        raise ValueError(f"model.name: {settings.model.name!r} predicts no noise; allowed: unet")
    low = train.conditions.low_resolution
    if low and view.image_size % low.factor:
        fault = f"train.conditions.low_resolution.factor: {low.factor} is not allowed"
        raise ValueError(f"{fault}: it does not divide the view's {view.image_size} pixels")
    check_guidance(evaluate, train.conditions, export)
    schedule = make_schedule(train.noise.schedule, train.noise.num_steps)
    rows = {"steps": evaluate, **{f"samplers.{i}": row for i, row in enumerate(evaluate.samplers)}}
    for key, row in rows.items():
        try:
            Manner(row.sampler, row.steps, eta=getattr(row, "eta", 0.0)).check(schedule)
        except ValueError as error:
            raise ValueError(f"evaluate.{key}: {error}") from None
    if "classifier" in export:
        check_classifier(settings, export["classifier"])
    if "base" in export:
        check_base(settings, export["base"])
    scorer = linked.get("evaluate", {}).get("classifier")
    if scorer and scorer.recipe not in CLASSIFIERS:
        raise ValueError(
            f"evaluate: the link classifier leads to {scorer.name!r}, a {scorer.recipe} run, which is no classifier"
        )
    if (evaluate.sweep or evaluate.samplers) and not scorer:
        raise ValueError("evaluate.sweep, evaluate.samplers: their figures need a link classifier at stage evaluate")


def check_guidance(evaluate: EvaluateSettings, conditions: Conditions, export: dict[str, RunSettings]) -> None:
    """A scale other than 1 needs something to guide: a linked classifier, or conditions that were dropped in training."""
    scales = {gamma for gamma in (evaluate.gamma, *evaluate.sweep) if gamma != 1}
    if evaluate.guidance == "classifier":
        if "classifier" not in export:
            raise ValueError("evaluate.guidance: classifier needs a link classifier at stage export")
    elif scales and not conditions.names():
        raise ValueError(f"evaluate.gamma, evaluate.sweep: {min(scales)} guides nothing: the run has no train.conditions")
    elif scales and conditions.dropout == 0:
        needs = "needs an unconditional model: train.conditions.dropout is 0"
        raise ValueError(f"evaluate.gamma, evaluate.sweep: {min(scales)} {needs}")


def check_classifier(settings: RunSettings, other: RunSettings) -> None:
    """The classifier that guides knows this run's noise, and there is a label to guide to."""
    where = f"export: the link classifier leads to {other.name!r}"
    if other.recipe != "noisy_classifier":
        raise ValueError(f"{where}, a {other.recipe} run, which is no noise-aware classifier; noisy_classifier is one")
    own, theirs = settings.train.noise, other.train.noise
    # VDM's line tells the network its log SNR: a learned one means the same to a classifier that was trained on the fixed one.
    if (own.schedule.replace("learned", "fixed"), own.num_steps) != (theirs.schedule, theirs.num_steps):
        found, wanted = (f"{noise.schedule} with num_steps {noise.num_steps}" for noise in (theirs, own))
        raise ValueError(f"{where}, whose noise is {found}; this run's is {wanted}")
    names = settings.train.conditions.names()
    if names and "label" not in names:
        raise ValueError(f"{where}, which guides to a label, and this run's images are asked for by {' and '.join(names)}")


def check_base(settings: RunSettings, other: RunSettings) -> None:
    """The base of a cascade makes what this run enlarges, from what this run is told."""
    where = f"export: the link base leads to {other.name!r}"
    conditions = settings.train.conditions
    if other.recipe != "diffusion":
        raise ValueError(f"{where}, a {other.recipe} run; a diffusion run is expected")
    if not conditions.low_resolution:
        raise ValueError(f"{where}, but this run enlarges nothing: add train.conditions.low_resolution")
    theirs = other.train.conditions
    if theirs.low_resolution or (theirs.text and theirs.text != conditions.text) or (theirs.label and not conditions.label):
        told = ", ".join(conditions.names())
        raise ValueError(
            f"{where}, which is conditioned on {', '.join(theirs.names())}; this run could tell it of {told} alone"
        )
