"""A recipe that reads every key of the batch contract and a further column, from rectangular images."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from components.core.batch import Stream
from components.core.config.strict import Strict
from components.core.step import optimize
from components.diffusion.conditions import NUM_TOKENS

WIDTH = 16


class TrainSettings(Strict):
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)


class NoSettings(Strict):
    pass


class Reader(nn.Module):
    """One feature vector per image and caption; a linear head for everything that is to be told from it."""

    def __init__(self, view, column):
        super().__init__()
        sizes = {name: len(view.classes[name]) for name in ("label", "labels", "domain", column)}
        sizes |= {"boxes": 4 * view.max_boxes, "box_mask": view.max_boxes}
        sizes["box_label"] = view.max_boxes * len(view.classes["box_label"])
        self.conv = nn.Conv2d(view.channels, WIDTH, 3, padding=1)
        self.embed = nn.Embedding(NUM_TOKENS, WIDTH, padding_idx=0)
        self.heads = nn.ModuleDict({name: nn.Linear(2 * WIDTH, size) for name, size in sizes.items()})

    def forward(self, batch):
        pixels = F.relu(self.conv(batch["image"]))  # [N, D, H, W]
        mask = batch["image_mask"][:, None]  # [N, 1, H, W]
        image = (pixels * mask).sum((2, 3)) / mask.sum((2, 3)).clamp_min(1)
        features = torch.cat([image, self.embed(batch["tokens"]).mean(1)], dim=1)
        return {name: head(features) for name, head in self.heads.items()}


class Everything(nn.Module):
    Roles: ClassVar[dict] = {}
    Train, Export = TrainSettings, NoSettings
    prefers_fp32 = False
    detects = False
    takes_rectangles = True
    COLUMN = "font"

    def __init__(self, settings, view):
        super().__init__()
        self.settings, self.view = settings.train, view
        self.network = Reader(view, self.COLUMN)
        self.optimizers = {"network": torch.optim.Adam(self.network.parameters(), lr=self.settings.learning_rate)}
        self.averaged = {}
        self.published = {}

    @classmethod
    def build(cls, settings, views, links):
        return cls(settings, views["main"])

    def streams(self):
        return {"train": Stream("main", self.settings.batch_size, columns=(self.COLUMN,))}

    def training_step(self, batches, step):
        batch = batches["train"]
        found, real = self.network(batch), batch["box_mask"]
        losses = {name: F.cross_entropy(found[name], batch[name]) for name in ("label", "domain", self.COLUMN)}
        losses["labels"] = F.binary_cross_entropy_with_logits(found["labels"], batch["labels"])
        losses["box_mask"] = F.binary_cross_entropy_with_logits(found["box_mask"], real.float())
        losses["boxes"] = ((found["boxes"].unflatten(1, (-1, 4)) - batch["boxes"]).abs().sum(2) * real).sum() / real.sum()
        box_logits = found["box_label"].unflatten(1, (real.shape[1], -1))  # [N, M, K]
        losses["box_label"] = F.cross_entropy(box_logits[real], batch["box_label"][real])
        optimize(losses, self.optimizers["network"])
        return losses
