"""Evaluate a served StarGAN: between the domains of the main view by the translators' judges, or by flips of its attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.core.recipe import Report
from components.families.stargan import flips
from components.translation import evaluation
from components.translation.judges import Settings

if TYPE_CHECKING:
    from components.core.artifact import Artifact
    from components.core.batch import Split
    from components.core.settings import RunSettings

__all__ = ["Settings", "check", "evaluate"]


def evaluate(served: Any, splits: dict[str, Split], settings: RunSettings, links: dict[str, Artifact]) -> Report:
    """All figures that the linked judges allow; see ``flips`` for a model of attributes."""
    several = served.facts.get("several", [False])[0]
    return (flips if several else evaluation).evaluate(served, splits, settings, links)


def check(settings: RunSettings, view: Any, linked: dict[str, dict[str, RunSettings]]) -> None:
    """Raise ValueError for a judge of attributes that is no StarGAN."""
    judge = linked.get("evaluate", {}).get(flips.ROLE)
    if judge is not None and judge.recipe != "stargan":
        raise ValueError(
            f"evaluate: the link {flips.ROLE} leads to {judge.name!r}, a {judge.recipe} run; a stargan run is expected"
        )
