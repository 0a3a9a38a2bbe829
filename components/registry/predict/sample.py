"""Draw pictures with a generator (diffusion, PixelCNN) through its ``predict``."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from components.core.config.strict import SettingsError, must_exist
from components.registry.predict.model import Model, names


def sample(
    model: Model, number: int, *, classes: list[str], texts: list[str], params: dict[str, Any]
) -> tuple[np.ndarray, list[str]]:
    """Draw ``number`` pictures, uint8 [number, H, W, C], with a caption each.

    ``classes`` and ``texts`` are taken in turn; without ``classes`` all of the model are. SettingsError for what the model
    does not take.
    """
    expected = names(model.signature["inputs"])
    if texts and "text" not in expected:
        raise SettingsError(f"--text: {model.name} is not made for texts; it takes {', '.join(expected)}")
    if "text" in expected and not texts:
        raise SettingsError(f"--text: {model.name} draws pictures of texts: give at least one")
    inputs, captions = {}, [""] * number
    if "label" in expected:
        inputs["label"], captions = _labels(model, number, classes)
    elif classes:
        raise SettingsError(f"--class: {model.name} knows no classes; it takes {', '.join(expected)}")
    if "text" in expected:
        captions = [texts[index % len(texts)] for index in range(number)]
        inputs["text"] = np.array(captions, dtype=str)
    options = _options(model, params)
    if "image" in expected:
        inputs["image"] = _blank(model, number, options)
    try:
        return model.served.predict(inputs, options)["image"], captions
    except ValueError as error:
        raise SettingsError(f"{model.name}: {error}") from None


def _labels(model: Model, number: int, classes: list[str]) -> tuple[np.ndarray, list[str]]:
    known = [str(name) for name in getattr(model.served, "classes", model.served.facts["classes"])]
    for name in classes:
        must_exist(name, known, "--class")
    wanted = classes or (known if model.served.facts["classes"] else [])
    if not wanted:  # an unconditional model: its label is -1
        return np.full(number, -1, np.int64), [""] * number
    captions = [wanted[index % len(wanted)] for index in range(number)]
    return np.array([known.index(name) for name in captions], np.int64), captions


def _options(model: Model, params: dict[str, Any]) -> dict[str, Any]:
    """Return the params of a request: the task "sample" or a cascade from the base, if the model has several tasks."""
    allowed = names(model.signature["params"])
    if unknown := sorted(set(params) - set(allowed)):
        raise SettingsError(f"--param: {unknown[0]} is not known; allowed: {', '.join(allowed) or 'none'}")
    fixed: dict[str, Any] = {"task": "sample"} if "task" in allowed else {}
    return fixed | ({"from_base": True} if "from_base" in allowed else {}) | params


def _blank(model: Model, number: int, options: dict[str, Any]) -> np.ndarray:
    """Return images of which only the number counts: PixelCNN's, or those that a cascade's base replaces."""
    if "task" not in options and not options.get("from_base"):
        raise SettingsError(f"{model.name} enlarges given pictures, and has no linked base that draws them")
    shape = next(entry["shape"] for entry in model.signature["inputs"] if entry["name"] == "image")
    return np.zeros((number, *shape[1:]), np.uint8)


def parse_params(words: list[str]) -> dict[str, Any]:
    """Parse NAME=VALUE pairs; a value is JSON, else text. SettingsError for a word without "="."""
    params = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise SettingsError(f"--param: {word!r} is not NAME=VALUE")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params
