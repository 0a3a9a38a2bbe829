"""The exported graphs of StyleGAN2: mapping network and synthesis network, and what the served code needs beside them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from components.core.batch import Batch, ViewFacts, pixels_of
from components.core.recipe import Exportable, Graph
from components.families.stylegan2.networks.generator import Generator
from components.families.stylegan2.networks.stylegan2 import mean_style


class Synthesis(nn.Module):
    """styles [N, L, S], noise [N, P] -> image [N, C, H, W]."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(self, styles: Tensor, noise: Tensor) -> Tensor:
        return self.generator.synthesise(styles, noise)


def exportable(generator: Generator, view: ViewFacts) -> Exportable:
    """Graphs, facts, signature, and the generator's weights, which projection needs."""
    mapping = generator.mapping
    classes = list(view.classes.get("label", ())) if mapping.num_classes else []

    def codes(batch: Batch) -> dict[str, Tensor]:
        source = torch.Generator().manual_seed(len(batch["image"]))
        latent = torch.randn(len(batch["image"]), mapping.latent_dim, generator=source)
        return {"latent": latent} | ({"label": batch["label"]} if classes else {})

    @torch.no_grad()
    def styles(batch: Batch) -> dict[str, Tensor]:
        inputs = codes(batch)
        source = torch.Generator().manual_seed(len(batch["image"]) + 1)
        noise = torch.randn(len(batch["image"]), generator.noise_size, generator=source)
        return {"styles": generator.repeated(mapping(inputs["latent"], inputs.get("label"))), "noise": noise}

    return Exportable(
        graphs={
            "mapping": Graph(mapping, codes, ("style",)),
            "synthesis": Graph(Synthesis(generator), styles, ("image",), bound=1e-3),  # an eighth of a grey level
        },
        facts={
            "image_size": view.image_size,
            "channels": view.channels,
            "classes": classes,
            "latent_dim": mapping.latent_dim,
            "style_dim": mapping.style_dim,
            "num_styles": generator.num_styles,
            "noise_size": generator.noise_size,
            "mean_style": mean_style(generator).tolist(),
            "network": network_options(generator),
        },
        signature=signature(view, bool(classes)),
        example=lambda batch: {"image": pixels_of(batch)} | ({"label": batch["label"].numpy()} if classes else {}),
        weights={name: tensor.detach().clone() for name, tensor in generator.state_dict().items()},
    )


def network_options(generator: Generator) -> dict[str, Any]:
    """Arguments of ``Generator`` that rebuild it."""
    mapping = generator.mapping
    return {
        "image_size": generator.image_size,
        "channels": generator.channels,
        "num_classes": mapping.num_classes,
        "latent_dim": mapping.latent_dim,
        "style_dim": mapping.style_dim,
        "mapping_layers": generator.mapping_layers,
        "base": generator.base,
        "max_width": generator.max_width,
    }


def signature(view: ViewFacts, conditional: bool) -> dict[str, Any]:
    """Images, which only ``task: project`` reads, and their classes -> images and their styles."""
    image = {"dtype": "uint8", "shape": [-1, view.image_size, view.image_size, view.channels]}
    label = [{"name": "label", "dtype": "int64", "shape": [-1]}] if conditional else []
    return {
        "inputs": [{"name": "image", **image}, *label],
        "outputs": [{"name": "image", **image}, {"name": "style", "dtype": "float32", "shape": [-1, -1]}],
        "params": [
            {"name": "task", "dtype": "str", "default": "sample"},
            {"name": "seed", "dtype": "int64", "default": 0},
            {"name": "truncation", "dtype": "float64", "default": 1.0},
            {"name": "noise", "dtype": "str", "default": "random"},
            {"name": "style", "dtype": "float64", "default": [], "shape": [-1]},
            {"name": "crossover", "dtype": "int64", "default": 0},
            {"name": "steps", "dtype": "int64", "default": 200},
        ],
    }
