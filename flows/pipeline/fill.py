"""Write the keys that DVC needs and the user left out into params.yaml: comments, order and layout stay as they are.

dvc.yaml names the parameters of each stage, and DVC refuses one that does not stand in the file. Their defaults are known, so
the flow adds them, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.core import catalogue
from components.core.config.params import WRITTEN
from components.core.config.seeds import seed_run
from components.core.config.strict import SettingsError
from components.core.files import write_text
from components.core.settings import BUILT_IN, PARAMS, ROOT
from flows.project import Project
from flows.tuning.seeds import with_seeds
from flows.yaml_edit import add_key

SPLIT = "{by: image, validation: 0.1, test: 0.2}"


@dataclass(frozen=True)
class Added:
    """A key to add: the block that takes it, as a path of keys, its name, and its value as YAML in one line."""

    block: tuple[str, ...]
    key: str
    value: str

    def __str__(self) -> str:
        return f"{'.'.join((*self.block, self.key))}: {self.value}"


def fill_in(project: Project) -> list[str]:
    """Add the missing keys to params.yaml; return one line for each. A file that is no mapping is left to the checks."""
    raw = project.workspace.raw_params()
    if not isinstance(raw, dict):
        return []
    lines = _write(project, [*_outer(project, raw), *_runs(raw), *_paths(project, raw)])
    return [*lines, *(line for name, run in _blocks(raw, "runs") for line in _seeds(project, raw, name, run))]


def _write(project: Project, added: list[Added]) -> list[str]:
    path = project.folder / PARAMS
    text = path.read_text(encoding="utf-8")
    for entry in added:
        text = add_key(text, entry.block, entry.key, entry.value)
    if added:
        write_text(path, text)
        vars(project.workspace).pop("params", None)  # as it was parsed
    return [f"{PARAMS}: added {entry}" for entry in added]


def _outer(project: Project, raw: dict[str, Any]) -> Iterator[Added]:
    """Yield the keys of the whole file."""
    if "seed" not in raw:
        yield Added((), "seed", "0")
    if "root" not in raw:
        yield Added((), "root", os.path.relpath(project.root, project.folder))


def _runs(raw: dict[str, Any]) -> Iterator[Added]:
    """Yield the empty blocks of runs."""
    for name, run in _blocks(raw, "runs"):
        yield from (Added(("runs", name), key, "{}") for key in WRITTEN if key not in run)


def _paths(project: Project, raw: dict[str, Any]) -> Iterator[Added]:
    """Yield the ``path`` of datasets whose source brings its own data."""
    for name, block in _blocks(raw, "datasets"):
        source = str(block.get("source"))
        if "path" in block or source not in catalogue.names("source"):
            continue
        if not getattr(catalogue.load("source", source, name), "reads_path", False):
            own = os.path.relpath(project.root / BUILT_IN.relative_to(ROOT), project.folder)
            yield Added(("datasets", name), "path", own)


def _seeds(project: Project, raw: dict[str, Any], name: str, run: dict[str, Any]) -> list[str]:
    """Add the runs and links of a run's other ``seeds``; return one line if any was missing."""
    own, seeds = (run.get("train") or {}).get("seed", 0), run.get("seeds")
    if not isinstance(seeds, list) or all(seed == own or seed_run(name, seed) in raw["runs"] for seed in seeds):
        return []
    path = project.folder / PARAMS
    try:
        text = with_seeds(path.read_text(encoding="utf-8"), name, seeds)
    except SettingsError:  # the checks report it
        return []
    write_text(path, text)
    vars(project.workspace).pop("params", None)
    others = ", ".join(seed_run(name, seed) for seed in seeds if seed != own)
    return [f"{PARAMS}: added the other seeds of runs.{name}: {others}"]


def fill_splits(project: Project, runs: tuple[str, ...]) -> list[str]:
    """Add ``split`` to the views of the chosen runs whose dataset has no splits; return one line for each."""
    from components.stages.contents import known_contents

    params, added = project.params, []
    views = {params.runs[run].view for run in runs if run in params.runs}
    for name in sorted(views & set(params.views)):
        view = params.views[name]
        try:
            contents = None if "split" in view else known_contents(project.workspace, str(view["dataset"]))
        except SettingsError:  # the checks report it
            continue
        if contents is not None and set(contents) == {"all"}:
            added.append(Added(("views", name), "split", SPLIT))
    return _write(project, added)


def _blocks(raw: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the blocks of a kind that are mappings with a name."""
    blocks = raw.get(kind)
    for name, block in blocks.items() if isinstance(blocks, dict) else ():
        if isinstance(name, str) and isinstance(block, dict):
            yield name, block
