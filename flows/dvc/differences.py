"""What has changed in an input of a stage since it was recorded: values of parameters, files of a user's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.inputs import files, listings
from components.core.inputs.declared import Unusual, repository

if TYPE_CHECKING:
    from dvc.dependency import Dependency, ParamsDependency

NAMED = 4  # changed values in a plan's line
LENGTH = 40  # letters of a value


def changed_values(dep: ParamsDependency, keys: Sequence[str]) -> list[str]:
    """Return ``runs.a.train.learning_rate: 0.1 -> 0.2`` for each value that changed below the ``keys`` of a parameter file."""
    before, after = dict(dep.hash_info.value or {}), dict(dep.read_params())
    lines = [line for key in keys for line in _different(before.get(key, MISSING), after.get(key, MISSING), key)]
    more = [f"{len(lines) - NAMED} more values changed"] if len(lines) > NAMED else []
    return [*lines[:NAMED], *more]


class _Missing:
    """The value of a key that is not there."""


MISSING = _Missing()


def _different(before: Any, after: Any, key: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in {**before, **after}:
            yield from _different(before.get(name, MISSING), after.get(name, MISSING), f"{key}.{name}")
    elif isinstance(before, _Missing):
        yield f"{key}: {_shown(after)} added"
    elif isinstance(after, _Missing):
        yield f"{key}: {_shown(before)} removed"
    elif _shown(before, 10**6) != _shown(after, 10**6):
        yield f"{key}: {_shown(before)} -> {_shown(after)}"


def _shown(value: Any, length: int = LENGTH) -> str:
    """Return the value in one line, as in YAML's flow style."""
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= length else f"{text[: length - 3]}..."


def changed_files(folder: Path, dep: Dependency) -> str:
    """Say how a folder differs from the recorded one; "" for a file, or if what it held then is not known here."""
    before = listings.known(str(dep.hash_info.value)) if dep.hash_info else None
    if before is None or list(before) == [""]:
        return ""
    path = Path(dep.fs_path)
    root = repository(folder)
    try:
        after = files.file_hashes({"": path}, {"": files.listing(path, root)}, root)[""]
    except (OSError, Unusual):
        return ""
    return listings.changes(before, after)
