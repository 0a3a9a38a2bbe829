"""Live curves: log points to the tracking server during a training, which no failure of the server can stop."""

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
from components.registry.record.outs import Point, ended_file, metric_name
from components.registry.record.recording import FINGERPRINT, LIVE, NAME

if TYPE_CHECKING:
    from components.registry.tracking import Server

LOG = logging.getLogger(__name__)
PAUSE = 0.5  # seconds between two requests
PATIENCE = {"FINISHED": 30.0, "FAILED": 10.0, "KILLED": 5.0}  # seconds for the last points, by how the training ended

Log = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class LiveRun:
    """An MLflow run in progress. Points up to ``last_step`` are logged already: the training was resumed."""

    server: Server
    run_id: str
    last_step: int

    @classmethod
    def open(cls, workspace: Workspace, run: str, fingerprint: str) -> LiveRun:
        """Open the unpublished run of this training, or create one."""
        from components.registry.tracking import Server

        name = workspace.registered_name(run)
        tags = {NAME: name, LIVE: "true", FINGERPRINT: fingerprint}
        server = Server.of(workspace)
        with locked(settings.WORK / "locks" / f"live-{name}"):
            unpublished = [entry for entry in server.runs(tags) if KEY not in entry.data.tags]
            record = unpublished[0] if unpublished else server.create(run, tags)
        server.add_tags(record.info.run_id, {PROCESS: this_process()})
        server.client.update_run(record.info.run_id, status="RUNNING")
        return cls(server, record.info.run_id, max((step for _, step in server.points(record)), default=-1))

    def add(self, points: dict[Point, float]) -> None:
        """Log the new points."""
        new = {point: value for point, value in points.items() if point[1] > self.last_step}
        self.server.add_points(self.run_id, new, int(time.time() * 1000))


@contextmanager
def live_curves(
    workspace: Workspace, run: str, fingerprint: str, killed: tuple[type[BaseException], ...] = ()
) -> Iterator[Log]:
    """Provide ``log(step, scalars)`` during a training. It never blocks and never raises: a failure is one warning.

    ``fingerprint`` identifies the training: resuming it continues the same run, which publish adopts. SIGTERM, interrupts and
    the exceptions in ``killed`` end the run as KILLED; any other exception as FAILED.
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
    """Background writer: a queue, and the only thread that imports MLflow and sends points."""

    def __init__(self, workspace: Workspace, run: str, fingerprint: str):
        self.workspace, self.run, self.fingerprint = workspace, run, fingerprint
        self.queue: queue.SimpleQueue[dict[Point, float] | None] = queue.SimpleQueue()
        self.closing = threading.Event()
        self.status = "FAILED"
        self.last: dict[str, Any] | None = None
        self.thread = threading.Thread(target=self._work, name="live curves", daemon=True)
        self.thread.start()

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Queue the scalars at ``step``."""
        point = {metric_name(name): float(value) for name, value in scalars.items()}
        self.last = {"step": step, "point": point}
        if self.thread.is_alive():
            self.queue.put({(name, step): value for name, value in point.items()})

    def close(self, status: str) -> None:
        """Flush the queue within a time limit, and note which training ended here."""
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
        """Yield the points that were queued since the last request, until the end."""
        items: list[dict[Point, float] | None] = []
        while None not in items:
            items = [self.queue.get()]
            self.closing.wait(PAUSE)
            while not self.queue.empty():
                items.append(self.queue.get())
            yield {point: value for points in items if points for point, value in points.items()}


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into SystemExit if it has no handler: the default ends the process before the run can be closed.

    A handler that was set inside stays: a stopped loop ignores further signals.
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
