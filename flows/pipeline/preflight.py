"""Checks before anything starts: interpreter, installed versions, settings of stale stages, data folders."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from components.core import settings
from components.core.files import file_state, read_json, write_json
from components.core.settings import PARAMS, Workspace
from components.core.strict import SettingsError

if TYPE_CHECKING:
    from flows.pipeline.plan import PipelinePlan
    from flows.project import Project


LOCK = "requirements.lock"
MATTERS = ("prefect", "fastapi", "sqlalchemy", "dvc", "mlflow", "torch", "albumentations")  # wrong ones fail late or silently
PYTHON = (3, 11)

CheckSettings = Callable[["Project", "PipelinePlan"], None]


def check_versions(root: Path) -> None:
    """Check Python and the installed packages against requirements.lock; SettingsError names package and versions."""
    if sys.version_info < PYTHON:
        raise SettingsError(f"Python {'.'.join(map(str, PYTHON))} or newer is needed, this is {sys.version.split()[0]}")
    wrong = wrong_versions(root / LOCK, MATTERS)
    if wrong:
        raise SettingsError("\n".join([f"the installation is not what {LOCK} says:", *(f"  {line}" for line in wrong)]))


def wrong_versions(path: Path, names: tuple[str, ...] = ()) -> list[str]:
    """Return one line per pin of the lock file (of ``names``, if given) that differs from the installed version."""
    pins = {name: pin for name, pin in _locked(path).items() if name in names or not names}
    installed = {name: _installed(name) for name in pins}
    return [f"{name}: {pin} is wanted, {installed[name]} is installed" for name, pin in pins.items() if installed[name] != pin]


def _locked(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file") from None
    return {name.lower().replace("_", "-"): _public(pin) for name, pin in re.findall(r"(?m)^([\w.-]+)==([^\s;#]+)", text)}


def _installed(name: str) -> str:
    try:
        return _public(version(name))
    except PackageNotFoundError:
        return "none"


def _public(pin: str) -> str:
    """Strip a local tag such as ``+cpu``, which only names the build of a release."""
    return pin.partition("+")[0]


def check_settings(project: Project, plan: PipelinePlan) -> None:
    """Check every block that a stale stage reads, with the classes that read it; this imports the recipes, and so torch."""
    from components.stages.checks import check_detection, check_ood, check_run, check_view

    place = project.workspace
    checks: dict[str, Callable[[Workspace, str], object]] = {"fetch": Workspace.dataset, "augment": check_view}
    checks |= dict.fromkeys(("train", "export", "evaluate"), check_run) | {"detect": check_detection, "ood": check_ood}
    for stage in plan.stages:
        if stage.kind in checks:
            checks[stage.kind](place, stage.block)


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


def check_user_folders(workspace: Workspace) -> None:
    """Check the ``path`` of each dataset for what DVC cannot read: pipes, sockets, devices, broken links, non-UTF-8 names."""
    for name, block in workspace.params.datasets.items():
        path = block.get("path")
        if isinstance(path, str):
            for fault in _faults(str(workspace.folder / path)):
                raise SettingsError(f"datasets.{name}.path: {fault}")


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
