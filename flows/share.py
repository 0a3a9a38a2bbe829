"""Results between clones that work for one project: pulled before a stage runs, pushed after it (``pipeline.remote``)."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from components.core.errors import redacted
from flows.environment import for_children
from flows.processes import Ended, Log, Processes
from flows.project import Project
from flows.remote import TEMPORARY
from flows.shared import digests, note_shared
from flows.tries import MayPass, StageFailed

PROGRAM = Path(__file__).with_name("remote.py")


@dataclass
class Share:
    """The remote of one flow run. ``away``: it failed a pull, and is not asked for results again; pushes are still tried."""

    project: Project
    remote: str
    address: str
    processes: Processes
    timeout: float
    away: bool = False
    _pushing: threading.Lock = field(default_factory=threading.Lock)

    def pull(self, stage: str, log: Log) -> None:
        """Bring what another clone has made of the stage's inputs into the local cache; a warning where that fails."""
        if self.away:
            return
        ended = self._run("pull", stage)
        if ended.code:
            self.away = True
            log(f"warning: {_reason(ended)}; what other clones have made is made again here")

    def push(self, stage: str, log: Log) -> float:
        """Send what DVC recorded of the stage, one stage at a time; the seconds. StageFailed or MayPass if that fails."""
        # Read first: should the entry change meanwhile, the note is of the old one and the next run pushes again.
        digest = digests(self.project, self.address).get(stage, "")
        with self._pushing:
            ended = self._run("push", stage)
        if ended.code:
            kind = MayPass if ended.code == TEMPORARY else StageFailed
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
    """What DVC says on the way; the last line is told where something fails."""
