"""Entries of dvc.lock, and the keys made from them: hashes of what DVC recorded of a stage."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from ruamel.yaml.error import YAMLError

from components.core.config.strict import SettingsError
from components.core.dvc_lock import LOCK, find_entries, parse_entry
from components.core.files import file_state, share_lock
from components.core.inputs.record import contradicts
from components.core.settings import Workspace

PATIENCE = 120.0  # seconds


def export_key(workspace: Workspace, run: str) -> str:
    """Return the key of a published model: the hash of the ``export@<run>`` entry (command, deps, params, outs)."""
    return content_key(stage_entry(workspace, f"export@{run}"))


def content_key(content: Any) -> str:
    """Return 32 hexadecimal digits of SHA-256 of ``content`` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def export_key_by(workspace: Workspace, run: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Return ``export_key`` and a digest of its lines in dvc.lock. ``known``: such digests -> keys, not parsed again."""
    stage = f"export@{run}"
    lines = _lines(workspace, stage)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    return known.get(digest) or content_key(_parsed(stage, lines)), digest


def stage_entry(workspace: Workspace, stage: str) -> dict[str, Any]:
    """Parse the stage's entry; SettingsError if DVC has not recorded the stage."""
    return _parsed(stage, _lines(workspace, stage))


def _lines(workspace: Workspace, stage: str) -> str:
    lines = lock_entries(workspace).get(stage)
    if lines is None:
        raise SettingsError(f"{LOCK}: no entry {stage} in {workspace.folder}; `dvc repro {stage}` makes it")
    return lines


def _parsed(stage: str, lines: str) -> dict[str, Any]:
    try:
        entry = parse_entry(lines)
    except YAMLError as error:
        raise SettingsError(f"{LOCK}: {stage} is not readable: {' '.join(str(error).split())}") from None
    if contradicts(stage, entry):
        raise SettingsError(f"{LOCK}: {stage} is recorded with inputs that changed while it ran; `dvc repro -f -s {stage}`")
    return entry


def lock_entries(workspace: Workspace) -> dict[str, str]:
    """Return stage -> the lines of its entry, as DVC wrote them."""
    path = workspace.folder / LOCK
    return _entries_at(workspace.folder, file_state(path)) if path.is_file() else find_entries(_text(workspace))


@lru_cache(maxsize=2)
def _entries_at(folder: Path, state: tuple[int, int, int]) -> dict[str, str]:
    """Cut the file, in this ``state``, into entries once for all runs."""
    return find_entries(_text(Workspace(folder)))


def lock_digest(workspace: Workspace) -> str:
    """Return SHA-256 of the whole dvc.lock: with the commit, the origin of a published model."""
    return hashlib.sha256(_text(workspace).encode()).hexdigest()


def _text(workspace: Workspace) -> str:
    path = workspace.folder / LOCK
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; `dvc repro` makes it")
    with shared_dvc_lock(workspace.folder):
        text = path.read_text(encoding="utf-8")
    return text if text.endswith("\n") else text + "\n"


@contextmanager
def shared_dvc_lock(folder: Path) -> Iterator[None]:
    """Share DVC's lock while reading: bare DVC empties dvc.lock and rewrites it, which takes over a second for many runs.

    If DVC holds its lock for longer than ``PATIENCE`` (during a push), the file is read without it.
    """
    repository = next((place for place in (folder, *folder.parents) if (place / ".dvc").is_dir()), folder)
    with share_lock(repository / ".dvc" / "tmp" / "lock", PATIENCE):
        yield
