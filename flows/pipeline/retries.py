"""Classify failures of stages as permanent (a training error) or transient (network, locks), which are retried."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core.errors import EXIT
from components.core.inputs.record import CHANGED
from flows.processes import Ended, StageFailed, TransientFailure

BUSY = ("is busy, it is being blocked by", "Unable to acquire lock")  # dvc/rwlock.py, dvc/lock.py of 3.67.1
HELD = "database is locked"  # a database of DVC, by another DVC process
LOST_RESULTS = "failed to transfer"  # of flows.dvc.transfers
LOST = {signal.SIGKILL, signal.SIGTERM, signal.SIGHUP}  # others, such as SIGSEGV, come from the program itself and would recur
MAX_KILLS = 2  # retries after a kill: a stage killed for lack of memory would be killed again
JITTER = 0.5  # relative: a delay is drawn from 0.5 to 1.5 times its length, so that retries spread out


class KilledByOthers(TransientFailure):
    """The command was killed by someone else."""


@dataclass(frozen=True)
class Limit:
    """Timeout of a stage, and its key in params.yaml."""

    seconds: float
    key: str = "pipeline.stage_timeout"


def failure(ended: Ended, limit: Limit, memory_kills: int) -> StageFailed | None:
    """Return the failure, or None. ``memory_kills``: processes killed by the OOM killer meanwhile, -1 if unknown."""
    if ended.timed_out:
        return StageFailed(f"ran past {limit.seconds:g} s ({limit.key})", ended.tail)
    code = own_code(ended)
    if code == 0:
        return None
    if _reports(ended, *BUSY, HELD):
        return TransientFailure("another DVC process holds its files", ended.tail)
    if code == EXIT or _reports(ended, CHANGED):
        reason = f"a transient failure (exit code {EXIT})" if code == EXIT else f"its {CHANGED}"
        return TransientFailure(f"{reason}, after {ended.seconds:.1f} s", ended.tail)
    number = _signal(code)
    if number in LOST:
        return KilledByOthers(f"killed by {number.name} after {ended.seconds:.1f} s; {_reason(memory_kills)}", ended.tail)
    name = f"crashed with {number.name}" if number else f"exit code {code}"
    name = "its results did not reach DVC's cache," if _reports(ended, LOST_RESULTS) else name
    return StageFailed(f"{name} after {ended.seconds:.1f} s", ended.tail)


def own_code(ended: Ended) -> int:
    """Return the exit code of the stage, from DVC's last lines, or else of the command; -number for a signal."""
    matches = [re.search(r"^ERROR: failed to reproduce '.*exited with (-?\d+)$", line) for line in ended.tail]
    codes = [int(match[1]) for match in matches if match]
    code = codes[-1] if ended.code and codes else ended.code
    return 128 - code if 128 < code < 128 + signal.NSIG else code  # shell convention


def _reports(ended: Ended, *messages: str) -> bool:
    return any(message in line for line in ended.tail if line.startswith("ERROR") for message in messages)


def _signal(code: int) -> signal.Signals | None:
    return signal.Signals(-code) if -code in set(signal.Signals) else None


def _reason(memory_kills: int) -> str:
    if memory_kills > 0:
        return f"meanwhile the kernel ended {memory_kills} process(es) for lack of memory: smaller batches or images need less"
    memory = "out of memory is the likely reason" if memory_kills else "the kernel reports no lack of memory"
    return f"not sent by this flow; {memory}"


def memory_kills(counters: Path = Path("/proc/vmstat")) -> int | None:
    """Return the number of processes killed by the OOM killer since boot; None if unknown."""
    try:
        match = re.search(r"^oom_kill (\d+)$", counters.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) if match else None


def delays(first: float, number: int) -> list[float]:
    """Return the seconds before each retry: exponential backoff, at most an hour."""
    return [min(first * 2**index, 3600.0) for index in range(number)]


def retry_condition(retries: int) -> Callable[[Any, Any, Any], bool]:
    """Return Prefect's retry condition: transient failures, at most ``retries`` times."""

    def should_retry(task: Any, run: Any, state: Any) -> bool:
        return isinstance(state.result(raise_on_failure=False), TransientFailure) and run.run_count <= retries

    return should_retry
