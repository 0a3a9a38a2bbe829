"""A long-lived child of the supervisor: on a leash, its output in a log, able to say when it is ready."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

from components.core.files import identity
from flows.processes import leashed
from flows.running import log_file
from flows.services import Service

GRACE = 45.0  # seconds between asking a server to end and ending it: a served training may write its checkpoint
LONGEST = 10_000_000  # bytes of a log that is gone on with


class Child:
    """A running service. With ``notify`` it is told ``--ready N``, a descriptor to which it writes a line once it is."""

    def __init__(self, service: Service, folder: Path, *, fds: tuple[int, ...] = (), notify: bool = False) -> None:
        self.name = service.name
        self.started = time.monotonic()
        self._asked = 0.0
        self._said = b""
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        words = [*service.command, "--ready", str(write)] if notify else service.command
        with open_log(service.name) as log:
            self._leash = subprocess.Popen(
                leashed(words, GRACE),
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
        """Which process it is; its leash's, after whose end nothing of it is left."""
        return identity(self._leash.pid)

    @property
    def said(self) -> str:
        """The line that the child has written to its descriptor, or nothing yet."""
        with contextlib.suppress(BlockingIOError):
            self._said += os.read(self._read, 1024)
        return self._said.decode(errors="replace").strip()

    @property
    def code(self) -> int | None:
        """The exit code, or None while it lives."""
        return self._leash.poll()

    def ask(self) -> None:
        """Ask the command itself to end, and what it started in an order of its own; the leash follows."""
        self._asked = self._asked or time.monotonic()
        for process in _children(self._leash.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    def end(self) -> None:
        """Have the leash end the command and all that is left of it."""
        self._leash.terminate()

    def end_if_late(self) -> None:
        """End what was asked to long ago."""
        if self._asked and time.monotonic() - self._asked > GRACE:
            self.end()

    def close(self) -> None:
        """Forget an ended child."""
        self._leash.wait()
        os.close(self._read)


def open_log(name: str) -> BinaryIO:
    """The log, to be gone on with; a long one makes way for a new one first."""
    path = log_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.stat().st_size > LONGEST:
        path.replace(path.with_suffix(".old.log"))
    return path.open("ab")


def _children(process: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
