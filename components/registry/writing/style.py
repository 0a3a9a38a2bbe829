"""Write printed characters in a translator's style, or characters that are classes of a generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.core.config.strict import SettingsError
from components.core.runtime import mix
from components.registry.predict.model import Model, names


def write(
    served: Any, prints: np.ndarray, domain: int, *, samples: np.ndarray | None, seed: int, variation: float, bright: bool
) -> np.ndarray:
    """Translate prints uint8 [N, side, side], ink bright on 0, into ``domain``: uint8 [N, side, side], ink bright on 0.

    The style is one for the whole text: the mean of ``samples``' styles, from which each character's goes ``variation`` of the
    way to that of a sample drawn by ``seed``; without samples the first random style of ``seed``. ``bright``: whether the
    translator's pictures have bright ink. SettingsError for a translator without styles, if there are samples.
    """
    pixels = _as_input(prints, served.facts["channels"], bright=bright)
    domains = np.full(len(pixels), domain, np.int64)
    if samples is None:
        one = [served.translate(pixels[i : i + 1], domains[:1], seed=seed, first=0) for i in range(len(pixels))]
        return _as_ink(np.concatenate(one), bright=bright)
    if not hasattr(served, "styles_of"):
        raise SettingsError("--hand: this translator has no styles that samples could give; MUNIT and StarGAN v2 have")
    references = _as_input(samples, served.facts["channels"], bright=bright)
    styles = np.asarray(served.styles_of(references, np.full(len(references), domain, np.int64)), np.float32)
    chosen = np.random.default_rng(mix(seed, "write")).integers(len(styles), size=len(pixels))
    mean = styles.mean(axis=0)
    style = mean + np.float32(variation) * (styles[chosen] - mean)
    return _as_ink(served.translate(pixels, domains, style=style.astype(np.float32)), bright=bright)


def must_draw(model: Model, text: str, *, hand: bool, domain: bool) -> None:
    """Raise SettingsError unless the generator draws pictures of classes, all characters of the text among them."""
    if names(model.signature["inputs"]) != ["label"] or not model.served.facts["classes"]:
        raise SettingsError(f"write: {model.name} draws no pictures of characters that are named; `python -m flows sample RUN`")
    for option, given in (("--hand", hand), ("--domain", domain)):
        if given:
            raise SettingsError(f"{option}: {model.name} draws its classes and has no styles; MUNIT and StarGAN v2 have")
    classes = model.served.facts["classes"]
    if strange := sorted({character for character in text if not character.isspace()} - set(classes)):
        raise SettingsError(f"TEXT: {model.name} draws no {' '.join(strange)}; its classes are {' '.join(classes)}")


def draw_classes(served: Any, characters: list[str], *, seed: int, bright: bool) -> np.ndarray:
    """Draw characters by a model of their classes: uint8 [N, side, side], ink bright on 0.

    Each occurrence has noise of its own, so the same character is drawn anew each time.
    """
    label = np.array([served.facts["classes"].index(character) for character in characters], np.int64)
    return _as_ink(served.predict({"label": label}, {"seed": seed})["image"], bright=bright)


def _as_input(ink: np.ndarray, channels: int, *, bright: bool) -> np.ndarray:
    """uint8 [N, H, W] -> uint8 [N, H, W, C] as the translator takes it."""
    return np.repeat((ink if bright else 255 - ink)[..., None], channels, axis=3)


def _as_ink(pixels: np.ndarray, *, bright: bool) -> np.ndarray:
    grey = np.rint(pixels.astype(np.float64).mean(axis=3)).astype(np.uint8)
    return grey if bright else 255 - grey
