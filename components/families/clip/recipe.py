"""CLIP (Radford et al. 2021, arXiv 2103.00020): a contrastive loss over the batch of all processes.

By setting: SigLIP's loss, patch dropout, several positives a row, and batches that are larger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from components.core.batch import Batch, Stream, ViewFacts
from components.core.catalogue import build_network
from components.core.config.strict import Strict
from components.core.recipe import Direction, Exportable, Published
from components.core.settings import RunSettings
from components.core.standardise import standardisation
from components.core.step import draw, gather, optimize, processes
from components.families.clip.export import exportable_of
from components.families.clip.networks import CLIP, ImageTransformer
from components.families.clip.objective import (
    best_is_right,
    contrastive_losses,
    in_chunks,
    kept_patches,
    pairs_only,
    positives,
    sigmoid_losses,
)
from components.families.clip.settings import ExportSettings, TrainSettings

if TYPE_CHECKING:
    from components.core.artifact import Artifact

NO_TEXT = "has no captions; a view with `text: {context_length: ...}` has, of a dataset with texts"


class CLIPRecipe(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",)}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = ExportSettings
    detects: ClassVar[bool] = False
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
        self.optimizers = {"clip": make_optimizer(clip, self.settings)}
        self.averaged = {"clip": clip}
        self.published = {"init": cast("Published", clip)}

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> CLIPRecipe:
        view, train = views["main"], settings.train
        if view.context_length == 0:
            raise ValueError(f"view: {view.name!r} {NO_TEXT}")
        check_columns(settings, view)
        facts = {"image_size": view.image_size, "channels": view.channels, "num_tokens": view.vocabulary_size}
        facts |= {"context": view.context_length, "end_token": view.end_id, "padding": view.pad_id}
        clip = build_network(settings.model, facts | {"sigmoid": train.loss == "sigmoid"})
        check_tower(train, clip)
        return cls(settings, view, clip)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: Any, channels: int, classes: int) -> CLIP:
        """Build the network for a check of its sizes; those of the texts do not matter to it."""
        facts = {"image_size": image_size, "channels": channels, "num_tokens": 256, "context": 2}
        facts |= {"end_token": None, "padding": 0, "sigmoid": False}
        clip: CLIP = build_network(settings.model, facts)
        check_tower(settings.train, clip)
        return clip

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """ValueError if the network or the view is of another kind."""
        if settings.model.name != "clip":
            raise ValueError(f"model.name: {settings.model.name!r} is not allowed: clip")
        if view.text is None:
            raise ValueError(f"view: {settings.view!r} {NO_TEXT}")

    def streams(self) -> dict[str, Stream]:
        columns = (self.settings.positives_column,) if self.settings.positives == "column" else ()
        return {"train": Stream(view="main", batch_size=self.settings.batch_size, columns=columns)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        batch = batches["train"]
        image, text = self.embed(batch, step)
        with torch.autocast(image.device.type, enabled=False):  # at scale 100, bf16 logits would be off by 0.2
            loss, right = self.objective(image, text, batch)
        optimize(loss, self.optimizers["clip"], clip_norm=self.settings.clip_norm)
        if self.settings.loss == "softmax":
            self.clip.clamp_scale()
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

    def objective(self, image: Tensor, text: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the loss of this process's rows, and the share of its images whose best caption is right."""
        all_image, all_text, rank = gather(image), gather(text), processes()[0]
        positive = self.positive(batch, slice(rank * len(image), (rank + 1) * len(image)), len(all_image))
        losses = self.losses(image, text, all_image, all_text, positive)
        return losses.mean(), best_is_right(image, all_text, positive).mean()

    def losses(self, image: Tensor, text: Tensor, all_image: Tensor, all_text: Tensor, positive: Tensor) -> Tensor:
        """Return the loss of each row, [n]."""
        scale = self.clip.logit_scale.exp()
        if self.settings.loss == "sigmoid":
            return sigmoid_losses(image, all_text, positive, scale, self.clip.logit_bias)
        return contrastive_losses(image, text, all_image, all_text, positive=positive, scale=scale)

    def positive(self, batch: Batch, own: slice, number: int) -> Tensor:
        """Return which of all captions belong to this process's pictures, bool [n, N]."""
        if self.settings.positives == "pair":
            return pairs_only(number, own, batch["tokens"].device)
        column = gather(batch[self.settings.positives_column]) if self.settings.positives == "column" else None
        return positives(gather(batch["tokens"]), own, column)

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Loss of each pair among those of the batch, and whether the nearest caption, and picture, is right, [N] each."""
        batch = batches["train"]
        image, text = self.clip((batch["image"] - self.mean) / self.std, batch["tokens"])
        positive = positives(batch["tokens"], slice(None))
        with torch.autocast(image.device.type, enabled=False):
            losses = self.losses(image, text, image, text, positive)
            found, back = best_is_right(image, text, positive), best_is_right(text, image, positive)
        return {"loss": losses, "image_to_text": found, "text_to_image": back}

    def exportable(self) -> Exportable:
        return exportable_of(self.clip, self.view, self.prompts, self.mean, self.std)


def check_columns(settings: RunSettings, view: ViewFacts) -> None:
    """ValueError for classes without words, or words for no class of the view."""
    train, prompts = settings.train, settings.export
    if train.positives == "column" and train.positives_column not in view.classes:
        known = ", ".join(view.classes) or "none"
        raise ValueError(f"train.positives_column: view {view.name!r} has no column {train.positives_column!r}; it has {known}")
    if unknown := sorted(set(prompts.names) - set(view.classes.get(prompts.column, ()))):
        raise ValueError(f"export.names: {unknown[0]!r} is no class of the column {prompts.column!r} of view {view.name!r}")


def check_tower(train: TrainSettings, clip: CLIP) -> None:
    """ValueError for settings that the image tower does not allow."""
    if isinstance(clip.visual, ImageTransformer):
        return
    if train.patch_dropout:
        raise ValueError(f"train.patch_dropout: {train.patch_dropout} is not allowed: a modified ResNet has no patches")
    if train.chunk is not None:
        fault = "the batch norms of a modified ResNet would see chunks in place of the batch"
        raise ValueError(f"train.chunk: {train.chunk} is not allowed: {fault}")


def make_optimizer(clip: CLIP, settings: TrainSettings) -> Optimizer:
    """Return AdamW with weight decay for all but gains, biases and scalars (section 2.5)."""
    decayed = [parameter for parameter in clip.parameters() if parameter.dim() > 1]
    rest = [parameter for parameter in clip.parameters() if parameter.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return AdamW(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=True)
