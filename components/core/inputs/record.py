"""Format of the record of a stage's inputs, and its comparison with an entry of dvc.lock.

Standard library only: DVC's own process imports this module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = "outputs/inputs"
CHANGED = "inputs changed while it ran"  # flows/pipeline/retries.py finds it in what DVC prints


def record_path(stage: str) -> str:
    """Return the record's path below the workspace: ``outputs/inputs/train/digits.json`` for ``train@digits``."""
    kind, _, block = stage.partition("@")
    return f"{FOLDER}/{kind}/{block}.json" if block else f"{FOLDER}/{kind}.json"


def serialise(deps: Mapping[str, str], params: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Serialise a record deterministically. ``deps``: path -> MD5, ``params``: file -> key -> value."""
    content = {"deps": dict(deps), "params": {file: dict(values) for file, values in params.items()}}
    return (json.dumps(content, indent=1, sort_keys=True, default=str) + "\n").encode()


def contradicts(stage: str, entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of dvc.lock contradicts the record of its stage. False for a stage without a record."""
    path = record_path(stage)
    recorded = [out.get("md5") for out in entry.get("outs", ()) if out["path"] == path]
    deps, params = inputs_of(entry)
    return bool(recorded) and recorded[0] != hashlib.md5(serialise(deps, params), usedforsecurity=False).hexdigest()


def recorded_stage(entry: Mapping[str, Any]) -> str | None:
    """Return the name of the stage whose record is among the entry's outs; None for an entry without a record."""
    for out in entry.get("outs", ()):
        parts = Path(out["path"]).with_suffix("").parts
        if parts[:2] == tuple(FOLDER.split("/")):
            return "@".join(parts[2:])
    return None


def inputs_of(entry: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return ``deps`` and ``params`` of an entry of dvc.lock."""
    return {dep["path"]: dep.get("md5", "") for dep in entry.get("deps", ())}, dict(entry.get("params", {}))


def differences(record: bytes, entry: Mapping[str, Any]) -> list[str]:
    """Return the names of the inputs in which a record and an entry of dvc.lock differ."""
    content = json.loads(record)
    other = json.loads(serialise(*inputs_of(entry)))
    return [*_different(content["deps"], other["deps"], ""), *changed_params(content["params"], other["params"])]


def changed_params(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return ``params.yaml: runs.digits.train.steps`` per value that differs. Both arguments: file -> key -> value."""
    return [f"{file}: {key}" for file in {**before, **after} for key in _different(before.get(file), after.get(file), "")]


def _different(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in {**before, **after}:
            yield from _different(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after:
        yield path or "all of it"
