"""Settings of a ``stylegan2`` run. Defaults are the papers' (arXiv 1912.04958, 2006.06676), source beside each."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from components.core import catalogue
from components.core.config.run import ModelSettings
from components.core.config.strict import Strict
from components.core.recipe import Schedule
from components.core.settings import RunSettings

Role = Literal["backbone", "backbone_2", "backbone_3"]  # of links to frozen networks
ROLES: tuple[Role, ...] = get_args(Role)
FEATURES_OF = ("classification", "clip", "simmim")  # recipes whose networks they may be

Policy = Literal["color", "translation", "cutout"]

AdaptiveKind = Literal["blit", "geometry", "color", "filter", "noise", "cutout"]


class AdaptiveSettings(Strict):
    """Adaptive discriminator augmentation (ADA, arXiv 2006.06676)."""

    target: float = Field(default=0.6, gt=0, lt=1, description="of r_t, the mean sign of D on real images (section 3.2)")
    every: int = Field(default=4, ge=1, description="updates between adjustments of the probability (section 3.2)")
    images: int = Field(
        default=500_000, ge=1, description="real images until the probability can rise from 0 to 1 (section 3.2)"
    )
    most: float = Field(default=1.0, gt=0, le=1, description="the highest probability")
    kinds: tuple[AdaptiveKind, ...] = Field(
        default=("blit", "geometry", "color"),
        min_length=1,
        description="of transformations (section 2.3: these are best)",
    )
    resampling: Literal["wavelet", "bilinear"] = Field(
        default="wavelet", description="through a wavelet's low-pass at twice the size (appendix B); one interpolation, cheaper"
    )


class PublishedNetwork(Strict):
    """The network of a published file of weights, for a link of a backbone's role to that file."""

    model: dict[str, Any] = Field(description="as a run's block `model`: the file must have its tensors, but for the head")
    image_size: int = Field(ge=8, le=1024, description="the side in pixels that it was trained for")
    standardise: Literal["imagenet", "openai", "half"] = Field(
        default="imagenet", description="the mean and deviation of its images; openai: of CLIP's; half: 0.5"
    )

    @model_validator(mode="after")
    def _has_features(self) -> PublishedNetwork:
        if not hasattr(catalogue.load("network", self.settings.name, "model.name"), "features"):
            raise ValueError(f"model.name: {self.settings.name!r} is no network of images with features")
        return self

    @property
    def settings(self) -> ModelSettings:
        """The block as a run's."""
        return ModelSettings(str(self.model.get("name")), {key: value for key, value in self.model.items() if key != "name"})


class VisionSettings(Strict):
    """Vision-aided training (arXiv 2112.09130): links ``backbone``, ``backbone_2``, ``backbone_3`` give frozen networks."""

    published: dict[Role, PublishedNetwork] = Field(
        default_factory=dict, description="role -> the network of the file that this link leads to; runs bring their own"
    )

    weight: float = Field(default=1.0, gt=0, description="of each head's loss in the generator's update (section 4.1)")
    target: float = Field(
        default=0.8, gt=0.5, le=1, description="for real images, and of the generator: smoothed labels (code)"
    )
    warmup_images: int = Field(default=500_000, ge=0, description="real images before the first backbone joins (code)")
    images_per_backbone: int = Field(default=1_000_000, ge=1, description="real images from one backbone to the next (code)")
    order: Literal["probe", "links"] = Field(
        default="probe", description="which joins next: the best linear probe of real and generated (section 3.3); as linked"
    )
    probe_updates: int = Field(default=32, ge=1, description="updates before a join whose images the linear probe is of")
    policy: tuple[Policy, ...] = Field(
        default=("color", "translation", "cutout"), description="DiffAugment of what the backbones see (section 4.2)"
    )


class TrainSettings(Strict):
    """StyleGAN2's part of the ``train`` block."""

    batch_size: int = Field(default=32, ge=1, description="images per update (arXiv 1912.04958, appendix B)")
    learning_rate: float = Field(
        default=2e-3, gt=0, description="Adam's, of both, before the correction for lazy terms (appendix B)"
    )
    betas: tuple[float, float] = Field(default=(0.0, 0.99), description="Adam's, before the same correction (appendix B)")
    schedule: Schedule = Field(default="constant", description="of the learning rate")
    ema_decay: float | None = Field(
        default=0.5 ** (32 / 10_000),
        gt=0,
        lt=1,
        description="of the generator's average: half-life of 10,000 images at batch 32",
    )
    ema_ramp_up: bool = Field(default=True, description="ema_decay is at most (1 + step) / (10 + step)")
    r1: float | Literal["auto"] = Field(
        default="auto",
        description="gamma, half the weight of the squared gradient; auto: 0.0002 side^2 / batch_size (ADA's code)",
    )
    r1_every: int = Field(default=16, ge=1, description="lazy R1: every n-th update has it, n times as large (section 3.1)")
    path_length: float = Field(default=2.0, ge=0, description="weight of the path length penalty (appendix B); 0: none")
    path_length_every: int = Field(default=4, ge=1, description="as r1_every (appendix B: 8 there, 4 in the code)")
    path_length_decay: float = Field(default=0.01, gt=0, le=1, description="of the mean path length (appendix B: 0.99 kept)")
    path_batch_shrink: int = Field(default=2, ge=1, description="the penalty is of batch_size / n images (the code)")
    style_mixing: float = Field(
        default=0.9, ge=0, le=1, description="share of updates whose images mix two styles (appendix B)"
    )
    augment: Literal["none", "diffaugment", "ada"] = Field(default="none", description="of all that the discriminator sees")
    policy: tuple[Policy, ...] = Field(
        default=("color", "translation", "cutout"), description="of DiffAugment (arXiv 2006.10738, section 5)"
    )
    ada: AdaptiveSettings = AdaptiveSettings()
    vision: VisionSettings | None = Field(default=None, description="heads on frozen networks beside the discriminator")

    @model_validator(mode="after")
    def _fits(self) -> TrainSettings:
        if isinstance(self.r1, float | int) and self.r1 < 0:
            raise ValueError(f"r1: {self.r1} is not allowed: auto, or at least 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: {list(self.betas)} is not allowed: at least 0 and below 1")
        if "ada" in self.model_fields_set and self.augment != "ada":
            raise ValueError(f"ada: not allowed with augment: {self.augment}")
        if "policy" in self.model_fields_set and self.augment != "diffaugment":
            raise ValueError(f"policy: not allowed with augment: {self.augment}")
        if self.path_length > 0 and self.batch_size % self.path_batch_shrink:
            raise ValueError(f"path_batch_shrink: {self.path_batch_shrink} does not divide batch_size, {self.batch_size}")
        return self


def check_run(settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
    """Raise ValueError("block.key: ...") if settings do not fit each other."""
    if settings.model.name != "stylegan2":
        raise ValueError(f"model.name: {settings.model.name!r} is not the network of this recipe; allowed: stylegan2")
    train, group = settings.train, settings.model.options.get("deviation_group", 4)
    if train.compile:
        raise ValueError("train.compile: true is not allowed: R1 needs second derivatives, which compiled networks do not give")
    shared = train.processes * (1 if group is None else group)
    if train.batch_size % shared:
        raise ValueError(
            f"train.batch_size: {train.batch_size} is not allowed: a multiple of {shared}, model.deviation_group per process"
        )
    if group is None and train.processes > 1:
        raise ValueError(
            "model.deviation_group: null is not allowed with several processes, which do not see each other's images"
        )
    check_backbones(train.vision, {role: run for role, run in linked.get("train", {}).items() if role in ROLES})
    if train.path_length > 0 and train.batch_size % (train.processes * train.path_batch_shrink):
        raise ValueError(f"train.batch_size: {train.batch_size} is not a multiple of processes times path_batch_shrink")


def check_backbones(vision: VisionSettings | None, runs: dict[str, RunSettings]) -> None:
    """Raise ValueError if the links to ``runs``, by role, and the block ``vision`` do not fit each other."""
    files = list(vision.published) if vision else []
    if bool(vision) != bool([*runs, *files]):
        missing = "" if vision else f"is missing; the link {next(iter(runs))} needs it"
        raise ValueError(f"train.vision: {missing or 'needs a link at stage train of role backbone'}")
    if twice := [role for role in files if role in runs]:
        name = runs[twice[0]].name
        raise ValueError(f"train.vision.published.{twice[0]}: the link leads to run {name!r}, which brings its own")
    if others := [role for role, run in runs.items() if run.recipe not in FEATURES_OF]:
        raise ValueError(f"train.vision: the link {others[0]} leads to no run of {', '.join(FEATURES_OF)}")
