"""The folder of one trial: a workspace of its own with the trial's settings, whose data are the project's."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.config.strict import read_yaml
from components.core.files import write_json
from components.core.settings import PARAMS, ROOT, Workspace
from flows.tuning.space import VIEW, Values, with_values, with_view_values

POLICY = "policy.json"  # of a view: the transforms that are drawn at training
DATA = ("views", "links", "datasets", "export", "detect", "view_report")  # of outputs/: what a training may read


def sweep_folder(workspace: Workspace, run: str) -> Path:
    """Return the folder of the run's sweeps."""
    return settings.WORK / "sweeps" / workspace.registered_name(run)


def trial_workspace(workspace: Workspace, run: str, number: int, values: Values) -> Workspace:
    """Make the workspace of trial ``number``: params.yaml with the trial's values, and links to the project's data.

    Its name is a part of the checkpoints' place, so that no two trials share any.
    """
    folder = sweep_folder(workspace, run) / f"{workspace.registered_name(run)}-trial-{number}"
    (folder / "outputs" / "train").mkdir(parents=True, exist_ok=True)
    raw = read_yaml(workspace.folder / PARAMS)
    (folder / PARAMS).write_text(json.dumps(alone(raw, run, values, folder), indent=1), encoding="utf-8")  # JSON is YAML
    for kind in DATA:
        _link(workspace.folder / "outputs" / kind, folder / "outputs" / kind)
    if any(setting.startswith(f"{VIEW}.") for setting in values):
        _place_view(workspace, run, values, folder)
    for other in (workspace.folder / "outputs" / "train").glob("*"):
        if other.name != run:
            _link(other, folder / "outputs" / "train" / other.name)
    return Workspace(folder)


def alone(raw: dict[str, Any], run: str, values: Values, folder: Path) -> dict[str, Any]:
    """Return params.yaml's content with the trial's values, reduced to the run and what its training is linked to."""
    links = {name: link for name, link in (raw.get("links") or {}).items() if (link["run"], link["stage"]) == (run, "train")}
    linked = [
        link["from"].split("/")[2] for link in links.values() if link["from"].startswith(("outputs/train/", "outputs/export/"))
    ]
    runs = {name: block for name, block in raw["runs"].items() if name in linked}
    view = raw["runs"][run]["view"]
    views = {**raw["views"], view: with_view_values(raw["views"][view], values, f"runs.{run}.search")}
    runs[run] = {**with_values(raw["runs"][run], values), "seeds": [], "search": {}}
    return {
        "root": os.path.relpath(ROOT, folder) if ROOT in folder.parents else ".",
        **{key: raw[key] for key in ("seed", "datasets")},
        "views": views,
        "pipeline": {"runs": [run]},
        "runs": runs,
        "links": links,
        "detect": {},
        "ood": {},
    }


def _place_view(workspace: Workspace, run: str, values: Values, folder: Path) -> None:
    """Put a folder with the trial's own policy in the place of the run's view: its pictures are links to the project's."""
    from components.stages.augment.policy.validation import validate_policy

    name = workspace.params.runs[run].view
    views, place = workspace.folder / "outputs" / "views", folder / "outputs" / "views"
    place.unlink(missing_ok=True)
    (place / name).mkdir(parents=True)
    for other in views.iterdir():
        if other.name != name:
            _link(other, place / other.name)
    for file in (views / name).iterdir():
        (place / name / file.name).symlink_to(file)
    (place / name / POLICY).unlink()
    write_json(place / name / POLICY, validate_policy(name, Workspace(folder).view(name)))


def remove_trial(workspace: Workspace, run: str, number: int) -> None:
    """Remove the trial's folder and its checkpoints."""
    folder = sweep_folder(workspace, run) / f"{workspace.registered_name(run)}-trial-{number}"
    if (folder / PARAMS).is_file():
        shutil.rmtree(Workspace(folder).checkpoints(run), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)


def _link(target: Path, place: Path) -> None:
    if place.is_dir() and not place.is_symlink():  # of an interrupted trial with a view of its own
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    if target.is_dir():
        place.symlink_to(target, target_is_directory=True)
