"""LIMoE (Mustafa et al. 2022, arXiv 2206.02770): CLIP's objective on one sparse tower, with losses that balance its routers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from components.contrastive import pairs
from components.contrastive.objective import clamp_scale
from components.contrastive.settings import ExportSettings
from components.core.batch import Batch, Stream, ViewFacts
from components.core.catalogue import build_network
from components.core.config.strict import Strict
from components.core.recipe import Direction, Exportable, Published
from components.core.settings import RunSettings
from components.core.standardise import standardisation
from components.core.step import optimize
from components.families.limoe.export import exported
from components.families.limoe.networks import LIMoE
from components.families.limoe.routing import Sums, dispatch_of, figures, of_all_pairs, sums_of, weighted
from components.families.limoe.settings import ROUTERS, WEIGHTS, TrainSettings

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class LIMoERecipe(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",)}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = ExportSettings
    detects: ClassVar[bool] = False
    knows_names: ClassVar[bool] = True
    validation: ClassVar[Mapping[str, Direction]] = {"loss": "min", "image_to_text": "max", "text_to_image": "max"}
    takes_rectangles: ClassVar[bool] = True
    class_column: ClassVar[str] = ""  # the tower knows no classes
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    prefers_fp32: bool = False

    mean: Tensor
    std: Tensor

    def __init__(self, settings: RunSettings, view: ViewFacts, limoe: LIMoE):
        super().__init__()
        self.settings, self.prompts, self.view = settings.train, settings.export, view
        self.limoe = limoe
        mean, std = standardisation(self.settings.standardise, view)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.optimizers = {"limoe": pairs.make_optimizer(limoe, self.settings)}
        self.averaged = {"limoe": limoe}
        self.published = {"init": cast("Published", limoe)}

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> LIMoERecipe:
        view = views["main"]
        pairs.check_columns(settings, view)
        limoe: LIMoE = build_network(settings.model, pairs.network_facts(view, settings.train))
        check_routers(settings.train, limoe)
        return cls(settings, view, limoe)

    @classmethod
    def build_network(cls, settings: RunSettings, image_size: Any, channels: int, classes: int) -> LIMoE:
        """Build the network for a check of its sizes."""
        limoe: LIMoE = build_network(settings.model, pairs.facts_without_text(image_size, channels))
        check_routers(settings.train, limoe)
        return limoe

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """ValueError if the network or the view is of another kind."""
        if settings.model.name != "limoe":
            raise ValueError(f"model.name: {settings.model.name!r} is not allowed: limoe")
        pairs.check_text(settings, view)

    def streams(self) -> dict[str, Stream]:
        return {"train": pairs.stream(self.settings)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        batch = batches["train"]
        image, text, layers = self.embed(batch, step)
        with torch.autocast(image.device.type, enabled=False):  # at scale 100, bf16 logits would be off by 0.2
            loss, right = pairs.objective(self.settings, self.limoe, image, text, batch)
            balance, plain = weighted(layers, self.settings)
        optimize({"loss": loss, **balance}, self.optimizers["limoe"], clip_norm=self.settings.clip_norm)
        if self.settings.loss == "softmax":
            clamp_scale(self.limoe.logit_scale)
        return {
            "loss": loss,
            "image_to_text": right,
            "scale": self.limoe.logit_scale.detach().exp(),
            **plain,
            **figures(layers),
        }

    def embed(self, batch: Batch, step: int) -> tuple[Tensor, Tensor, list[Sums]]:
        """Embed the pairs of a batch: unit rows [n, D] of images and of captions; each mixture's sums for all N pairs."""
        image, tokens, experts = (batch["image"] - self.mean) / self.std, batch["tokens"], self.limoe.experts
        patches, number = self.limoe.image.num_patches, tokens.shape[0]
        if not self.limoe.mixtures:
            return self.limoe(image, tokens)
        length = patches + tokens.shape[1]
        dispatch = dispatch_of(self.settings, number, length, experts, seed=self.settings.seed, step=step)
        images, texts, routed = self.limoe(image, tokens, dispatch)
        seen = torch.cat([tokens.new_ones(number, patches, dtype=torch.bool), self.limoe.text.seen(tokens)], dim=1)
        with torch.autocast(image.device.type, enabled=False):
            sums = [sums_of(layer, seen, patches, self.settings.router_noise / experts) for layer in routed]
            return images, texts, of_all_pairs(sums)

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Loss of each pair among those of the batch, and whether the nearest caption, and picture, is right, [N] each.

        As it is served: without noise, and no token is dropped.
        """
        batch = batches["train"]
        image, text, _ = self.limoe((batch["image"] - self.mean) / self.std, batch["tokens"])
        return pairs.validation_figures(self.settings, self.limoe, image, text, batch["tokens"])

    def exportable(self) -> Exportable:
        return exported(self.limoe, self.view, self.prompts, self.mean, self.std)


def check_routers(train: TrainSettings, limoe: LIMoE) -> None:
    """ValueError for settings of routers that the network does not have, and for S above the number of experts."""
    if not limoe.mixtures:
        if given := [name for name in (*ROUTERS, *WEIGHTS) if name in train.model_fields_set]:
            raise ValueError(f"train.{given[0]}: not allowed: the model has no experts; model.experts says how many")
        return
    for modality in ("image", "text"):
        if (least := train.least(modality, limoe.experts)) > limoe.experts:
            raise ValueError(f"train.{modality}_experts: {least} is not allowed: the model has {limoe.experts} experts")
