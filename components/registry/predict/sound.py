"""Sound through a model of log-mel pictures: by which scale its pictures are played, and recordings translated."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from components.core.config.strict import SettingsError
from components.core.settings import Workspace
from components.sound.files import SUFFIXES, read_sound, resampled
from components.sound.mel import MelScale
from components.sound.playback import picture_of

COLUMN = "sound"  # of a view: its only class is the name of the scale
PICTURES = (".png", ".webp", ".bmp", ".tif", ".tiff")  # without loss


def scale_of(workspace: Workspace, run: str, facts: Mapping[str, Any]) -> MelScale:
    """Return the scale of a run's pictures: the export's own, else that of its view. SettingsError if it is none of sound."""
    view = workspace.params.runs[run].view
    path = workspace.folder / "outputs" / "views" / view / "view.json"
    names = [facts[COLUMN]] if COLUMN in facts else classes_of(path)
    if not names:
        there = "has no column `sound`" if path.is_file() else f"is not here (`python -m flows run --runs {run}` makes it)"
        raise SettingsError(f"RUN: {run} is not made for sound: its view {view!r} {there}; the source `audio` makes such views")
    scale = MelScale.parse(names[0])
    if (height := window_of(facts)[0]) != scale.bins:
        raise SettingsError(
            f"RUN: {run} sees pictures of {height} rows, and sound has {scale.bins}; image_size must be [bins, frames]"
        )
    return scale


def classes_of(view: Path) -> list[str]:
    """Return the classes of the column ``sound`` of a view.json; none if there is no such file or column."""
    if not view.is_file():
        return []
    names: list[str] = json.loads(view.read_text(encoding="utf-8")).get("classes", {}).get(COLUMN, [])
    return names


def window_of(facts: Mapping[str, Any]) -> tuple[int, int]:
    """Return (bins, frames) of a model's pictures."""
    size = facts["image_size"]
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def read_picture(path: Path, scale: MelScale) -> tuple[np.ndarray, np.ndarray | None]:
    """Read a sound file, or a picture of sound -> (uint8 [bins, T], the recording at the scale's rate; None of a picture).

    SettingsError, in a line, for anything else.
    """
    if not path.is_file():
        raise SettingsError(f"IN: {str(path)!r}: no such file")
    try:
        if path.suffix.lower() in PICTURES:
            return _read_pixels(path, scale), None
        if path.suffix.lower() not in SUFFIXES:
            raise ValueError(f"neither sound ({' '.join(SUFFIXES)}) nor a picture of it ({' '.join(PICTURES)})")
        signal, rate = read_sound(path)
    except (OSError, ValueError) as error:
        raise SettingsError(f"IN: {path}: {error}") from None
    signal = resampled(signal, rate, scale.rate)
    return picture_of(signal, scale), signal


def _read_pixels(path: Path, scale: MelScale) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
    except Image.DecompressionBombError as error:
        raise ValueError(str(error)) from None
    if pixels.shape[0] != scale.bins:
        raise ValueError(f"a picture of {pixels.shape[0]} rows; pictures of this run's sound have {scale.bins}")
    return pixels


def translator(served: Any, domain: int, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that translates grey windows uint8 [N, bins, frames, 1] into ``domain``, all in one style."""
    if served.facts.get("style_width"):
        return partial(_each_alone, served, domain, seed)
    return partial(_together, served, domain)


def _each_alone(served: Any, domain: int, seed: int, windows: np.ndarray) -> np.ndarray:
    """The first picture of a request has the first style of ``seed``."""
    pictures = [_together(served, domain, window[None], seed=seed, first=0) for window in windows]
    return np.concatenate(pictures)


def _together(served: Any, domain: int, windows: np.ndarray, **style: int) -> np.ndarray:
    pixels = np.repeat(windows, served.facts["channels"], axis=3)
    translated = served.translate(pixels, np.full(len(windows), domain, np.int64), **style)
    return np.rint(translated.mean(axis=3, keepdims=True)).astype(np.uint8)
