"""CLIP (Radford et al. 2021, arXiv 2103.00020): a contrastive loss over the batch of all processes.

By setting: SigLIP's loss, patch dropout, several positives a row, and batches that are larger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from components.contrastive import pairs
from components.contrastive.export import exportable_of
from components.contrastive.objective import clamp_scale, in_chunks, kept_patches
from components.contrastive.settings import ExportSettings
from components.core.batch import Batch, Stream, ViewFacts
from components.core.catalogue import build_network
from components.core.config.strict import Strict
from components.core.recipe import Direction, Exportable, Published
from components.core.settings import RunSettings
from components.core.standardise import standardisation
from components.core.step import draw, optimize
from components.families.clip.export import ImageEncoder, TextEncoder
from components.families.clip.networks import CLIP, ImageTransformer
from components.families.clip.settings import TrainSettings

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class CLIPRecipe(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",)}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = ExportSettings
    detects: ClassVar[bool] = False
    knows_names: ClassVar[bool] = True
    validation: ClassVar[Mapping[str, Direction]] = {"loss": "min", "image_to_text": "max", "text_to_image": "max"}
    takes_rectangles: ClassVar[bool] = True
    class_column: ClassVar[str] = ""  # the towers know no classes
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    prefers_fp32: bool = False

    mean: Tensor
    std: Tensor

    def __init__(self, settings: RunSettings, view: ViewFacts, clip: CLIP):
        super().__init__()
        self.settings, self.prompts, self.view = settings.train, settings.export, view
        self.clip = clip
        mean, std = standardisation(self.settings.standardise, view)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.optimizers = {"clip": pairs.make_optimizer(clip, self.settings)}
        self.averaged = {"clip": clip}
        self.published = {"init": cast("Published", clip)}

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> CLIPRecipe:
        view = views["main"]
        pairs.check_columns(settings, view)
        clip = build_network(settings.model, pairs.network_facts(view, settings.train))
        check_tower(settings.train, clip)
        return cls(settings, view, clip)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: Any, channels: int, classes: int) -> CLIP:
        """Build the network for a check of its sizes."""
        clip: CLIP = build_network(settings.model, pairs.facts_without_text(image_size, channels))
        check_tower(settings.train, clip)
        return clip

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """ValueError if the network or the view is of another kind."""
        if settings.model.name != "clip":
            raise ValueError(f"model.name: {settings.model.name!r} is not allowed: clip")
        pairs.check_text(settings, view)

    def streams(self) -> dict[str, Stream]:
        return {"train": pairs.stream(self.settings)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        batch = batches["train"]
        image, text = self.embed(batch, step)
        with torch.autocast(image.device.type, enabled=False):  # at scale 100, bf16 logits would be off by 0.2
            loss, right = pairs.objective(self.settings, self.clip, image, text, batch)
        optimize(loss, self.optimizers["clip"], clip_norm=self.settings.clip_norm)
        if self.settings.loss == "softmax":
            clamp_scale(self.clip.logit_scale)
        return {"loss": loss, "image_to_text": right, "scale": self.clip.logit_scale.detach().exp()}

    def embed(self, batch: Batch, step: int) -> tuple[Tensor, Tensor]:
        """Embed the pairs of a batch: unit rows [n, D] of images, with patches dropped, and of captions."""
        image, tokens, kept = (batch["image"] - self.mean) / self.std, batch["tokens"], self.kept(len(batch["image"]), step)
        if self.settings.chunk is None:
            return self.clip(image, tokens, kept)
        images = in_chunks(self.clip.embed_image, self.settings.chunk, image, *([] if kept is None else [kept]))
        return images, in_chunks(self.clip.embed_text, self.settings.chunk, tokens)

    def kept(self, number: int, step: int) -> Tensor | None:
        """Draw the patches that stay, int64 [number, k], the same for any number of processes and chunks; None: all."""
        rate, visual = self.settings.patch_dropout, self.clip.visual
        if rate == 0:
            return None
        assert isinstance(visual, ImageTransformer)
        uniforms = draw((number, visual.num_patches), seed=self.settings.seed, step=step, use="patches", kind="uniform")
        return kept_patches(uniforms, rate).to(self.mean.device)

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Loss of each pair among those of the batch, and whether the nearest caption, and picture, is right, [N] each."""
        batch = batches["train"]
        image, text = self.clip((batch["image"] - self.mean) / self.std, batch["tokens"])
        return pairs.validation_figures(self.settings, self.clip, image, text, batch["tokens"])

    def exportable(self) -> Exportable:
        image, text = ImageEncoder(self.clip, self.mean, self.std), TextEncoder(self.clip)
        scale = self.clip.logit_scale
        return exportable_of(image, text, self.view, self.prompts, embed_dim=self.clip.embed_dim, logit_scale=scale)


def check_tower(train: TrainSettings, clip: CLIP) -> None:
    """ValueError for settings that the image tower does not allow."""
    if isinstance(clip.visual, ImageTransformer):
        return
    if train.patch_dropout:
        raise ValueError(f"train.patch_dropout: {train.patch_dropout} is not allowed: a modified ResNet has no patches")
    if train.chunk is not None:
        fault = "the batch norms of a modified ResNet would see chunks in place of the batch"
        raise ValueError(f"train.chunk: {train.chunk} is not allowed: {fault}")
