"""``latency``: what exports cost on this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components.core.config.strict import SettingsError, must_exist
from components.versions import check_versions
from flows.cli.arguments import add_place, project_of
from flows.processes import Processes
from flows.project import for_children

MAX_PROCESSES = 20


def latency_arguments(parser: argparse.ArgumentParser) -> None:
    words = (
        "a run's export in outputs/export, or one of its versions by number or alias, e.g. vit_digits:3 or vit_digits:champion"
    )
    parser.add_argument("runs", metavar="RUN[:VERSION]", nargs="+", help=words)
    parser.add_argument("--processes", metavar="N", type=int, default=3, help="fresh processes, one after the other (3)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the figures to this file")
    add_place(parser)


def latency(args: argparse.Namespace) -> int:
    """Measure exports together: milliseconds of one input on one thread, size, weights, multiply-adds.

    The exports take turns, in several processes one after the other. A quantised export is followed by its float graph. If
    other work disturbs the measurement, the table says so.
    """
    project = project_of(args)
    if not 1 <= args.processes <= MAX_PROCESSES:
        raise SettingsError(f"--processes: {args.processes} is not allowed: 1 to {MAX_PROCESSES}")
    for text in args.runs:
        must_exist(text.partition(":")[0], project.params.every_run(), "RUN")
    check_versions(project.root)
    command = [sys.executable, "-m", "components.registry.latency", *dict.fromkeys(args.runs)]
    command += ["--processes", str(args.processes), *(["--json", str(args.json.resolve())] if args.json else [])]
    timeout = project.params.pipeline.stage_timeout
    ended = Processes().run(command, folder=project.folder, env=for_children(project), log=_say, timeout=timeout)
    return ended.code


def _say(line: str) -> None:
    print(line, flush=True)
