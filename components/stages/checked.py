"""Check the settings of a run once per state of params.yaml and code: before a flow, and before each stage under bare DVC.

The checks import what the stages of a run import, and more; in a stage they are therefore made by a process of their own, and
never again for what was found sound: ``.work/checked/`` has a file for each sound run.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from components.core import settings
from components.core.config.strict import SettingsError, collected, refuse
from components.core.files import file_state, write_atomically
from components.core.settings import PARAMS, Workspace, held_params
from components.stages.code.closure import COMPONENTS
from components.stages.contents import check_contents

CHECKED = ("train", "export", "evaluate", "detect", "ood", "ood_table")  # stages of runs
MOST = 500  # files in .work/checked


def faults(workspace: Workspace, runs: Iterable[str]) -> list[str]:
    """Return the faults of all that the runs need, one line each.

    The settings of runs that were found sound are not checked again, only what their datasets hold now.
    """
    runs, code = list(runs), _code_state()
    sound = [run for run in runs if _note(workspace, run, code).is_file()]
    lines = collected(*(partial(check_contents, workspace, run) for run in sound))
    if len(sound) == len(runs):
        return lines
    from components.stages.checks import run_faults

    for run in runs:
        found = run_faults(workspace, [run]) if run not in sound else []
        lines += [line for line in found if line not in lines]
        if not found and run not in sound:
            _remember(_note(workspace, run, code))
    return lines


def require_sound(workspace: Workspace, stage: str, name: str) -> None:
    """Check the run of a stage in a process of its own, unless it was found sound. SettingsError with all faults."""
    run = run_of(workspace, stage, name)
    if run is not None:
        refuse(workspace.params.unwritten(run))
    if run is None or _note(workspace, run, _code_state()).is_file():
        return
    command = [sys.executable, "-m", "components", "check", run]
    ended = subprocess.run(command, cwd=workspace.folder, stderr=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        raise SettingsError(
            ended.stderr.strip() or f"the settings of run {run} cannot be checked (exit code {ended.returncode})"
        )


def run_of(workspace: Workspace, stage: str, name: str) -> str | None:
    """Return the run of a stage; None for stages of datasets, views and links. SettingsError if its block has faults."""
    if stage not in CHECKED:
        return None
    if stage == "ood":
        name = str(workspace.block("ood", name).detect)
    if stage in ("ood", "detect", "ood_table"):
        return str(workspace.block("detect", name)["run"])
    return name


def _code_state() -> list[tuple[object, ...]]:
    """Return the state of every file of code; a check that takes a minute is of the code as it was at its start."""
    return sorted((str(path), *file_state(path)) for path in COMPONENTS.rglob("*.py"))


def _note(workspace: Workspace, run: str, code: list[tuple[object, ...]]) -> Path:
    """Return the file that notes that the run is sound, by the text of params.yaml and the state of the ``code``."""
    held = held_params(workspace.folder)
    text = (workspace.folder / PARAMS).read_text(encoding="utf-8") if held is None else held
    digest = hashlib.sha256(repr((str(workspace.folder), run, text, code)).encode()).hexdigest()
    return settings.WORK / "checked" / digest


def _remember(note: Path) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    for old in sorted(note.parent.iterdir(), key=lambda path: path.stat().st_mtime)[: -MOST or None]:
        old.unlink(missing_ok=True)
    write_atomically(note, b"")
