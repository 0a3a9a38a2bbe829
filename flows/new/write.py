"""Write the blocks of ``new`` into params.yaml, after they have been parsed and checked as a run does."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from components.core.config.params import read_params
from components.core.config.strict import SettingsError, check_name, read_yaml
from components.core.files import write_text
from components.core.settings import PARAMS, Workspace
from flows.new.insert import insert, render
from flows.new.look import Pictures
from flows.new.table import Choice

Blocks = list[tuple[str, str, dict[str, Any]]]  # section, name, block


def make_blocks(pictures: Pictures, choice: Choice, path: str, *, dataset: str, view: str, run: str) -> Blocks:
    """Return the blocks in the order of params.yaml. ``path``: of the pictures, as the workspace sees them."""
    blocks: Blocks = [
        ("datasets", dataset, {"source": pictures.source, "path": path} | pictures.settings),
        ("views", view, {"dataset": dataset} | choice.view),
    ]
    if choice.run is None:
        return blocks
    blocks.append(("runs", run, {"recipe": choice.run["recipe"], "view": view} | choice.run))
    if choice.detect is not None:
        served = {"run": run, "stage": "export", "role": "detector", "from": f"outputs/detect/{run}/served"}
        blocks += [("links", f"{run}_detector", served), ("detect", run, {"run": run, "view": view} | choice.detect)]
    return blocks


def check_free(workspace: Workspace, blocks: Blocks) -> None:
    """Raise SettingsError for each name that is invalid or taken."""
    taken, params = [], workspace.params
    for section, name, _ in blocks:
        check_name(name)
        if name in getattr(params, section) or f"{section}.{name}" in params.faults:
            taken.append(f"{section}.{name}: {PARAMS} has such a block already; choose another name, or remove the block")
    if taken:
        raise SettingsError("\n".join(taken))


def relative(path: Path, workspace: Workspace) -> str:
    """Return the path as written in params.yaml: relative below the workspace, its repository or beside it, else absolute."""
    path = Path(os.path.abspath(path))
    shown = os.path.relpath(path, workspace.folder)
    root = Path(os.path.normpath(workspace.folder / workspace.params.root))
    near = root.parent == path.parent or root in path.parents or workspace.folder.parent in path.parents
    return Path(shown).as_posix() if near or not shown.startswith("..") else path.as_posix()


def added(text: str, blocks: Blocks) -> str:
    """Return the text of params.yaml with all blocks."""
    for section, name, block in blocks:
        try:
            text = insert(text, section, name, block)
        except ValueError as error:
            raise SettingsError(f"{PARAMS}: {error}") from None
    return text


def shown(blocks: Blocks) -> str:
    """Return the blocks as YAML, by section."""
    return "".join(f"{section}:\n{render({name: block}, indent=2)}" for section, name, block in blocks)


def check(workspace: Workspace, text: str, blocks: Blocks) -> None:
    """Check the new blocks in ``text`` by the code that a run checks them with; SettingsError for all faults."""
    from components.stages.checks import block_faults

    proposed, path = Workspace(workspace.folder), str(workspace.folder / PARAMS)
    params = read_params(read_yaml(workspace.folder / PARAMS, text), path)
    vars(proposed)["params"] = params  # instead of the file's
    names = [f"{section}.{name}" for section, name, _ in blocks]
    structure = [line for name in names for line in params.faults.get(name, ())]
    if faults := [*structure, *block_faults(proposed, names)]:
        raise SettingsError("\n".join(faults))


def write(workspace: Workspace, before: str, text: str) -> None:
    """Replace params.yaml atomically; SettingsError if it was edited since ``before`` was read."""
    file = workspace.folder / PARAMS
    if file.read_text(encoding="utf-8") != before:
        raise SettingsError(f"{file}: edited meanwhile; nothing is written, try again")
    mode = stat.S_IMODE(file.stat().st_mode)
    write_text(file.resolve(), text)
    file.chmod(mode)
