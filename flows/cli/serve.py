"""``serve`` and ``worker``: long-lived processes that execute the flow runs of a Prefect server in this clone."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from pathlib import Path

from components.core.config.strict import SettingsError
from components.versions import check_versions
from flows.project import Project, for_children, set_defaults
from flows.services.notify import check_addresses
from flows.services.running import running
from flows.settings import monitors, schedules, servers

CLONE = "DARKROOM_CLONE"  # read by the pull step of prefect.yaml
POLL = {"PREFECT_WORKER_QUERY_SECONDS": "5"}  # seconds between two questions for work


def serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ready", type=int, metavar="N", help="file descriptor that gets a line once all is registered")


def serve(args: argparse.Namespace) -> int:
    """Register the deployments with the Prefect server and run what is due, until stopped. ``up`` does this."""
    project = Project()
    check(project)
    up = running()
    api = os.environ.get("PREFECT_API_URL") or (up.prefect_api if up else None)
    if api is None:
        print("error: no Prefect server: start one with `make up`, or name one in PREFECT_API_URL", file=sys.stderr)
        return 2
    os.environ["PREFECT_API_URL"] = api
    set_defaults()
    from flows.services import deployments

    deployments.serve(project, args.ready)
    return 0


def check(project: Project) -> None:
    """Check the blocks ``schedules``, ``servers``, ``notify`` and ``monitor``; SettingsError names the fault."""
    servers(project.params)
    check_addresses(project.params)
    monitors(project.params)
    settings = schedules(project.params)
    set_defaults()
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # Prefect warns where it cannot make it
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    for key in ("pipeline", "monitor"):
        cron = getattr(settings, key)
        try:
            _ = cron and CronSchedule(cron=cron, timezone=settings.time_zone)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise SettingsError(f"schedules.{key}: {cron!r} is no cron string: {reason}") from None


def worker_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pool", metavar="NAME", default="darkroom", help="work pool, created if missing (default: darkroom)")
    parser.add_argument("--name", metavar="NAME", default=socket.gethostname(), help="worker's name (default: host name)")


def worker(args: argparse.Namespace) -> int:
    """Execute the pipeline runs of a Prefect work pool in this clone, one at a time, until stopped.

    Addresses come from the environment: PREFECT_API_URL is required; results are published to MLFLOW_TRACKING_URI. Workers
    share their results through the DVC remote ``pipeline.remote`` of params.yaml.
    """
    project = Project()
    check_versions(project.root)
    if not os.environ.get("PREFECT_API_URL"):
        raise SettingsError("PREFECT_API_URL: not set; a worker needs the server's address, as in http://10.0.0.1:4200/api")
    for line in warnings(project):
        print(f"warning: {line}", file=sys.stderr)
    set_defaults()
    end_dead_runs(project)
    # One at a time: a second pipeline run in the same clone would be cancelled.
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--limit", "1"]
    command += ["--pool", args.pool, "--name", args.name]
    env = for_children(project, **{CLONE: str(project.root)})
    os.chdir(project.root)
    # Prefect's worker turns SIGTERM into SIGINT, which background jobs of a shell ignore by default.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(command[0], command, POLL | env)  # noqa: S606


def warnings(project: Project) -> list[str]:
    """Return a warning for each setting that keeps the worker's results on this machine."""
    lines = []
    if not project.params.pipeline.remote:
        lines.append("pipeline.remote is not set: what this clone makes stays in this clone")
    if not os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        lines.append("MLFLOW_TRACKING_URI is no http address: results are published on this machine only")
    return lines


def end_dead_runs(project: Project) -> None:
    """Set runs of earlier workers of this clone that are RUNNING without a process to Crashed."""
    from flows.upkeep.doctor import CHECKS, examine, repair

    for finding in examine(project, {"flow runs": CHECKS["flow runs"]}):
        problem = repair(finding)
        print(f"{finding.what}: {finding.where}; {f'not repaired: {problem}' if problem else finding.remedy}", file=sys.stderr)
