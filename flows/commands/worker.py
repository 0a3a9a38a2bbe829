"""``worker``: take pipeline runs of a Prefect work pool and run them in this clone, one at a time, until stopped.

Addresses come from the environment: PREFECT_API_URL is needed; MLFLOW_TRACKING_URI is where results are published. What the
workers make is shared by the DVC remote ``pipeline.remote`` of params.yaml.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys

from components.core.strict import SettingsError
from flows.environment import for_children, set_defaults
from flows.preflight import check_versions
from flows.project import Project

HELP = "take runs from a Prefect work pool and run them in this clone"
CLONE = "DARKROOM_CLONE"  # read by the pull step of prefect.yaml
POLL = {"PREFECT_WORKER_QUERY_SECONDS": "5"}  # seconds between two questions for work


def arguments(parser: argparse.ArgumentParser) -> None:
    """``--pool``, ``--name``."""
    parser.add_argument("--pool", metavar="NAME", default="darkroom", help="the work pool, made if there is none (darkroom)")
    parser.add_argument("--name", metavar="NAME", default=socket.gethostname(), help="the worker's name (default: the host's)")


def main(given: argparse.Namespace) -> int:
    """Become Prefect's worker: this process, so that it is stopped like any other."""
    project = Project()
    check_versions(project.root)
    if not os.environ.get("PREFECT_API_URL"):
        raise SettingsError("PREFECT_API_URL: not set; a worker needs the server's address, as in http://10.0.0.1:4200/api")
    for line in warnings(project):
        print(f"warning: {line}", file=sys.stderr)
    set_defaults()
    end_dead_runs(project)
    # Two pipeline runs in one clone would be in each other's way: the second one is cancelled.
    command = [sys.executable, "-m", "prefect", "worker", "start", "--type", "process", "--limit", "1"]
    command += ["--pool", given.pool, "--name", given.name]
    env = for_children(project, **{CLONE: str(project.root)})
    os.chdir(project.root)
    # Prefect's worker turns SIGTERM into SIGINT, to which a shell's background job is deaf from birth.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execve(command[0], command, POLL | env)  # noqa: S606


def warnings(project: Project) -> list[str]:
    """What makes a worker keep its results to itself."""
    found = []
    if not project.params.pipeline.remote:
        found.append("pipeline.remote is not set: what this clone makes stays in this clone")
    if not os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        found.append("MLFLOW_TRACKING_URI is no http address: results are published on this machine only")
    return found


def end_dead_runs(project: Project) -> None:
    """Tell the server of runs that ended with an earlier worker of this clone: it believes them to be running."""
    from flows.doctor.examine import CHECKS, examine, mend

    for finding in examine(project, {"flow runs": CHECKS["flow runs"]}):
        problem = mend(finding)
        print(f"{finding.what}: {finding.where}; {f'not mended: {problem}' if problem else finding.remedy}", file=sys.stderr)
