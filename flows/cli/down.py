"""``down``: end the supervisor of ``up`` and wait for its children."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from components.core.files import is_gone
from flows.services.running import ServersState, live_state, read_state, state_file

PATIENCE = 180.0  # seconds; a training that is running writes its checkpoint first


def down_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def down(given: argparse.Namespace) -> int:
    """End what ``up`` started, and nothing else: ask the supervisor, and wait until all it started is gone."""
    state = live_state()
    if state is None:
        print("nothing is up")
        return 0
    if is_gone(state.supervisor) is None:
        print(f"error: up runs on another machine ({state.supervisor.split(':')[0]}): end it there", file=sys.stderr)
        return 1
    asked = ask(state.supervisor)
    left = wait(state)
    if left:
        print(f"error: still there after {PATIENCE:g} s: {', '.join(left)}", file=sys.stderr)
        return 1
    print("down" if asked else "nothing is up: its process was gone already")
    return 0


def ask(process: str) -> bool:
    """SIGTERM to the very process, not to one that has got its number since; False if it is gone."""
    try:
        handle = os.pidfd_open(int(process.split(":")[1]))
    except ProcessLookupError:
        return False
    try:
        if is_gone(process):
            return False
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def wait(state: ServersState) -> list[str]:
    """Wait until all processes are gone; return the names of those that are still there after ``PATIENCE``.

    The children of a killed supervisor end by themselves, and the last one may be missing in the state file.
    """
    deadline = time.monotonic() + PATIENCE
    while left := [name for process, name in known(state).items() if is_gone(process) is False]:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.1)
    state_file().unlink(missing_ok=True)
    return []


def known(state: ServersState) -> dict[str, str]:
    """Identity -> name of the supervisor and of what it has started by its latest note."""
    latest = read_state() or state
    return {state.supervisor: "the supervisor"} | state.processes | latest.processes
