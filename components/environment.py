"""Prepare a process for bare surroundings: a user without a name or a home, a terminal of ASCII. Part of no code digest."""

from __future__ import annotations

import getpass
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from components.core.settings import WORK


def prepare() -> None:
    """Set LOGNAME and HOME if the system knows neither, and let output escape what the terminal cannot show."""
    name_user()
    escape_output()


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
