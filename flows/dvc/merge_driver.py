"""Install the merge driver for dvc.lock: Git's configuration names the command, an attribute names the driver.

The configuration is local to a clone: ``.git/config`` cannot be committed, and all worktrees share it. The command contains no
absolute path, so it works in a worktree, in a clone that was moved, and in a project in a folder of a larger repository. If the
program does not start (a commit without it, no Python) or a side is not in DVC's format, ``git merge-file`` merges the text.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from components.core.git import git_or_none
from flows.dvc.lock_merge import CONFLICT

NAME = "dvclock"
KEY = f"merge.{NAME}.driver"
ATTRIBUTE = f"dvc.lock merge={NAME}"  # applies to all folders below its file


def command(prefix: str) -> str:
    """Return the driver's command for a project in the folder ``prefix`` of its repository ("" or "folder/")."""
    program, venv, path = (
        shlex.quote(f"./{prefix}{rest}").replace("%", "%%") for rest in ("flows/dvc/lock_merge.py", ".venv/bin/python", "")
    )
    return (
        f'python={venv}; test -x "$python" || python=python3; '
        f'PYTHONPATH={path} "$python" {program} %O %A %B %L; '
        f"case $? in 0) exit 0;; {CONFLICT}) exit 1;; esac; "
        "git merge-file --marker-size=%L -L ours -L base -L theirs %A %O %B || exit 1"
    )


def installed(root: Path) -> bool:
    """Whether the merge driver is configured; True if there is no Git repository."""
    prefix = git_or_none(root, "rev-parse", "--show-prefix")
    return prefix is None or (git_or_none(root, "config", KEY) == command(prefix) and _attribute(root) != "unspecified")


def install(root: Path) -> None:
    """Configure the merge driver, unless the user's attributes name another one."""
    prefix = git_or_none(root, "rev-parse", "--show-prefix")
    if prefix is None:
        return
    if git_or_none(root, "config", KEY) != command(prefix):
        git_or_none(root, "config", "--local", KEY, command(prefix))
    if _attribute(root) == "unspecified":
        path = root / ".gitattributes"
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        path.write_text(text + "\n" * (not text.endswith("\n") and bool(text)) + ATTRIBUTE + "\n", encoding="utf-8")


def _attribute(root: Path) -> str:
    """Return the driver that Git's attributes name for dvc.lock, or "unspecified"."""
    return (git_or_none(root, "check-attr", "merge", "dvc.lock") or "").rpartition(": ")[2]
