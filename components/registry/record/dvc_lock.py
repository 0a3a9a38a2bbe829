"""Reads dvc.lock: what DVC recorded of a stage, as one hash."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from components.core.settings import Workspace
from components.core.strict import SettingsError

LOCK = "dvc.lock"
PATIENCE, POLL = 120.0, 0.02  # seconds


def export_key(workspace: Workspace, run: str) -> str:
    """What identifies a published model: the hash of the ``export@<run>`` entry (command, deps, params, outs)."""
    return content_key(stage_entry(workspace, f"export@{run}"))


def content_key(content: Any) -> str:
    """32 hexadecimal digits of SHA-256 of ``content`` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def stage_entry(workspace: Workspace, stage: str) -> dict[str, Any]:
    """The stage's entry, parsed; SettingsError where DVC has not recorded the stage."""
    # Only the entry's own lines are parsed: a YAML 1.2 parser takes a second for the lock of forty runs.
    found = re.search(rf"^  {re.escape(stage)}:\n(?:(?:   .*)?\n)*", _text(workspace), re.MULTILINE)
    if found is None:
        raise SettingsError(f"{LOCK}: no entry {stage} in {workspace.folder}; `dvc repro {stage}` makes it")
    try:
        entry = YAML(typ="safe", pure=True).load(found[0])
    except YAMLError as error:
        raise SettingsError(f"{LOCK}: {stage} is not readable: {' '.join(str(error).split())}") from None
    return dict(entry[stage])


def lock_entries(workspace: Workspace) -> dict[str, str]:
    """Stage -> the lines of its entry, as DVC wrote them."""
    found = re.finditer(r"^  ([^ \n][^\n]*):\n(?:(?:   .*)?\n)*", _text(workspace), re.MULTILINE)
    return {match[1].strip("'\""): match[0] for match in found}


def lock_digest(workspace: Workspace) -> str:
    """SHA-256 of the whole dvc.lock: with the commit, where a published model came from."""
    return hashlib.sha256(_text(workspace).encode()).hexdigest()


def _text(workspace: Workspace) -> str:
    path = workspace.folder / LOCK
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; `dvc repro` makes it")
    with nobody_writes(workspace.folder):
        text = path.read_text(encoding="utf-8")
    return text if text.endswith("\n") else text + "\n"


@contextmanager
def nobody_writes(folder: Path) -> Iterator[None]:
    """Share the lock that DVC holds while it writes: it empties dvc.lock and writes it anew, for many runs over a second.

    Where DVC keeps its lock for longer than our patience (a push), what stands there is read all the same.
    """
    repository = next((place for place in (folder, *folder.parents) if (place / ".dvc").is_dir()), folder)
    lock = repository / ".dvc" / "tmp" / "lock"
    if not lock.is_file():
        yield
        return
    with lock.open("rb") as file:
        deadline = time.monotonic() + PATIENCE
        while not _shared(file.fileno()) and time.monotonic() < deadline:
            time.sleep(POLL)
        yield  # closing the file gives the lock back


def _shared(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
