"""Git commands in a folder, independent of a caller's ``GIT_DIR``: a hook's or another repository's must not be asked."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PATIENCE = 600.0  # seconds: a large repository on a slow disk
# Variables by which a hook, or a caller in another repository, redirects every Git command.
REDIRECTING = tuple(
    f"GIT_{name}" for name in ("DIR", "WORK_TREE", "INDEX_FILE", "OBJECT_DIRECTORY", "COMMON_DIR", "NAMESPACE", "PREFIX")
)
OWNERSHIP = "dubious ownership"  # in Git's message about a folder of another user (safe.directory)


class GitFailed(ValueError):
    """Git refused; the message is one line."""


def git(folder: Path, *words: str, text: str = "") -> str:
    """Return the output of ``git <words>`` in ``folder``; ``text``: its input. GitFailed if it fails or Git is missing."""
    environment = {name: value for name, value in os.environ.items() if name not in REDIRECTING}
    command = ["git", *words]
    try:
        ended = subprocess.run(
            command, cwd=folder, env=environment, input=text.encode(), capture_output=True, check=False, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitFailed(f"git {words[0]}: {error}") from None
    if ended.returncode:
        message = ended.stderr.decode(errors="replace")
        lines = message.strip().splitlines() or [f"exit code {ended.returncode}"]
        if OWNERSHIP in message:
            lines = [f"{folder} belongs to another user; `git config --global --add safe.directory {folder}` allows it"]
        raise GitFailed(f"git {words[0]}: {lines[0]}")
    return ended.stdout.decode(errors="replace")


def git_or_none(folder: Path, *words: str) -> str | None:
    """Return the output of ``git <words>`` without the line end; None if it fails or Git is missing."""
    try:
        return git(folder, *words).removesuffix("\n")
    except GitFailed:
        return None


def tracks(folder: Path, file: str) -> bool:
    """Return whether a Git repository tracks the file in ``folder``, rather than merely surrounding it.

    GitFailed if Git does not trust the repository.
    """
    try:
        return bool(git(folder, "ls-files", "--error-unmatch", "--", file))
    except GitFailed as error:
        if "safe.directory" in str(error):
            raise
        return False
