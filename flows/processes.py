"""Run child processes of a flow behind a process guard: stream their output, end them at a timeout or when the flow stops."""

from __future__ import annotations

import codecs
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.core.errors import redacted

GUARD = Path(__file__).with_name("process_guard.py")
GRACE = 20.0  # seconds from SIGTERM to SIGKILL: time to write a checkpoint
PROGRESS = 5.0  # seconds between two lines of one progress bar
TAIL = 20  # last lines of the output in an error message

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Log = Callable[[str], None]


class FlowStopped(Exception):
    """The flow was stopped: the process was ended, or not started."""


class StageFailed(Exception):
    """A stage's or a publication's command failed or ran out of time; ``tail``: its last lines."""

    def __init__(self, message: str, tail: tuple[str, ...]) -> None:
        super().__init__(message)
        self.tail = tail


class TransientFailure(StageFailed):
    """A transient failure, for which a retry may succeed: locked files, a server or the network down."""


@dataclass(frozen=True)
class Ended:
    """Result of a command: exit code (128 + signal), last lines, seconds, and whether it exceeded its timeout."""

    code: int
    tail: tuple[str, ...]
    seconds: float
    timed_out: bool

    @property
    def error(self) -> str:
        """The error message: what follows ``error: `` in the last lines, or else the last line."""
        last = self.tail[-1] if self.tail else "no output"
        return next((line for line in self.tail if line.startswith("error: ")), last).removeprefix("error: ")


@dataclass
class Lines:
    """Split bytes into lines. Updates of a progress bar end in a carriage return; one is shown every ``PROGRESS`` seconds."""

    _decode: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    _rest: str = ""
    _shown: float = float("-inf")

    def feed(self, data: bytes, last: bool = False) -> Iterator[str]:
        """Yield the complete lines; with ``last`` also the remainder."""
        text = self._rest + self._decode.decode(data, last)
        *parts, self._rest = re.split(r"(\r\n|\n|\r(?!\n|\Z))", text)
        for line, end in zip(parts[::2], parts[1::2], strict=True):
            yield from self._show(line, progress=end == "\r")
        if last:
            yield from self._show(self._rest, progress=False)

    def _show(self, line: str, progress: bool) -> Iterator[str]:
        line = _ESCAPE.sub("", line).rstrip()
        now = time.monotonic()
        if not line.strip() or (progress and now - self._shown < PROGRESS):
            return
        if progress:
            self._shown = now
        yield line


def guarded(command: Sequence[str], grace: float = GRACE) -> list[str]:
    """Return ``command`` wrapped in a process guard, which ends it when this process dies."""
    return [sys.executable, "-S", "-E", str(GUARD), str(os.getpid()), str(grace), *command]


class Processes:
    """The running commands of one flow run, which can be ended together. Thread-safe."""

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, command: Sequence[str], *, folder: Path, env: dict[str, str], log: Log, timeout: float) -> Ended:
        """Run the command in ``folder``, passing each line of output to ``log``; FlowStopped if ``stop`` is called meanwhile.

        The calling thread must live until the command ends: the kernel treats its end as the parent's death.
        """
        started = time.monotonic()
        tail: deque[str] = deque(maxlen=TAIL)

        def show(line: str) -> None:
            line = redacted(line)  # libraries put whole addresses into their messages
            tail.append(line)
            log(line)

        process = self._start(command, folder, env)
        try:
            timed_out = self._read(process, started + timeout, show)
            code = process.wait()
        finally:
            with self._lock:
                self._running.discard(process)
        if self._stopped:
            raise FlowStopped("ended, since the flow was stopped")
        return Ended(code, tuple(tail), time.monotonic() - started, timed_out)

    def stop(self) -> None:
        """Terminate all running commands and start no more. Does not wait; each ``run`` returns when its command has ended."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()

    def _start(self, command: Sequence[str], folder: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise FlowStopped("not started, since the flow was stopped")
            process = subprocess.Popen(
                guarded(command, self._grace),
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal reaches the flow alone, which then ends the stages in order
            )
            self._running.add(process)
            return process

    def _read(self, process: subprocess.Popen[bytes], deadline: float, show: Log) -> bool:
        """Read the output until the guard exits; return whether the deadline was exceeded."""
        assert process.stdout is not None
        lines, timed_out = Lines(), False
        with process.stdout, selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    self._end(process, again=timed_out)
                    timed_out, deadline = True, time.monotonic() + self._grace + 5.0
                elif selector.select(min(left, 3600.0)):
                    data = os.read(process.stdout.fileno(), 1 << 16)
                    for line in lines.feed(data, last=not data):
                        show(line)
                    if not data:
                        return timed_out

    def _end(self, process: subprocess.Popen[bytes], again: bool) -> None:
        """Terminate the guard, which ends its command; ``again``: kill the process group, since the guard hangs."""
        if again:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.terminate()
