"""Settings of a run as MLflow's parameters: text by dotted name, with the defaults. Does not import MLflow."""

from __future__ import annotations

import json
from typing import Any

from components.core.config.references import DETECTOR
from components.registry.record.outs import RunOutputs, read_json

RESOLVED = ("device", "init", "selected_step", "stopped_at")  # in settings.json beside the settings: what came of them


def parameters(outs: RunOutputs) -> dict[str, str]:
    """Return the settings of the model, flattened: ``train.learning_rate``; without those of evaluation and promotion.

    Defaults are those that the training recorded; ``resolved.precision`` is what "auto" became.
    """
    block, trained = outs.block, read_json(outs.train / "settings.json", default={})
    train = trained.get("train", {})
    defaults = {"model": trained.get("model", {}), "train": {key: train[key] for key in train if key not in RESOLVED}}
    content = {"model": block.model, "train": block.train, "export": block.export}
    if DETECTOR in outs.workspace.links(outs.run, "export"):
        content["detect"] = outs.detection
    resolved = {key: train[key] for key in RESOLVED if key in train}
    resolved |= {key: train[key] for key, value in block.train.items() if value == "auto" and key in train}
    return {"recipe": block.recipe, "view": block.view, **flatten(defaults | {"resolved": resolved}), **flatten(content)}


def evaluation_parameters(outs: RunOutputs) -> dict[str, str]:
    """Return the settings of the evaluation with their defaults, flattened: ``evaluate.split``."""
    settings = outs.workspace.run(outs.run).evaluate
    return flatten({"evaluate": settings.model_dump(mode="json") | outs.block.evaluate})


def flatten(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Flatten nested mappings to ``a.b.c`` -> text; lists become JSON."""
    flat: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return flat
