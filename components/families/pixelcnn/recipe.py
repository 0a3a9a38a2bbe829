"""PixelCNN and Gated PixelCNN: exact negative log-likelihood of quantised images; Adam (the paper has RMSProp).

Images are quantised to ``model.levels`` levels, or with two levels binarised by a Bernoulli draw of each pixel's brightness: a
new one at every step (``dynamic``), or one that never changes (``static``). Likelihoods are always reported for the static
draw, a function of the image, which is not the published file of binarised digits (arXiv 1502.03509).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.core import catalogue
from components.core.batch import Batch, Stream, ViewFacts, to_pixels
from components.core.config.strict import NoSettings, Strict
from components.core.recipe import BatchSize, Direction, Exportable, Graph, Published, Schedule
from components.core.settings import RunSettings
from components.core.step import draw, optimize

if TYPE_CHECKING:
    from components.core.artifact import Artifact

PRIME = 2**31 - 1


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block.

    Batch size: section 5.1 of arXiv 1601.06759, for MNIST and CIFAR-10. The paper gives no learning rate; Adam's is that of the
    PyTorch version with 81.45 nats on binarised MNIST (pytorch-generative), which also decays it by 2.3e-5 per update.
    """

    renamed: ClassVar[dict[str, str]] = {"momentum": "betas"}

    batch_size: BatchSize = Field(default=16, description="arXiv 1601.06759, section 5.1")
    learning_rate: float = Field(default=1e-3, gt=0, description="of Adam, at the top of the schedule (pytorch-generative)")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="of Adam (pytorch-generative: standard values)")
    clip_norm: float | None = Field(
        default=None, gt=0, description="bound on the gradient norm of the nats per dimension (pytorch-generative: none)"
    )
    schedule: Schedule = Field(default="constant", description="nearest to pytorch-generative's")
    ema_decay: float | None = Field(default=None, gt=0, lt=1, description="of the moving average (both papers: none)")
    binarise: Literal["none", "static", "dynamic"] = Field(default="none", description="Bernoulli draws, for two levels")

    @field_validator("betas")
    @classmethod
    def _in_range(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{list(betas)} is not allowed: at least 0 and below 1")
        return betas


class Density(nn.Module):
    """image [N, C, H, W] in [-1, 1] (and label) -> (logits [N, levels, C, H, W], levels [N, C, H, W], log-likelihood [N])."""

    keys: Tensor

    def __init__(self, network: Any, binarise: bool, pixels: int):
        super().__init__()
        self.network, self.binarise = network, binarise
        keys = torch.randint(1, PRIME, (pixels,), generator=torch.Generator().manual_seed(0))
        self.register_buffer("keys", keys, persistent=False)

    def levels(self, image: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Quantise to int64 [N, C, H, W]; binarisation compares with ``uniform`` [N, C, H, W] in [0, 1), or the static draw."""
        pixels = ((image + 1) * 127.5).round().long()
        if not self.binarise:
            return torch.div(2 * pixels * (self.network.levels - 1) + 255, 510, rounding_mode="floor")  # the nearest level
        return (pixels > 255 * (static_draw(pixels, self.keys) if uniform is None else uniform)).long()

    def logits(self, levels: Tensor, label: Tensor | None) -> Tensor:
        condition = (label,) if self.network.takes_label else ()
        logits: Tensor = self.network(levels / (self.network.levels - 1), *condition)
        return logits

    def forward(self, image: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        levels = self.levels(image)
        logits = self.logits(levels, label)
        return logits, levels, log_likelihood(logits, levels)


def log_likelihood(logits: Tensor, levels: Tensor) -> Tensor:
    """log p(image), nats: logits [N, levels, C, H, W], levels [N, C, H, W] -> [N]."""
    return logits.float().log_softmax(1).gather(1, levels[:, None]).flatten(1).sum(1)


def static_draw(pixels: Tensor, keys: Tensor) -> Tensor:
    """One uniform number per pixel, a hash of the whole image: the same image has the same draw in every batch and graph.

    int64 [N, C, H, W] in 0..255, keys int64 [C H W] -> float64 [N, C, H, W] in [0, 1).
    """
    digest = (pixels.flatten(1) * keys).sum(1, keepdim=True) % PRIME
    mixed = (digest + keys) % PRIME
    for odd in (1_597_334_677, 747_796_405, 277_803_737):  # products stay below 2^63; ONNX has no shifts of signed integers
        mixed = mixed * ((mixed + odd) % PRIME) % PRIME
    return (mixed.double() / PRIME).view_as(pixels)


class PixelCNNRecipe(nn.Module):
    """The recipe."""

    Roles: ClassVar[dict[str, tuple[str, ...]]] = {"train": ("init",)}
    Train: ClassVar[type[Strict]] = TrainSettings
    Export: ClassVar[type[Strict]] = NoSettings
    detects: ClassVar[bool] = False
    validation: ClassVar[Mapping[str, Direction]] = {"bits_per_dim": "min"}
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]
    published: Mapping[str, Published]

    def __init__(self, settings: RunSettings, view: ViewFacts, network: Any):
        super().__init__()
        self.settings, self.seed, self.model, self.view = settings.train, settings.train.seed, settings.model, view
        self.dimensions = view.channels * view.image_size**2
        self.density = Density(network, settings.train.binarise != "none", self.dimensions)
        rate, betas = settings.train.learning_rate, settings.train.betas
        self.optimizers = {"network": Adam(network.parameters(), lr=rate, betas=betas, fused=True)}
        self.averaged = {"density": self.density}
        self.published = {"init": network}
        self.prefers_fp32 = bool(network.prefers_fp32)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> PixelCNNRecipe:
        """Build the network for the view."""
        view = views["main"]
        network_class = catalogue.load("network", settings.model.name, "model.name")
        return cls(settings, view, catalogue.build_network(settings.model, network_facts(network_class, view)))

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """Require a PixelCNN, and two levels if images are binarised."""
        levels, binarise = settings.model.options.get("levels"), settings.train.binarise
        if levels is None:
            raise ValueError(f"model.name: {settings.model.name!r} is no PixelCNN: it has no levels")
        if binarise != "none" and levels != 2:
            raise ValueError(f"train.binarise: {binarise} is of two levels, and model.levels is {levels}")

    def streams(self) -> dict[str, Stream]:
        return {"train": Stream(view="main", batch_size=self.settings.batch_size)}

    def training_step(self, batches: dict[str, Batch], step: int) -> dict[str, Tensor]:
        image, label = batches["train"]["image"], batches["train"].get("label")
        uniform = None
        if self.settings.binarise == "dynamic":
            shape = tuple(image.shape)
            uniform = draw(shape, seed=self.seed, step=step, use="binarise", kind="uniform", device=image.device)
        levels = self.density.levels(image, uniform)
        nats = -log_likelihood(self.density.logits(levels, label), levels).mean()
        optimize(nats / self.dimensions, self.optimizers["network"], clip_norm=self.settings.clip_norm)
        return {"nats_per_image": nats, "bits_per_dim": nats / self.dimensions / math.log(2)}

    def validate(self, batches: dict[str, Batch]) -> dict[str, Tensor]:
        """Bits per dimension [N], of the static draw if images are binarised."""
        levels = self.density.levels(batches["train"]["image"])
        nats = -log_likelihood(self.density.logits(levels, batches["train"].get("label")), levels)
        return {"bits_per_dim": nats / self.dimensions / math.log(2)}

    def exportable(self) -> Exportable:
        network, size, channels = self.density.network, self.view.image_size, self.view.channels
        inputs = ["image", "label"] if network.takes_label else ["image"]
        shape = [-1, size, size, channels]
        graph = Graph(
            self.density,
            lambda batch: {name: batch[name] for name in inputs},
            ("logits", "levels", "log_likelihood"),
            bounds={"log_likelihood": 1e-5 * self.dimensions},
        )
        label = [{"name": "label", "dtype": "int64", "shape": [-1]}]
        return Exportable(
            graphs={"model": graph},
            facts=self.facts(),
            signature={
                "inputs": [{"name": "image", "dtype": "uint8", "shape": shape}, *(label if network.takes_label else [])],
                "outputs": [
                    {"name": "log_likelihood", "dtype": "float32", "shape": [-1]},
                    {"name": "image", "dtype": "uint8", "shape": shape},
                ],
                "params": [
                    {"name": "task", "dtype": "str", "default": "score"},
                    {"name": "rows", "dtype": "int64", "default": size // 2},
                    {"name": "temperature", "dtype": "float64", "default": 1.0},
                    {"name": "seed", "dtype": "int64", "default": 0},
                ],
            },
            example=lambda batch: {name: to_pixels(batch[name]) if name == "image" else batch[name].numpy() for name in inputs},
            weights=dict(network.state_dict()),
        )

    def facts(self) -> dict[str, Any]:
        """Data, levels and network options, as the served code reads them."""
        network = self.density.network
        options = {**network_facts(type(network), self.view), **self.model.options}
        return {
            "image_size": self.view.image_size,
            "channels": self.view.channels,
            "levels": network.levels,
            "binarised": self.density.binarise,
            "classes": list(self.view.classes.get("label", ())) if network.takes_label else [],
            "network": {"class": type(network).__name__, "options": options},
        }


def network_facts(network_class: Any, view: ViewFacts) -> dict[str, int]:
    """Arguments of the network that follow from the data."""
    facts = {"channels": view.channels, "num_classes": len(view.classes.get("label", ()))}
    return {name: value for name, value in facts.items() if name in inspect.signature(network_class).parameters}
