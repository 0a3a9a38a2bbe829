"""The graphs of an exported LIMoE: the tower for pictures, and for texts, with the experts that their tokens go to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from components.contrastive.export import exportable_of
from components.contrastive.objective import unit
from components.contrastive.settings import ExportSettings
from components.core.batch import Batch, ViewFacts
from components.core.recipe import Exportable, Graph
from components.families.limoe.networks import LIMoE
from components.networks.mixture_of_experts import Routed

DECIDED = 1e-4  # least difference of a token's two largest logits for an image or text of the parity check
EXPERTS, GATES = "experts", "gates"


class ImageEncoder(nn.Module):
    """image [N, C, H, W] in [-1, 1] -> embedding, unit rows [N, D], and features [N, F], the mean patch before the head.

    With experts also: ``experts`` int64 [N, M, P], to which each of M mixtures sends each patch; ``gates`` float32 [N, M, P].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, limoe: LIMoE, mean: Tensor, std: Tensor):
        super().__init__()
        self.limoe = limoe
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        (features,), routed = self.encode(image)
        return (unit(self.limoe.image.project(features)), features, *described(routed))

    def encode(self, image: Tensor) -> tuple[list[Tensor], list[Routed]]:
        return self.limoe.encode([self.limoe.image((image - self.mean) / self.std)])


class TextEncoder(nn.Module):
    """tokens int64 [N, T] -> unit rows [N, D]; with experts also ``experts`` (-1: padding) and ``gates``, [N, M, T]."""

    def __init__(self, limoe: LIMoE):
        super().__init__()
        self.limoe = limoe

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        (features,), routed = self.encode(tokens)
        return (unit(self.limoe.text.project(features)), *described(routed))

    def encode(self, tokens: Tensor) -> tuple[list[Tensor], list[Routed]]:
        return self.limoe.encode([self.limoe.text(tokens)])


def described(routed: list[Routed]) -> tuple[Tensor, ...]:
    """Return experts and gates [N, M, L] of M decisions; nothing for none."""
    if not routed:
        return ()
    experts = torch.stack([torch.where(layer.taken, layer.expert, -1) for layer in routed], dim=1)
    return experts, torch.stack([layer.gate for layer in routed], dim=1)


def exported(limoe: LIMoE, view: ViewFacts, prompts: ExportSettings, mean: Tensor, std: Tensor) -> Exportable:
    """Return the content of the export; ``mean`` and ``std`` [1, C, 1, 1] standardise images."""
    image, text = ImageEncoder(limoe, mean, std), TextEncoder(limoe)
    plain = exportable_of(image, text, view, prompts, embed_dim=limoe.embed_dim, logit_scale=limoe.logit_scale)
    facts = plain.facts | {"experts": limoe.experts, "mixtures": limoe.mixtures, "grid": list(limoe.image.grid)}
    if not limoe.mixtures:
        return replace(plain, facts=facts)
    graphs = {name: with_experts(graph, image if name == "image" else text) for name, graph in plain.graphs.items()}
    return replace(plain, graphs=graphs, facts=facts)


def with_experts(graph: Graph, encoder: ImageEncoder | TextEncoder) -> Graph:
    """Add the outputs of the routers, and compare the graph with torch on inputs whose routing no rounding can change."""
    inputs: Callable[[Batch], dict[str, Tensor]] = graph.inputs
    outputs = (*graph.outputs, EXPERTS, GATES)
    return replace(graph, outputs=outputs, inputs=lambda batch: decided(inputs(batch), encoder))


@torch.no_grad()
def decided(inputs: dict[str, Tensor], encoder: ImageEncoder | TextEncoder) -> dict[str, Tensor]:
    """Put the first clear row in place of each that has a token between two experts.

    The choice of an expert is a step: where its two largest logits differ in the seventh digit alone, torch and ONNX Runtime
    may send a token to different experts, and neither is wrong.
    """
    ((name, rows),) = inputs.items()
    _, routed = encoder.encode(rows)
    clear = torch.stack([margins(layer) for layer in routed]).amin(0) > DECIDED
    if not clear.any():
        return inputs
    places = torch.arange(rows.shape[0], device=rows.device)
    return {name: rows[torch.where(clear, places, clear.int().argmax())]}


def margins(layer: Routed) -> Tensor:
    """Return the smallest difference between a token's two largest logits, for each row [N]."""
    best = layer.logits.topk(2, dim=-1).values
    return torch.where(layer.taken, best[..., 0] - best[..., 1], torch.inf).amin(1)
