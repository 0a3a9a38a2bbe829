"""``monitor``: new images before the champion of each run that is monitored. Exit code 4: they have drifted."""

from __future__ import annotations

import argparse
import os
import sys

from flows.commands.chosen import place, project_of
from flows.commands.starting import ready_flow
from flows.notify import check_addresses
from flows.preflight import check_versions
from flows.project import Project
from flows.watch import ALARM, NOTHING, watched

HELP = "score new images with the champion's detector, tell whether they have drifted"
DRIFT = 4


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows monitor``."""
    parser.add_argument("runs", metavar="RUN", nargs="*", help="runs of params.yaml (default: all of its block monitor)")
    images = "of images, or a text file that lists one path a line (default: the block's; needs one RUN)"
    parser.add_argument("--folder", metavar="F", help=images)
    place(parser)


def main(given: argparse.Namespace) -> int:
    """Run the flow, unless nothing is monitored."""
    project, runs = project_of(given), tuple(given.runs)
    check_versions(project.root)
    check_addresses(project.params)
    folder = os.path.abspath(given.folder) if given.folder else None
    if not watched(project, runs, folder):
        print(NOTHING)
        return 0
    return start(project, {"runs": list(runs), "folder": folder})


def start(project: Project, parameters: dict[str, object]) -> int:
    """Run the flow under the user's Prefect server, or a temporary one."""
    monitor = ready_flow(project, "monitor")
    if monitor is None:
        return 1
    state = monitor(**parameters, study=project.study, project=str(project.root), return_state=True)
    print(state.message, file=sys.stdout if state.is_completed() else sys.stderr)
    if not state.is_completed():
        return 1
    return DRIFT if state.name == ALARM else 0
