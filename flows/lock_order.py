"""dvc.lock in one order, whoever ran the stages: DVC appends an entry when a stage ends, and side by side that is chance."""

from __future__ import annotations

from pathlib import Path

from flows import dvc_entries
from flows.project import Project


def sort_lock(project: Project) -> None:
    """Put the workspace's dvc.lock into the order in which a plain ``dvc repro`` from scratch writes it.

    Entries of stages that are gone (DVC keeps them) come last, in the order they had.
    """
    from dvc.repo import Repo, lock_repo
    from dvc.repo.reproduce import get_active_graph, plan_repro

    path = project.folder / "dvc.lock"
    with Repo(str(project.root), _wait_for_lock=True) as repo, lock_repo(repo):
        index = dvc_entries.unrecorded_index(repo, str(project.folder / "dvc.yaml"))
        planned = [stage.name for stage in plan_repro(get_active_graph(index.graph), list(index.stages))]
        position = {name: number for number, name in enumerate(planned)}
        dvc_entries.sort(path, position, Path(repo.tmp_dir))
