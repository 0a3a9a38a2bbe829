"""``gc``: removes what nobody needs any more: old checkpoints, MLflow runs and models without a version, unused DVC cache.

Never what an alias, a registered version, the workspace, a study or a commit needs. ``--dry-run`` lists each thing with its
size and the reason, and changes nothing. An interrupted gc leaves everything usable; the next one goes on.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from components.core.settings import ROOT
from flows.commands.chosen import project_of

HELP = "remove old checkpoints, unreferenced MLflow runs, unused DVC cache"
OLD = 14.0  # days


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows gc``."""
    parser.add_argument("--dry-run", action="store_true", help="only list what would go")
    parser.add_argument(
        "--older-than", metavar="DAYS", type=_days, default=OLD, help=f"what is younger stays (default: {OLD:g})"
    )
    parser.add_argument("--project", metavar="FOLDER", type=Path, default=ROOT, help="another clone (default: this one)")
    parser.set_defaults(study=None)


def main(given: argparse.Namespace) -> int:
    """List, and without ``--dry-run`` remove."""
    from components.registry.tracking import TrackingUnavailable
    from flows.gc.collect import collect, nobody_at_work

    project = project_of(given)
    total, number = 0, 0
    with nullcontext() if given.dry_run else nobody_at_work(project):
        try:
            for waste in collect(project, given.older_than):
                print(f"{_bytes(waste.size):>9}  {waste.what}: {waste.why}", flush=True)
                if not given.dry_run:
                    waste.remove()
                total, number = total + waste.size, number + 1
        except TrackingUnavailable as error:
            print(f"error: {error}; what its models need is not known, so DVC's cache stays as it is", file=sys.stderr)
            return 1
    print(f"{number} things, {_bytes(total)}, {'would go' if given.dry_run else 'removed'}")
    return 0


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days < float("inf"):
        raise ValueError
    return days


def _bytes(number: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError
