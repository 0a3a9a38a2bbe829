"""The doctor: a list of independent checks. A check that fails is a finding itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flows.project import Project

# In the order of repair: dead processes before the locks they hold. "module:function", imported on use.
CHECKS = {
    "versions": "flows.upkeep.state:versions",
    "merge driver": "flows.upkeep.state:no_merge_driver",
    "databases": "flows.upkeep.state:databases",
    "servers": "flows.upkeep.state:servers",
    "processes": "flows.upkeep.processes:orphans",
    "locks": "flows.upkeep.processes:stale_locks",
    "flow runs": "flows.upkeep.flow_runs:dead_flow_runs",
    "gpu slots": "flows.upkeep.flow_runs:leaked_slots",
    "tracking": "flows.upkeep.tracking:dead_records",
    "state": "flows.upkeep.state:broken_state",
    "checkpoints": "flows.upkeep.state:broken_checkpoints",
    "outputs": "flows.upkeep.results:half_written",
    "lock file": "flows.upkeep.results:cut_off",
    "recorded inputs": "flows.upkeep.results:wrong_inputs",
    "results": "flows.upkeep.results:differing_results",
    "golden pictures": "flows.upkeep.golden:golden_pictures",
}


class RepairFailed(Exception):
    """A finding could not be repaired; the message says why and what to do instead."""


@dataclass(frozen=True)
class Finding:
    """A fault: ``what`` is wrong, ``where``, and the ``remedy``: what ``repair`` does, or the user should do if it is None."""

    what: str
    where: str
    remedy: str
    repair: Callable[[], object] | None = None


Check = Callable[[Project], Iterable[Finding]]


def examine(project: Project, checks: dict[str, str] = CHECKS) -> list[Finding]:
    """Return all findings, in the order of the checks. Read-only."""
    return [finding for name, place in checks.items() for finding in _findings(name, place, project)]


def _findings(name: str, place: str, project: Project) -> list[Finding]:
    try:
        module, _, function = place.partition(":")
        check: Check = getattr(importlib.import_module(module), function)
        return list(check(project))
    except Exception as error:  # run the other checks nevertheless
        reason = " ".join(str(error).split())[:300]
        return [Finding(f"the check of {name} does not work", type(error).__name__, reason or "no reason given")]


def repair(finding: Finding) -> str | None:
    """Repair the finding; return None, or the reason why it failed."""
    if finding.repair is None:
        return f"by hand: {finding.remedy}"
    try:
        finding.repair()
    except Exception as error:  # repair the others nevertheless
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None
