"""What a run's outs say, as plain values for the tracking server: parameters, curves, tags, files. Imports no MLflow."""

from __future__ import annotations

import csv
import json
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.params import Run
from components.core.references import DETECTOR
from components.core.settings import ROOT, Workspace
from components.core.strict import SettingsError
from components.registry.record.dvc_lock import export_key, lock_digest
from components.registry.record.published import evaluation_key

Point = tuple[str, int]  # name, step


@dataclass(frozen=True)
class RunOutputs:
    """What DVC holds of one run: the folders its stages wrote, and the keys of what is in them."""

    workspace: Workspace
    run: str
    key: str
    evaluation: str

    @classmethod
    def of(cls, workspace: Workspace, run: str) -> RunOutputs:
        """Of the run as it is now; SettingsError where an out or its entry in dvc.lock is missing."""
        found = cls(workspace, run, export_key(workspace, run), evaluation_key(workspace, run))
        for folder in (found.view, found.train, found.export, found.evaluate):
            if not folder.is_dir():
                name = folder.relative_to(workspace.folder)
                raise SettingsError(f"{name}: no such folder; `dvc repro evaluate@{run}` makes it, `dvc checkout` restores it")
        return found

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
        """Of its ``detect`` block."""
        return self.workspace.folder / "outputs" / "ood_table" / str(self.workspace.detection_of(self.run))


def parameters(outs: RunOutputs) -> dict[str, str]:
    """The blocks that made the model, flattened: ``train.learning_rate``. What measures or promotes it is not among them."""
    block = outs.block
    trained = read_json(outs.train / "settings.json", default={}).get("train", {})  # with what "auto" became
    resolved = {name: trained[name] for name in ("precision", "device") if name in trained}
    content = {"model": block.model, "train": block.train, "export": block.export, "resolved": resolved}
    if DETECTOR in outs.workspace.links(outs.run, "export"):
        content["detect"] = outs.detection
    return {"recipe": block.recipe, "view": block.view, **flatten(content)}


def flatten(content: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as ``a.b.c`` -> text; lists as JSON."""
    flat: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return flat


def tags(outs: RunOutputs) -> dict[str, str]:
    """Where the run comes from: study, recipe, view, dvc.lock, commit."""
    block, study = outs.block, outs.workspace.study
    found = {"recipe": block.recipe, "view": block.view, "dvc_lock": lock_digest(outs.workspace)}
    found |= {"study": study} if study else {}
    return {f"darkroom.{name}": value for name, value in found.items()} | _commit()


def _commit() -> dict[str, str]:
    """The commit and whether files differ from it, but dvc.lock, which new results change; nothing where there is no git."""
    try:
        commit = _git("rev-parse", "HEAD")
        changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude,glob)**/dvc.lock")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": commit.strip(), "darkroom.git_dirty": str(bool(changes.strip())).lower()}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20).stdout


def curve_points(train: Path) -> dict[Point, float]:
    """Every point of ``curves.csv``; a blank cell is none."""
    with (train / "curves.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (name, int(row["step"])): float(cell) for row in rows for name, cell in row.items() if name != "step" and cell.strip()
    }


def belongs(points: dict[Point, float], curves: dict[Point, float]) -> bool:
    """Whether every one of ``points`` is in ``curves``, and some are: those of a live run of this very training."""
    # The file holds eight digits.
    close = all(point in curves and _same(value, curves[point]) for point, value in points.items())
    return close and (bool(points) or not curves)


def _same(value: float, other: float) -> bool:
    both_nan = math.isnan(value) and math.isnan(other)
    # MLflow stores an infinity as the largest float.
    return both_nan or math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-12) or (math.isinf(other) and abs(value) > 1e308)


def ended_file(workspace: Workspace, run: str) -> Path:
    """Where live logging notes the fingerprint and the last point of the training that ended here last."""
    return settings.WORK / "live" / f"{workspace.registered_name(run)}.json"


def ended_fingerprint(outs: RunOutputs, curves: dict[Point, float]) -> str | None:
    """The fingerprint of the training that ended here last, if that is where ``curves`` come from (not from DVC's cache)."""
    path = ended_file(outs.workspace, outs.run)
    if not path.is_file():
        return None
    ended = json.loads(path.read_text(encoding="utf-8"))
    last = {(name, int(ended["step"])): value for name, value in ended["point"].items()}
    return str(ended["fingerprint"]) if belongs(last, curves) else None


def latency(outs: RunOutputs) -> dict[str, float]:
    """The figures measured on this machine for this export, or none."""
    figures: dict[str, Any] = read_json(settings.WORK / "latency" / f"{outs.name}.json", default={})
    if figures.pop("export", None) != outs.key:
        return {}
    return {name: float(value) for name, value in figures.items()}


def read_json(path: Path, default: Any = None) -> Any:
    """The file's content, or ``default`` where there is no file and a default."""
    if default is not None and not path.is_file():
        return default
    return json.loads(path.read_text(encoding="utf-8"))
