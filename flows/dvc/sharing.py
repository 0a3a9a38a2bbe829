"""Share results between clones through ``pipeline.remote``: pull before a stage runs, push after it.

Local notes record which entry of dvc.lock was sent to which address, so that planning needs no access to the remote. Results
computed while the remote was unavailable, or before it was configured, have no note; the next run sends them.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.config.strict import SettingsError
from components.core.dvc_lock import LOCK, find_entries
from components.core.errors import redacted
from components.core.files import write_text
from flows.dvc.remote import INCOMPLETE, TEMPORARY
from flows.processes import Ended, Log, Processes, StageFailed, TransientFailure
from flows.project import Project, for_children

PROGRAM = Path(__file__).with_name("remote.py")


@dataclass
class Share:
    """The shared remote of one flow run. ``unavailable``: a pull failed; no other is attempted, pushes still are."""

    project: Project
    remote: str
    address: str
    processes: Processes
    timeout: float
    unavailable: bool = False
    _pushing: threading.Lock = field(default_factory=threading.Lock)

    def pull(self, stage: str, log: Log) -> None:
        """Fetch another clone's results for the stage's inputs into the local cache; log a warning if that fails."""
        if self.unavailable:
            return
        ended = self._run("pull", stage)
        if ended.code == INCOMPLETE:
            log(f"warning: {_reason(ended)}; {stage} is computed again here, and sent")
        elif ended.code:
            self.unavailable = True
            log(f"warning: {_reason(ended)}; results of other clones are computed again here")

    def push(self, stage: str, log: Log) -> float:
        """Send the stage's recorded results, one stage at a time; return the seconds. Raises StageFailed, TransientFailure."""
        # Read first: if the entry changes meanwhile, the next run pushes it again.
        digest = digests(self.project, self.address).get(stage, "")
        with self._pushing:
            ended = self._run("push", stage)
        if ended.code:
            kind = TransientFailure if ended.code == TEMPORARY else StageFailed
            raise kind(f"the results are here, not shared; the next run sends them: {_reason(ended)}", ())
        note_shared(self.project, stage, digest)
        log(f"shared with {self.remote!r}")
        return ended.seconds

    def _run(self, action: str, stage: str) -> Ended:
        file = str(self.project.folder / "dvc.yaml")
        command = [sys.executable, str(PROGRAM), action, file, stage, self.remote]
        env = for_children(self.project)
        return self.processes.run(command, folder=self.project.folder, env=env, log=_silent, timeout=self.timeout)


def _reason(ended: Ended) -> str:
    if ended.timed_out:
        return f"the remote took more than {ended.seconds:.0f} s"
    return redacted(ended.tail[-1]) if ended.tail else f"exit code {ended.code}"


def _silent(line: str) -> None:
    """Discard DVC's output; the last line of a failure is reported anyway."""


def remote_address(config: Mapping[str, Any], name: str | None) -> str | None:
    """Return the address of the remote ``name``, None for no name; SettingsError if DVC's configuration lacks it."""
    if name is None:
        return None
    known = config["remote"]
    if name not in known:
        there = f"there are: {', '.join(known)}" if known else f"`dvc remote add {name} <address>` makes it"
        raise SettingsError(f"pipeline.remote: DVC's configuration has no remote {name!r}; {there}")
    return str(known[name]["url"])


def unshared(project: Project, address: str, stages: Iterable[str]) -> tuple[str, ...]:
    """Return those of the recorded ``stages`` whose results have not been sent to ``address``."""
    now = digests(project, address)
    return tuple(stage for stage in stages if stage in now and _noted(project, stage) != now[stage])


def digests(project: Project, address: str) -> dict[str, str]:
    """Return stage -> a hash of its entry in dvc.lock and the address."""
    lock = project.folder / LOCK
    text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
    bodies = {name: lines.partition("\n")[2] for name, lines in find_entries(text).items()}
    return {name: hashlib.sha256(f"{address}\n{body}".encode()).hexdigest() for name, body in bodies.items()}


def note_shared(project: Project, stage: str, digest: str) -> None:
    """Note that the results with ``digest`` were sent."""
    path = _note(project, stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, digest)


def _noted(project: Project, stage: str) -> str | None:
    path = _note(project, stage)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _note(project: Project, stage: str) -> Path:
    return settings.WORK / "shared" / (project.study or "root") / stage
