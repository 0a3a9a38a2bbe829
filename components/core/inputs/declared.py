"""Read the declared inputs of one stage from dvc.yaml without loading DVC.

DVC's own loader needs over half a second per stage (its imports, its repository, two YAML files). The templates of this
dvc.yaml are simple: ``foreach`` over a mapping of params.yaml, ``${key}``, ``${item.x}`` and ``${root}`` in deps and params,
and empty mappings in ``vars``. Anything else raises ``Unusual``, and the caller falls back to DVC.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PARAMS = "params.yaml"
PLAIN = {"cmd", "deps", "params", "outs", "metrics", "plots", "desc", "meta"}


class Unusual(Exception):
    """A form of dvc.yaml or .dvcignore that only DVC can read."""


@dataclass(frozen=True)
class Declared:
    """Declared inputs. ``deps``: path as in dvc.lock -> absolute path; ``keys``: file -> dotted keys of its parameters."""

    deps: dict[str, Path]
    keys: dict[str, list[str]]


def repository(folder: Path) -> Path:
    """Return the root of the DVC repository that contains the workspace."""
    return next((place for place in (folder, *folder.parents) if (place / ".dvc").is_dir()), folder)


def parse_yaml(text: str) -> Any:
    """Parse a YAML text as DVC does (dvc/utils/serialize/_yaml.py)."""
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(text)


def declared(folder: Path, stage: str, params: Any) -> Declared:
    """Return the declared inputs of the stage; ``params``: the content of the workspace's params.yaml."""
    content = parse_yaml((folder / "dvc.yaml").read_text(encoding="utf-8"))
    kind, _, key = stage.partition("@")
    block = content["stages"].get(kind)
    if not isinstance(block, dict):
        raise Unusual(stage)
    values = _with_defaults(content.get("vars", []), params)
    if key:
        if set(block) != {"foreach", "do"}:
            raise Unusual(stage)
        items = _value(_only_name(block["foreach"]), values)
        if not isinstance(items, dict) or key not in items:
            raise Unusual(stage)
        values |= {"key": key, "item": items[key]}
        block = block["do"]
    if set(block) - PLAIN:
        raise Unusual(stage)
    keys: dict[str, list[str]] = {}
    for entry in block.get("params", []):
        files = entry if isinstance(entry, dict) else {PARAMS: [entry]}
        for file, names in files.items():
            if not names:
                raise Unusual(stage)
            keys.setdefault(_filled(file, values), []).extend(_filled(name, values) for name in names)
    return Declared(dict(_dep(folder, _filled(dep, values)) for dep in block.get("deps", [])), keys)


def declared_by_dvc(folder: Path, stage: str) -> Declared:
    """Return the declared inputs of the stage as loaded by DVC."""
    from dvc.dependency import ParamsDependency
    from dvc.repo import Repo

    with Repo(str(repository(folder))) as repo:
        loaded = repo.stage.load_one(path=str(folder / "dvc.yaml"), name=stage)
        keys = {dep.def_path: list(dep.params) for dep in loaded.deps if isinstance(dep, ParamsDependency)}
        deps = {dep.def_path: Path(dep.fs_path) for dep in loaded.deps if not isinstance(dep, ParamsDependency)}
    return Declared(deps, keys)


def chosen(content: Any, keys: list[str]) -> dict[str, Any]:
    """Select the existing ``keys`` (default: all) of a parsed parameter file: key -> value."""
    values = {}
    for key in keys or list(content):
        try:
            values[key] = _value(key, content)
        except Unusual:
            continue  # DVC fails on a missing parameter by itself
    return values


def _dep(folder: Path, path: str) -> tuple[str, Path]:
    """Return a dep's path as in dvc.lock and its location. DVC makes absolute paths into the repository relative."""
    place = Path(os.path.normpath(folder / path))
    shortened = os.path.isabs(path) and place.is_relative_to(repository(folder))
    return (os.path.relpath(place, folder) if shortened else path), place


def _with_defaults(entries: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Add the empty blocks of ``vars`` to params.yaml, as DVC merges them. Files and other values: Unusual."""
    defaults = [entry.items() if isinstance(entry, dict) else [(entry, None)] for entry in entries]
    blocks = dict(item for items in defaults for item in items)
    if any(value != {} for value in blocks.values()):
        raise Unusual("vars")
    return blocks | dict(params)


def _only_name(text: Any) -> str:
    match = re.fullmatch(r"\$\{([\w.]+)\}", text) if isinstance(text, str) else None
    if match is None:
        raise Unusual(text)
    return match[1]


def _filled(text: Any, values: Mapping[str, Any]) -> str:
    """Interpolate a template."""
    if not isinstance(text, str):
        raise Unusual(text)

    def value(match: re.Match[str]) -> str:
        content = _value(match[1], values)
        if not isinstance(content, str) or "${" in content:
            raise Unusual(text)
        return content

    result = re.sub(r"\$\{([\w.]+)\}", value, text)
    if "${" in result:
        raise Unusual(text)
    return result


def _value(key: str, values: Any) -> Any:
    """Look up a dotted key."""
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            raise Unusual(key)
        values = values[part]
    return values
