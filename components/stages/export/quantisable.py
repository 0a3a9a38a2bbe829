"""Check an ``export`` block that asks for int8, before any work. Light to import."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from components.core.config.references import DETECTOR
from components.core.config.strict import SettingsError


def check_quantisable(settings: Any, links: Iterable[str], splits: Iterable[str], key: str) -> None:
    """Raise SettingsError if the ``export`` block asks for what cannot be done. ``key``: the path of the block.

    ``links``: roles of the run's links at stage export; ``splits``: of its view.
    """
    mode = getattr(settings, "quantise", None)
    if mode is not None and DETECTOR in links:
        fault = f"{key}.quantise: {mode} is not allowed with a link of role {DETECTOR}"
        raise SettingsError(f"{fault}: threshold and figures of the detector are those of float features")
    if mode == "static" and "validation" not in splits:
        raise SettingsError(f"{key}.quantise: static is calibrated on validation images, and the view has none")
