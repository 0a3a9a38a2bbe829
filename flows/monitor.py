"""The monitor as a flow: new images before each run's champion, by the clock or on request; drift is told, and may retrain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Cancelled, Completed, Failed

from components.core.settings import ROOT
from flows.drift_page import line, page
from flows.notify import notify_drift, notify_failure
from flows.pipeline import pipeline
from flows.presence import present
from flows.processes import Processes
from flows.project import Project
from flows.settings import Monitor
from flows.superseded import superseded
from flows.watch import ALARM, NOTHING, NotWatched, Report, untold, watch, watched

EVENT = {True: "darkroom.monitor.drift", False: "darkroom.monitor.no-drift"}
IN_EVENT = ("number", "version", "images", "drift", "p", "psi", "rejected", "rejected_expected", "broken")


@flow(name="monitor")
def monitor(
    *,
    runs: list[str] | None = None,
    folder: str | None = None,
    study: str | None = None,
    project: str | None = None,
) -> State[Any]:
    """Score new images with the champion's detector, and compare them with the images that it was validated on.

    runs: of params.yaml (default: all of the block monitor). folder: of images, or a text file that lists one path a line
    (default: the block's; needs one run). study: a folder of experiments/. project: another clone.
    The flow fails if a run's images cannot be judged; the other runs' are. Its state is called Drift if there is some.
    """
    if (why := superseded()) is not None:
        return Cancelled(message=why)
    place, processes = Project(Path(project or ROOT), study), Processes()
    chosen = watched(place, tuple(runs or ()), folder)
    if not chosen:
        return Completed(message=NOTHING)
    try:
        with present():
            return conclude(place, [look(place, run, settings, processes) for run, settings in chosen.items()])
    except BaseException:  # Ctrl-C, or a SIGTERM that Prefect has made an exception of
        processes.stop()
        raise


@dataclass(frozen=True)
class Looked:
    """What came of one run's new images: ``reports``, or words that say why there is none; ``failed``: they are a fault."""

    words: str
    reports: tuple[Report, ...] = ()
    failed: bool = False

    @property
    def drift(self) -> bool:
        """Whether any report is an alarm."""
        return any(report.drift for report in self.reports)


def look(place: Project, run: str, settings: Monitor, processes: Processes) -> Looked:
    """Have the run's new images scored, and tell the reports that have come of them to all who should know."""
    log = get_run_logger()
    try:
        found = watch(place, run, settings, processes, log.info)
    except NotWatched as error:
        log.error("%s: %s", run, error)
        return Looked(f"{run}: {error}", failed=True)
    reports = tuple(untold(place, run))
    for report in reports:
        tell(place, run, report)
    waiting = f"{found['waiting']} new images wait, {found['least']} are judged together"
    looked = Looked(f"{run}: {'; '.join(map(line, reports)) or waiting}", reports)
    if settings.retrain and looked.drift:
        reports[-1].note(retraining="begun")
        reports[-1].note(retraining=retrain(place, run))
    return looked


def tell(place: Project, run: str, report: Report) -> None:
    """Event, artifact, message. The note comes last: a killed flow's report is told again rather than not at all."""
    name, said = place.workspace.registered_name(run), line(report)
    resource = {"prefect.resource.id": f"darkroom.run.{name}", "prefect.resource.name": name}
    emit_event(EVENT[report.drift], resource, payload={key: report.content[key] for key in IN_EVENT})
    key = f"monitor-{name.replace('_', '-').replace('.', '-').lower()}"  # lower case, digits, dashes only
    create_markdown_artifact(key=key, markdown=page(report), description=f"{name}: {said}")
    if report.drift:
        notify_drift(place, f"{name}: drift", f"{said}\nreport: {report.folder}")
    report.note()


def retrain(place: Project, run: str) -> str:
    """The pipeline for this run, in words. It trains where the data have changed; else it finds nothing to do and says so."""
    state = pipeline(runs=[run], study=place.study, project=str(place.root), return_state=True)
    get_run_logger().info("retraining %s: %s: %s", run, state.name, state.message)
    return f"{state.name}: {state.message}"


def conclude(place: Project, found: list[Looked]) -> State[Any]:
    """The flow run's final state."""
    words = "; ".join(looked.words for looked in found)
    if any(looked.failed for looked in found):
        notify_failure(place, "the monitor could not look at all images", words.replace("; ", "\n"))
        return Failed(message=words)
    return Completed(message=words, name=ALARM if any(looked.drift for looked in found) else "Completed")
