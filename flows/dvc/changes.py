"""Reasons why DVC would run a stage: its status as text, with the digests of today's code instead of the recorded ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.config.strict import SettingsError
from components.core.settings import Workspace
from components.stages.code.stage import contents
from flows.dvc.differences import changed_files, changed_values

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

NEVER_RUN = "never run"
CODE, CODE_FOLDER = "code", "outputs/code"
# Folders of outputs/code without digests.
OTHERS = {"links": "links changed", "scored": "entries of ood changed", "card": "what the report says of the data changed"}


def reasons(workspace: Workspace, stages: Sequence[PipelineStage], wrong: Set[str] = frozenset()) -> dict[str, list[str]]:
    """Return stage -> reasons why DVC would run it, empty if it is up to date.

    ``wrong``: stages that dvc.lock records with inputs that they did not run with (``flows.dvc.inputs``).
    """
    return reasons_of(workspace, stages, {stage.name: _status(stage) for stage in stages}, wrong)


def reasons_of(
    workspace: Workspace, stages: Sequence[Any], status: dict[str, list[Any]], wrong: Set[str]
) -> dict[str, list[str]]:
    """Return stage -> reasons, from DVC's ``status`` of each. ``stages``: DVC's, or those of ``flows.dvc.unloaded``."""
    recorded = {stage.name: any(out.hash_info for out in stage.outs) for stage in stages}
    if status.get(CODE):  # else the digests in outputs/code are up to date
        status = code_changes(workspace, stages, status)
    by_name = {stage.name: stage for stage in stages}
    why = {name: _format(by_name[name], entries, recorded[name]) if entries else [] for name, entries in status.items()}
    return why | {name: ["recorded with inputs that changed while it ran"] for name in wrong}


def _status(stage: PipelineStage) -> list[Any]:
    """Return DVC's status of the stage. One whose files another DVC process holds is planned, and waits for them."""
    from dvc.lock import LockError

    try:
        entries: list[Any] = stage.status(check_updates=False).get(stage.addressing, [])
    except LockError:
        return ["held by another DVC process"]
    return entries


def code_changes(workspace: Workspace, stages: Iterable[PipelineStage], status: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Replace the changes of outputs/code in ``status`` by those that the stage ``code`` will make.

    A stage whose recorded digest of code is the one that will be written has not changed, whatever outputs/code contains.
    """
    try:
        texts = contents(workspace)
    except SettingsError:  # stage `code` will report it
        return status
    changed: dict[str, list[Any]] = {}
    for stage in stages:
        entries = [_without_code(entry) for entry in status[stage.name]]
        for dep in stage.deps:
            file = str(dep.def_path).removeprefix(f"{CODE_FOLDER}/")
            if file in texts and dep.hash_info and dep.hash_info.value != _md5(texts[file]):
                entries.append(_edited(workspace.folder / CODE_FOLDER / file, texts[file]))
        changed[stage.name] = [entry for entry in entries if entry]
    return changed


def _without_code(entry: Any) -> Any:
    """Return a status entry without the changes of files in outputs/code."""
    deps = entry.get("changed deps") if isinstance(entry, dict) else None
    if deps is None:
        return entry
    others = {name: change for name, change in deps.items() if not str(name).startswith(f"{CODE_FOLDER}/")}
    return {what: changes for what, changes in (entry | {"changed deps": others}).items() if changes}


def _edited(path: Path, text: str) -> str:
    """Name the files of code that differ from the digests at ``path``, if these can be read."""
    if path.parent.name in OTHERS:
        return OTHERS[path.parent.name]
    new = json.loads(text)
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "code changed"
    files = sorted(file for file in {*old, *new} if old.get(file) != new.get(file))
    return f"code changed: {', '.join(files[:3])}{', ...' if len(files) > 3 else ''}" if files else "code changed"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _format(stage: PipelineStage, status: list[Any], recorded: bool) -> list[str]:
    """Format DVC's status entries, such as ``{"changed deps": {"params.yaml": {"runs.a.train": "modified"}}}``."""
    if not recorded:
        return [NEVER_RUN]
    lines: list[str] = []
    for entry in status:
        if isinstance(entry, str):
            lines.append(entry)
            continue
        for what, changes in entry.items():
            lines += _changes(stage, what.removeprefix("changed ").removesuffix("s"), changes)
    return lines


def _changes(stage: PipelineStage, what: str, changes: dict[str, Any]) -> list[str]:
    """Format changes. ``what``: "dep" or "out"; a dep that is a mapping is a file of parameters."""
    deps = {str(dep.def_path): dep for dep in stage.deps}
    lines = []
    for name, change in changes.items():
        if isinstance(change, dict):
            lines += (
                changed_values(deps[name], list(change))
                if name in deps
                else [f"param {key} {how}" for key, how in change.items()]
            )
        else:
            files = changed_files(Path(stage.wdir), deps[name]) if change == "modified" and name in deps else ""
            lines.append(f"{name}: {files}" if files else f"{change} {what} {name}")
    return lines
