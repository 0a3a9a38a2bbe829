"""A scoring server, which is replaced while it answers: the socket is the supervisor's, processes come and go."""

from __future__ import annotations

import logging
import socket
import time
from dataclasses import replace
from pathlib import Path

from components.registry.scoring import NO_CHAMPION
from flows.child import Child
from flows.kept import FIRST_PAUSE, LONGEST_PAUSE
from flows.running import Scored, log_file, read_json, wish_file
from flows.services import Service

log = logging.getLogger("up")


class Scoring:
    """The scoring server of one registered model: ``state`` is what answers at its address."""

    def __init__(self, name: str, service: Service, listening: socket.socket, url: str, folder: Path) -> None:
        self.name = service.name
        self.state = Scored(url)
        self.settled = False  # something answers, or is known not to
        self._service, self._socket, self._folder = service, listening, folder
        self._wish_file = wish_file(name)
        self._wish_file.unlink(missing_ok=True)
        self._wish = ""
        self._pause, self._due = FIRST_PAUSE, 0.0
        self._now: Child | None = None
        self._next: Child | None = None
        self._old: list[Child] = []

    @property
    def children(self) -> list[Child]:
        """The processes that live, or did a moment ago."""
        return [*filter(None, (self._now, self._next)), *self._old]

    def tend(self) -> bool:
        """Look after the processes; True if anything changed."""
        return any([self._heed_wish(), self._replace(), self._miss(), self._forget_old(), self._begin()])

    def _heed_wish(self) -> bool:
        wish = str(read_json(self._wish_file).get("wish", ""))
        if wish == self._wish or self._old:  # the old version may still answer: one thing after the other
            return False
        self._wish, self._due = wish, 0.0
        if self._next:  # it may have read the champion before the wish
            self._next.end()
            self._old.append(self._next)
        self._next = self._start()
        return True

    def _begin(self) -> bool:
        if self._now or self._next or self._old or time.monotonic() < self._due:
            return False
        self._next = self._start()
        return True

    def _start(self) -> Child:
        return Child(self._service, self._folder, fds=(self._socket.fileno(),), notify=True)

    def _replace(self) -> bool:
        """The next process answers: the one before is asked to end. Or it has ended without ever answering."""
        if self._next is None:
            return False
        if version := self._next.said:
            if self._now:
                self._now.ask()
                self._old.append(self._now)
            self._now, self._next = self._next, None
            self._pause, self.settled = FIRST_PAUSE, True
            self.state = replace(self.state, version=version, wrong="", wish=self.state.wish if self._old else self._wish)
            log.info("%s answers with version %s", self.name, version)
            return True
        return self._next.code is not None and self._fail(self._next.code)

    def _fail(self, code: int) -> bool:
        assert self._next is not None
        self._next.close()
        self._next = None
        self._due, self._pause = time.monotonic() + self._pause, min(2 * self._pause, LONGEST_PAUSE)
        wrong = f"exit code {code}, see {log_file(self.name)}"
        if code == NO_CHAMPION:
            wrong, self._due = "there is no champion yet", float("inf")  # until the wish of a promotion
        log.warning("%s: %s", self.name, wrong)
        self.state = replace(self.state, wrong=wrong, wish=self._wish)
        self.settled = True
        return True

    def _miss(self) -> bool:
        """The process that answered has ended by itself; callers wait in the socket's queue for the next one."""
        if self._now is None or self._now.code is None:
            return False
        log.warning("%s has ended (exit code %s); it is started again", self.name, self._now.code)
        self._now.close()
        self._now, self._due = None, 0.0
        self.state = replace(self.state, version=None, wrong="it has ended and is started again")
        return True

    def _forget_old(self) -> bool:
        for child in self._old:
            child.end_if_late()
        gone = [child for child in self._old if child.code is not None]
        for child in gone:
            child.close()
            self._old.remove(child)
        if gone and not self._old and self._next is None:
            self.state = replace(self.state, wish=self._wish)
        return bool(gone)
