"""Families: one room each, with recipe, evaluation, served code and networks. ``RECIPES`` is the catalogue.

In a room, ``recipe.py`` holds the networks' training and their export, ``evaluation.py`` the metrics: its class ``Settings`` is
the run's ``evaluate`` block, its function ``evaluate`` measures what is served. ``served.py`` travels with every export.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

RECIPES: dict[str, str] = {
    "classification": "components.families.classification.recipe:Classification",
    "pixelcnn": "components.families.pixelcnn.recipe:PixelCNNRecipe",
    "diffusion": "components.families.diffusion.recipe:Diffusion",
    "noisy_classifier": "components.families.noisy_classifier.recipe:NoisyClassifier",
    "munit": "components.families.munit.recipe:MUNITRecipe",
    "unit": "components.families.unit.recipe:UNITRecipe",
    "stargan": "components.families.stargan.recipe:StarGANRecipe",
    "stargan_v2": "components.families.stargan_v2.recipe:StarGANv2Recipe",
}


def evaluation(family: str) -> Any:
    """Return the module ``evaluation`` of a family: ``Settings`` and ``evaluate(served, splits, settings, links)``."""
    module, _, name = RECIPES[family].partition(":")
    room = module.rpartition(".")[0]
    if importlib.util.find_spec(f"{room}.evaluation"):
        found = importlib.import_module(f"{room}.evaluation")
        if hasattr(found, "Settings"):
            return found
    return _InRecipe(getattr(importlib.import_module(module), name))


class _InRecipe:
    """A family whose recipe still evaluates itself."""

    def __init__(self, recipe: Any):
        self.Settings, self.evaluate = recipe.Evaluate, recipe.evaluate
