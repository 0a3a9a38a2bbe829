"""The project of a flow: repository, workspace, and the environment of Prefect and child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.config.params import Params, read_params
from components.core.config.parsed import ParsedTexts
from components.core.config.strict import SettingsError, collected, read_yaml, refuse
from components.core.files import locked, this_process
from components.core.settings import PARAMS, ROOT, Workspace

QUIET = {
    # MLflow accepts only "true"; Prefect's server sends analytics unless its own switch is off, too.
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    # Neither our servers nor our clients unpickle models: that runs arbitrary code.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
READABLE = {
    # Prefix lines of a stage with its name, and shorten Prefect's own lines.
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s  %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s  [%(task_run_name)s] %(message)s",
    "PREFECT_LOGGING_LOGGERS_PREFECT_EVENTS_LEVEL": "ERROR",
}
STARTED_BY = "DARKROOM_STARTED_BY"  # in the environment of children: identity of the starting process, and its state folder

_locks: set[Path] = set()  # lock files that this process holds: the command takes the lock, and the flow again


class AnotherRun(Exception):
    """Another pipeline run holds the workspace's lock."""


class ParsedWorkspace(Workspace):
    """A workspace whose params.yaml is parsed once for all commands. It is read by flows, never within a stage."""

    def __init__(self, folder: Path, texts: ParsedTexts) -> None:
        super().__init__(folder)
        self._texts = texts

    @cached_property
    def params(self) -> Params:
        """Parse params.yaml as ``Workspace.params`` does."""
        path = self.folder / PARAMS
        params = read_params(self.raw_params(), str(path))
        refuse(collected(lambda: self._check_root(params.root), self._check_study))
        return params

    def raw_params(self) -> Any:
        """Return the content of params.yaml; SettingsError if it cannot be read."""
        path = self.folder / PARAMS
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return read_yaml(path)  # which says what is wrong
        return self._texts.get(text, lambda text: read_yaml(path, text), "own")


@dataclass(frozen=True)
class Project:
    """A workspace. ``root``: root of the DVC repository; ``study``: a folder below ``experiments/``, or None."""

    root: Path = ROOT
    study: str | None = None

    @cached_property
    def texts(self) -> ParsedTexts:
        """The cache of the workspace's parsed YAML texts."""
        return ParsedTexts(settings.WORK / "parsed" / f"{self.study or 'root'}.json")

    @cached_property
    def workspace(self) -> ParsedWorkspace:
        """The selected workspace; SettingsError if there is no such study."""
        if self.study is None:
            return ParsedWorkspace(self.root, self.texts)
        studies = sorted(path.parent.name for path in self.root.glob(f"experiments/*/{PARAMS}"))
        if self.study not in studies:
            raise SettingsError(f"--study: no study {self.study!r} in experiments/; there are: {', '.join(studies) or 'none'}")
        return ParsedWorkspace(self.root / "experiments" / self.study, self.texts)

    @property
    def params(self) -> Params:
        """The workspace's params.yaml; SettingsError, naming the file, if it cannot be used."""
        try:
            return self.workspace.params
        except SettingsError as error:
            file = str(self.folder / PARAMS)
            raise SettingsError(str(error) if file in str(error) else f"{file}: {error}") from None

    @property
    def folder(self) -> Path:
        """The workspace's folder, in which stages run."""
        return self.workspace.folder

    def choose(self, runs: tuple[str, ...], every: bool = False) -> tuple[str, ...]:
        """Select runs in the order of params.yaml: ``runs``, all if ``every``, else ``pipeline.runs``. They may have faults."""
        params = self.params
        known = params.every_run()
        unknown = [name for name in runs if name not in known]
        if unknown:
            raise SettingsError(f"--runs: unknown run {', '.join(map(repr, unknown))}; there are: {', '.join(known)}")
        names = set(known if every else runs or params.default_runs())
        return tuple(name for name in known if name in names)

    def lock_file(self) -> Path:
        """Return the lock file of ``alone``, which contains the pid of the last holder."""
        return settings.WORK / "locks" / f"pipeline-{self.study or 'root'}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock the workspace for one pipeline run; raise AnotherRun if another process holds the lock.

        Reentrant within one process.
        """
        path = self.lock_file()
        if path in _locks:
            yield
            return
        with ExitStack() as stack:
            try:
                file = stack.enter_context(locked(path, wait=False))
            except BlockingIOError:
                holder = path.read_text().strip() or "unknown"
                raise AnotherRun(f"another pipeline run (process {holder}) is at work in {self.folder}") from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            _locks.add(path)
            stack.callback(_locks.discard, path)
            yield


def set_defaults() -> None:
    """Set defaults for Prefect in this process and its children, before Prefect is imported; what the user has set stays.

    Prefect has one state folder per version: its database migrations are one-way.
    """
    home = {"PREFECT_HOME": str(settings.WORK / f"prefect-{version('prefect')}")}
    # Prefect's own 20 s are too short for a first start on a busy machine (16-24 s measured).
    patience = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    for name, value in {**home, **patience, **QUIET, **READABLE}.items():
        os.environ.setdefault(name, value)


def for_children(project: Project, **extra: str) -> dict[str, str]:
    """Return the environment of a child: this interpreter's programs first in PATH; unbuffered output in UTF-8."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    python = {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(project.root), "PYTHONIOENCODING": "utf-8:backslashreplace"}
    return {**os.environ, **QUIET, "PATH": path, **python, STARTED_BY: f"{this_process()} {settings.WORK}", **extra}
