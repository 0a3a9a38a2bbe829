"""A service that is started again when it dies, with growing pauses."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from flows.child import Child
from flows.probe import answers
from flows.processes import TAIL
from flows.running import log_file
from flows.services import Service

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a dead child is started again; doubled each time
HEARING = 2.0  # seconds for an answer about its health: the other services wait meanwhile
LONG_ENOUGH = 60.0  # seconds of life after which the next death is a new story

log = logging.getLogger("up")


class Broken(Exception):
    """A service did not come up at all; ``tail``: the last lines of its log."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        lines = log.read_text(errors="replace").splitlines() if log else []
        self.tail = "\n".join(f"  {line}" for line in lines[-TAIL:])


class Kept:
    """One service and its present process."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.ready = False
        self._folder = folder
        self._pause = FIRST_PAUSE
        self._due = 0.0
        self._child: Child | None = None

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def children(self) -> list[Child]:
        """The processes that live, or did a moment ago."""
        return [self._child] if self._child else []

    def tend(self) -> bool:
        """Look after the process; True if anything changed. Broken if it ends before it was ready for the first time."""
        if self._child is None:
            return time.monotonic() >= self._due and self._start()
        if self._child.code is not None:
            return self._bury()
        if not self.ready and self._answers():
            self.ready = True
            log.info("%s answers after %.1f s", self.name, time.monotonic() - self._child.started)
            return True
        return False

    def _start(self) -> bool:
        self._child = Child(self.service, self._folder, notify=not self.service.health)
        return True

    def _answers(self) -> bool:
        assert self._child is not None
        return answers(self.service.health, HEARING) if self.service.health else bool(self._child.said)

    def _bury(self) -> bool:
        child, self._child = self._child, None
        assert child is not None
        child.close()
        if not self.ready:
            place = log_file(self.name)
            raise Broken(f"{self.name} did not start (exit code {child.code}); the end of {place}:", place)
        if time.monotonic() - child.started > LONG_ENOUGH:
            self._pause = FIRST_PAUSE
        log.warning("%s has ended (exit code %s); it is started again in %g s", self.name, child.code, self._pause)
        self._due, self._pause = time.monotonic() + self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return True
