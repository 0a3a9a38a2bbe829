"""Which stages DVC would run, and why: its status, with the entries of dvc.lock and without DVC."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.config.parsed import ParsedTexts
from components.core.dvc_lock import LOCK, split
from components.core.inputs.declared import PARAMS, Unusual, parse_yaml
from components.core.inputs.record import contradicts
from flows.dvc.changes import reasons_of
from flows.dvc.graph import Graph
from flows.dvc.graph_files import GRAPH
from flows.dvc.unloaded.declared import Dep, Hash, Out, Stage, read_graph, read_stages
from flows.dvc.unloaded.hashes import Hashes, open_hashes
from flows.project import Project

ITEM = {"path", "hash", "md5", "size", "nfiles", "isexec"}  # keys of a dep or out in dvc.lock
FREE = (b"", b"{}", b'{"write": {}}', b'{"read": {}}', b'{"write": {}, "read": {}}', b'{"read": {}, "write": {}}')


def read_status(project: Project, targets: Iterable[str]) -> tuple[Graph, dict[str, list[str]]]:
    """Return the graph of the targets and all that they need, and the reasons why DVC would run each stage.

    Unusual for what only DVC can tell; errors of broken files are left to DVC, too.
    """
    from ruamel.yaml.error import YAMLError

    folder, texts = project.folder, project.texts
    try:
        with _dvc_lock(project.root):
            params = texts.get((folder / PARAMS).read_text(encoding="utf-8"), parse_yaml, "dvc")
            content = texts.get((folder / GRAPH).read_text(encoding="utf-8"), parse_yaml, "dvc")
            stages = read_stages(folder, content, params, project.params.faults)
            graph = read_graph(stages).of(targets)
            graph.order()
            chosen = [stage for stage in stages if stage.name in graph.needs]
            entries = _entries(folder, chosen, texts)
            wrong = {name for name, entry in entries.items() if contradicts(name, entry)}
            with open_hashes(project.root) as hashes:
                # An entry that contradicts its record is ignored, as by DVC with our patches.
                believed = {name: entry for name, entry in entries.items() if name not in wrong}
                status = {stage.name: _status(stage, believed.get(stage.name), hashes) for stage in chosen}
    except (OSError, ValueError, TypeError, AttributeError, KeyError, YAMLError) as error:
        raise Unusual(str(error)) from error
    return graph, reasons_of(project.workspace, chosen, status, wrong)


def _entries(folder: Path, stages: Iterable[Stage], texts: ParsedTexts) -> dict[str, Mapping[str, Any]]:
    """Return stage -> its entry in dvc.lock; Unusual if the file has another form than ours."""
    path = folder / LOCK
    lines = split(path.read_text(encoding="utf-8") if path.is_file() else "")
    if lines is None:
        raise Unusual(LOCK)
    names = [stage.name for stage in stages if stage.name in lines]
    return {name: texts.get(lines[name], parse_yaml, "dvc")[name] for name in names}


def _status(stage: Stage, entry: Mapping[str, Any] | None, hashes: Hashes) -> list[Any]:
    """Return DVC's status of the stage (dvc/stage/__init__.py), and fill in what is recorded of its deps and outs."""
    _fill(stage, entry or {})
    deps: dict[str, Any] = {}
    for dep in stage.deps:
        change = _of_path(dep, hashes) if dep.keys is None else _of_params(dep)
        deps |= {_shown(dep): change} if change else {}
    outs = {_shown(out): change for out in stage.outs if (change := _of_out(out, hashes))}
    status: list[Any] = [{f"changed {what}": changes} for what, changes in (("deps", deps), ("outs", outs)) if changes]
    return [*status, *(["changed command"] if entry and entry.get("cmd") != stage.cmd else [])]


def _shown(item: Dep | Out) -> str:
    """Return the path as DVC shows it in this folder: without ``./``."""
    return item.def_path if os.path.isabs(item.def_path) else os.path.normpath(item.def_path)


def _fill(stage: Stage, entry: Mapping[str, Any]) -> None:
    recorded = {side: {item["path"]: item for item in entry.get(side, ())} for side in ("deps", "outs")}
    params = entry.get("params", {}).get(PARAMS)
    items = [item for of_side in recorded.values() for item in of_side.values()]
    if any(item.get("hash", "md5") != "md5" or set(item) - ITEM for item in items):
        raise Unusual("an entry of another DVC")
    for side, declared in (("deps", stage.deps), ("outs", stage.outs)):
        for item in declared:
            if isinstance(item, Dep) and item.keys is not None:
                known = params or {}
                item.hash_info = Hash({key: known[key] for key in item.keys if key in known}) if params is not None else None
            else:
                value = recorded[side].get(item.def_path, {}).get("md5")
                item.hash_info = Hash(value) if value else None


def _of_path(item: Dep | Out, hashes: Hashes) -> str | None:
    value = hashes.of(item.fs_path)
    if value is None:
        return "deleted"
    return None if item.hash_info and item.hash_info.value == value else "modified"


def _of_out(out: Out, hashes: Hashes) -> str | None:
    if out.hash_info and not hashes.cached(out.hash_info.value):
        return "not in cache"
    return _of_path(out, hashes)


def _of_params(dep: Dep) -> Any:
    """Return key -> "deleted", "new" or "modified" of the parameters that differ; "new" if none was ever recorded."""
    if dep.hash_info is None:
        return "new"
    before, after = dep.hash_info.value, dep.read_params()
    changes = {}
    for key in dep.keys or ():
        if key not in after:
            changes[key] = "deleted"
        elif key not in before:
            changes[key] = "new"
        elif before[key] != after[key]:
            changes[key] = "modified"
    return changes


@contextmanager
def _dvc_lock(root: Path) -> Iterator[None]:
    """Hold DVC's lock; Unusual if DVC is at work, for which DVC itself knows how to wait."""
    folder = root / ".dvc" / "tmp"
    if os.path.exists(folder / "rwlock") and (folder / "rwlock").read_bytes() not in FREE:
        raise Unusual("DVC is at work")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+b") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unusual("DVC is at work") from None
        yield
