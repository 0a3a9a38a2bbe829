"""The export of a CLIP run: a graph per tower, facts, and the interface of its served code."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from components.core.batch import ViewFacts, pixels_of
from components.core.recipe import Exportable, Graph
from components.families.clip.networks import CLIP, unit
from components.families.clip.settings import ExportSettings


class ImageEncoder(nn.Module):
    """image [N, C, H, W] in [-1, 1] -> (embedding: unit rows [N, D], features [N, F], before the projection)."""

    mean: Tensor
    std: Tensor

    def __init__(self, clip: CLIP, mean: Tensor, std: Tensor):
        super().__init__()
        self.clip = clip
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.clip.visual.features((image - self.mean) / self.std)
        return unit(self.clip.visual.project(features)), features


class TextEncoder(nn.Module):
    """tokens int64 [N, T] -> unit rows [N, D]."""

    def __init__(self, clip: CLIP):
        super().__init__()
        self.clip = clip

    def forward(self, tokens: Tensor) -> Tensor:
        return self.clip.embed_text(tokens)


def exportable_of(clip: CLIP, view: ViewFacts, prompts: ExportSettings, mean: Tensor, std: Tensor) -> Exportable:
    """Return the content of the export; ``mean`` and ``std`` [1, C, 1, 1] standardise images."""
    image, text = ImageEncoder(clip, mean, std).eval(), TextEncoder(clip).eval()
    names = view.classes.get(prompts.column, ())
    facts = {
        "image_size": view.image_size,
        "channels": view.channels,
        "context_length": view.context_length,
        "embed_dim": clip.embed_dim,
        "scale": math.exp(clip.logit_scale.item()),
        "classes": [prompts.names.get(name, name) for name in names],
        "templates": list(prompts.templates),
    }
    return Exportable(
        graphs={
            "image": Graph(image, lambda batch: {"image": batch["image"]}, ("embedding", "features")),
            "text": Graph(text, lambda batch: {"tokens": batch["tokens"]}, ("text_embedding",)),
        },
        facts=facts,
        signature=signature_of(view, clip.embed_dim),
        example=lambda batch: {"image": pixels_of(batch)},
    )


def signature_of(view: ViewFacts, embed_dim: int) -> dict[str, Any]:
    """Return the interface: pictures, and the classes of a request in words."""
    texts = {"dtype": "str", "default": [], "shape": [-1]}
    return {
        "inputs": [{"name": "image", "dtype": "uint8", "shape": [-1, view.height, view.width, view.channels]}],
        "outputs": [
            {"name": "label", "dtype": "int64", "shape": [-1]},
            {"name": "probability", "dtype": "float32", "shape": [-1]},
            {"name": "class_name", "dtype": "str", "shape": [-1]},
            {"name": "probabilities", "dtype": "float32", "shape": [-1, -1]},
            {"name": "embedding", "dtype": "float32", "shape": [-1, embed_dim]},
        ],
        "params": [{"name": "class_names", **texts}, {"name": "templates", **texts}],
    }
