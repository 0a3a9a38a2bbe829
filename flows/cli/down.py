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
    """Add no arguments."""


def down(args: argparse.Namespace) -> int:
    """Stop what ``up`` started, and nothing else: signal the supervisor and wait until all its processes have ended."""
    state = live_state()
    if state is None:
        print("nothing is up")
        return 0
    if is_gone(state.supervisor) is None:
        print(f"error: up runs on another machine ({state.supervisor.split(':')[0]}): end it there", file=sys.stderr)
        return 1
    signalled = terminate(state.supervisor)
    alive = wait(state)
    if alive:
        print(f"error: still there after {PATIENCE:g} s: {', '.join(alive)}", file=sys.stderr)
        return 1
    print("down" if signalled else "nothing is up: its process was gone already")
    return 0


def terminate(process: str) -> bool:
    """Send SIGTERM to the process, unless its pid belongs to another one now; return whether it was sent."""
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
    """Wait until all processes have ended; return the names of those still alive after ``PATIENCE``.

    The children of a killed supervisor end by themselves, and the last one may be missing in the state file.
    """
    deadline = time.monotonic() + PATIENCE
    while alive := [name for process, name in processes_of(state).items() if is_gone(process) is False]:
        if time.monotonic() > deadline:
            return alive
        time.sleep(0.1)
    state_file().unlink(missing_ok=True)
    return []


def processes_of(state: ServersState) -> dict[str, str]:
    """Return identity -> name of the supervisor and the processes in its latest state file."""
    latest = read_state() or state
    return {state.supervisor: "the supervisor"} | state.processes | latest.processes
