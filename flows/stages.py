"""One DVC stage as one Prefect task."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, cast

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from components.core.settings import StageKind
from components.registry.record.published import published
from flows.budget import Cores, Devices, available_cores, visible_devices
from flows.environment import for_children
from flows.plan import Planned
from flows.processes import Ended, Log, Processes
from flows.project import Project
from flows.share import Share
from flows.tries import JITTER, MOST_LOST, Limit, Lost, StageFailed, delays, failure, memory_kills, worth_another_try

P = ParamSpec("P")
DVC = Path(__file__).with_name("dvc_entries.py")
ON_DEVICE = ("train", "detect", "export", "evaluate", "ood")
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


@dataclass(frozen=True)
class Outcome:
    """``status``: "ran", "restored" (from DVC's run cache), "unchanged" (its inputs turned out the same), "published" or
    "shared"."""

    status: str
    seconds: float


@dataclass
class Crew:
    """What the tasks of one flow run share; ``timeout``: seconds a stage may take, where its kind has none of its own.

    ``lost``: how often a stage of this name was killed by others; ``cleared``: forced trainings that begin anew.
    """

    project: Project
    timeout: float
    processes: Processes = field(default_factory=Processes)
    cores: Cores = field(default_factory=lambda: Cores(available_cores()))
    devices: Devices = field(default_factory=lambda: Devices(visible_devices()))
    limit: str | None = None  # name of the server's concurrency limit on devices, if there is one
    share: Share | None = None  # the remote by which clones share results, if there is one
    lost: Counter[str] = field(default_factory=Counter)
    cleared: set[str] = field(default_factory=set)

    def limit_of(self, kind: StageKind) -> Limit:
        """How long a stage of this kind may take."""
        own = self.project.params.pipeline.stage_timeouts
        return Limit(own[kind], f"pipeline.stage_timeouts.{kind}") if kind in own else Limit(self.timeout)


def patient(tried: Task[P, Outcome], crew: Crew) -> Task[P, Outcome]:
    """The task with the tries that the project's settings allow it. A failure that cannot pass ends it at once."""
    pipeline = crew.project.params.pipeline
    return tried.with_options(
        retries=pipeline.retries + 1,  # the condition counts too: when Prefect itself has no try left, it logs a traceback
        retry_delay_seconds=delays(pipeline.retry_delay, pipeline.retries + 1),
        retry_jitter_factor=JITTER,
        retry_condition_fn=worth_another_try(pipeline.retries),
    )


@task(name="stage", task_run_name="{stage.name}", cache_policy=NO_CACHE)
def run_task(stage: Planned, crew: Crew) -> Outcome:
    """The stage, its lines in the run's log."""
    return run_stage(stage, crew, get_run_logger().info)


@task(name="publish", task_run_name="publish@{run}", cache_policy=NO_CACHE)
def publish_task(run: str, crew: Crew) -> Outcome:
    """The publication of a run, its lines in the run's log."""
    return publish(run, crew, get_run_logger().info)


@task(name="share", task_run_name="share@{stage}", cache_policy=NO_CACHE)
def share_task(stage: str, crew: Crew) -> Outcome:
    """The push of one stage's results to the remote that clones share."""
    assert crew.share is not None
    return Outcome("shared", crew.share.push(stage, get_run_logger().info))


def run_stage(stage: Planned, crew: Crew, log: Log) -> Outcome:
    """Let DVC run the one stage, within the budget. StageFailed if it fails, MayPass if another try may help.

    DVC takes its lock once more when the command has ended, and waits for it (``--wait-for-lock``). Should a finished training
    nevertheless go unrecorded, ``dvc commit -f <stage>`` records it by hand; otherwise the next run resumes its checkpoint.
    """
    if stage.force and stage.kind == "train" and stage.name not in crew.cleared:
        # A forced training would find itself finished and train no step. A further try goes on where the last one was killed.
        crew.cleared.add(stage.name)
        shutil.rmtree(crew.project.workspace.checkpoints(stage.block), ignore_errors=True)
    if crew.share and not stage.force:
        crew.share.pull(stage.name, log)
    force = ["-f"] if stage.force else []
    command = [sys.executable, "-P", str(DVC), "--wait-for-lock", "repro", *force, "-s", stage.name]
    with _place(stage, crew) as device:
        ended = _run(command, stage.name, crew, _without_hints(log), device)
    told = "\n".join(line for line in ended.tail if line.startswith(f"Stage '{stage.name}'"))
    return Outcome(next((status for message, status in OUTCOMES.items() if message in told), "ran"), ended.seconds)


def publish(run: str, crew: Crew, log: Log) -> Outcome:
    """Record the run in MLflow by its own stage's command, strictly; nothing to do where the evaluate stage has done it."""
    if published(crew.project.workspace, run):
        return Outcome("published", 0.0)
    with crew.cores.take(1):
        ended = _run([sys.executable, "-m", "components", "publish", run], f"publish@{run}", crew, log, {})
    return Outcome("published", ended.seconds)


def _run(command: list[str], name: str, crew: Crew, log: Log, device: dict[str, str]) -> Ended:
    """Run a stage's command; StageFailed or MayPass if it fails."""
    limit, before = crew.limit_of(cast(StageKind, name.partition("@")[0])), memory_kills()
    env = for_children(crew.project, **device)
    ended = crew.processes.run(command, folder=crew.project.folder, env=env, log=log, timeout=limit.seconds)
    after = memory_kills()
    found = failure(ended, limit, -1 if before is None or after is None else after - before)
    if isinstance(found, Lost):
        crew.lost[name] += 1
        if crew.lost[name] > MOST_LOST:
            raise StageFailed(f"{found} (the last of {crew.lost[name]} times)", found.tail)
    if found:
        raise found
    return ended


def _without_hints(log: Log) -> Callable[[str], None]:
    def show(line: str) -> None:
        if not line.strip().startswith(HINTS):
            log(line)

    return show


@contextmanager
def _place(stage: Planned, crew: Crew) -> Iterator[dict[str, str]]:
    """Wait for a device, if there are any and the stage uses one, then for cores; what the stage is told of the device."""
    processes, cores = _processes(stage, crew.project), _cores(stage, crew.project)
    if stage.kind not in ON_DEVICE or not crew.devices.number:
        with crew.cores.take(cores):
            yield {}
        return
    with crew.devices.take(processes) as indices, _server_limit(crew.limit, len(indices)), crew.cores.take(cores):
        # One device needs no name; among several the stage is told which are its own.
        named = crew.devices.number > 1 and "DARKROOM_DEVICE" not in os.environ
        yield {"DARKROOM_DEVICE": ",".join(f"cuda:{index}" for index in indices)} if named else {}


@contextmanager
def _server_limit(name: str | None, devices: int) -> Iterator[None]:
    """Hold slots of the server's limit, by which flows on one machine see each other; the devices' file locks decide."""
    if name is None:
        yield
        return
    from prefect.concurrency.sync import concurrency

    # A failed renewal must not end a training (prefect#18893); strict, since a missing limit would be passed over in silence.
    with concurrency(name, occupy=devices, strict=True, raise_on_lease_renewal_failure=False):
        yield


def _cores(stage: Planned, project: Project) -> int:
    """CPU cores that the stage keeps busy: the threads of all processes for a training, else 1."""
    return _processes(stage, project) * _of_training("threads", stage, project)


def _processes(stage: Planned, project: Project) -> int:
    """Processes of the stage, each with a device of its own where there are any: a training may have several."""
    return _of_training("processes", stage, project)


def _of_training(key: str, stage: Planned, project: Project) -> int:
    """``runs.<run>.train.<key>`` for a training, else 1; whether it is allowed is the stage's to say."""
    if stage.kind != "train":
        return 1
    value = project.workspace.params.runs[stage.block].train.get(key, 1)
    return value if isinstance(value, int) and value > 0 else 1
