"""Checks before anything starts: settings of stale stages, data folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from components.core import settings
from components.core.config.needs import BLOCKS
from components.core.config.strict import SettingsError, refuse
from components.core.files import file_state, read_json, write_json
from components.core.settings import PARAMS, Workspace

if TYPE_CHECKING:
    from components.core.config.params import Params
    from flows.pipeline.plan import PipelinePlan
    from flows.project import Project

SHOWN = 5  # faults of the files of one dataset

CheckSettings = Callable[["Project", "PipelinePlan"], None]


def check_settings(project: Project, plan: PipelinePlan) -> None:
    """Check all that the runs with stale stages need, by the classes that read it; SettingsError lists every fault.

    This imports the recipes, and so torch, unless the same settings were found sound before.
    """
    from components.stages.checked import faults

    params = project.params
    stale = {f"{BLOCKS[stage.kind]}.{stage.block}" for stage in plan.stages if stage.kind in BLOCKS}
    runs = [run for run in plan.runs if stale.intersection(params.needed([run]))]
    refuse_all(project, faults(project.workspace, runs))


def refuse_all(project: Project, lines: Iterable[str]) -> None:
    """Raise one SettingsError with the faults of the workspace's params.yaml, if there are any."""
    faults = list(dict.fromkeys(lines))
    if faults:
        file = project.folder / PARAMS
        more = [f"{file} has {len(faults)} faults:", *(f"  {line}" for line in faults)]
        raise SettingsError("\n".join(more) if len(faults) > 1 else f"{file}: {faults[0]}")


def left_out(params: Params, runs: Iterable[str]) -> list[str]:
    """Return one warning per fault in blocks that the runs do not need."""
    needed = params.needed(runs)
    return [line for block, lines in params.faults.items() if block not in needed for line in lines]


def broken_studies(root: Path) -> list[str]:
    """Return one line per study whose params.yaml cannot be read. Other workspaces are not affected.

    Parsing a dozen files takes 0.3 s, so the readable ones are cached, with their times and sizes.
    """
    note = settings.WORK / "readable-studies.json"
    readable, lines = {}, []
    before = read_json(note)
    for params in sorted(root.glob(f"experiments/*/{PARAMS}")):
        state = [*file_state(params), *file_state(settings.__file__)]
        try:
            if before.get(str(params)) != state:
                _ = Workspace(params.parent).params
            readable[str(params)] = state
        except SettingsError as error:
            lines.append(f"study {params.parent.name} is broken: {str(error).splitlines()[0]}")
    if readable != before:
        write_json(note, readable)
    return lines


def check_user_folders(workspace: Workspace, runs: Iterable[str]) -> None:
    """Check the ``path`` of the runs' datasets for what DVC cannot read: pipes, devices, broken links, non-UTF-8 names."""
    needed = workspace.params.needed(runs)
    faults = []
    for name, block in workspace.params.datasets.items():
        path = block.get("path")
        if isinstance(path, str) and f"datasets.{name}" in needed:
            faults += [f"datasets.{name}.path: {fault}" for fault in islice(_faults(str(workspace.folder / path)), SHOWN)]
    refuse(faults)


def _faults(path: str) -> Iterator[str]:
    """Yield the faults of ``path`` and below. DVC reports a missing path. Like DVC, do not follow links to folders."""
    folders = [path]
    if os.path.lexists(path) and not os.path.isdir(path):
        yield from _fault(path)
        return
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                yield from _fault(entry.path)
            if not entry.name.isascii() and _is_no_utf8(entry.name):
                yield f"{entry.path!a}: the name is not UTF-8"


def _fault(path: str) -> Iterator[str]:
    try:
        kind = os.stat(path).st_mode
    except OSError as error:  # a link to nowhere, or to itself
        yield f"{path!r}: a link that leads nowhere ({error.strerror})"
        return
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        yield f"{path!r}: neither a file nor a folder, but a pipe, a socket or a device"


def _is_no_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # surrogates: bytes that are not UTF-8
        return True
    return False
