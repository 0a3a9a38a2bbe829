"""Candidate and champion with other class lists: both are compared on the images of the classes that both know."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from components.registry.promotion.gates import ROUNDING, GateResult, Gates
from components.registry.promotion.scores import VersionScores

BELOW = 50.0  # by which the logit of an unknown class is below the smallest of the others: a probability under 1e-21

# A served.py, so that stage `evaluate` scores the version as it scores any other.
SERVED = """\
from pathlib import Path

from components.registry.promotion.classes import Widened
from components.serving.loading import load_served


def Served(folder):
    return Widened(load_served(Path({export!r})), {classes!r})
"""


class Widened:
    """A served classifier with further ``classes``, which it never predicts. It answers the others as it is served."""

    def __init__(self, served: Any, classes: list[str]) -> None:
        self.served = served
        self.number = len(classes)
        self.facts = served.facts | {"classes": [*served.facts["classes"], *classes]}

    def scores(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 [N, H, W, C] -> logits float32 [N, K + further], beside the others of the model."""
        scores: dict[str, np.ndarray] = self.served.scores(image)
        unknown = np.repeat(scores["logits"].min(axis=1, keepdims=True) - BELOW, self.number, axis=1)
        return scores | {"logits": np.concatenate([scores["logits"], unknown], axis=1)}


@contextmanager
def widened(export: Path, classes: tuple[str, ...]) -> Iterator[Path]:
    """Yield ``export``, or a folder whose served code also has those of ``classes`` that it does not know.

    One class per image alone: what has several, or no classes at all, is left as it is.
    """
    facts = _facts(export)
    missing = [name for name in classes if name not in facts.get("classes", ())]
    if not missing or not facts.get("classes") or facts.get("multi_label"):
        yield export
        return
    with tempfile.TemporaryDirectory(prefix="darkroom-classes-") as folder:
        text = SERVED.format(export=str(export), classes=missing)
        (Path(folder) / "served.py").write_text(text, encoding="utf-8")
        yield Path(folder)


def classes_of(export: Path) -> tuple[str, ...]:
    """Return the classes that the export predicts; empty for other models."""
    names = _facts(export).get("classes")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _facts(export: Path) -> dict[str, Any]:
    path = export / "facts.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def added(candidate: VersionScores, champion: VersionScores) -> list[str]:
    """Return the classes that the candidate alone knows."""
    return [name for name in candidate.classes if name not in champion.classes] if champion.classes else []


def removed(candidate: VersionScores, champion: VersionScores) -> list[str]:
    """Return the classes that the champion alone knows."""
    return [name for name in champion.classes if name not in candidate.classes] if candidate.classes else []


def shared_rows(candidate: VersionScores, champion: VersionScores) -> np.ndarray | slice:
    """Return bool [N], the images whose class both know; all of them if no class was added. ValueError if there are none."""
    new = added(candidate, champion)
    if not new or candidate.groups is None:
        return slice(None)
    rows = ~rows_of(candidate, new)
    if not rows.any():
        raise ValueError("they have no class in common")
    return rows


def rows_of(scores: VersionScores, names: list[str]) -> np.ndarray:
    """Return bool [N], the images of these classes."""
    numbers = [index for index, name in enumerate(scores.group_names) if name in names]
    return np.isin(scores.groups, numbers) if scores.groups is not None else np.zeros(0, dtype=bool)


def listed(names: list[str], most: int = 5) -> str:
    """Format some of the names."""
    return ", ".join(name[:40] for name in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def class_list(
    gates: Gates, metric: str, sign: float, candidate: VersionScores, champion: VersionScores
) -> Iterator[GateResult]:
    """Say how the class lists differ, and hold the metric of each new class against its floor.

    ``sign``: of an improvement of the metric, 1 or -1.
    """
    new, gone = added(candidate, champion), removed(candidate, champion)
    if not (new or gone):
        return
    changes = [f"{len(names)} {how}: {listed(names)}" for names, how in ((new, "added"), (gone, "removed")) if names]
    both = len(candidate.classes) - len(new)
    words = f"{'; '.join(changes)}; compared on the images of the {both} classes that both know"
    yield GateResult("class_list", True, words, {"added": float(len(new)), "removed": float(len(gone))})
    if new:
        yield _new_classes(gates, metric, sign, candidate, new)


def _new_classes(gates: Gates, metric: str, sign: float, candidate: VersionScores, new: list[str]) -> GateResult:
    floor = gates.floor if gates.new_class_floor is None else gates.new_class_floor
    if floor is None or metric not in candidate.items:
        why = f"{metric} has no value an image" if floor is not None else "add new_class_floor: what must they reach?"
        return GateResult("new_classes", False, f"{listed(new)}: {why}", {})
    rows = {name: rows_of(candidate, [name]) for name in new}
    if empty := [name for name, of_name in rows.items() if not of_name.any()]:
        return GateResult("new_classes", False, f"{listed(empty)}: no images to measure them on", {})
    values = {name: float(candidate.items[metric][of_name].mean()) for name, of_name in rows.items()}
    worst = min(values, key=lambda name: sign * values[name])
    bound = "at least" if sign > 0 else "at most"
    words = (
        f"{metric} {values[worst]:.4f} on {int(rows[worst].sum())} images of {worst[:40]!r}, the worst of {len(new)} new ones, "
    )
    words += f"{bound} {floor:g} is required"
    passed = sign * (values[worst] - floor) >= -ROUNDING
    return GateResult("new_classes", passed, words, {"value": values[worst], "floor": floor})
