"""A recipe that asks for everything the protocol promises: two optimizers, two streams, a linked view, noise, an average."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from components.core.batch import Stream, pixels_of
from components.core.config.strict import Strict, resolve
from components.core.recipe import Exportable, Graph
from components.core.step import draw, optimize
from components.networks import MODELS


class TrainSettings(Strict):
    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    noise: float = Field(default=0.1, ge=0)


class NoSettings(Strict):
    pass


class Toy(nn.Module):
    """A denoising coder against a critic that tells real images from coded ones."""

    Roles: ClassVar[dict] = {}
    Train, Export = TrainSettings, NoSettings
    prefers_fp32 = False
    detects = False

    def __init__(self, settings, view):
        super().__init__()
        self.settings, self.seed, self.view = settings.train, settings.train.seed, view
        make = resolve(MODELS, settings.model.name, "model.name")
        self.coder = make(image_size=view.image_size, channels=view.channels, **settings.model.options)
        self.critic = nn.Sequential(
            nn.Flatten(), nn.Linear(view.channels * view.image_size**2, 16), nn.ReLU(), nn.Linear(16, 1)
        )
        self.optimizers = {
            "critic": torch.optim.Adam(self.critic.parameters(), lr=self.settings.learning_rate, betas=(0.0, 0.99)),
            "coder": torch.optim.Adam(self.coder.parameters(), lr=self.settings.learning_rate, betas=(0.5, 0.99)),
        }
        self.averaged = {"coder": self.coder}
        self.published = {}

    @classmethod
    def build(cls, settings, views, links):
        if "other" not in views:
            raise ValueError("the toy reads a linked view 'other'")
        return cls(settings, views["main"])

    def streams(self):
        size = self.settings.batch_size
        return {"clean": Stream("main", size), "real": Stream("other", size, sampler="balanced")}

    def training_step(self, batches, step):
        clean, real = batches["clean"]["image"], batches["real"]["image"]
        noise = draw(tuple(clean.shape), seed=self.seed, step=step, use="noise")
        coded = self.coder(clean + self.settings.noise * noise)
        verdicts = {"real": F.softplus(-self.critic(real)).mean(), "coded": F.softplus(self.critic(coded.detach())).mean()}
        optimize(verdicts, self.optimizers["critic"])
        losses = {"distance": F.mse_loss(coded, clean), "fooling": 0.1 * F.softplus(-self.critic(coded)).mean()}
        optimize(losses, self.optimizers["coder"], clip_norm=1.0)
        return {**verdicts, **losses}

    def exportable(self):
        shape = [-1, self.view.image_size, self.view.image_size, self.view.channels]
        return Exportable(
            graphs={"coder": Graph(self.coder, lambda batch: {"image": batch["image"]}, ("coded",))},
            facts={"shape": shape[1:]},
            signature={
                "inputs": [{"name": "image", "dtype": "uint8", "shape": shape}],
                "outputs": [{"name": "coded", "dtype": "uint8", "shape": shape}],
                "params": [],
            },
            example=lambda batch: {"image": pixels_of(batch)},
        )
