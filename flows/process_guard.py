"""``python process_guard.py <parent pid> <grace seconds> <command ...>``: run a command; kill its process tree with the parent.

When Prefect or DVC is killed, its stages would go on as orphans. This process prevents that: it gets a signal when its parent
dies, and as a subreaper it adopts all descendants of the command, even those in a session of their own. Linux only; standard
library only, since every stage starts one.

To stop, the command's children get SIGTERM first, so that a training can write its checkpoint and DVC can record the failure
and release its locks; then the command; after the grace period SIGKILL goes to all that remain.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}  # the parent died, or requests a stop
STOPPED = 143
POLL = 0.05


def main() -> int:
    """Run the command; return its exit code, 128 + signal as in a shell, or 143 if stopped.

    Signals are awaited, not handled: when a parent of many threads is killed, the signal arrives once per thread, and a
    handler that raises would interrupt the cleanup.
    """
    parent, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGCHLD})
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:  # it died before prctl
        return STOPPED
    child = _start(command, prctl)
    code = _wait(child)
    _end(child, time.monotonic() + grace)
    return code


def _start(command: list[str], prctl: ctypes._NamedFuncPointer) -> int:
    child = os.fork()
    if child == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*STOP_SIGNALS, signal.SIGCHLD})
        try:
            os.execvp(command[0], command)  # noqa: S606
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
            os._exit(127)
    return child


def _wait(child: int) -> int:
    """Wait until ``child`` ends or a stop is requested; reap adopted orphans meanwhile."""
    while signal.sigwait({*STOP_SIGNALS, signal.SIGCHLD}) == signal.SIGCHLD:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:  # one SIGCHLD may stand for many; there is a child until ``child`` ends
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                return code if code >= 0 else 128 - code
    return STOPPED


def _end(child: int, deadline: float) -> None:
    signalled: set[int] = set()
    _terminate(_children(child) or {child}, signalled)
    while alive := _reap():
        if time.monotonic() > deadline:
            _signal(alive, signal.SIGKILL)  # their orphans are adopted, and killed in the next round
        elif child not in alive:
            _terminate(alive, signalled)
        time.sleep(POLL)


def _terminate(processes: set[int], signalled: set[int]) -> None:
    _signal(processes - signalled, signal.SIGTERM)
    signalled |= processes


def _signal(processes: set[int], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _reap() -> set[int]:
    """Reap the dead children; return those that are still alive."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return set()
    return _children(os.getpid())


def _children(process: int) -> set[int]:
    """Return the direct children of all threads of the process."""
    children: set[int] = set()
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/children") as file:
                children.update(map(int, file.read().split()))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return children


if __name__ == "__main__":
    sys.exit(main())
