"""``compare``: two versions of one run, or of two runs with the same pictures, side by side."""

from __future__ import annotations

import argparse
import sys

from components.core.config.strict import SettingsError, must_exist
from components.versions import check_versions
from flows.cli.arguments import add_place, project_of
from flows.processes import Processes
from flows.project import for_children


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    words = (
        "a run, or one of its versions by number or alias, e.g. vit_digits:3 or vit_digits:champion (default: the candidate)"
    )
    parser.add_argument("first", metavar="RUN[:VERSION]", help=words)
    parser.add_argument("second", metavar="RUN[:VERSION]", help="the same; differences are second - first")
    add_place(parser)


def compare(args: argparse.Namespace) -> int:
    """Compare two versions on today's evaluation pictures: metrics with paired intervals, and which pictures flip.

    Prints a table and writes a page to .work/reports. Each version is scored by its own shipped code, in a process of its own.
    Exit code 1: a version does not load or cannot be scored.
    """
    project = project_of(args)
    for text in (args.first, args.second):
        must_exist(text.partition(":")[0], project.params.runs, "RUN")
    if args.first == args.second:
        raise SettingsError(f"RUN[:VERSION]: {args.first!r} is given twice; name two versions, e.g. {args.first}:1")
    check_versions(project.root)
    command = [sys.executable, "-m", "components.registry.reports", args.first, args.second]
    timeout = project.params.pipeline.stage_timeout
    ended = Processes().run(command, folder=project.folder, env=for_children(project), log=_say, timeout=timeout)
    return ended.code


def _say(line: str) -> None:
    print(line, flush=True)
