"""PixelCNN, by any network of models.pixelcnn or models.gated_pixelcnn: exact negative log-likelihood, Adam.

Images become levels, of which ``model.levels`` says how many: the nearest ones, or with two levels a Bernoulli draw of each
pixel's brightness ("binarised"): a new one at every step (``dynamic``), or one for good (``static``). Likelihoods are always
reported of the static draw, which is a function of the image; it is ours and not the file of arXiv 1502.03509.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from components.core.batch import Batch, Split, Stream, ViewFacts, to_pixels
from components.core.recipe import Exportable, Graph, Metric, Report
from components.core.settings import RunSettings
from components.core.step import draw, optimize
from components.core.strict import Strict, resolve
from components.networks import MODELS

if TYPE_CHECKING:
    from components.core.artifact import Artifact

PRIME = 2**31 - 1
COMPLETIONS = 6  # of each image of the sheet


class TrainSettings(Strict):
    """The recipe's part of the ``train`` block."""

    batch_size: int = Field(ge=1)
    learning_rate: float = Field(gt=0, description="Adam's, at the top of the schedule")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Adam's beta_1")
    clip_norm: float | None = Field(default=None, gt=0, description="bound on the gradient's norm of the nats per dimension")
    binarise: Literal["none", "static", "dynamic"] = Field(default="none", description="Bernoulli draws, for two levels")


class NoSettings(Strict):
    """Nothing to say."""


class EvaluateSettings(Strict):
    """``split``: the images that are scored. ``samples`` and ``completions``: how many images the two sheets show."""

    split: Literal["train", "validation", "test"] = "test"
    samples: int = Field(default=64, ge=1, le=1024)
    completions: int = Field(default=8, ge=1, le=128)
    temperature: float = Field(default=1.0, gt=0, description="of both sheets; logits are divided by it")
    seed: int = Field(default=0, ge=0, lt=2**31)


class Density(nn.Module):
    """image [N, C, H, W] in [-1, 1] (and label) -> (logits [N, levels, C, H, W], levels [N, C, H, W], log-likelihood [N])."""

    keys: Tensor

    def __init__(self, network: Any, binarise: bool, pixels: int):
        super().__init__()
        self.network, self.binarise = network, binarise
        keys = torch.randint(1, PRIME, (pixels,), generator=torch.Generator().manual_seed(0))
        self.register_buffer("keys", keys, persistent=False)

    def levels(self, image: Tensor, uniform: Tensor | None = None) -> Tensor:
        """int64 [N, C, H, W]; ``uniform`` [N, C, H, W] in [0, 1) decides a binarisation, without it the static draw does."""
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
    """One uniform draw a pixel, a hash of the whole image: the same for the same image, in every batch and graph.

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
    Train, Export, Evaluate = TrainSettings, NoSettings, EvaluateSettings
    detects = False
    optimizers: dict[str, Optimizer]
    averaged: dict[str, nn.Module]

    def __init__(self, settings: RunSettings, view: ViewFacts, network: Any):
        super().__init__()
        self.settings, self.seed, self.model, self.view = settings.train, settings.train.seed, settings.model, view
        self.dimensions = view.channels * view.image_size**2
        self.density = Density(network, settings.train.binarise != "none", self.dimensions)
        rate, betas = settings.train.learning_rate, (settings.train.momentum, 0.999)
        self.optimizers = {"network": Adam(network.parameters(), lr=rate, betas=betas, fused=True)}
        self.averaged = {"density": self.density}
        self.prefers_fp32 = bool(network.prefers_fp32)

    @classmethod
    def build(cls, settings: RunSettings, views: dict[str, ViewFacts], links: dict[str, Artifact]) -> PixelCNNRecipe:
        """The network of the view's channels and classes, from published or own weights where a link ``init`` is."""
        view = views["main"]
        network_class = resolve(MODELS, settings.model.name, "model.name")
        network = network_class(**network_facts(network_class, view), **settings.model.options)
        if "init" in links:
            start_from(network, links["init"])
        return cls(settings, view, network)

    @classmethod
    def check(cls, settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
        """The network is a PixelCNN, and what is binarised has two levels."""
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
        """What the served code must know."""
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

    @staticmethod
    def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
        """Exact likelihoods of the main view in eval mode, a sheet of samples, and one of lower halves for given upper ones."""
        from components.metrics.likelihood import bits_per_dimension
        from components.metrics.sheets import sheet

        scored, facts = score(served, splits["main"]), splits["main"].facts
        nats = -scored["log_likelihood"].astype(np.float64)
        bits = bits_per_dimension(nats, facts.channels * facts.image_size**2)
        classes = facts.classes.get("label", ()) if "label" in scored else ()
        chosen = [nats[scored["label"] == k] for k in range(len(classes))]
        named = [(name, found) for name, found in zip(classes, chosen, strict=True) if len(found)]
        rows = [{"class": name, "images": len(n), "nats_per_image": float(n.mean())} for name, n in named]
        samples = drawn_samples(served, settings.evaluate)
        completions = drawn_completions(served, scored, settings.evaluate)
        return Report(
            metrics={"nats_per_image": Metric(float(nats.mean()), "min"), "bits_per_dim": Metric(float(bits.mean()), "min")},
            tables={"per_class": rows} if rows else {},
            pictures={
                "samples": sheet(samples, columns=len(served.facts["classes"]) or math.isqrt(len(samples) - 1) + 1),
                "completions": sheet(completions.reshape(-1, *completions.shape[2:]), columns=completions.shape[1]),
            },
            items={"nats_per_image": nats, "bits_per_dim": bits},
            groups=scored.get("label"),
            group_names=tuple(classes),
        )


def network_facts(network_class: Any, view: ViewFacts) -> dict[str, int]:
    """What the network's constructor wants to know of the images."""
    facts = {"channels": view.channels, "num_classes": len(view.classes.get("label", ()))}
    return {name: value for name, value in facts.items() if name in inspect.signature(network_class).parameters}


def start_from(network: Any, artifact: Artifact) -> None:
    """Load the linked weights: a published checkpoint of this network, or another run of this recipe."""
    state = artifact.state_dict()
    own = {name.removeprefix("density.network."): w for name, w in state.items() if name.startswith("density.network.")}
    try:
        network.load_published(own or state)
    except ValueError as error:
        raise ValueError(f"link init ({artifact.path}): {error}") from None


def score(served: Any, split: Split) -> dict[str, np.ndarray]:
    """log_likelihood float32 [N], image uint8 [N, H, W, C] as it was scored, and label int64 [N] where the view has classes."""
    found: dict[str, list[np.ndarray]] = {}
    for batch in split:
        label = {"label": batch["label"].numpy()} if "label" in batch else {}
        for name, array in (served.score(to_pixels(batch["image"]), label.get("label")) | label).items():
            found.setdefault(name, []).append(array)
    return {name: np.concatenate(arrays) for name, arrays in found.items()}


def drawn_samples(served: Any, settings: EvaluateSettings) -> np.ndarray:
    """uint8 [samples, H, W, C]; where it takes a class, these come one after another, a column each."""
    classes = served.facts["classes"]
    label = np.arange(settings.samples) % len(classes) if classes else None
    samples: np.ndarray = served.sample(settings.samples, label=label, seed=settings.seed, temperature=settings.temperature)
    return samples


def drawn_completions(served: Any, scored: dict[str, np.ndarray], settings: EvaluateSettings) -> np.ndarray:
    """uint8 [n, 2 + COMPLETIONS, H, W, C]: an image, its upper half (the rest grey), and what came out for the lower half."""
    whole = scored["image"][: settings.completions]
    known = np.arange(whole.shape[1]) < whole.shape[1] // 2
    given = np.where(known[:, None, None], whole, np.uint8(128))
    repeated = np.repeat(whole, COMPLETIONS, axis=0)
    label = np.repeat(scored["label"][: len(whole)], COMPLETIONS) if served.facts["classes"] else None
    upper = np.broadcast_to(known[:, None], repeated.shape[:3])
    drawn = served.complete(repeated, upper, label=label, seed=settings.seed, temperature=settings.temperature)
    return np.concatenate([whole[:, None], given[:, None], drawn.reshape(-1, COMPLETIONS, *whole.shape[1:])], axis=1)
