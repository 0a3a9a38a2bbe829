"""Find and remove entries of dvc.lock that contradict their record.

Some milliseconds pass between a stage's last comparison and DVC's own hashing; and if DVC restores a result from its run
cache, the stage does not run at all. An edit in these moments leaves an entry whose inputs differ from its record.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from components.core.dvc_lock import LOCK, find_entries, paths
from components.core.files import POLL, write_text
from components.core.inputs.declared import parse_yaml, repository
from components.core.inputs.record import contradicts, record_path

PATIENCE = 60.0  # seconds for DVC's lock, which is held while dvc.lock is written


def entries(folder: Path) -> dict[str, str]:
    """Map each stage to the lines of its entry; empty if there is no dvc.lock."""
    try:
        return find_entries((folder / LOCK).read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError:
        return {}


def wrong_entries(folder: Path) -> list[str]:
    """Return the names of all stages whose entry contradicts its record."""
    return [name for name, text in entries(folder).items() if _is_wrong(name, text)]


def wrong_makers(folder: Path, deps: list[str]) -> list[str]:
    """Return the names of the stages that produced one of ``deps`` and whose entry contradicts its record."""
    dep_paths = [PurePosixPath(dep) for dep in deps]
    return [name for name, text in entries(folder).items() if _makes(text, dep_paths) and _is_wrong(name, text)]


def parsed(name: str, text: str) -> Mapping[str, Any] | None:
    """Parse an entry from its lines; None if it is incomplete: another DVC may be writing it."""
    from ruamel.yaml.error import YAMLError

    try:
        entry = parse_yaml(text)[name]
    except (YAMLError, KeyError, TypeError):
        return None
    return entry if isinstance(entry, Mapping) else None


def _is_wrong(name: str, text: str) -> bool:
    if f"- path: {record_path(name)}\n" not in text:
        return False
    entry = parsed(name, text)
    return entry is not None and contradicts(name, entry)


def _makes(text: str, deps: list[PurePosixPath]) -> bool:
    """Return whether one of the deps is an out of the entry, lies in one, or contains one."""
    return any(dep == out or out in dep.parents or dep in out.parents for dep in deps for out in paths(text, "outs"))


def forget(folder: Path, names: list[str]) -> None:
    """Remove entries that contradict their record from dvc.lock and from DVC's run cache, which would restore them."""
    with _nobody_else_writes(folder):
        texts = entries(folder)
        wrong = {name: texts[name] for name in names if name in texts and _is_wrong(name, texts[name])}
        content = (folder / LOCK).read_text(encoding="utf-8") if wrong else ""
        for text in wrong.values():
            content = content.replace(text, "", 1)
        if wrong:
            _write(folder / LOCK, content)
    for name, text in wrong.items():
        entry = parsed(name, text)
        if entry is not None:
            _forget_run(folder, entry)


def _write(path: Path, text: str) -> None:
    """Write dvc.lock atomically; delete it if no stages are left, which DVC could not read."""
    if find_entries(text):
        write_text(path, text, repository(path.parent) / ".dvc" / "tmp" / f"{path.name}.part")
    else:
        path.unlink()


def _forget_run(folder: Path, entry: Mapping[str, Any]) -> None:
    """Remove those runs of DVC's run cache for these inputs that contradict their record."""
    from copy import deepcopy

    from dvc.repo import Repo
    from dvc.stage.cache import _get_cache_hash

    from components.core.inputs.record import recorded_stage

    with Repo(str(repository(folder))) as repo:
        key = _get_cache_hash(deepcopy(dict(entry)), key=True)
        for path in list(Path(repo.stage_cache._get_cache_dir(key)).glob("*")):
            run_entry = parse_yaml(path.read_text(encoding="utf-8"))
            stage = recorded_stage(run_entry)
            if stage is not None and contradicts(stage, run_entry):
                remove_run(path)


def remove_run(path: Path) -> None:
    """Remove a run from the run cache, and its folder if it is then empty, on which DVC 3.67.1 fails."""
    path.unlink(missing_ok=True)
    with suppress(OSError):  # other runs of the same inputs
        path.parent.rmdir()


@contextmanager
def _nobody_else_writes(folder: Path) -> Iterator[None]:
    """Hold DVC's repository lock, which DVC holds while it writes dvc.lock and releases while a command runs."""
    path = repository(folder) / ".dvc" / "tmp" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + PATIENCE
    with path.open("a+b") as file:
        while True:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path} is held by another DVC") from None
                time.sleep(POLL)
        yield
