"""``doctor``: what killed processes and other versions left behind; ``--fix`` mends it.

Without ``--fix`` it changes nothing. A living run is never touched.
Exit code 0: nothing found, or all of it mended; 1: findings remain.
"""

from __future__ import annotations

import argparse

from flows.commands.chosen import place, project_of

HELP = "find, and with --fix mend, what killed processes left behind"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows doctor``."""
    parser.add_argument("--fix", action="store_true", help="mend what can be mended")
    place(parser)


def main(given: argparse.Namespace) -> int:
    """Examine; with ``--fix`` mend and examine once more."""
    from flows.doctor.examine import CHECKS, examine, mend
    from flows.environment import set_defaults

    set_defaults()
    project = project_of(given)
    findings = examine(project)
    for finding in findings:
        print(f"{finding.what}: {finding.where}")
        if given.fix:
            problem = mend(finding)
            print(f"  mended: {finding.remedy}" if problem is None else f"  not mended: {problem}", flush=True)
        else:
            print(f"  {'--fix' if finding.mend else 'by hand'}: {finding.remedy}", flush=True)
    remaining = examine(project) if given.fix and findings else findings
    print(_summary(len(CHECKS), len(findings), len(remaining), given.fix))
    return 1 if remaining else 0


def _summary(checks: int, found: int, remaining: int, fixed: bool) -> str:
    if not found:
        return f"{checks} checks, nothing found"
    if not fixed:
        return f"{checks} checks, {found} findings; `python -m flows doctor --fix` mends what says --fix"
    return f"{checks} checks, {found} findings, {remaining} remain"
