"""Prepare a process for its surroundings: a user without a name or a home, a terminal of ASCII, busy cores.

Part of no code digest.
"""

from __future__ import annotations

import getpass
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from components.core.settings import WORK

SPINS = 10_000  # turns, some 0.1 ms


def prepare() -> None:
    """Set LOGNAME and HOME if the system knows neither, let output escape what the terminal cannot show, share the cores."""
    name_user()
    escape_output()
    share_cores()


def name_user() -> None:
    """Set LOGNAME to ``uid<number>`` and HOME to ``.work/home`` for a user id without an entry, as in a container.

    ``getpass.getuser`` of DVC, MLflow and torch raises KeyError for such a user, ``Path.home`` RuntimeError.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"uid{os.getuid()}"
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(WORK / "home")


def escape_output() -> None:
    """Write characters that the terminal's encoding lacks as escapes: ``\\xe9`` instead of an exception."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def share_cores() -> None:
    """Let torch's threads that wait for another give their core away soon; before torch is imported.

    GNU OpenMP spins for 300,000 turns. If another process has a core, the thread that all wait for does not get it: a training
    step of PP-LCNet with two threads on two busy cores took 9.2 s, and 1.2 s with ``SPINS``; on idle cores both 0.24 s.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
