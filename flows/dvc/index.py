"""The graph of a workspace, the changes of each stage, the order of dvc.lock: without DVC (``unloaded``), or by DVC in process.

Only the workspace's own dvc.yaml is read. ``Repo.status()`` and the repository's index collect every dvc.yaml below the root:
one study with a broken params.yaml would break the root and all other studies.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.core.config.needs import BLOCKS
from components.core.config.strict import SettingsError
from components.core.inputs.declared import Unusual
from components.core.inputs.record import contradicts
from flows.dvc import entries, lock_merge
from flows.dvc.changes import reasons
from flows.dvc.graph import Graph
from flows.dvc.sharing import remote_address
from flows.dvc.unloaded.status import read_status
from flows.project import Project

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.repo.index import Index
    from dvc.stage import PipelineStage
    from networkx import DiGraph  # type: ignore[import-untyped]


def read_graph(project: Project, targets: Sequence[str]) -> tuple[Graph, dict[str, list[str]], str | None]:
    """Return the graph of the ``targets`` and their dependencies; the reasons why DVC would run each stage, empty if it is up
    to date; the address of the shared remote. SettingsError if DVC fails.
    """
    try:
        graph, why = read_status(project, targets)
    except Unusual:
        return _read_graph(project, targets)
    remote = project.params.pipeline.remote
    return graph, why, None if remote is None else remote_address(_config(project), remote)


def _config(project: Project) -> dict[str, Any]:
    from dvc.config import Config

    return dict(Config(str(project.root / ".dvc")))


def _read_graph(project: Project, targets: Sequence[str]) -> tuple[Graph, dict[str, list[str]], str | None]:
    """Do the work of ``read_graph`` by DVC."""
    logging.getLogger("dvc").setLevel(logging.ERROR)
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo

    path = str(project.folder / "dvc.yaml")
    try:
        with Repo(str(project.root), _wait_for_lock=True) as repo, lock_repo(repo):
            entries.install()
            index = _unrecorded_index(repo, path, project.params.faults)
            graph = _by_name(index.graph).of(targets)
            lock = _recorded(repo, path)
            stages = [stage for stage in index.stages if stage.name in graph.needs]
            for stage in stages:
                _fill(stage, lock.get(stage.name))
            address = remote_address(repo.config, project.params.pipeline.remote)
            wrong = {stage.name for stage in stages if contradicts(stage.name, lock.get(stage.name) or {})}
            return graph, reasons(project.workspace, stages, wrong), address
    except (DvcException, OSError) as error:
        conflict = lock_merge.conflict(project.folder / "dvc.lock")
        if conflict:
            raise SettingsError(conflict) from None
        cause = f": {error.__cause__}" if error.__cause__ else ""
        hint = "; `python -m flows doctor --fix` keeps its whole entries" if "dvc.lock" in str(error) else ""
        raise SettingsError(f"DVC cannot plan {path}: {error}{cause}{hint}") from error


def _by_name(graph: DiGraph) -> Graph:
    """Return DVC's graph over names."""
    return Graph({stage.name: frozenset(needed.name for needed in graph.successors(stage)) for stage in graph})


def _unrecorded_index(repo: Repo, path: str, faults: Container[str]) -> Index:
    """Load the stages of a dvc.yaml without dvc.lock, which the graph does not need; ``_fill`` adds its entries.

    Stages of the blocks with ``faults`` are left out: DVC cannot even read those that lack a key.
    """
    from dvc.dvcfile import load_file
    from dvc.repo.index import Index

    file = load_file(repo, path)
    vars(file)["lockfile_contents"] = {}
    blocks = {name: "{}.{}".format(BLOCKS.get(name.partition("@")[0], ""), name.partition("@")[2]) for name in file.stages}
    return Index(repo, stages=[file.stages[name] for name, block in blocks.items() if block not in faults])


def _recorded(repo: Repo, path: str) -> Mapping[str, Any]:
    """Return stage -> its entry in the dvc.lock beside the dvc.yaml at ``path``."""
    from dvc.dvcfile import load_file

    stages: Mapping[str, Any] = load_file(repo, path)._lockfile.load().get("stages", {})
    return stages


def _fill(stage: PipelineStage, entry: dict[str, Any] | None) -> None:
    """Add the stage's entry in dvc.lock."""
    from dvc.stage.loader import StageLoader

    if entry:
        stage.cmd_changed = entry.get("cmd") != stage.cmd
        StageLoader.fill_from_lock(stage, entry)


def sort_lock(project: Project) -> None:
    """Sort the workspace's dvc.lock into the order in which a plain ``dvc repro`` from scratch writes it.

    DVC appends an entry when a stage ends, so the order is random if stages run in parallel. Entries of stages that no longer
    exist (DVC keeps them) come last, in their present order.
    """
    from dvc.repo import Repo, lock_repo
    from dvc.repo.reproduce import get_active_graph, plan_repro

    path = project.folder / "dvc.lock"
    with Repo(str(project.root), _wait_for_lock=True) as repo, lock_repo(repo):
        index = _unrecorded_index(repo, str(project.folder / "dvc.yaml"), project.params.faults)
        planned = [stage.name for stage in plan_repro(get_active_graph(index.graph), list(index.stages))]
        position = {name: number for number, name in enumerate(planned)}
        entries.sort(path, position, Path(repo.tmp_dir))
