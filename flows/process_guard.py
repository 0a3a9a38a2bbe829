"""``python process_guard.py <parent pid> <grace seconds> <command ...>``: run a command; kill its process tree with the parent.

Neither Prefect nor DVC ends a stage when it is killed itself: the training goes on as an orphan. This small process stands
between: the kernel tells it when its parent has died, and as a subreaper it inherits whatever the command leaves behind, so
that nothing escapes, not even what opened a session of its own. Linux only; standard library only, as every stage starts one.

At the end, wanted or not, the command's own children get SIGTERM first, so that a training can write its checkpoint and DVC can
note the failure and give back its locks; then the command; after the grace period SIGKILL for all that is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}  # the parent is dead, or asks for the end
STOPPED = 143
POLL = 0.05


def main() -> int:
    """Run the command; its exit code, 128 + signal as a shell says it, or 143 when stopped.

    Signals are waited for and never handled: a parent of many threads that is killed says so once for each of them, and a
    handler that raises would be called again in the midst of the end.
    """
    parent, grace, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, signal.SIGCHLD})
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:  # it died before the kernel was asked
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
    """Until ``child`` ends or the end is asked for; orphans that come to us meanwhile are reaped too."""
    while signal.sigwait({*STOP_SIGNALS, signal.SIGCHLD}) == signal.SIGCHLD:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:  # one SIGCHLD may stand for many; there is a child until ``child`` ends
            if found[0] == child:
                code = os.waitstatus_to_exitcode(found[1])
                return code if code >= 0 else 128 - code
    return STOPPED


def _end(child: int, deadline: float) -> None:
    signalled: set[int] = set()
    _terminate(_children(child) or {child}, signalled)
    while alive := _reap():
        if time.monotonic() > deadline:
            _signal(alive, signal.SIGKILL)  # what they leave behind comes to us, and goes the same way
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
    """The direct children of all threads of the process."""
    found: set[int] = set()
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/children") as file:
                found.update(map(int, file.read().split()))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


if __name__ == "__main__":
    sys.exit(main())
