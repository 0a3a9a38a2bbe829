"""What will run: the stale stages of the chosen runs, found in process (a fifth of a second) before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from components.core.settings import Workspace
from flows.dvc import graph_files
from flows.dvc.changes import CODE
from flows.dvc.index import order, read_graph
from flows.dvc.sharing import unshared
from flows.pipeline.preflight import check_user_folders
from flows.project import Project

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
    """The plan for the chosen runs. SettingsError if DVC cannot read the workspace's params.yaml or dvc.yaml.

    A stage is planned if it changed, or if one that it depends on, directly or not, is planned: DVC itself cannot tell what
    follows from a stage before that stage has run. One whose inputs turn out the same is then skipped by DVC. What ``code``
    will write is known beforehand (``flows.dvc.changes``): not every edit of code concerns every stage.
    """
    graph_files.check(project)
    check_user_folders(project.workspace)
    graph, reasons, address = read_graph(project, [stage for run in runs for stage in ends(run)])
    forced = {f"{kind}@{run}" for kind in FORCED for run in runs} if force else set()
    stages: list[Planned] = []
    names = order(graph)
    for name in names:
        planned = [stage.name for stage in stages if graph.has_edge(name, stage.name)]
        upstream = [stage for stage in planned if stage != CODE]
        why = reasons[name] + ["forced"] * (name in forced)
        if why or upstream:
            why = why or [f"downstream of {', '.join(upstream)}"]
            stages.append(Planned(name, tuple(why), tuple(planned), name in forced))
    stale = {stage.block for stage in stages if stage.kind in FORCED}
    unpublished = tuple(run for run in runs if run in stale or not published(project.workspace, run))
    chosen = {stage.name for stage in stages}
    rest = [name for name in names if name not in chosen]
    not_sent = unshared(project, address, rest) if address else ()
    return Plan(runs, tuple(stages), len(rest), unpublished, address, not_sent)


def ends(run: str) -> tuple[str, ...]:
    """The stages that a run ends with: it is published after them."""
    return tuple(f"{kind}@{run}" for kind in LAST)
