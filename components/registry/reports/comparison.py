"""Two versions on the same pictures: their scores, paired intervals, and the pictures that only one of them gets right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from components.core.config.strict import SettingsError, must_exist
from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.promotion.intervals import mcnemar, paired_interval
from components.registry.promotion.scores import VersionScores, data_key, read_scores
from components.registry.promotion.trial import score_version
from components.registry.record.origin import find_version

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Side:
    """One version: its run, registered name, view with digest, split, and scores."""

    run: str
    name: str
    view: str
    digest: str
    split: str
    scores: VersionScores

    @property
    def title(self) -> str:
        """The registered name with the version."""
        return f"{self.name}:{self.scores.version}"


@dataclass(frozen=True)
class Comparison:
    """``first`` and ``second`` on the same pictures; differences are second - first. ValueError for different pictures."""

    first: Side
    second: Side

    def __post_init__(self) -> None:
        a, b = self.first, self.second
        if (a.digest, a.split) != (b.digest, b.split):
            places = [f"{side.title} is measured on the {side.split} split of view {side.view}" for side in (a, b)]
            raise ValueError(f"{places[0]}, {places[1]}: two models are compared on the same pictures only")

    @property
    def classifies(self) -> bool:
        """Whether both say which class each picture is."""
        return all(side.scores.predicted is not None and side.scores.groups is not None for side in (self.first, self.second))

    def right(self) -> tuple[np.ndarray, np.ndarray]:
        """Return bool [N] of each: whether it gets the picture right."""
        first, second = ((side.scores.predicted == side.scores.groups) for side in (self.first, self.second))
        return np.asarray(first), np.asarray(second)

    def flips(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (fixed, broken): the rows that the second alone gets right, and those that the first alone does."""
        first, second = self.right()
        return np.flatnonzero(~first & second), np.flatnonzero(first & ~second)


def side(client: MlflowClient, workspace: Workspace, text: str) -> Side:
    """Score the version ``RUN[:VERSION]``, unless its scores on today's data are cached. Raise Unfit if it cannot be scored."""
    run, _, wanted = text.partition(":")
    must_exist(run, workspace.params.runs, "RUN")
    name = workspace.registered_name(run)
    aliases = registry.aliases(client, name)
    if not aliases and not wanted:
        raise SettingsError(f"RUN: {name} is not published yet; `python -m flows run --runs {run}` publishes it")
    version = find_version(client, name, wanted or ("candidate" if "candidate" in aliases else "champion"))
    data, model = data_key(workspace, run), str(version.tags.get(registry.KEY, ""))
    number = int(version.version)
    scores = read_scores(name, number, data, model) or score_version(client, workspace, run, number)
    settings = workspace.run(run)
    split = str(getattr(settings.evaluate, "split", "test"))
    return Side(run, name, settings.view, view_digest(workspace, settings.view), split, scores)


def view_digest(workspace: Workspace, view: str) -> str:
    """Return the digest of the view's pictures."""
    from components.core.files import read_json

    return str(read_json(workspace.folder / "outputs" / "views" / view / "view.json").get("digest", view))


def metric_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row per metric of both: values, difference, its paired 95 % interval, and what that says."""
    first, second = comparison.first.scores, comparison.second.scores
    rows = []
    for name in [name for name in first.metrics if name in second.metrics]:
        a, b = first.metrics[name], second.metrics[name]
        row = {"metric": name, "first": a, "second": b, "difference": b - a, "95 % interval": "–", "reads": "–"}
        interval = paired(first, second, name)
        if interval is not None:
            row |= {
                "95 % interval": f"{interval[0]:+.4f} to {interval[1]:+.4f}",
                "reads": reading(interval, first.better[name]),
            }
        rows.append(row)
    return rows


def paired(first: VersionScores, second: VersionScores, metric: str) -> tuple[float, float] | None:
    """Return the interval of second - first; None if the metric has no values of single pictures, or they do not pair."""
    old, new = first.items.get(metric), second.items.get(metric)
    if old is None or new is None or old.shape != new.shape or len(old) < 2:
        return None
    if not (np.isfinite(old).all() and np.isfinite(new).all()):
        return None
    return paired_interval(new.astype(np.float64), old.astype(np.float64), CONFIDENCE)


def reading(interval: tuple[float, float], better: str) -> str:
    """Say what an interval of second - first means; ``better``: "max" or "min"."""
    low, high = interval if better == "max" else (-interval[1], -interval[0])
    return "second is better" if low > 0 else "first is better" if high < 0 else "no clear difference"


def test_rows(comparison: Comparison) -> list[tuple[str, Any]]:
    """Return the counts of pictures that flip, and McNemar's exact test."""
    first, second = comparison.right()
    fixed, broken = comparison.flips()
    p = mcnemar(len(fixed), len(broken))
    shown = f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"
    verdict = "a difference beyond chance" if p < 1 - CONFIDENCE else "chance explains it"
    return [
        ("right in both", int((first & second).sum())),
        ("wrong in both", int((~first & ~second).sum())),
        ("fixed (only the second is right)", len(fixed)),
        ("broken (only the first is right)", len(broken)),
        ("McNemar's exact test", f"{shown}: {verdict}"),
    ]


def class_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a row per class that changes: pictures, right ones of each, fixed and broken, largest change first."""
    names, groups = comparison.first.scores.group_names, np.asarray(comparison.first.scores.groups)
    return sorted(_class_rows(comparison, names, groups), key=lambda row: -abs(row["second"] - row["first"]))


def _class_rows(comparison: Comparison, names: tuple[str, ...], groups: np.ndarray) -> Iterator[dict[str, Any]]:
    first, second = comparison.right()
    for index, name in enumerate(names):
        inside = groups == index
        a, b = first[inside], second[inside]
        if (a != b).any():
            flips = {"fixed": int((~a & b).sum()), "broken": int((a & ~b).sum())}
            yield {"class": name, "pictures": int(inside.sum()), "first": int(a.sum()), "second": int(b.sum()), **flips}


def table(comparison: Comparison) -> str:
    """Format the metrics, and the test of a classifier, as plain text."""
    rows = [
        [str(value) if isinstance(value, str) else f"{value:.4f}" for value in row.values()] for row in metric_rows(comparison)
    ]
    head = ["metric", comparison.first.title, comparison.second.title, "difference", "95 % interval", "reads"]
    widths = [max(len(line[index]) for line in (head, *rows)) for index in range(len(head))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in (head, *rows)]
    tests = [f"{name}: {value}" for name, value in test_rows(comparison)] if comparison.classifies else []
    return "\n".join([*lines, *tests])
