"""The stages of a dvc.yaml, with commands, inputs and outs, as DVC resolves them."""

from __future__ import annotations

import bisect
import os
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.core.config.needs import BLOCKS
from components.core.inputs import declared as templates
from components.core.inputs.declared import PARAMS, PLAIN, Unusual
from flows.dvc.graph import Graph

PLOT = {"x", "y", "title", "template", "x_label", "y_label", "header"}  # keys of a plot that change nothing of its out


@dataclass(frozen=True)
class Hash:
    """As DVC's HashInfo: ``value`` is an MD5, or key -> value of parameters."""

    value: Any


@dataclass
class Dep:
    """A dependency: a path (``def_path`` as in dvc.lock), or the ``keys`` of a file of parameters. ``hash_info``: recorded."""

    def_path: str
    fs_path: str
    keys: list[str] | None = None
    hash_info: Hash | None = None
    content: Any = field(default=None, repr=False)  # of a file of parameters

    def read_params(self) -> dict[str, Any]:
        """Return the present parameters, as far as they exist: key -> value."""
        return templates.chosen(self.content, self.keys or [])


@dataclass
class Out:
    """An out; ``hash_info``: recorded."""

    def_path: str
    fs_path: str
    hash_info: Hash | None = None


@dataclass
class Stage:
    """A stage; ``wdir``: the workspace's folder. Named as DVC's stages are, which ``flows.dvc.changes`` takes as well."""

    name: str
    cmd: str
    wdir: str
    deps: list[Dep]
    outs: list[Out]


def read_stages(folder: Path, content: Any, params: Any, faults: Container[str]) -> list[Stage]:
    """Return the stages of the parsed dvc.yaml, in its order; those of blocks with ``faults`` are left out.

    ``params``: content of params.yaml as DVC parses it. Unusual for what only DVC can read.
    """
    if not isinstance(content, dict) or set(content) - {"vars", "stages"} or not isinstance(params, dict):
        raise Unusual("dvc.yaml")
    values = templates._with_defaults(content.get("vars", []), params)
    return [
        _stage(folder, name, block, values | more, params)
        for kind, outer in content["stages"].items()
        for name, block, more in _items(kind, outer, values)
        if "{}.{}".format(BLOCKS.get(kind, ""), name.partition("@")[2]) not in faults
    ]


def _items(kind: str, block: Any, values: Mapping[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield (name, block, further values) of each stage of a kind."""
    if not isinstance(block, dict):
        raise Unusual(kind)
    if "foreach" not in block:
        yield kind, block, {}
        return
    items = templates._value(templates._only_name(block["foreach"]), values)
    if set(block) != {"foreach", "do"} or not isinstance(items, dict):
        raise Unusual(kind)
    for key, item in items.items():
        if not isinstance(key, str) or "." in key:
            raise Unusual(key)
        yield f"{kind}@{key}", block["do"], {"key": key, "item": item}


def _stage(folder: Path, name: str, block: Any, values: Mapping[str, Any], params: Any) -> Stage:
    if not isinstance(block, dict) or set(block) - PLAIN or not isinstance(block.get("cmd"), str) or "\\" in block["cmd"]:
        raise Unusual(name)
    deps = [Dep(path, str(place)) for path, place in _places(folder, block.get("deps", []), values)]
    keys: list[str] = []
    for entry in block.get("params", []):
        keys.append(templates._filled(entry, values))  # Unusual for a file of its own
    if keys:
        deps.append(Dep(PARAMS, str(folder / PARAMS), keys, content=params))
    outs = [entry for section in ("outs", "metrics", "plots") for entry in block.get(section, [])]
    places = _places(folder, [_path_of(entry) for entry in outs], values)
    return Stage(name, templates._filled(block["cmd"], values), str(folder), deps, [Out(path, str(at)) for path, at in places])


def _places(folder: Path, entries: list[Any], values: Mapping[str, Any]) -> list[tuple[str, Path]]:
    return [templates._dep(folder, templates._filled(entry, values)) for entry in entries]


def _path_of(entry: Any) -> str:
    """Return the path of an out, which may have options; Unusual for those that change how DVC keeps it."""
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, dict) or len(entry) != 1:
        raise Unusual(entry)
    ((path, options),) = entry.items()
    if not isinstance(options, dict) or set(options) - PLOT:
        raise Unusual(entry)
    return str(path)


def read_graph(stages: list[Stage]) -> Graph:
    """Return the graph: a stage needs those whose outs are, contain or lie in one of its deps. Unusual if outs overlap."""
    makers = {out.fs_path: stage.name for stage in stages for out in stage.outs}
    if len(makers) != sum(len(stage.outs) for stage in stages) or len({stage.name for stage in stages}) != len(stages):
        raise Unusual("two stages with one out")
    paths = sorted(makers)
    if any(parent in makers for path in paths for parent in _above(path)):
        raise Unusual("an out in an out")
    needs = {
        stage.name: frozenset(
            makers[path] for dep in stage.deps if dep.keys is None for path in _overlapping(dep, makers, paths)
        )
        for stage in stages
    }
    if any(name in needed for name, needed in needs.items()):
        raise Unusual("a stage that depends on itself")
    return Graph(needs)


def _overlapping(dep: Dep, makers: Mapping[str, str], paths: list[str]) -> list[str]:
    """Return the outs that contain the dep, or lie in it."""
    found = [path for path in (dep.fs_path, *_above(dep.fs_path)) if path in makers]
    inside = dep.fs_path + os.sep
    start = bisect.bisect_left(paths, inside)
    while start < len(paths) and paths[start].startswith(inside):
        found.append(paths[start])
        start += 1
    return found


def _above(path: str) -> Iterator[str]:
    """Yield the folders that contain the path."""
    parent = os.path.dirname(path)
    while parent != path:
        yield parent
        path, parent = parent, os.path.dirname(parent)
