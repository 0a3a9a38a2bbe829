"""Flow ``monitor``: by schedule or on request, watch over new champions, and score new images; report drift, retrain."""

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
from components.registry.promotion.journal import NotDone
from components.registry.tracking import TrackingUnavailable
from flows.decide.decisions import announce, decision_context
from flows.decide.flows import alone_on_server
from flows.decide.watching import look
from flows.pipeline.conclusion import MAX_PICTURE, data_uri
from flows.pipeline.flow import pipeline
from flows.processes import Processes
from flows.project import Project
from flows.services.flow_runs import noted_flow_run, superseded
from flows.services.notify import notify_drift, notify_failure
from flows.services.watch import (
    ALARM,
    NOTHING,
    RETURNED,
    DriftReport,
    MonitorFailed,
    monitored_runs,
    unreported,
    watch,
    watched_runs,
)
from flows.settings import Monitor

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
    """Watch over new champions; score new images with the champion's detector, and test for drift from its validation images.

    runs: runs of params.yaml (default: all of the block monitor, and all with promote.watch). folder: folder of images, or text
    file with one path per line (default: the block's; needs one run). study: a folder of experiments/. project: another clone.
    The flow fails if one run's images cannot be scored; the other runs continue. Its state is named Returned if a champion was
    taken back, Drift if there is any.
    """
    if (why := superseded()) is not None:
        return Cancelled(message=why)
    place, processes = Project(Path(project or ROOT), study), Processes()
    chosen = monitored_runs(place, tuple(runs or ()), folder)
    watched = watched_runs(place, tuple(runs or ())) if folder is None else []
    if not (chosen or watched):
        return Completed(message=NOTHING)
    try:
        with noted_flow_run():
            results = [look_after(place, run) for run in watched]  # first: what follows is about the champion that stays
            return conclude(place, results + [monitor_run(place, run, settings, processes) for run, settings in chosen.items()])
    except BaseException:  # Ctrl-C, or SIGTERM, which Prefect turns into an exception
        processes.stop()
        raise


@dataclass(frozen=True)
class MonitorResult:
    """The ``reports`` on one run's new images, or a message why there are none; ``failed``: an error occurred."""

    words: str
    reports: tuple[DriftReport, ...] = ()
    failed: bool = False
    returned: bool = False

    @property
    def drift(self) -> bool:
        """Whether any report is an alarm."""
        return any(report.drift for report in self.reports)


def look_after(place: Project, run: str) -> MonitorResult:
    """Compare the run's new champion with the one before it in service, and return to that one if it does better."""
    log = get_run_logger()
    try:
        with alone_on_server(place.workspace.registered_name(run)), decision_context(place, run, log.info) as context:
            decision = look(context)
    except (NotDone, TrackingUnavailable) as error:
        log.error("%s", error)
        return MonitorResult(str(error), failed=True)
    log.info("%s", decision.words)
    if decision.entry:
        announce(place, decision, log.info)
    return MonitorResult(decision.words, returned=decision.entry is not None)


def monitor_run(place: Project, run: str, settings: Monitor, processes: Processes) -> MonitorResult:
    """Score the run's new images, and publish the reports."""
    log = get_run_logger()
    try:
        counts = watch(place, run, settings, processes, log.info)
    except MonitorFailed as error:
        log.error("%s: %s", run, error)
        return MonitorResult(f"{run}: {error}", failed=True)
    reports = tuple(unreported(place, run))
    for report in reports:
        publish_report(place, run, report)
    waiting = f"{counts['waiting']} new images wait, {counts['least']} are judged together"
    result = MonitorResult(f"{run}: {'; '.join(map(line, reports)) or waiting}", reports)
    if settings.retrain and result.drift:
        reports[-1].note(retraining="begun")
        reports[-1].note(retraining=retrain(place, run))
    return result


def publish_report(place: Project, run: str, report: DriftReport) -> None:
    """Publish the report as event, artifact and message, then mark it as sent: at-least-once delivery."""
    name, summary = place.workspace.registered_name(run), line(report)
    resource = {"prefect.resource.id": f"darkroom.run.{name}", "prefect.resource.name": name}
    emit_event(EVENT[report.drift], resource, payload={key: report.content[key] for key in IN_EVENT})
    key = f"monitor-{name.replace('_', '-').replace('.', '-').lower()}"  # lower case, digits, dashes only
    create_markdown_artifact(key=key, markdown=page(report), description=f"{name}: {summary}")
    if report.drift:
        notify_drift(place, f"{name}: drift", f"{summary}\nreport: {report.folder}")
    report.note()


def retrain(place: Project, run: str) -> str:
    """Run the pipeline for this run, which trains only if the data have changed; return its state as text."""
    state = pipeline(runs=[run], study=place.study, project=str(place.root), return_state=True)
    get_run_logger().info("retraining %s: %s: %s", run, state.name, state.message)
    return f"{state.name}: {state.message}"


def conclude(place: Project, results: list[MonitorResult]) -> State[Any]:
    """Return the flow run's final state."""
    words = "; ".join(result.words for result in results)
    if any(result.failed for result in results):
        notify_failure(place, "the monitor could not look at all images", words.replace("; ", "\n"))
        return Failed(message=words)
    if any(result.returned for result in results):
        return Completed(message=words, name=RETURNED)
    return Completed(message=words, name=ALARM if any(result.drift for result in results) else "Completed")


def line(report: DriftReport) -> str:
    """Format the report as one line."""
    content = report.content
    verdict = "drift" if report.drift else "no drift"
    figures = f"{content['rejected']:.1%} rejected ({content['rejected_expected']:.1%} expected), p {content['p']:.2g}"
    return f"{verdict} in {content['images']} new images: {figures}, stability index {content['psi']:.3f}"


def page(report: DriftReport) -> str:
    """Format the report as Markdown for Prefect's UI. Names of images are escaped."""
    figures = report.content
    rows = {
        "champion": f"version {figures['version']}, {figures['detector']}, threshold {figures['threshold']:.4g}",
        "images": f"{figures['images']} new, {figures['reference_images']} of validation",
        "rejected": f"{figures['rejected']:.2%}; {figures['rejected_expected']:.2%} expected (p {figures['p_rejected']:.2g})",
        "scores, Kolmogorov-Smirnov": f"p {figures['p_scores']:.2g}",
        "both": f"p {figures['p']:.2g}; alarm below {figures['alarm']:g}",
        "stability index": "{psi:.3f}; {psi_expected:.3f} without drift, {psi_level:g} counts".format(**figures),
        "images prepared by": figures["prepared_by"],
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])
    pictures = [report.folder / name for name in ("histogram.png", "strangest.png")]
    images = [f"![{path.stem}]({data_uri(path)})" for path in pictures if path.is_file() and path.stat().st_size <= MAX_PICTURE]
    strangest, broken = _listed("strangest", figures["strangest"]), _listed("broken", figures["broken_names"])
    title = f"# {figures['name']}, report {figures['number']}: {line(report)}"
    return "\n\n".join(filter(None, [title, table, *images, strangest, broken, f"`{report.folder}`"]))


def _listed(title: str, names: list[str]) -> str:
    """Format names, which have no line breaks, as an indented code block, where Markdown interprets nothing."""
    return "\n".join([f"{title}:", "", *(f"    {name}" for name in names)]) if names else ""
