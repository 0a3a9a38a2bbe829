"""``up``: start the servers, the deployments and the scoring servers, and show their addresses."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from components.core.config.strict import parse
from components.core.files import identity
from flows.cli.serve import check
from flows.pipeline.report import Row, table
from flows.project import STARTED_BY, Project, for_children
from flows.services.definitions import LOOPBACK, addresses
from flows.services.running import ServersState, describe_scoring, log_file, read_state, running, settings_in_force
from flows.settings import Schedules, Servers, servers

PATIENCE = 300.0  # seconds until everything should answer; a first start on a busy machine takes 40


def up_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--foreground", action="store_true", help="run in the foreground, until Ctrl-C or SIGTERM")


def up(args: argparse.Namespace) -> int:
    """Start Prefect's and MLflow's servers, the deployments with their schedules, and the scoring servers.

    A background process keeps them running until ``down``; with ``--foreground`` this process does, for systemd or a container.
    If PREFECT_API_URL or MLFLOW_TRACKING_URI is set, that server is used instead. Logs: .work/logs/.
    """
    project = Project()
    if (up := running()) is not None:
        print(f"up already (process {up.supervisor.split(':')[1]})")
        show()
        warn_of_changes(project)
        return 0
    check(project)
    settings = servers(project.params)
    for line in remarks(settings):
        print(line, file=sys.stderr)
    return foreground(project, settings) if args.foreground else background(project)


def remarks(settings: Servers) -> list[str]:
    """Return the warnings to show before the start."""
    at, lines = addresses(settings), []
    if not at.own_prefect:
        lines.append(f"PREFECT_API_URL is set: no Prefect server is started, {at.prefect_api} is used")
    if not at.own_mlflow:
        lines.append("MLFLOW_TRACKING_URI is set: no MLflow server is started, that one is used")
    if settings.host not in LOOPBACK:
        open_to = f"warning: servers.host is {settings.host}: whoever reaches this machine"
        lines.append(f"{open_to} can use the servers, which ask for no password")
    return lines


def foreground(project: Project, settings: Servers) -> int:
    """Supervise in this process."""
    from flows.services.child import ServiceFailed
    from flows.services.supervisor import AlreadyUp, supervise, to_stderr

    to_stderr()
    try:
        supervise(project, settings)
    except AlreadyUp:
        print("another up is at work here; nothing was started", file=sys.stderr)
        return 3
    except ServiceFailed as error:
        print(f"error: {error}\n{error.tail}", file=sys.stderr)
        return 1
    except SystemExit:  # stopped on request
        return 0
    return 0


def background(project: Project) -> int:
    """Start a supervisor in the background, wait until all servers answer, show their addresses."""
    env = for_children(project)
    del env[STARTED_BY]  # the supervisor outlives this process
    log = log_file("up")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "up", "--foreground"],
            cwd=project.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        is_ready = wait_until_ready(process)
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if is_ready:
        show()
        return 0
    with log.open("rb") as output_of_up:
        output_of_up.seek(begin)
        print(output_of_up.read().decode(errors="replace").strip(), file=sys.stderr)
    return process.returncode or 1


def wait_until_ready(process: subprocess.Popen[bytes]) -> bool:
    """Wait until all servers answer; return False if the supervisor has ended."""
    me, deadline = identity(process.pid), time.monotonic() + PATIENCE
    while process.poll() is None:
        state = read_state()
        if state and state.ready and state.supervisor == me:
            return True
        if time.monotonic() > deadline:
            print(f"not all servers have answered within {PATIENCE:g} s; they are stopped again", file=sys.stderr)
            process.terminate()
            process.wait()
        time.sleep(0.1)
    return False


def warn_of_changes(project: Project) -> None:
    """Warn of blocks of params.yaml that have changed since the start."""
    state = read_state()
    for block, now in settings_in_force(project).items():
        if state and state.settings.get(block) != now:
            print(f"warning: {block} in params.yaml has changed since; `make down up` applies it", file=sys.stderr)


def show() -> None:
    """Print the addresses and the schedules as tables."""
    state = read_state()
    assert state is not None
    print(table(rows(state)), "", table(plan(state)), "", f"logs: {log_file('up').parent}    end: make down", sep="\n")


def rows(state: ServersState) -> list[Row]:
    """Return one row per server."""
    table_rows = [
        {"server": "Prefect", "address": state.prefect_api.removesuffix("/api"), "what": "flow runs, schedules, forms"},
        {"server": "MLflow", "address": state.mlflow_uri, "what": "training runs, models"},
    ]
    for name, scored in state.scoring.items():
        answer = describe_scoring(scored).partition(" ")[2]
        table_rows.append({"server": f"scoring {name}", "address": scored.url, "what": answer})
    return table_rows


def plan(state: ServersState) -> list[Row]:
    """Return one row per deployment."""
    from flows.services.deployments import NAME, served

    settings = parse(Schedules, state.settings.get("schedules", {}), "schedules")
    return [
        {"deployment": f"{flow}/{NAME}", "when": f"{cron} ({settings.time_zone})" if cron else "on request"}
        for flow, cron in served(settings).items()
    ]
