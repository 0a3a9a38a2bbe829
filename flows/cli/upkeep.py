"""``doctor`` and ``gc``: repair what killed processes left behind; garbage collection."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from components.core.settings import ROOT
from flows.cli.arguments import add_place, project_of
from flows.project import Project

OLD = 14.0  # days


def gc_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    parser.add_argument(
        "--older-than", metavar="DAYS", type=_days, default=OLD, help=f"minimum age of removed things (default: {OLD:g})"
    )
    parser.add_argument("--project", metavar="FOLDER", type=Path, default=ROOT, help="another clone (default: this one)")
    parser.set_defaults(study=None)


def gc(args: argparse.Namespace) -> int:
    """Remove old checkpoints, MLflow runs and models without a version, and unused entries of DVC's cache.

    Never removes what an alias, a registered version, the workspace, a study or a commit refers to. ``--dry-run`` only lists
    each item with its size and the reason. An interrupted gc leaves everything usable; the next one continues.
    """
    from components.registry.tracking import TrackingUnavailable
    from flows.upkeep.garbage import collect, exclusive_access

    project = project_of(args)
    total, number = 0, 0
    with nullcontext() if args.dry_run else exclusive_access(project):
        try:
            for garbage in collect(project, args.older_than):
                print(f"{_bytes(garbage.size):>9}  {garbage.what}: {garbage.why}", flush=True)
                if not args.dry_run:
                    garbage.remove()
                total, number = total + garbage.size, number + 1
        except TrackingUnavailable as error:
            print(f"error: {error}; what its models need is not known, so DVC's cache stays as it is", file=sys.stderr)
            return 1
    print(f"{number} things, {_bytes(total)}, {'would go' if args.dry_run else 'removed'}")
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


def doctor_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fix", action="store_true", help="repair the findings")
    text = "try instead what a night run in a container needs: name, folders, /dev/shm, ports, clock, proxy, disk"
    parser.add_argument("--container", action="store_true", help=text)
    add_place(parser)


def doctor(args: argparse.Namespace) -> int:
    """Find what killed processes and other versions left behind; ``--fix`` repairs it.

    Without ``--fix`` nothing is changed. Running flows are never touched.
    Exit code 0: nothing found, or all of it repaired; 1: findings remain.
    """
    from flows.project import set_defaults
    from flows.upkeep.doctor import CHECKS, examine, repair

    set_defaults()
    project = project_of(args)
    if args.container:
        return _container(project)
    findings = examine(project)
    for finding in findings:
        print(f"{finding.what}: {finding.where}")
        if args.fix:
            problem = repair(finding)
            print(f"  repaired: {finding.remedy}" if problem is None else f"  not repaired: {problem}", flush=True)
        else:
            print(f"  {'--fix' if finding.repair else 'by hand'}: {finding.remedy}", flush=True)
    remaining = examine(project) if args.fix and findings else findings
    print(_summary(len(CHECKS), len(findings), len(remaining), args.fix))
    return 1 if remaining else 0


def _container(project: Project) -> int:
    """Print a line per trial; exit code 1 if one failed."""
    from flows.upkeep.container import try_all

    trials = try_all(project)
    for trial in trials:
        print(f"{'ok     ' if trial.fault is None else 'FAILED '}{trial.name}: {trial.fault or trial.what}")
    failed = sum(trial.fault is not None for trial in trials)
    print(f"{len(trials)} trials, {failed} failed")
    return 1 if failed else 0


def _summary(checks: int, findings: int, remaining: int, fixed: bool) -> str:
    if not findings:
        return f"{checks} checks, nothing found"
    if not fixed:
        return f"{checks} checks, {findings} findings; `python -m flows doctor --fix` repairs what says --fix"
    return f"{checks} checks, {findings} findings, {remaining} remain"
