"""Live curves: points go to the tracking server while the training goes on, and whatever happens there, it goes on."""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.core import settings
from components.core.errors import redacted
from components.core.files import locked, this_process, write_json
from components.core.settings import Workspace
from components.registry.model_registry import KEY
from components.registry.record.dead import PROCESS
from components.registry.record.outs import Point, ended_file
from components.registry.record.recording import FINGERPRINT, LIVE, NAME

if TYPE_CHECKING:
    from components.registry.tracking import Server

LOG = logging.getLogger(__name__)
PAUSE = 0.5  # seconds between two requests
PATIENCE = {"FINISHED": 30.0, "FAILED": 10.0, "KILLED": 5.0}  # seconds for the last points, by how the training ended

Log = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class LiveRun:
    """A run that points are added to. Points up to ``last_step`` are there already: the training was resumed."""

    server: Server
    run_id: str
    last_step: int

    @classmethod
    def open(cls, workspace: Workspace, run: str, fingerprint: str) -> LiveRun:
        """The unpublished run of this training, or a new one."""
        from components.registry.tracking import Server

        name = workspace.registered_name(run)
        wanted = {NAME: name, LIVE: "true", FINGERPRINT: fingerprint}
        server = Server.of(workspace)
        with locked(settings.WORK / "locks" / f"live-{name}"):
            found = [entry for entry in server.runs(wanted) if KEY not in entry.data.tags]
            record = found[0] if found else server.create(run, wanted)
        server.add_tags(record.info.run_id, {PROCESS: this_process()})
        server.client.update_run(record.info.run_id, status="RUNNING")
        return cls(server, record.info.run_id, max((step for _, step in server.points(record)), default=-1))

    def add(self, points: dict[Point, float]) -> None:
        """Log the points that are new."""
        new = {point: value for point, value in points.items() if point[1] > self.last_step}
        self.server.add_points(self.run_id, new, int(time.time() * 1000))


@contextmanager
def live_curves(
    workspace: Workspace, run: str, fingerprint: str, killed: tuple[type[BaseException], ...] = ()
) -> Iterator[Log]:
    """``log(step, scalars)`` for the length of a training. It never waits and never raises: a failure is one warning.

    ``fingerprint`` identifies the training: the same one continues the same run, and publish adopts it. SIGTERM ends the run
    as KILLED, as do interrupts and the exceptions in ``killed``; any other exception as FAILED.
    """
    writer = _Writer(workspace, run, fingerprint)
    status = "FAILED"
    try:
        with _sigterm_raises():
            yield writer.log
        status = "FINISHED"
    except BaseException as error:
        if isinstance(error, killed) or not isinstance(error, Exception):
            status = "KILLED"
        raise
    finally:
        writer.close(status)


class _Writer:
    """A queue, and the one thread that imports MLflow and talks to it."""

    def __init__(self, workspace: Workspace, run: str, fingerprint: str):
        self.workspace, self.run, self.fingerprint = workspace, run, fingerprint
        self.queue: queue.SimpleQueue[dict[Point, float] | None] = queue.SimpleQueue()
        self.closing = threading.Event()
        self.status = "FAILED"
        self.last: dict[str, Any] | None = None
        self.thread = threading.Thread(target=self._work, name="live curves", daemon=True)
        self.thread.start()

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Hand the scalars at ``step`` over."""
        point = {name: float(value) for name, value in scalars.items()}
        self.last = {"step": step, "point": point}
        if self.thread.is_alive():
            self.queue.put({(name, step): value for name, value in point.items()})

    def close(self, status: str) -> None:
        """Let the thread write what is left, for a while, and note which training ended here."""
        self.status = status
        self.closing.set()
        self.queue.put(None)
        self.thread.join(PATIENCE[status])
        if self.thread.is_alive():
            LOG.warning("live curves of %s: the tracking server is slow, the last points are left to publish", self.run)
        if status == "FINISHED" and self.last:
            self._note_end(self.last)

    def _note_end(self, last: dict[str, Any]) -> None:
        try:
            write_json(ended_file(self.workspace, self.run), {"fingerprint": self.fingerprint, **last})
        except OSError as error:
            LOG.warning("live curves of %s: %s", self.run, error)

    def _work(self) -> None:
        try:
            live = LiveRun.open(self.workspace, self.run, self.fingerprint)
            for points in self._batches():
                live.add(points)
            live.server.client.set_terminated(live.run_id, self.status)
        except Exception as error:
            reason = redacted(" ".join(str(error).split()))[:200]
            LOG.warning("live curves of %s stop, the training goes on: %s: %s", self.run, type(error).__name__, reason)

    def _batches(self) -> Iterator[dict[Point, float]]:
        """What has come since the last request, until the end."""
        taken: list[dict[Point, float] | None] = []
        while None not in taken:
            taken = [self.queue.get()]
            self.closing.wait(PAUSE)
            while not self.queue.empty():
                taken.append(self.queue.get())
            yield {point: value for points in taken if points for point, value in points.items()}


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM as SystemExit, where nobody handles it: by default it ends the process without a word to the server.

    What was set inside stays: a loop that was stopped is deaf to more.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _exit:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit(number: int, _: Any) -> None:
    raise SystemExit(128 + number)
