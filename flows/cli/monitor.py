"""``monitor`` and ``notify``: score new images with the champion of each monitored run; show and test the notifications."""

from __future__ import annotations

import argparse
import os
import sys

from components.versions import check_versions
from flows.cli.arguments import add_place, project_of, ready_flow
from flows.pipeline.report import table
from flows.project import Project
from flows.services.notify import check_addresses
from flows.services.watch import ALARM, NOTHING, RETURNED, monitored_runs, watched_runs

DRIFT = 4


def monitor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="*",
        help="runs of params.yaml (default: all of its block monitor, and all with promote.watch)",
    )
    images = "folder of images, or text file with one path per line (default: the block's; needs one RUN)"
    parser.add_argument("--folder", metavar="F", help=images)
    add_place(parser)


def monitor(args: argparse.Namespace) -> int:
    """Watch over new champions (promote.watch); score new images with the champion's detector and test for drift.

    Exit code 4: there is drift, or a champion was taken back.
    """
    project, runs = project_of(args), tuple(args.runs)
    check_versions(project.root)
    check_addresses(project.params)
    folder = os.path.abspath(args.folder) if args.folder else None
    if not monitored_runs(project, runs, folder) and not (folder is None and watched_runs(project, runs)):
        print(NOTHING)
        return 0
    return _start(project, {"runs": list(runs), "folder": folder})


def _start(project: Project, parameters: dict[str, object]) -> int:
    """Run the flow under the user's Prefect server, or a temporary one."""
    flow = ready_flow(project, "flows.services.monitor", "monitor")
    if flow is None:
        return 1
    state = flow(**parameters, study=project.study, project=str(project.root), return_state=True)
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    if not state.is_completed():
        return 1
    return DRIFT if state.name in (ALARM, RETURNED) else 0


def notify_arguments(parser: argparse.ArgumentParser) -> None:
    add_place(parser)
    parser.add_argument("--test", action="store_true", help="send a message to each address")


def notify(args: argparse.Namespace) -> int:
    """Show the receivers of notifications; ``--test`` sends each a message. Exit code 1: one could not be delivered."""
    from flows.services.notify import drift_addresses, failure_addresses, promotion_addresses, send

    params = project_of(args).params
    receivers = [*failure_addresses(params), *promotion_addresses(params), *drift_addresses(params)]
    if not receivers:
        print(_how())
        return 0
    if not args.test:
        print("\n".join(map(str, receivers)))
        return 0
    faults = send(receivers, "a test message", "Failures, promotions or drift will be reported here.")
    print(table([{"address": str(address), "result": fault or "delivered"} for address, fault in faults.items()]))
    return 1 if any(faults.values()) else 0


def _how() -> str:
    lines = [
        "nobody is notified; in params.yaml, for example:",
        "  notify:",
        "    on_failure: ['mailto://user:${MAIL_PASSWORD}@example.org']",
        "    on_promotion: ['slack://${SLACK_TOKENS}/#models']",
        "    on_drift: ['slack://${SLACK_TOKENS}/#data']",
        "addresses: https://github.com/caronc/apprise/wiki; ${NAME} is taken from the environment",
    ]
    return "\n".join(lines)
