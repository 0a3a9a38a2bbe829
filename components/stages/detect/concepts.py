"""A run on pictures and texts as a classifier: its last layer are the vectors of the classes' names, times the temperature."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from components.core.recipe import Recipe
from components.detectors.shared.protocol import Head
from components.stages.detect.network import Network
from components.stages.detect.settings import Concepts
from components.stages.views.view import View

FILE = "concepts.safetensors"  # beside the fitted detectors, which another view is scored with


class NamedClasses(nn.Module):
    """image [n, C, H, W] in [-1, 1] -> (logits [n, K], unit rows [n, D]); ``weight`` [K, D]."""

    weight: Tensor

    def __init__(self, tower: nn.Module, weight: Tensor):
        super().__init__()
        self.tower = tower
        self.register_buffer("weight", weight)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.tower(image)[0]
        return features @ self.weight.T, features


def concept_network(recipe: Recipe, concepts: Concepts, view: View, key: str) -> Network:
    """Return the run's network for classes of the view's column, by their names. ValueError names a column or class."""
    names = view.facts.classes.get(concepts.column, ())
    if len(names) < 2:
        listed = ", ".join(view.facts.classes) or "none"
        fault = f"view {view.facts.name!r} has {len(names)} class(es) in it, at least 2 are needed; its columns: {listed}"
        raise ValueError(f"{key}.concepts.column: {concepts.column!r}: {fault}")
    if unknown := sorted(set(concepts.names) - set(names)):
        raise ValueError(f"{key}.concepts.names: {unknown[0]!r} is no class of the column {concepts.column!r}")
    exportable = recipe.exportable()
    words = [concepts.names.get(name, name) for name in names]
    vectors = class_vectors(exportable.graphs["text"].module, view, words, concepts.templates)
    return _network(exportable.graphs["image"].module, exportable.facts["scale"] * vectors)


@torch.no_grad()
def class_vectors(tower: nn.Module, view: View, words: list[str], templates: tuple[str, ...]) -> Tensor:
    """Return a unit row per class: the mean over its templates' unit rows, of length 1 again (CLIP, section 3.1.4)."""
    device = next(tower.parameters()).device
    rows = []
    for word in words:
        tokens = torch.from_numpy(view.tokeniser.tokens([template.replace("{}", word) for template in templates])[0])
        output = tower(tokens.to(device))
        rows.append((output[0] if isinstance(output, tuple) else output).mean(0))
    return nn.functional.normalize(torch.stack(rows), dim=1)


def save_concepts(folder: Path, network: Network) -> None:
    """Write the vectors of the classes, float32 [K, D], to ``folder``."""
    (folder / FILE).write_bytes(save({"weight": network.head.weight.cpu().contiguous()}))


def saved_network(recipe: Recipe, folder: Path, device: torch.device) -> Network:
    """Return the network with the vectors of ``save_concepts``."""
    weight = load_file(folder / FILE)["weight"].to(device)
    return _network(recipe.exportable().graphs["image"].module, weight)


def _network(tower: nn.Module, weight: Tensor) -> Network:
    return Network(NamedClasses(tower, weight).eval(), Head(weight), weight.device)
