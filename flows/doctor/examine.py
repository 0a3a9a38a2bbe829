"""The doctor's checks, one after the other; none depends on another, and a broken one is a finding itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable

from flows.doctor.finding import Finding
from flows.project import Project

Check = Callable[[Project], Iterable[Finding]]

# In the order of mending: who is dead must be gone before what it held is given back. "module:function", imported on use.
CHECKS = {
    "versions": "flows.doctor.installation:versions",
    "databases": "flows.doctor.installation:databases",
    "servers": "flows.doctor.servers:servers",
    "processes": "flows.doctor.processes:orphans",
    "locks": "flows.doctor.locks:stale_locks",
    "flow runs": "flows.doctor.flow_runs:dead_flow_runs",
    "gpu slots": "flows.doctor.slots:leaked_slots",
    "tracking": "flows.doctor.tracking:dead_records",
    "state": "flows.doctor.state:broken_state",
    "checkpoints": "flows.doctor.state:broken_checkpoints",
    "outputs": "flows.doctor.outputs:half_written",
    "lock file": "flows.doctor.lock_file:cut_off",
    "results": "flows.doctor.results:differing_results",
}


def examine(project: Project, checks: dict[str, str] = CHECKS) -> list[Finding]:
    """All findings, in the order of the checks. Changes nothing."""
    return [finding for name, place in checks.items() for finding in _findings(name, place, project)]


def _findings(name: str, place: str, project: Project) -> list[Finding]:
    try:
        module, _, function = place.partition(":")
        check: Check = getattr(importlib.import_module(module), function)
        return list(check(project))
    except Exception as error:  # the other checks go on
        reason = " ".join(str(error).split())[:300]
        return [Finding(f"the check of {name} does not work", type(error).__name__, reason or "no reason given")]


def mend(finding: Finding) -> str | None:
    """Mend it; None, or why it could not be."""
    if finding.mend is None:
        return f"by hand: {finding.remedy}"
    try:
        finding.mend()
    except Exception as error:  # the others are still mended
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None
