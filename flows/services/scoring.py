"""Scoring server with zero-downtime reload: the supervisor owns the socket, and its processes are replaced.

A process that does not answer in ``LOAD`` seconds is ended. After ``TRIES`` failures the version is given up until the next
reload request: what was served before goes on being served. A server that is away (exit code 75) is waited for.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from components.core.errors import EXIT
from components.core.files import read_json
from components.registry.scoring import NO_CHAMPION
from flows.services.child import FIRST_PAUSE, LONGEST_PAUSE, Child
from flows.services.definitions import Service
from flows.services.running import ScoringState, log_file, reload_request_file

LOAD = 150.0  # seconds from the start of a process to its first answer
TRIES = 5  # failures to load a version

log = logging.getLogger("up")


class ScoringServer:
    """The scoring server of one registered model; ``state``: what is served at its address."""

    def __init__(
        self,
        name: str,
        service: Service,
        listening: socket.socket,
        url: str,
        folder: Path,
        *,
        on_give_up: Callable[[str], None] = lambda words: None,
    ) -> None:
        self.name = service.name
        self.state = ScoringState(url)
        self.settled = False  # the first process is ready or has failed
        self._service, self._socket, self._folder = service, listening, folder
        self._request_file = reload_request_file(name)
        self._request_file.unlink(missing_ok=True)
        self._request = ""
        self._pause, self._due, self._tries = FIRST_PAUSE, 0.0, 0
        self._on_give_up = on_give_up
        self._outdated = False  # what is served is not the champion, which did not load
        self._present: Child | None = None
        self._next: Child | None = None
        self._old: list[Child] = []

    @property
    def children(self) -> list[Child]:
        """The processes that were alive at the last check."""
        return [*filter(None, (self._present, self._next)), *self._old]

    def update(self) -> bool:
        """Check the processes; return whether anything changed."""
        return any(
            [self._handle_reload_request(), self._replace(), self._handle_crash(), self._close_old(), self._start_if_due()]
        )

    def _handle_reload_request(self) -> bool:
        request = str(read_json(self._request_file).get("request", ""))
        if request == self._request or self._old:  # the old version may still be served: one reload at a time
            return False
        self._request, self._due, self._tries, self._pause = request, 0.0, 0, FIRST_PAUSE
        if self._next:  # it may have read the champion before the request
            self._next.stop()
            self._old.append(self._next)
        self._next = self._start()
        return True

    def _start_if_due(self) -> bool:
        if (self._present and not self._outdated) or self._next or self._old or time.monotonic() < self._due:
            return False
        self._next = self._start()
        return True

    def _start(self) -> Child:
        return Child(self._service, self._folder, fds=(self._socket.fileno(),), notify=True)

    def _replace(self) -> bool:
        """Stop the present process once the next one is ready; record a failure if that one has ended instead."""
        if self._next is None:
            return False
        if version := self._next.ready_line:
            if self._present:
                self._present.request_stop()
                self._old.append(self._present)
            self._present, self._next = self._next, None
            self._pause, self._tries, self._outdated, self.settled = FIRST_PAUSE, 0, False, True
            completed = self.state.reload_request if self._old else self._request
            self.state = replace(self.state, version=version, error="", reload_request=completed, gave_up=False)
            log.info("%s answers with version %s", self.name, version)
            return True
        if (code := self._next.code) is not None:
            self._next.close()
            return self._fail(f"exit code {code}, see {log_file(self.name)}", code)
        if time.monotonic() - self._next.started > LOAD:
            self._next.stop()
            self._old.append(self._next)
            return self._fail(f"no answer {LOAD:g} s after its start, see {log_file(self.name)}", None)
        return False

    def _fail(self, error: str, code: int | None) -> bool:
        self._next, self._outdated = None, True
        self._tries += code not in (EXIT, NO_CHAMPION)
        gave_up = self._tries >= TRIES
        self._due, self._pause = time.monotonic() + self._pause, min(2 * self._pause, LONGEST_PAUSE)
        if code == NO_CHAMPION:
            error, self._due = "there is no champion yet", float("inf")  # until a reload request
        if gave_up:
            error, self._due = f"{error}; given up after {TRIES} tries, until the next promotion or rollback", float("inf")
            self._on_give_up(error)
        log.warning("%s: %s", self.name, error)
        self.state = replace(self.state, error=error, reload_request=self._request, gave_up=gave_up)
        self.settled = True
        return True

    def _handle_crash(self) -> bool:
        """Schedule a restart if the present process has crashed; clients wait in the socket's queue."""
        if self._present is None or self._present.code is None:
            return False
        log.warning("%s has ended (exit code %s); it is started again", self.name, self._present.code)
        self._present.close()
        self._present, self._due = None, 0.0
        self.state = replace(self.state, version=None, error="it has ended and is started again")
        return True

    def _close_old(self) -> bool:
        for child in self._old:
            child.stop_if_late()
        gone = [child for child in self._old if child.code is not None]
        for child in gone:
            child.close()
            self._old.remove(child)
        if gone and not self._old and self._next is None:
            self.state = replace(self.state, reload_request=self._request)
        return bool(gone)
