"""What DVC would run: the stale stages of the chosen runs, asked in process (a fifth of a second) before anything starts.

Only the workspace's own dvc.yaml is read. ``Repo.status()`` and the repository's index collect every dvc.yaml below the root:
one study with a broken params.yaml would stop the root and all other studies.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.settings import Workspace
from components.core.strict import SettingsError
from components.stages.code.stage import contents
from flows import dvc_entries
from flows.project import Project
from flows.shared import remote_address, unshared
from flows.user_folders import check_user_folders

if TYPE_CHECKING:
    from dvc.stage import PipelineStage
    from networkx import DiGraph  # type: ignore[import-untyped]

CODE, CODE_FOLDER = "code", "outputs/code"
IsPublished = Callable[[Workspace, str], object]

FORCED = ("train", "detect", "export", "evaluate", "ood_table")  # a run's own chain: what --force runs again
LAST = ("evaluate", "ood_table")  # what a run ends with, and is published after


@dataclass(frozen=True)
class Planned:
    """A stage that will run: why, after which other planned stages, and whether though nothing changed."""

    name: str
    reasons: tuple[str, ...]
    after: tuple[str, ...]
    force: bool = False

    @property
    def kind(self) -> str:
        """``train`` of ``train@digits``."""
        return self.name.partition("@")[0]

    @property
    def block(self) -> str:
        """``digits`` of ``train@digits``."""
        return self.name.partition("@")[2]


@dataclass(frozen=True)
class Plan:
    """The chosen runs, the planned stages in an order that respects their dependencies, and the runs to publish.

    ``address``: of the remote that clones share, or None; ``unshared``: stages up to date whose results it lacks.
    """

    runs: tuple[str, ...]
    stages: tuple[Planned, ...]
    up_to_date: int
    unpublished: tuple[str, ...] = ()
    address: str | None = None
    unshared: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Nothing to run, to publish, or to share."""
        return not (self.stages or self.unpublished or self.unshared)


def make_plan(project: Project, runs: tuple[str, ...], force: bool, published: IsPublished) -> Plan:
    """The plan for the chosen runs. SettingsError where DVC cannot read the workspace's params.yaml or dvc.yaml.

    A stage is planned if it changed, or if one that it depends on, directly or not, is planned: DVC itself cannot tell what
    follows from a stage before that stage has run. One whose inputs turn out the same is then skipped by DVC. What ``code``
    will write can be told beforehand (``code_changes``): not every edit of code is of every stage.
    """
    check_user_folders(project.workspace)
    graph, status, address = _ask_dvc(project, runs)
    reasons = {name: _reasons(entries, graph.nodes[name]["recorded"]) for name, entries in status.items() if entries}
    forced = {f"{kind}@{run}" for kind in FORCED for run in runs} if force else set()
    stages: list[Planned] = []
    order = _order(graph)
    for name in order:
        planned = [stage.name for stage in stages if graph.has_edge(name, stage.name)]
        upstream = [stage for stage in planned if stage != CODE]
        why = reasons.get(name, []) + ["forced"] * (name in forced)
        if why or upstream:
            why = why or [f"downstream of {', '.join(upstream)}"]
            stages.append(Planned(name, tuple(why), tuple(planned), name in forced))
    stale = {stage.block for stage in stages if stage.kind in FORCED}
    unpublished = tuple(run for run in runs if run in stale or not published(project.workspace, run))
    chosen = {stage.name for stage in stages}
    rest = [name for name in order if name not in chosen]
    kept_here = unshared(project, address, rest) if address else ()
    return Plan(runs, tuple(stages), len(rest), unpublished, address, kept_here)


def ends(run: str) -> tuple[str, ...]:
    """The stages that a run ends with: it is published after them."""
    return tuple(f"{kind}@{run}" for kind in LAST)


def _ask_dvc(project: Project, runs: tuple[str, ...]) -> tuple[DiGraph, dict[str, list[Any]], str | None]:
    """The graph of ``runs`` and what they depend on, over stage names (edges point to dependencies; ``recorded``: whether
    dvc.lock knows the stage); each stage's status; the address of the remote that clones share.
    """
    logging.getLogger("dvc").setLevel(logging.ERROR)
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo

    path = str(project.folder / "dvc.yaml")
    try:
        with Repo(str(project.root), _wait_for_lock=True) as repo, lock_repo(repo):
            dvc_entries.install()
            index = dvc_entries.unrecorded_index(repo, path)
            graph = _by_name(index.graph, [stage for run in runs for stage in ends(run)])
            entries = dvc_entries.recorded(repo, path)
            stages = [stage for stage in index.stages if stage.name in graph]
            for stage in stages:
                dvc_entries.fill(stage, entries.get(stage.name))
                graph.nodes[stage.name]["recorded"] = any(out.hash_info for out in stage.outs)
            address = remote_address(repo, project.params.pipeline.remote)
            status = {stage.name: _status(stage) for stage in stages}
            if CODE in graph:
                status = code_changes(project.workspace, stages, status)
            return graph, status, address
    except (DvcException, OSError) as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        hint = "; `python -m flows doctor --fix` keeps what of it is whole" if "dvc.lock" in str(error) else ""
        raise SettingsError(f"DVC cannot plan {path}: {error}{cause}{hint}") from error


def _by_name(graph: DiGraph, targets: Iterable[str]) -> DiGraph:
    """``graph`` over names, restricted to the targets and what they need."""
    import networkx as nx

    names = nx.DiGraph()
    for position, stage in enumerate(graph):
        names.add_node(stage.name, position=position)
    names.add_edges_from((stage.name, needed.name) for stage, needed in graph.edges)
    wanted = set(targets)
    missing = wanted - set(names)
    if missing:
        raise SettingsError(f"dvc.yaml has no stage {', '.join(sorted(missing))}")
    return names.subgraph(wanted.union(*(nx.descendants(names, target) for target in wanted)))


def _order(graph: DiGraph) -> list[str]:
    """Dependencies first; otherwise as in dvc.yaml."""
    import networkx as nx

    return list(nx.lexicographical_topological_sort(graph.reverse(), key=lambda name: graph.nodes[name]["position"]))


def _status(stage: PipelineStage) -> list[Any]:
    """What DVC's status says of the stage; a stage whose files another DVC process holds is planned, and waits for its turn."""
    from dvc.lock import LockError

    try:
        found: list[Any] = stage.status(check_updates=False).get(stage.addressing, [])
    except LockError:
        return ["held by another DVC process"]
    return found


def code_changes(workspace: Workspace, stages: Iterable[PipelineStage], status: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """``status`` with what stage ``code`` will write instead of what lies in outputs/code.

    A stage whose recorded digest of code is the one that will be written has not changed, whatever lies there now.
    """
    try:
        texts = contents(workspace)
    except SettingsError:  # stage `code` will say so itself
        return status
    changed: dict[str, list[Any]] = {}
    for stage in stages:
        entries = [_without_code(entry) for entry in status[stage.name]]
        for dep in stage.deps:
            file = str(dep.def_path).removeprefix(f"{CODE_FOLDER}/")
            if file in texts and dep.hash_info and dep.hash_info.value != _md5(texts[file]):
                entries.append(_edited(workspace.folder / CODE_FOLDER / file, texts[file]))
        changed[stage.name] = [entry for entry in entries if entry]
    return changed


def _without_code(entry: Any) -> Any:
    """A status entry without the changes of files in outputs/code."""
    deps = entry.get("changed deps") if isinstance(entry, dict) else None
    if deps is None:
        return entry
    others = {name: change for name, change in deps.items() if not str(name).startswith(f"{CODE_FOLDER}/")}
    return {what: changes for what, changes in (entry | {"changed deps": others}).items() if changes}


def _edited(path: Path, text: str) -> str:
    """Which files of code differ from those of the digests at ``path``, where these can be read."""
    new = json.loads(text)
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "code changed"
    files = sorted(file for file in {*old, *new} if old.get(file) != new.get(file))
    return f"code changed: {', '.join(files[:3])}{', ...' if len(files) > 3 else ''}" if files else "code changed"


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _reasons(status: list[Any], recorded: bool) -> list[str]:
    """DVC's status entries, ``{"changed deps": {"params.yaml": {"runs.a.train": "modified"}}}`` and so on, in words."""
    if not recorded:
        return ["never run"]
    found: list[str] = []
    for entry in status:
        if isinstance(entry, str):
            found.append(entry)
            continue
        for what, changes in entry.items():
            found += _changes(what.removeprefix("changed ").removesuffix("s"), changes)
    return found


def _changes(what: str, changes: dict[str, Any]) -> list[str]:
    """``what`` is "dep" or "out"; a dep that is a mapping is a file of parameters."""
    found = []
    for name, change in changes.items():
        if isinstance(change, dict):
            found += [f"{how} param {key}" for key, how in change.items()]
        else:
            found.append(f"{change} {what} {name}")
    return found
