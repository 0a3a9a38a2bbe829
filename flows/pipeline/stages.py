"""Prefect tasks: one per DVC stage, publication and push."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, cast

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from components.core.config.params import StageKind
from components.registry.record.published import published
from flows.dvc.entries import PROGRAM
from flows.dvc.sharing import Share
from flows.pipeline.budget import Cores, Devices, available_cores, visible_devices
from flows.pipeline.plan import Planned
from flows.pipeline.retries import JITTER, MAX_KILLS, KilledByOthers, Limit, delays, failure, memory_kills, retry_condition
from flows.processes import Ended, Log, Processes, StageFailed
from flows.project import Project, for_children

P = ParamSpec("P")
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
class StageOutcome:
    """``status``: "ran", "restored" (from DVC's run cache), "unchanged" (its inputs turned out the same), "published" or
    "shared"."""

    status: str
    seconds: float


@dataclass
class RunContext:
    """Shared state of the tasks of one flow run. ``timeout``: seconds, for kinds of stages without their own.

    ``kills``: stage -> number of times it was killed by others; ``restarted``: forced trainings whose checkpoints are removed.
    """

    project: Project
    timeout: float
    processes: Processes = field(default_factory=Processes)
    cores: Cores = field(default_factory=lambda: Cores(available_cores()))
    devices: Devices = field(default_factory=lambda: Devices(visible_devices()))
    limit: str | None = None  # name of the server's concurrency limit on devices, if there is one
    share: Share | None = None  # the remote by which clones share results, if there is one
    kills: Counter[str] = field(default_factory=Counter)
    restarted: set[str] = field(default_factory=set)

    def limit_of(self, kind: StageKind) -> Limit:
        """Return the timeout for a kind of stage."""
        own = self.project.params.pipeline.stage_timeouts
        return Limit(own[kind], f"pipeline.stage_timeouts.{kind}") if kind in own else Limit(self.timeout)


def with_retries(stage_task: Task[P, StageOutcome], context: RunContext) -> Task[P, StageOutcome]:
    """Configure the task's retries from the project's settings. Only transient failures are retried."""
    pipeline = context.project.params.pipeline
    return stage_task.with_options(
        retries=pipeline.retries + 1,  # the condition counts too: Prefect logs a traceback when it has no retry left itself
        retry_delay_seconds=delays(pipeline.retry_delay, pipeline.retries + 1),
        retry_jitter_factor=JITTER,
        retry_condition_fn=retry_condition(pipeline.retries),
    )


@task(name="stage", task_run_name="{stage.name}", cache_policy=NO_CACHE)
def run_task(stage: Planned, context: RunContext) -> StageOutcome:
    """Run the stage; its output goes to the run's log."""
    return run_stage(stage, context, get_run_logger().info)


@task(name="publish", task_run_name="publish@{run}", cache_policy=NO_CACHE)
def publish_task(run: str, context: RunContext) -> StageOutcome:
    """Publish a run; the output goes to the run's log."""
    return publish(run, context, get_run_logger().info)


@task(name="share", task_run_name="share@{stage}", cache_policy=NO_CACHE)
def share_task(stage: str, context: RunContext) -> StageOutcome:
    """Push one stage's results to the shared remote."""
    assert context.share is not None
    return StageOutcome("shared", context.share.push(stage, get_run_logger().info))


def run_stage(stage: Planned, context: RunContext, log: Log) -> StageOutcome:
    """Let DVC run one stage within the budget. StageFailed if it fails, TransientFailure if a retry may help.

    When the command has ended, DVC waits for its lock again (``--wait-for-lock``). If a finished training is not recorded
    nevertheless, ``dvc commit -f <stage>`` records it; otherwise the next run resumes its checkpoint.
    """
    if stage.force and stage.kind == "train" and stage.name not in context.restarted:
        # With its old checkpoint a forced training would do no step. Only once: a retry resumes the killed attempt.
        context.restarted.add(stage.name)
        shutil.rmtree(context.project.workspace.checkpoints(stage.block), ignore_errors=True)
    if context.share and not stage.force:
        context.share.pull(stage.name, log)
    force = ["-f"] if stage.force else []
    command = [sys.executable, "-P", str(PROGRAM), "--wait-for-lock", "repro", *force, "-s", stage.name]
    with _resources(stage, context) as device:
        ended = _run(command, stage.name, context, _without_hints(log), device)
    messages = "\n".join(line for line in ended.tail if line.startswith(f"Stage '{stage.name}'"))
    return StageOutcome(next((status for message, status in OUTCOMES.items() if message in messages), "ran"), ended.seconds)


def publish(run: str, context: RunContext, log: Log) -> StageOutcome:
    """Publish the run by its command, in strict mode, unless the evaluate stage has done so."""
    if published(context.project.workspace, run):
        return StageOutcome("published", 0.0)
    with context.cores.take(1):
        ended = _run([sys.executable, "-m", "components", "publish", run], f"publish@{run}", context, log, {})
    return StageOutcome("published", ended.seconds)


def _run(command: list[str], name: str, context: RunContext, log: Log, device: dict[str, str]) -> Ended:
    """Run a stage's command; StageFailed or TransientFailure if it fails."""
    limit, before = context.limit_of(cast(StageKind, name.partition("@")[0])), memory_kills()
    env = for_children(context.project, **device)
    ended = context.processes.run(command, folder=context.project.folder, env=env, log=log, timeout=limit.seconds)
    after = memory_kills()
    error = failure(ended, limit, -1 if before is None or after is None else after - before)
    if isinstance(error, KilledByOthers):
        context.kills[name] += 1
        if context.kills[name] > MAX_KILLS:
            raise StageFailed(f"{error} (the last of {context.kills[name]} times)", error.tail)
    if error:
        raise error
    return ended


def _without_hints(log: Log) -> Callable[[str], None]:
    def show(line: str) -> None:
        if not line.strip().startswith(HINTS):
            log(line)

    return show


@contextmanager
def _resources(stage: Planned, context: RunContext) -> Iterator[dict[str, str]]:
    """Wait for devices, if the stage uses any, then for cores; yield the environment variables that name the devices."""
    processes, cores = _processes(stage, context.project), _cores(stage, context.project)
    if stage.kind not in ON_DEVICE or not context.devices.number:
        with context.cores.take(cores):
            yield {}
        return
    with context.devices.take(processes) as indices, _server_limit(context.limit, len(indices)), context.cores.take(cores):
        # Only needed if there are several devices.
        is_named = context.devices.number > 1 and "DARKROOM_DEVICE" not in os.environ
        yield {"DARKROOM_DEVICE": ",".join(f"cuda:{index}" for index in indices)} if is_named else {}


@contextmanager
def _server_limit(name: str | None, devices: int) -> Iterator[None]:
    """Hold slots of the server's limit, shared by the flows of this machine; the devices' file locks are authoritative."""
    if name is None:
        yield
        return
    from prefect.concurrency.sync import concurrency

    # A failed renewal must not end a training (prefect#18893); strict: fail if the limit is missing.
    with concurrency(name, occupy=devices, strict=True, raise_on_lease_renewal_failure=False):
        yield


def _cores(stage: Planned, project: Project) -> int:
    """Return the CPU cores that the stage uses: the threads of all processes for a training, else 1."""
    return _processes(stage, project) * _train_setting("threads", stage, project)


def _processes(stage: Planned, project: Project) -> int:
    """Return the number of processes of the stage, each with its own device: a training may have several."""
    return _train_setting("processes", stage, project)


def _train_setting(key: str, stage: Planned, project: Project) -> int:
    """Return ``runs.<run>.train.<key>`` for a training, else 1; the stage itself validates it."""
    if stage.kind != "train":
        return 1
    value = project.workspace.params.runs[stage.block].train.get(key, 1)
    return value if isinstance(value, int) and value > 0 else 1
