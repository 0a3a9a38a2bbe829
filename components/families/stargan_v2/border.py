"""What leaves a ``stargan_v2`` training: generator, mapping network and style encoder as graphs, and how they are served."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from components.adversarial.domains import of_domain
from components.core.batch import Batch, ViewFacts
from components.core.recipe import Exportable, Graph
from components.families.stargan_v2.domains import MappingNetwork, StyleEncoder
from components.families.stargan_v2.networks import Generator, edges_everywhere
from components.translation.border import domains_of, example, signature

BOUND = 1e-3  # of the generator's graph: an eighth of a grey level


class Translator(nn.Module):
    """The generator as it is trained: image [N, C, H, W], style [N, S] -> [N, C, H, W]."""

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor, style: Tensor) -> Tensor:
        translation: Tensor = self.generator(image, style, edges_everywhere(self.generator, image))
        return translation


def exportable_of(generator: Generator, mapping: MappingNetwork, encoder: StyleEncoder, view: ViewFacts) -> Exportable:
    """The three networks for the view's images and domains."""

    def latents(batch: Batch) -> dict[str, Tensor]:
        count = batch["image"].shape[0]
        return {"latent": torch.randn(count, mapping.latent_dim, generator=torch.Generator().manual_seed(count))}

    def in_their_own_styles(batch: Batch) -> dict[str, Tensor]:
        return {"image": batch["image"], "style": of_domain(encoder(batch["image"]), batch["domain"]).detach()}

    domains, width = domains_of(view), mapping.style_dim
    return Exportable(
        graphs={
            "generator": Graph(Translator(generator), in_their_own_styles, ("translation",), bound=BOUND),
            "mapping": Graph(mapping, latents, ("styles",)),
            "style": Graph(encoder, lambda batch: {"image": batch["image"]}, ("styles",)),
        },
        facts=facts(view, mapping),
        signature=signature(view, width),
        example=lambda batch: example(batch, width, len(domains)),
    )


def facts(view: ViewFacts, mapping: MappingNetwork) -> dict[str, Any]:
    """What the served code must know."""
    return {
        "image_size": view.image_size,
        "channels": view.channels,
        "domains": list(domains_of(view)),
        "latent_dim": mapping.latent_dim,
        "style_width": mapping.style_dim,
    }
