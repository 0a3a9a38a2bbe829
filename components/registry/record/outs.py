"""Results of a run as plain values for the tracking server: curves, tags, files. Does not import MLflow."""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.config.params import Run
from components.core.config.strict import SettingsError
from components.core.git import GitFailed, git, tracks
from components.core.settings import PARAMS, ROOT, Workspace
from components.registry.record.dvc_lock import export_key, lock_digest
from components.registry.record.published import evaluation_key

Point = tuple[str, int]  # name, step
LIVE_ONLY = ("images_per_second",)  # metrics of live logging that curves.csv does not hold: a machine decides them


@dataclass(frozen=True)
class RunOutputs:
    """Output folders of one run's stages. ``key`` identifies the export, ``evaluation`` the metrics with their settings."""

    workspace: Workspace
    run: str
    key: str
    evaluation: str

    @classmethod
    def of(cls, workspace: Workspace, run: str) -> RunOutputs:
        """Return the run's present outputs; SettingsError if an out or its entry in dvc.lock is missing."""
        outs = cls(workspace, run, export_key(workspace, run), evaluation_key(workspace, run))
        for folder in (outs.view, outs.train, outs.export, outs.evaluate):
            if not folder.is_dir():
                name = folder.relative_to(workspace.folder)
                raise SettingsError(f"{name}: no such folder; `dvc repro evaluate@{run}` makes it, `dvc checkout` restores it")
        return outs

    @property
    def name(self) -> str:
        """The registered name."""
        return self.workspace.registered_name(self.run)

    @property
    def block(self) -> Run:
        """The run's block of params.yaml."""
        return self.workspace.params.runs[self.run]

    @property
    def view(self) -> Path:
        return self.workspace.folder / "outputs" / "views" / self.block.view

    @property
    def train(self) -> Path:
        return self.workspace.folder / "outputs" / "train" / self.run

    @property
    def export(self) -> Path:
        return self.workspace.folder / "outputs" / "export" / self.run

    @property
    def evaluate(self) -> Path:
        return self.workspace.folder / "outputs" / "evaluate" / self.run

    @property
    def detection(self) -> dict[str, Any]:
        """The run's ``detect`` block; {} for a run without."""
        return self.workspace.params.detect.get(self.workspace.detection_of(self.run) or "", {})

    @property
    def ood_table(self) -> Path:
        """The folder of the stage ``ood_table`` of the run's ``detect`` block."""
        return self.workspace.folder / "outputs" / "ood_table" / str(self.workspace.detection_of(self.run))


def tags(outs: RunOutputs) -> dict[str, str]:
    """Return the origin of the run: study, recipe, view, dvc.lock, commit."""
    block, study = outs.block, outs.workspace.study
    facts = {"recipe": block.recipe, "view": block.view, "dvc_lock": lock_digest(outs.workspace)}
    facts |= {"study": study} if study else {}
    return {f"darkroom.{name}": value for name, value in facts.items()} | commit_tags(ROOT)


def commit_tags(root: Path) -> dict[str, str]:
    """Return the commit, and whether files other than dvc.lock differ from it.

    Empty without Git, and in a repository that does not track the project's params.yaml: its commits say nothing here.
    """
    try:
        if not tracks(root, PARAMS):
            return {}
        commit = git(root, "rev-parse", "HEAD")
        changes = git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude,glob)**/dvc.lock")
    except GitFailed as error:
        print(f"warning: no commit is recorded: {error}", file=sys.stderr)
        return {}
    return {"mlflow.source.git.commit": commit.strip(), "darkroom.git_dirty": str(bool(changes.strip())).lower()}


def curve_points(train: Path) -> dict[Point, float]:
    """Read the points of ``curves.csv``, skipping blank cells."""
    with (train / "curves.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (metric_name(name), int(row["step"])): float(cell)
        for row in rows
        for name, cell in row.items()
        if name != "step" and cell.strip()
    }


def metric_name(name: str) -> str:
    """Return the metric of a curve: ``train.loss`` for ``loss``; validation figures and live metrics keep their names.

    Test figures have bare names: tables of runs compare and sort by them.
    """
    return name if name.startswith(("train.", "validation.")) or name in LIVE_ONLY else f"train.{name}"


def belongs(points: dict[Point, float], curves: dict[Point, float]) -> bool:
    """Whether ``points`` is a non-empty subset of ``curves``: they come from a live run of the same training."""
    # Live runs of an earlier version have bare names.
    logged = {(metric_name(name), step): value for (name, step), value in points.items() if name not in LIVE_ONLY}
    # The file has eight digits.
    close = all(point in curves and same(value, curves[point]) for point, value in logged.items())
    return close and (bool(logged) or not curves)


def same(value: float, other: float) -> bool:
    """Return whether two values are equal, up to the digits of the curves' file and MLflow's storage."""
    both_nan = math.isnan(value) and math.isnan(other)
    # MLflow stores an infinity as the largest float.
    return both_nan or math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-12) or (math.isinf(other) and abs(value) > 1e308)


def ended_file(workspace: Workspace, run: str) -> Path:
    """Return the file with the fingerprint and the last point of the latest training that ended here."""
    return settings.WORK / "live" / f"{workspace.registered_name(run)}.json"


def ended_fingerprint(outs: RunOutputs, curves: dict[Point, float]) -> str | None:
    """Return the fingerprint of the latest training here if ``curves`` come from it, and not from DVC's cache."""
    path = ended_file(outs.workspace, outs.run)
    if not path.is_file():
        return None
    ended = json.loads(path.read_text(encoding="utf-8"))
    last = {(name, int(ended["step"])): value for name, value in ended["point"].items()}
    return str(ended["fingerprint"]) if belongs(last, curves) else None


def latency(outs: RunOutputs) -> dict[str, float]:
    """Return the latency measured on this machine for this export; empty if there is none."""
    figures: dict[str, Any] = read_json(settings.WORK / "latency" / f"{outs.name}.json", default={})
    if figures.pop("export", None) != outs.key:
        return {}
    return {name: float(value) for name, value in figures.items()}


def read_json(path: Path, default: Any = None) -> Any:
    """Return the file's content, or ``default``, if given, when there is no file."""
    if default is not None and not path.is_file():
        return default
    return json.loads(path.read_text(encoding="utf-8"))
