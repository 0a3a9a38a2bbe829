"""The export of a model of pictures and captions: a graph for each, facts, and the interface of its served code."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from components.contrastive.settings import ExportSettings
from components.core.batch import ViewFacts, pixels_of
from components.core.recipe import Exportable, Graph


def exportable_of(
    image: nn.Module,
    text: nn.Module,
    view: ViewFacts,
    prompts: ExportSettings,
    *,
    embed_dim: int,
    logit_scale: Tensor,
) -> Exportable:
    """Return the content of the export.

    ``image``: [N, C, H, W] in [-1, 1] -> (embedding, unit rows [N, D]; features [N, F]); ``text``: tokens int64 [N, T] -> unit
    rows [N, D].
    """
    names = view.classes.get(prompts.column, ())
    facts = {
        "image_size": view.image_size,
        "channels": view.channels,
        "context_length": view.context_length,
        "embed_dim": embed_dim,
        "scale": math.exp(logit_scale.item()),
        "classes": [prompts.names.get(name, name) for name in names],
        "templates": list(prompts.templates),
    }
    return Exportable(
        graphs={
            "image": Graph(image.eval(), lambda batch: {"image": batch["image"]}, ("embedding", "features")),
            "text": Graph(text.eval(), lambda batch: {"tokens": batch["tokens"]}, ("text_embedding",)),
        },
        facts=facts,
        signature=signature_of(view, embed_dim),
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
