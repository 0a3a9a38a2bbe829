"""One DVC stage as one Prefect task."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from components.record.published import published
from flows.budget import Cores, Devices, available_cores, visible_devices
from flows.environment import for_children
from flows.plan import Planned
from flows.processes import Ended, Log, Processes
from flows.project import Project

ON_DEVICE = ("train", "export", "evaluate")
BUSY_DELAYS = [2.0, 5.0, 15.0, 30.0, 60.0]  # seconds before each new try while someone else's DVC holds a stage's files
BUSY = ("is busy, it is being blocked by", "Unable to acquire lock")  # dvc/rwlock.py, dvc/lock.py of 3.67.1
HINTS = (
    "To track the changes",
    "git add ",
    "To enable auto",
    "dvc config ",
    "Use `dvc push`",
    "Updating lock",
    "Data and pipe",
)
OUTCOMES = {"is cached - skipping run": "restored", "didn't change, skipping": "unchanged"}  # else the command ran


class StageFailed(Exception):
    """A stage's or a publication's command failed or ran out of time; ``tail``: its last lines."""

    def __init__(self, message: str, tail: tuple[str, ...]) -> None:
        super().__init__(message)
        self.tail = tail


class StageBusy(Exception):
    """Another DVC process holds files of the stage: worth another try."""


@dataclass(frozen=True)
class Outcome:
    """``status``: "ran", "restored" (from DVC's run cache), "unchanged" (its inputs turned out the same) or "published"."""

    status: str
    seconds: float


@dataclass
class Crew:
    """What the tasks of one flow run share; ``timeout``: seconds a stage may take."""

    project: Project
    timeout: float
    processes: Processes = field(default_factory=Processes)
    cores: Cores = field(default_factory=lambda: Cores(available_cores()))
    devices: Devices = field(default_factory=lambda: Devices(visible_devices()))
    limit: str | None = None  # name of the server's concurrency limit on devices, if there is one


def is_busy(task: Any, run: Any, state: Any) -> bool:
    """Prefect's retry condition (the parameters are passed by position): only a stage that others hold is tried again."""
    return isinstance(state.result(raise_on_failure=False), StageBusy)


@task(
    name="stage",
    task_run_name="{stage.name}",
    cache_policy=NO_CACHE,
    retries=len(BUSY_DELAYS),
    retry_delay_seconds=BUSY_DELAYS,
    retry_condition_fn=is_busy,
)
def run_task(stage: Planned, crew: Crew) -> Outcome:
    """The stage, its lines in the run's log."""
    return run_stage(stage, crew, get_run_logger().info)


@task(name="publish", task_run_name="publish@{run}", cache_policy=NO_CACHE)
def publish_task(run: str, crew: Crew) -> Outcome:
    """The publication of a run, its lines in the run's log."""
    return publish(run, crew, get_run_logger().info)


def run_stage(stage: Planned, crew: Crew, log: Log) -> Outcome:
    """Let DVC run the one stage, within the budget. StageFailed if it fails, StageBusy if another DVC is at its files.

    DVC takes its lock once more when the command has ended, and waits for it (``--wait-for-lock``). Should a finished training
    nevertheless go unrecorded, ``dvc commit -f <stage>`` records it by hand; otherwise the next run resumes its checkpoint.
    """
    if stage.force and stage.kind == "train":
        # A forced training would find itself finished and train no step.
        shutil.rmtree(crew.project.workspace.checkpoints(stage.block), ignore_errors=True)
    force = ["-f"] if stage.force else []
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", *force, "-s", stage.name]
    with _place(stage, crew) as device:
        ended = _run(command, crew, _without_hints(log), device)
    if ended.code and any(message in line for line in ended.tail for message in BUSY):
        raise StageBusy("another DVC process holds its files")
    _raise_if_failed(ended, crew.timeout)
    told = "\n".join(line for line in ended.tail if line.startswith(f"Stage '{stage.name}'"))
    return Outcome(next((status for message, status in OUTCOMES.items() if message in told), "ran"), ended.seconds)


def publish(run: str, crew: Crew, log: Log) -> Outcome:
    """Record the run in MLflow by its own stage's command, strictly; nothing to do where the evaluate stage has done it."""
    if published(crew.project.workspace, run):
        return Outcome("published", 0.0)
    with crew.cores.take(1):
        ended = _run([sys.executable, "-m", "components.evaluate", run, "--publish"], crew, log, {})
    _raise_if_failed(ended, crew.timeout)
    return Outcome("published", ended.seconds)


def _run(command: list[str], crew: Crew, log: Log, device: dict[str, str]) -> Ended:
    env = for_children(crew.project, **device)
    return crew.processes.run(command, folder=crew.project.folder, env=env, log=log, timeout=crew.timeout)


def _raise_if_failed(ended: Ended, timeout: float) -> None:
    if ended.timed_out:
        raise StageFailed(f"ran past {timeout:g} s (pipeline.stage_timeout)", ended.tail)
    if ended.code:
        raise StageFailed(f"exit code {ended.code} after {ended.seconds:.1f} s", ended.tail)


def _without_hints(log: Log) -> Callable[[str], None]:
    def show(line: str) -> None:
        if not line.strip().startswith(HINTS):
            log(line)

    return show


@contextmanager
def _place(stage: Planned, crew: Crew) -> Iterator[dict[str, str]]:
    """Wait for a device, if there are any and the stage uses one, then for cores; what the stage is told of the device."""
    if stage.kind not in ON_DEVICE or not crew.devices.number:
        with crew.cores.take(_threads(stage, crew.project)):
            yield {}
        return
    with crew.devices.take() as index, _server_limit(crew.limit), crew.cores.take(_threads(stage, crew.project)):
        # One device needs no name; among several the stage is told which one is its own.
        named = crew.devices.number > 1 and "DARKROOM_DEVICE" not in os.environ
        yield {"DARKROOM_DEVICE": f"cuda:{index}"} if named else {}


@contextmanager
def _server_limit(name: str | None) -> Iterator[None]:
    """Hold a slot of the server's limit, by which flows on one machine see each other; the file lock of the device decides."""
    if name is None:
        yield
        return
    from prefect.concurrency.sync import concurrency

    # A failed renewal must not end a training (prefect#18893); strict, since a missing limit would be passed over in silence.
    with concurrency(name, occupy=1, strict=True, raise_on_lease_renewal_failure=False):
        yield


def _threads(stage: Planned, project: Project) -> int:
    """CPU cores that the stage keeps busy: ``runs.<run>.train.threads`` for a training, else 1."""
    if stage.kind != "train":
        return 1
    threads = project.workspace.params.runs[stage.block].train.get("threads", 1)
    return threads if isinstance(threads, int) else 1
