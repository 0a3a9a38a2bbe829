"""``serve``: registers the deployments with the Prefect server and runs what is due, until it is ended. ``up`` does this."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from components.core.strict import SettingsError
from flows.environment import set_defaults
from flows.notify import check_addresses
from flows.project import Project
from flows.running import running
from flows.settings import monitors, schedules, servers

HELP = "run the deployments against a Prefect server (part of up)"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows serve``."""
    parser.add_argument("--ready", type=int, metavar="N", help="file descriptor to be told once all is registered")


def main(given: argparse.Namespace) -> int:
    """Serve; never ends by itself."""
    project = Project()
    check(project)
    up = running()
    api = os.environ.get("PREFECT_API_URL") or (up.prefect_api if up else None)
    if api is None:
        print("error: no Prefect server: start one with `make up`, or name one in PREFECT_API_URL", file=sys.stderr)
        return 2
    os.environ["PREFECT_API_URL"] = api
    set_defaults()
    from flows.serve import serve

    serve(project, given.ready)
    return 0


def check(project: Project) -> None:
    """SettingsError for anything in the blocks ``schedules``, ``servers``, ``notify``, ``monitor`` that cannot be used."""
    servers(project.params)
    check_addresses(project.params)
    monitors(project.params)
    chosen = schedules(project.params)
    set_defaults()
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # Prefect warns where it cannot make it
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    for key in ("pipeline", "monitor"):
        cron = getattr(chosen, key)
        try:
            _ = cron and CronSchedule(cron=cron, timezone=chosen.time_zone)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise SettingsError(f"schedules.{key}: {cron!r} is no cron string: {reason}") from None
