"""Where a flow works: the repository and one workspace in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from components.core import settings
from components.core.settings import PARAMS, ROOT, Params, Workspace
from components.core.strict import SettingsError

_held: set[Path] = set()  # lock files that this process holds: the command takes the lock before the plan, the flow once more


class AnotherRun(Exception):
    """Another pipeline run holds the workspace."""


@dataclass(frozen=True)
class Project:
    """``root``: the DVC repository's root, where the code lies; ``study``: a folder below ``experiments/``, or None."""

    root: Path = ROOT
    study: str | None = None

    @cached_property
    def workspace(self) -> Workspace:
        """The chosen folder with its params.yaml; SettingsError if there is no such study."""
        if self.study is None:
            return Workspace(self.root)
        studies = sorted(path.parent.name for path in self.root.glob(f"experiments/*/{PARAMS}"))
        if self.study not in studies:
            raise SettingsError(f"--study: no study {self.study!r} in experiments/; there are: {', '.join(studies) or 'none'}")
        return Workspace(self.root / "experiments" / self.study)

    @property
    def params(self) -> Params:
        """The workspace's params.yaml; SettingsError, naming the file, where it cannot be used."""
        try:
            return self.workspace.params
        except SettingsError as error:
            file = str(self.folder / PARAMS)
            raise SettingsError(str(error) if file in str(error) else f"{file}: {error}") from None

    @property
    def folder(self) -> Path:
        """The workspace's folder: where stages start."""
        return self.workspace.folder

    def choose(self, runs: tuple[str, ...], every: bool = False) -> tuple[str, ...]:
        """The runs that are meant, in the order of params.yaml: the named ones, every one, or ``pipeline.runs``."""
        params = self.params
        unknown = [name for name in runs if name not in params.runs]
        if unknown:
            raise SettingsError(f"--runs: unknown run {', '.join(map(repr, unknown))}; there are: {', '.join(params.runs)}")
        wanted = set(params.runs if every else runs or params.pipeline.runs)
        return tuple(name for name in params.runs if name in wanted)

    def lock_file(self) -> Path:
        """What ``alone`` locks; it holds the pid of the last holder."""
        return settings.WORK / "locks" / f"pipeline-{self.study or 'root'}"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One pipeline run a workspace at a time: raise AnotherRun at once when another process is at it.

        The kernel frees the lock when its holder ends, however it ends. Within one process it may be taken again.
        """
        path = self.lock_file()
        if path in _held:
            yield
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise AnotherRun(f"another pipeline run (process {holder}) is at work in {self.folder}") from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            _held.add(path)
            try:
                yield
            finally:
                _held.discard(path)
