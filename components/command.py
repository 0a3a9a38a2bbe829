"""Entry of a command: arguments, exit codes, redaction of secrets. Not part of any code digest: no result depends on it."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from components import environment, full_disks
from components.core.config.strict import check_name
from components.core.errors import EXIT, is_transient, redacted

PR_SET_PDEATHSIG = 1  # linux/prctl.h
READER_GONE = 141  # exit code of a shell's command that SIGPIPE ended


def run_command(main: Callable[[], None]) -> None:
    """Run a stage's ``main``, which dies with its parent. Map user errors to exit code 2 and transient errors to 75.

    ValueError and OSError are user errors; ``DARKROOM_TRACEBACK=1`` shows their traceback. Any other exception is a bug and
    keeps its traceback (exit code 1). A reader of the output that is gone, such as ``head``, is no error (exit code 141).
    """
    die_with_parent()
    environment.prepare()
    try:
        main()
        sys.stdout.flush()
    except Exception as error:
        if isinstance(error, BrokenPipeError) and pipe_is_closed():
            silence_output()
            sys.exit(READER_GONE)
        transient = is_transient(error)
        full = full_disks.note_of(error)
        if not transient and not full and not isinstance(error, ValueError | OSError):
            raise
        if os.environ.get("DARKROOM_TRACEBACK"):
            traceback.print_exception(error)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}"
        hint = f"{'a retry may succeed; ' if transient else ''}DARKROOM_TRACEBACK=1 shows all"
        print(f"error: {redacted(str(error))}{full}\n  ({type(error).__name__} at {place}; {hint})", file=sys.stderr)
        sys.exit(EXIT if transient else 2)


def pipe_is_closed() -> bool:
    """Whether standard output is a pipe whose reader is gone."""
    output = select.poll()
    output.register(sys.stdout.fileno(), select.POLLERR)
    return bool(output.poll(0))


def silence_output() -> None:
    """Send the rest of standard output nowhere: Python would raise again when it flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(*lines: str) -> None:
    """Print lines of a work that goes on, or has its own result, when the reader of its output is gone, such as ``head``."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        if not pipe_is_closed():
            raise
        silence_output()


def die_with_parent() -> None:
    """Ask the kernel to send SIGTERM when the parent dies, so that a killed flow or DVC leaves no orphan. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def block_name(name: str) -> str:
    """Return the block's name, given itself or DVC's name of the stage: ``digits`` of ``dvc.yaml:train@digits``.

    dvc.yaml passes the name in the environment, ``"$DVC_STAGE"``: in the command itself, the shell would interpret a key of
    params.yaml before it can be checked. SettingsError for an invalid name.
    """
    return check_name(name.rpartition("@")[2])
