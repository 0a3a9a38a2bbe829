"""``compare``: two versions of one run, or of two runs with the same pictures, side by side; or the steps of a ladder."""

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
        "two or more; a run, or one of its versions by number or alias, e.g. vit_digits:3 or vit_digits:champion (default of "
        "two: the candidate; of more: the export in outputs/)"
    )
    parser.add_argument("runs", metavar="RUN[:VERSION]", nargs="+", help=words)
    parser.add_argument("--metric", help="of three or more: the metric of the table (default: the first of the first run)")
    add_place(parser)


def compare(args: argparse.Namespace) -> int:
    """Compare two versions on today's evaluation pictures: metrics with paired intervals, and which pictures flip.

    Of three or more models, each a step up from the one before (a ladder): one metric of each, its difference to the step
    before with a paired interval, milliseconds of one picture on one thread and megabytes, all measured together.

    Prints a table and writes a page to .work/reports. Each version is scored by its own shipped code, in a process of its own.
    Exit code 1: a version does not load or cannot be scored.
    """
    project = project_of(args)
    for text in args.runs:
        must_exist(text.partition(":")[0], project.params.runs, "RUN")
    if len(args.runs) < 2:
        raise SettingsError(f"RUN[:VERSION]: {args.runs[0]!r} alone; name two or more")
    if twice := [text for text in dict.fromkeys(args.runs) if args.runs.count(text) > 1]:
        raise SettingsError(f"RUN[:VERSION]: {twice[0]!r} is given twice; name two versions, e.g. {twice[0]}:1")
    if args.metric and len(args.runs) == 2:
        raise SettingsError("--metric: two versions are compared by all metrics; it is for three or more")
    check_versions(project.root)
    metric = ["--metric", args.metric] if args.metric else []
    command = [sys.executable, "-m", "components.registry.reports", *args.runs, *metric]
    timeout = project.params.pipeline.stage_timeout
    ended = Processes().run(command, folder=project.folder, env=for_children(project), log=_say, timeout=timeout)
    return ended.code


def _say(line: str) -> None:
    print(line, flush=True)
