"""Child processes of the supervisor: a guarded process with a log, and a service that is restarted when it dies."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

import psutil

from components.core.files import identity
from flows.processes import TAIL, guarded
from flows.services.definitions import Service
from flows.services.prefect_server import answers
from flows.services.running import log_file

GRACE = 45.0  # seconds from SIGTERM to SIGKILL: a flow run may write a checkpoint
MAX_LOG = 10_000_000  # bytes after which a log is rotated
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a restart; doubled each time
HEALTH_TIMEOUT = 2.0  # seconds for a health check, which blocks the other services
LONG_ENOUGH = 60.0  # seconds of uptime after which the pause is reset

log = logging.getLogger("up")


class Child:
    """A running service. With ``notify`` it gets ``--ready N``, a file descriptor for a line once it is ready."""

    def __init__(self, service: Service, folder: Path, *, fds: tuple[int, ...] = (), notify: bool = False) -> None:
        self.name = service.name
        self.started = time.monotonic()
        self._stop_requested = 0.0
        self._output = b""
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        words = [*service.command, "--ready", str(write)] if notify else service.command
        with open_log(service.name) as log:
            self._guard = subprocess.Popen(
                guarded(words, GRACE),
                cwd=folder,
                env=service.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(*fds, write),
            )
        os.close(write)

    @property
    def identity(self) -> str:
        """The identity of its process guard, which ends last."""
        return identity(self._guard.pid)

    @property
    def ready_line(self) -> str:
        """The line that the child has written to its file descriptor, "" until then."""
        with contextlib.suppress(BlockingIOError):
            self._output += os.read(self._read, 1024)
        return self._output.decode(errors="replace").strip()

    @property
    def code(self) -> int | None:
        """The exit code, or None while it lives."""
        return self._guard.poll()

    def request_stop(self) -> None:
        """Send SIGTERM to the command, which stops its own children in order; then the process guard ends."""
        self._stop_requested = self._stop_requested or time.monotonic()
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self._guard.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.terminate()

    def stop(self) -> None:
        """Let the process guard end the command and all its descendants."""
        self._guard.terminate()

    def stop_if_late(self) -> None:
        """Stop it if it has not ended within ``GRACE`` after ``request_stop``."""
        if self._stop_requested and time.monotonic() - self._stop_requested > GRACE:
            self.stop()

    def close(self) -> None:
        """Release the resources of an ended child."""
        self._guard.wait()
        os.close(self._read)


def open_log(name: str) -> BinaryIO:
    """Open the log for appending; rotate a long one first."""
    path = log_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.stat().st_size > MAX_LOG:
        path.replace(path.with_suffix(".old.log"))
    return path.open("ab")


class ServiceFailed(Exception):
    """A service did not start; ``tail``: the last lines of its log."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        lines = log.read_text(errors="replace").splitlines() if log else []
        self.tail = "\n".join(f"  {line}" for line in lines[-TAIL:])


class RestartedService:
    """A service that is restarted when it dies, with exponential backoff."""

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
        """The processes that were alive at the last check."""
        return [self._child] if self._child else []

    def update(self) -> bool:
        """Check the process; return whether its state changed. ServiceFailed if it ends before it was ever ready."""
        if self._child is None:
            return time.monotonic() >= self._due and self._start()
        if self._child.code is not None:
            return self._handle_exit()
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
        return answers(self.service.health, HEALTH_TIMEOUT) if self.service.health else bool(self._child.ready_line)

    def _handle_exit(self) -> bool:
        child, self._child = self._child, None
        assert child is not None
        child.close()
        if not self.ready:
            place = log_file(self.name)
            raise ServiceFailed(f"{self.name} did not start (exit code {child.code}); the end of {place}:", place)
        if time.monotonic() - child.started > LONG_ENOUGH:
            self._pause = FIRST_PAUSE
        log.warning("%s has ended (exit code %s); it is started again in %g s", self.name, child.code, self._pause)
        self._due, self._pause = time.monotonic() + self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return True
