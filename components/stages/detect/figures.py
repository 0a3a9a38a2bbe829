"""Rows of the table: metrics of each detector between the run's own images and those of each other view."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.core.files import read_arrays, read_json
from components.detectors import DETECTORS
from components.metrics.detection import detection_figures

FIGURES = ("auroc", "aupr_in", "aupr_out", "fpr95_in_positive", "fpr95_out_positive", "rejected")
KINDS = ("near", "far")
MEASURED = ("auroc", "fpr95_in_positive")  # reported as metrics, as means over the views of a kind

Row = dict[str, Any]


@dataclass(frozen=True)
class Outside:
    """Scores of another view: its kind, "near" or "far", and detector -> float64 [n]."""

    kind: str
    scores: dict[str, np.ndarray]


@dataclass(frozen=True)
class Scores:
    """All scores of a block. ``inside``: detector -> float64 [n]; ``views``: by name; ``unfitted``: detector -> reason."""

    inside: dict[str, np.ndarray]
    thresholds: dict[str, float]
    views: dict[str, Outside]
    unfitted: dict[str, str]
    tpr: float

    def detectors(self) -> list[str]:
        """Return the fitted detectors in the order of the catalogue."""
        return [name for name in DETECTORS if name in self.inside]


def read_scores(folder: Path, views: Iterable[str]) -> Scores:
    """Read the scores below ``outputs/ood/<name>``; ``views``: the other views to read; near ones come first."""
    facts = read_json(folder / "inside" / "facts.json")
    unordered = {name: _read_view(folder / name) for name in views}
    ordered = {name: unordered[name] for kind in KINDS for name in unordered if unordered[name].kind == kind}
    inside = read_arrays(folder / "inside" / "inside.npz")
    return Scores(inside, facts["thresholds"], ordered, facts["unfitted"], facts["tpr"])


def _read_view(folder: Path) -> Outside:
    return Outside(read_json(folder / "facts.json")["kind"], read_arrays(folder / "scores.npz"))


def table_rows(scores: Scores) -> list[Row]:
    """Return per detector a row per view, then a row per kind: the mean over the kind's views, as OpenOOD reports."""
    rows = []
    for detector in scores.detectors():
        own = [_row(scores, detector, name) for name in scores.views]
        rows += own + [_mean(kind, [row for row in own if row["kind"] == kind]) for kind in _kinds(scores)]
    return rows


def _kinds(scores: Scores) -> list[str]:
    kinds = {view.kind for view in scores.views.values()}
    return [kind for kind in KINDS if kind in kinds]


def _row(scores: Scores, detector: str, name: str) -> Row:
    view = scores.views[name]
    inside, outside = scores.inside[detector], view.scores[detector]
    rejected = float(np.mean(outside < scores.thresholds[detector]))
    head = {"detector": detector, "view": name, "kind": view.kind, "images": len(outside)}
    return head | detection_figures(inside, outside) | {"rejected": rejected}


def _mean(kind: str, rows: list[Row]) -> Row:
    head = {"detector": rows[0]["detector"], "view": kind, "kind": kind, "images": sum(row["images"] for row in rows)}
    return head | {figure: float(np.mean([row[figure] for row in rows])) for figure in FIGURES}


def compact_rows(rows: list[Row]) -> list[Row]:
    """Pivot ``table_rows`` to a row per detector: its AUROC by view, then the means."""
    table: dict[str, Row] = {}
    for row in rows:
        table.setdefault(row["detector"], {"detector": row["detector"]})[row["view"]] = row["auroc"]
    return list(table.values())


def metrics(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return detector -> means by ``<kind>_<figure>``."""
    means: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["view"] == row["kind"]:
            means.setdefault(row["detector"], {}).update({f"{row['kind']}_{name}": row[name] for name in MEASURED})
    return means


def aligned(rows: list[Row]) -> str:
    """Format the rows as plain text: names left-aligned, numbers with four digits right-aligned."""
    cells = [list(rows[0])] + [[v if isinstance(v, str) else f"{v:.4f}" for v in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [[first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])] for first, *rest in cells]
    return "\n".join("  ".join(line) for line in lines)
