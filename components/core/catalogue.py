"""Lookup of the classes and modules that params.yaml names; they are imported on demand.

The catalogues themselves (``RECIPES``, ``MODELS``, ``SOURCES``, ``DETECTORS``) are dicts of strings in the packages that they
list. They are looked up by name, so that core imports no package above it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from components.core.config.strict import must_exist, resolve

if TYPE_CHECKING:
    from components.core.settings import ModelSettings

Kind = Literal["recipe", "network", "source", "detector"]
CATALOGUES: dict[Kind, tuple[str, str]] = {
    "recipe": ("components.families", "RECIPES"),
    "network": ("components.networks", "MODELS"),
    "source": ("components.stages.fetch", "SOURCES"),
    "detector": ("components.detectors", "DETECTORS"),
}


def names(kind: Kind) -> dict[str, str]:
    """Return the catalogue of a kind: name -> "module:attribute"."""
    module, attribute = CATALOGUES[kind]
    targets: dict[str, str] = getattr(importlib.import_module(module), attribute)
    return targets


def load(kind: Kind, name: str, key: str) -> Any:
    """Return the class with this name. SettingsError names the setting ``key`` and the choices for an unknown one."""
    return resolve(names(kind), name, key)


def build_network(model: ModelSettings, facts: Mapping[str, Any]) -> Any:
    """Build the network of a run's block ``model``. ``facts``: the arguments that follow from the data and the recipe."""
    return load("network", model.name, "model.name")(**facts, **model.options)


def module_of(kind: Kind, name: str, key: str) -> str:
    """Return the name of the module that ``load`` imports for this name, without importing it."""
    must_exist(name, names(kind), key)
    return names(kind)[name].partition(":")[0]


def evaluation_module(family: str, key: str) -> str:
    """Return the name of a family's evaluation module: ``Settings`` and ``evaluate(served, splits, settings, links)``."""
    return module_of("recipe", family, key).rpartition(".")[0] + ".evaluation"


def evaluation(family: str, key: str) -> Any:
    """Import a family's evaluation module."""
    return importlib.import_module(evaluation_module(family, key))
