"""DETR's recipe: match the queries to the true boxes, sum the losses of all layers, one step of AdamW."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from components.core import catalogue
from components.core.batch import Batch, Stream, ViewFacts
from components.core.config.strict import Strict
from components.core.recipe import Direction, Exportable, Published
from components.core.settings import RunSettings
from components.core.standardise import standardisation
from components.core.step import draw, gather, optimize
from components.families.detr.boxes import Targets, corners, overlaps
from components.families.detr.denoising import DRAWS, add_noise, denoising_loss
from components.families.detr.exported import Detector, exportable
from components.families.detr.losses import matched_sums, set_loss
from components.families.detr.matching import match
from components.families.detr.network.detr import DETR, Noised, Predictions
from components.families.detr.settings import (
    CONDITIONAL,
    PLAIN,
    ExportSettings,
    TrainSettings,
)

if TYPE_CHECKING:
    from components.core.artifact import Artifact

FOUND = 0.5  # intersection over union from which a true box counts as found


class DETRRecipe(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init", "init_backbone")}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = ExportSettings
    detects: ClassVar[bool] = False
    class_column: ClassVar[str] = "box_label"
    takes_rectangles: ClassVar[bool] = True
    prefers_fp32 = True  # reference points and sine positions need more than bf16's 8 bits
    validation: ClassVar[Mapping[str, Direction]] = {"loss": "min", "found": "max"}
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    shown: Tensor

    def __init__(self, settings: RunSettings, view: ViewFacts, network: DETR):
        super().__init__()
        self.settings, self.seed, self.view = settings.train, settings.train.seed, view
        self.export: ExportSettings = settings.export
        self.weights = CONDITIONAL if network.conditional else PLAIN
        self.detector = Detector(network, *standardisation(settings.train.standardise, view))
        self.register_buffer("shown", torch.zeros(network.num_classes, dtype=torch.int64))  # boxes of each class, in all steps
        self.optimizers = {"network": make_optimizer(network, settings.train)}
        self.averaged = {"detector": self.detector}
        self.published = {"init": network, "init_backbone": network.backbone}

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> DETRRecipe:
        """The detector of the view's classes. ValueError if it has no boxes, or pictures with more than there are queries."""
        view = views["main"]
        if not view.max_boxes:
            raise ValueError(f"view {view.name!r} has no boxes; its dataset needs them (sources coco, voc, yolo, table, ...)")
        if view.max_boxes > (queries := settings.model.options["num_queries"]):
            fault = f"model.num_queries: {queries} is not allowed: a picture of view {view.name!r} has {view.max_boxes} boxes"
            raise ValueError(f"{fault}; at least {view.max_boxes} are needed")
        facts = {"image_size": view.image_size, "channels": view.channels, "num_classes": len(view.classes["box_label"])}
        return cls(settings, view, catalogue.build_network(settings.model, facts))

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Require this family's network, and its denoising queries if a setting of theirs is given."""
        if settings.model.name != "detr":
            raise ValueError(f"model.name: {settings.model.name!r} is not allowed: detr")
        for name in ("denoising_groups", "label_noise", "box_noise"):
            if name in settings.train.model_fields_set and not settings.model.options["denoising"]:
                raise ValueError(f"train.{name}: {getattr(settings.train, name)} is not allowed without model.denoising: true")

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        batch = batches["train"]
        targets, mask = Targets.of(batch), batch.get("image_mask")
        noised = self.noised(targets, step)
        predictions = self.predict(batch["image"], mask, noised)
        matched, denoised = divided(predictions, 0 if noised is None else noised.label.shape[1])
        losses = set_loss(matched, targets, self.weights)
        if noised is not None:
            losses["denoising"] = denoising_loss(denoised, targets, self.settings.denoising_groups, self.weights)
        total = optimize(losses, self.optimizers["network"], clip_norm=self.settings.clip_norm)
        self.count(targets)
        return {"loss": total, **{name: term.detach() for name, term in losses.items()}}

    def predict(self, image: Tensor, mask: Tensor | None, noised: Noised | None = None) -> Predictions:
        """Predictions of all layers; the heads compute in fp32, since bf16 has 8 bits for a coordinate."""
        network = self.detector.network
        memory, _ = network.encode(self.detector.standardised(image, mask), mask)
        hidden, reference, _ = network.transformer.decoder(network.queries(image.shape[0], noised), memory)
        with torch.autocast(image.device.type, enabled=False):
            return network.heads(full(hidden), None if reference is None else full(reference))

    def noised(self, targets: Targets, step: int) -> Noised | None:
        """Denoising queries of the batch; None without them, or if no image has a box."""
        network, settings = self.detector.network, self.settings
        if not network.denoises or not settings.denoising_groups or not targets.real.any():
            return None
        # For all boxes that a picture may have: the numbers of a box depend on its own place alone.
        shape = (targets.real.shape[0], settings.denoising_groups, self.view.max_boxes, DRAWS)
        uniform = draw(shape, seed=self.seed, step=step, use="denoising", kind="uniform", device=targets.real.device)
        return add_noise(
            targets,
            uniform[:, :, : targets.real.shape[1]],
            num_classes=network.num_classes,
            num_queries=network.num_queries,
            label_noise=settings.label_noise,
            box_noise=settings.box_noise,
        )

    @torch.no_grad()
    def count(self, targets: Targets) -> None:
        """Count the boxes of each class that the training has shown, on all processes."""
        classes = torch.bincount(targets.label[targets.real], minlength=len(self.shown))
        self.shown += gather(classes[None]).sum(0)

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """The last layer's loss, and the share of true boxes whose query has their class and overlaps by half, [N] each.

        An image without boxes counts as 1 of the latter.
        """
        batch = batches["train"]
        targets = Targets.of(batch)
        predictions = self.predict(batch["image"], batch.get("image_mask"))
        logits, boxes = predictions.logits[-1], predictions.boxes[-1]
        queries = match(logits, boxes, targets, self.weights)
        sums, weights = matched_sums(logits, boxes, targets, queries, self.weights), self.weights
        count = sums.boxes.clamp(min=1)
        by_class = sums.by_class / (count if weights.focal else sums.class_weight)
        loss = weights.loss_class * by_class + (weights.loss_l1 * sums.l1 + weights.loss_giou * sums.giou) / count
        mine = boxes.gather(1, queries.unsqueeze(-1).expand(-1, -1, 4))
        iou, _ = overlaps(corners(mine), corners(targets.boxes.to(mine.dtype)))
        label = logits[..., : self.detector.network.num_classes].argmax(-1).gather(1, queries)
        found = ((iou >= FOUND) & (label == targets.label) & targets.real).sum(1) / count
        return {"loss": loss, "found": torch.where(targets.real.any(1), found, 1.0)}

    def exportable(self) -> Exportable:
        names = self.view.classes["box_label"]
        unseen = [name for name, boxes in zip(names, self.shown.tolist(), strict=True) if not boxes]
        export = self.export
        return exportable(self.detector, self.view, detections=export.detections, attention=export.attention, unseen=unseen)


def full(x: Tensor) -> Tensor:
    """fp32, or fp64 as it is."""
    return x if x.dtype == torch.float64 else x.float()


def divided(predictions: Predictions, members: int) -> tuple[Predictions, Predictions]:
    """(of the object queries, of the first ``members`` denoising queries)."""
    logits, boxes = predictions
    return Predictions(logits[:, :, members:], boxes[:, :, members:]), Predictions(
        logits[:, :, :members], boxes[:, :, :members]
    )


def make_optimizer(network: DETR, settings: TrainSettings) -> Optimizer:
    """AdamW with a rate of its own for the backbone."""
    backbone = [p for p in network.backbone.parameters() if p.requires_grad]
    mine = {id(p) for p in network.backbone.parameters()}
    rest = [p for p in network.parameters() if id(p) not in mine]
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": backbone, "lr": settings.backbone_learning_rate}]
    return AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
