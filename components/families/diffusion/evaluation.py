"""Evaluation of a diffusion run: the variational bound, sheets of samples, and scores of samples beside real images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from components.core.batch import Split
from components.core.config.strict import Strict
from components.core.recipe import Metric, Report
from components.core.settings import RunSettings
from components.diffusion.sampling import SamplerOptions
from components.diffusion.schedules import make_schedule
from components.families.diffusion.asked import add_asked, check_judges, sheet_of_captions
from components.families.diffusion.samples import RealImages, sample_arguments
from components.families.diffusion.scores import add_inception, add_scored
from components.families.diffusion.settings import Conditions
from components.metrics.per_image import psnr
from components.metrics.sheets import sheet

if TYPE_CHECKING:
    from components.core.artifact import Artifact

SamplerName = Literal["ancestral", "ddim", "heun", "dpm_solver_2m"]
CLASSIFIERS = ("classification", "noisy_classifier")  # recipes whose served code has logits and features
PAIRS = 8  # rows of the sheet of enlarged images
MAX_COLUMNS = 32  # classes in one row of the sheet of samples


class SamplerRow(Strict):
    """A row of the table of samplers."""

    sampler: SamplerName = Field(description="the sampler of the row")
    steps: int = Field(ge=1, description="evaluations of the network per image")
    eta: float = Field(default=0.0, ge=0, le=1, description="noise of DDIM: 0 none, 1 that of DDPM")


class Settings(Strict):
    """``split``: of the bound, and of the real images that samples are compared with.

    ``samples`` images are drawn for each row of figures that a classifier (link ``classifier``) gives: at ``guidance_scale``,
    at each of ``guidance_scales``, and for each of ``samplers``. All others are drawn with ``sampler`` and ``steps``.
    """

    renamed: ClassVar[dict[str, str]] = {"gamma": "guidance_scale", "sweep": "guidance_scales"}

    split: Literal["train", "validation", "test"] = "test"
    seed: int = Field(default=0, ge=0, lt=2**31, description="of the samples and of the bound's noise")
    bound_draws: int = Field(default=1, ge=0, le=1000, description="times and noises per image; 0: no bound")
    sampler: SamplerName = Field(default="dpm_solver_2m", description="of all samples but those of `samplers`")
    steps: int = Field(default=20, ge=1, description="evaluations of the network per sample")
    guidance_scale: float = Field(default=1.0, ge=0, description="0 is unconditional, 1 conditional, above 1 guided")
    guidance: Literal["free", "classifier"] = Field(
        default="free", description="by the network's own conditions, or by the gradient of the linked classifier"
    )
    rows: int = Field(default=6, ge=1, le=64, description="of the sheet of samples")
    samples: int = Field(default=256, ge=6, le=1_000_000, description="images drawn for each row of figures")
    dimensions: int | None = Field(default=None, ge=1, description="to which PCA reduces wider features")
    guidance_scales: tuple[float, ...] = Field(default=(), description="a row of figures each, rising")
    samplers: tuple[SamplerRow, ...] = Field(default=(), description="a row of figures each")
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="score from which a linked detector's box counts as an object"
    )

    @field_validator("guidance_scales")
    @classmethod
    def _increasing(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if any(scale < 0 for scale in scales) or sorted(set(scales)) != list(scales):
            raise ValueError("guidance scales of at least 0 are expected, rising")
        return scales


def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """The bound, sheets of samples, figures on the features of a linked classifier and of Inception, and judges of captions."""
    asked, real = settings.evaluate, RealImages.of(splits["main"], served.facts)
    report = Report({}, groups=real.label, group_names=real.classes)
    if asked.bound_draws:
        add_bound(report, served, real, asked)
    report.pictures["samples"] = sheet_of_samples(served, real, asked)
    if served.facts["conditions"]["low_resolution"]:
        add_enlarged(report, served, real, asked)
    if real.texts:
        report.pictures["captions"] = sheet_of_captions(served, real, asked)
    if "clip" in links or "detector" in links:
        add_asked(report, served, real, asked, links)
    if "classifier" in links:
        add_scored(report, served, real, asked, links["classifier"])
    if "inception" in links:
        add_inception(report, served, real, asked, links["inception"])
    return report


def add_bound(report: Report, served: Any, real: RealImages, settings: Settings) -> None:
    """Add the variational bound of every image, and the means of its terms."""
    parts = []
    for start in range(0, len(real.images), 256):
        index = np.arange(start, min(start + 256, len(real.images)))
        draws, seed = settings.bound_draws, settings.seed + start
        parts.append(served.bound(real.images[index], real.inputs(index), draws=draws, seed=seed))
    items = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    report.items["bits_per_dim"] = items["bits_per_dim"]
    report.metrics["bits_per_dim"] = Metric(float(items["bits_per_dim"].mean()), "min")
    rows = [{"term": name, "bits_per_dim": float(values.mean())} for name, values in items.items()]
    report.tables["bound"] = [row | {"images": len(real.images), "draws": settings.bound_draws} for row in rows]


def sheet_of_samples(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """Draw a sheet with a column per class, or a square without classes; a cascade starts from its base."""
    conditions = served.facts["conditions"]
    if conditions["label"] or (conditions["text"] and not real.texts):
        index = real.rows_of_classes(settings.rows)
        columns = len(index) // settings.rows
    else:
        index, columns = np.arange(settings.rows**2) % len(real.images), settings.rows
    sample = served.sample if served.base is None else served.cascade
    images = sample(real.inputs(index, settings.guidance), **sample_arguments(served, settings))
    return sheet(images, columns if columns <= MAX_COLUMNS else math.isqrt(len(images) - 1) + 1)


def add_enlarged(report: Report, served: Any, real: RealImages, settings: Settings) -> None:
    """Add PSNR of samples, of bicubic images and of samples reduced again; a sheet of small | sample | truth | bicubic."""
    index = np.linspace(0, len(real.images) - 1, min(settings.samples, len(real.images))).astype(int)
    inputs, truth = real.inputs(index), real.images[index]
    plain = sample_arguments(served, settings, guidance_scale=1.0, guidance="free")
    samples, bicubic = served.sample(inputs, **plain), enlarge(inputs["image"], truth.shape[1], "bicubic")
    figures = {
        "psnr": psnr(samples, truth),
        "psnr_bicubic": psnr(bicubic, truth),
        "psnr_made_small_again": psnr(real.reduce(samples), inputs["image"]),
    }
    report.metrics.update({name: Metric(float(values.mean()), "max") for name, values in figures.items()})
    small = enlarge(inputs["image"], truth.shape[1], "nearest")
    rows = np.stack([small, samples, truth, bicubic], axis=1)[:PAIRS]
    report.pictures["enlarged"] = sheet(rows.reshape(-1, *truth.shape[1:]), columns=4)


def enlarge(images: np.ndarray, side: int, mode: str) -> np.ndarray:
    """uint8 [N, h, w, C] -> uint8 [N, side, side, C]."""
    import torch
    import torch.nn.functional as F

    pixels = F.interpolate(torch.from_numpy(images).permute(0, 3, 1, 2).double(), size=(side, side), mode=mode)
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()


def check(settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
    """ValueError("evaluate...: ...") if the block does not fit the noise schedule, the conditions or the linked runs."""
    asked, train = settings.evaluate, settings.train
    check_guidance(asked, train.conditions, linked.get("export", {}))
    schedule = make_schedule(train.noise.schedule, train.noise.num_steps)
    rows = {"steps": asked, **{f"samplers.{i}": row for i, row in enumerate(asked.samplers)}}
    for key, row in rows.items():
        try:
            SamplerOptions(row.sampler, row.steps, eta=getattr(row, "eta", 0.0)).check(schedule)
        except ValueError as error:
            raise ValueError(f"evaluate.{key}: {error}") from None
    check_judges(train.conditions, linked.get("evaluate", {}))
    scorer = linked.get("evaluate", {}).get("classifier")
    if scorer and scorer.recipe not in CLASSIFIERS:
        raise ValueError(
            f"evaluate: the link classifier leads to {scorer.name!r}, a {scorer.recipe} run, which is no classifier"
        )
    if (asked.guidance_scales or asked.samplers) and not scorer:
        needs = "their figures need a link classifier at stage evaluate"
        raise ValueError(f"evaluate.guidance_scales, evaluate.samplers: {needs}")


def check_guidance(settings: Settings, conditions: Conditions, export: dict[str, RunSettings]) -> None:
    """A scale other than 1 needs a linked classifier, or conditions that were dropped in training."""
    scales = {scale for scale in (settings.guidance_scale, *settings.guidance_scales) if scale != 1}
    keys = "evaluate.guidance_scale, evaluate.guidance_scales"
    if settings.guidance == "classifier":
        if "classifier" not in export:
            raise ValueError("evaluate.guidance: classifier needs a link classifier at stage export")
    elif scales and not conditions.names():
        raise ValueError(f"{keys}: {min(scales)} guides nothing: the run has no train.conditions")
    elif scales and conditions.label_dropout == 0:
        raise ValueError(f"{keys}: {min(scales)} needs an unconditional model: train.conditions.label_dropout is 0")
