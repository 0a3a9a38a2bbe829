"""Plan: the stale stages of the selected runs, determined in process before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from components.core.settings import Workspace
from flows.dvc import graph_files
from flows.dvc.changes import CODE
from flows.dvc.index import read_graph
from flows.dvc.sharing import unshared
from flows.pipeline.preflight import check_user_folders, refuse_all
from flows.project import Project

IsPublished = Callable[[Workspace, str], object]


@dataclass(frozen=True)
class Planned:
    """A stage that will run: its reasons, the planned stages it waits for, and whether it is forced."""

    name: str
    reasons: tuple[str, ...]
    after: tuple[str, ...]
    force: bool = False

    @property
    def kind(self) -> str:
        """The kind of stage, ``train`` of ``train@digits``."""
        return self.name.partition("@")[0]

    @property
    def block(self) -> str:
        """The name of its block, ``digits`` of ``train@digits``."""
        return self.name.partition("@")[2]


@dataclass(frozen=True)
class PipelinePlan:
    """The selected runs, the planned stages in topological order, and the runs to publish.

    ``ends``: run -> its last stages, after which it is published; ``address``: address of the shared remote, or None;
    ``unshared``: up-to-date stages whose results the remote lacks.
    """

    runs: tuple[str, ...]
    stages: tuple[Planned, ...]
    up_to_date: int
    ends: Mapping[str, tuple[str, ...]]
    unpublished: tuple[str, ...] = ()
    address: str | None = None
    unshared: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to run, publish or share."""
        return not (self.stages or self.unpublished or self.unshared)


def make_plan(project: Project, runs: tuple[str, ...], force: bool, published: IsPublished) -> PipelinePlan:
    """Plan the selected runs. SettingsError for faults of what they need, or if DVC cannot read params.yaml or dvc.yaml.

    A stage is planned if it changed, or if one of its transitive dependencies is planned: its inputs are unknown until that
    one has run. DVC then skips it if its inputs are the same. The outputs of ``code`` are known in advance
    (``flows.dvc.changes``), so that an edit of code affects only the stages that use it.
    """
    graph_files.check(project)
    refuse_all(project, project.params.faults_of(runs))
    check_user_folders(project.workspace, runs)
    last = {run: ends(project.workspace, run) for run in runs}
    graph, reasons, address = read_graph(project, [stage for stages in last.values() for stage in stages])
    own = {run: own_stages(project.workspace, run) for run in runs}
    forced = {stage for names in own.values() for stage in names} if force else set()
    stages: list[Planned] = []
    names = graph.order()
    planned_names: set[str] = set()
    position = {name: number for number, name in enumerate(names)}
    for name in names:
        planned = sorted(planned_names & graph.needs[name], key=position.__getitem__)
        upstream = [stage for stage in planned if stage != CODE]
        why = reasons[name] + ["forced"] * (name in forced)
        if why or upstream:
            why = why or [f"downstream of {', '.join(upstream)}"]
            stages.append(Planned(name, tuple(why), tuple(planned), name in forced))
            planned_names.add(name)
    unpublished = tuple(run for run in runs if planned_names & own[run] or not published(project.workspace, run))
    rest = [name for name in names if name not in planned_names]
    project.texts.save()
    not_sent = unshared(project, address, rest) if address else ()
    return PipelinePlan(runs, tuple(stages), len(rest), last, unpublished, address, not_sent)


def ends(workspace: Workspace, run: str) -> tuple[str, ...]:
    """Return the last stages of a run, after which it is published."""
    detection = workspace.detection_of(run)
    return (f"evaluate@{run}", *([f"ood_table@{detection}"] if detection else []))


def own_stages(workspace: Workspace, run: str) -> set[str]:
    """Return the stages of the run that ``--force`` repeats."""
    detection = workspace.detection_of(run)
    own = {f"{kind}@{run}" for kind in ("train", "export", "evaluate")}
    return own | ({f"{kind}@{detection}" for kind in ("detect", "ood_table")} if detection else set())
