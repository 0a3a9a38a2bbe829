"""SimMIM: masked image modelling, which needs no labels (Xie et al. 2022, arXiv 2111.09886)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from components.core import catalogue
from components.core.batch import Batch, Stream, ViewFacts, pixels_of
from components.core.config.strict import NoSettings, Strict
from components.core.recipe import BatchSize, Direction, Exportable, Graph, Published, Schedule
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.families.simmim.masking import Cells, enlarged, masked_l1, masked_l1_of_each
from components.families.simmim.networks import Features, Reconstruction, SimMIM
from components.networks.encoders import is_decayed

if TYPE_CHECKING:
    from components.core.artifact import Artifact


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block; defaults are those of the paper's 100 epochs (appendix A, its code)."""

    batch_size: BatchSize = Field(default=2048, description="images per update (published: 2048)")
    learning_rate: float = Field(
        default=8e-4, gt=0, description="of AdamW, at the top of the schedule (published: 2e-4 per 512 images)"
    )
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="of AdamW")
    weight_decay: float = Field(default=0.05, ge=0, description="of matrices and kernels; none for biases, norms, tokens")
    clip_norm: float | None = Field(default=5.0, gt=0, description="bound on the global gradient norm (published: 5)")
    schedule: Schedule = Field(default="cosine", description="of the learning rate (published: cosine)")
    ema_decay: float | None = Field(default=None, gt=0, lt=1, description="of the moving average (published: none)")
    mask_ratio: float = Field(default=0.6, gt=0, lt=1, description="share of the cells that are masked, rounded up")
    mask_cell: int = Field(
        default=32, ge=1, description="side of a masked cell in pixels: a multiple of the patch, a divisor of the image"
    )


class SimMIMRecipe(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",)}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = NoSettings
    detects: ClassVar[bool] = False
    class_column: ClassVar[str] = ""
    takes_rectangles: ClassVar[bool] = True
    validation: ClassVar[Mapping[str, Direction]] = {"masked_l1": "min"}
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]
    prefers_fp32: bool

    def __init__(self, settings: RunSettings, view: ViewFacts, network: Any):
        super().__init__()
        self.settings, self.seed, self.view = settings.train, settings.train.seed, view
        self.cells = cells_of(settings, (view.height, view.width), network)
        self.model = SimMIM(network, self.cells.side, view.mean, view.std)
        self.optimizers = {"network": make_optimizer(self.model, settings.train)}
        self.averaged = {"model": self.model}
        self.published = {"init": self.model}
        self.prefers_fp32 = bool(network.prefers_fp32)

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Require a network whose patches can be masked, and cells that fit its patches and the images."""
        if not hasattr(catalogue.load("network", settings.model.name, "model.name"), "feature_map"):
            fault = f"model.name: {settings.model.name!r} has no patches that can be masked"
            raise ValueError(f"{fault}; allowed: swin, swin_v2, vit")
        size = (view.image_size, view.image_size) if isinstance(view.image_size, int) else tuple(view.image_size)
        try:
            with torch.device("meta"):
                network = catalogue.build_network(settings.model, network_facts(view))
        except ValueError as error:
            raise ValueError(f"model.{error}") from None
        cells_of(settings, size, network)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> SimMIMRecipe:
        """Build the encoder for the view's images, and the head."""
        view = views["main"]
        return cls(settings, view, catalogue.build_network(settings.model, network_facts(view)))

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        image = self.model.standardised(batches["train"]["image"])
        shape = (image.shape[0], self.cells.number)
        mask = self.cells.masks(draw(shape, seed=self.seed, step=step, use="mask", kind="uniform", device=image.device))
        rebuilt = self.model.rebuild(image, mask).float()
        loss = masked_l1(image, rebuilt, enlarged(mask, self.cells.side))
        optimize(loss, self.optimizers["network"], clip_norm=self.settings.clip_norm)
        return {"loss": loss}

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Loss of each image [N]; its mask is the same at every point of the curve."""
        image = self.model.standardised(batches["train"]["image"])
        mask = self.cells.masks(torch.rand(image.shape[0], self.cells.number)).to(image.device)
        rebuilt = self.model.rebuild(image, mask).float()
        return {"masked_l1": masked_l1_of_each(image, rebuilt, enlarged(mask, self.cells.side))}

    def exportable(self) -> Exportable:
        view, cells = self.view, self.cells
        size = [-1, view.height, view.width, view.channels]
        return Exportable(
            graphs={
                "features": Graph(Features(self.model), lambda batch: {"image": batch["image"]}, ("features",)),
                "reconstruction": Graph(Reconstruction(self.model), self.graph_inputs, ("reconstruction",)),
            },
            facts={
                "image_size": view.image_size,
                "channels": view.channels,
                "std": [float(value) for value in self.model.std.flatten()],
                "mean": [float(value) for value in self.model.mean.flatten()],
                "cells": {"rows": cells.rows, "columns": cells.columns, "side": cells.side, "masked": cells.masked},
            },
            signature={
                "inputs": [
                    {"name": "image", "dtype": "uint8", "shape": size},
                    {"name": "mask", "dtype": "uint8", "shape": [-1, cells.number]},
                ],
                "outputs": [
                    {"name": "features", "dtype": "float32", "shape": [-1, self.model.decoder[0].in_channels]},
                    {"name": "reconstruction", "dtype": "uint8", "shape": size},
                ],
                "params": [],
            },
            example=lambda batch: {"image": pixels_of(batch), "mask": self.example_masks(len(batch["image"])).numpy()},
        )

    def graph_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """Images and masks for tracing and the check of the graph."""
        masks = self.example_masks(batch["image"].shape[0])
        return {"image": batch["image"], "mask": masks.float().unflatten(1, (self.cells.rows, self.cells.columns))}

    def example_masks(self, count: int) -> Tensor:
        """Masks for examples: uint8 [count, cells]."""
        uniform = draw((count, self.cells.number), seed=self.seed, step=0, use="example", kind="uniform")
        return self.cells.masks(uniform).flatten(1).to(torch.uint8)


def network_facts(view: Any) -> dict[str, Any]:
    """Arguments of the network that follow from the data; its head is removed."""
    return {"image_size": view.image_size, "channels": view.channels, "num_classes": 1}


def cells_of(settings: RunSettings, size: tuple[int, int], network: Any) -> Cells:
    """Return the cells of the masks. ValueError names the setting by which cells, patches and the image do not fit."""
    side, patch, stride = settings.train.mask_cell, network.patch, network.stride
    if size[0] % stride or size[1] % stride:
        fault = f"model: a place of its last map is {stride} x {stride} pixels, which do not divide the image"
        raise ValueError(
            f"{fault}, {size[0]} x {size[1]}: SimMIM's head rebuilds whole places; change model.patch or the image"
        )
    if side % patch:
        fault = f"train.mask_cell: {side} is no multiple of model.patch, {patch}"
        raise ValueError(f"{fault}: a patch is masked or seen as a whole; the next is {side + -side % patch}")
    return Cells.of(size, side, settings.train.mask_ratio)


def make_optimizer(model: nn.Module, settings: TrainSettings) -> Optimizer:
    """AdamW without weight decay of biases, norms, tokens, positions and tables of relative positions."""
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        parts[is_decayed(name, parameter)].append(parameter)
    groups = [{"params": parts[True], "weight_decay": settings.weight_decay}, {"params": parts[False], "weight_decay": 0.0}]
    return AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)
