"""The monitor without Prefect: the monitored runs, the command that scores their new images, and the unsent reports.

Reports are delivered at least once: one is marked as sent after all receivers have it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.config.strict import SettingsError, named
from components.core.files import write_json
from flows.pipeline.report import read
from flows.processes import Log, Processes
from flows.project import Project, for_children
from flows.settings import Monitor, is_watched, monitors

NOTHING = (
    "nothing is monitored: params.yaml has no block monitor, for example {lcnet_glyphs: {folder: incoming/glyphs}},"
    " and no run with promote: {watch: 24h}"
)
REPORTED = "told.json"  # marks a report's folder as sent
ALARM = "Drift"  # state name of a flow run that found drift
RETURNED = "Returned"  # state name of a flow run that took a champion back


class MonitorFailed(Exception):
    """The command failed; the message says why."""


@dataclass(frozen=True)
class DriftReport:
    """A report. ``content``: the report.json in ``folder``, written by components/registry/monitor/report.py."""

    folder: Path
    content: dict[str, Any]

    @property
    def drift(self) -> bool:
        """Whether it is an alarm."""
        return bool(self.content["drift"])

    def note(self, **facts: Any) -> None:
        """Mark the report as sent; ``facts``: what followed, such as a retraining."""
        write_json(self.folder / REPORTED, facts)


def monitored_runs(project: Project, runs: tuple[str, ...], folder: str | None) -> dict[str, Monitor]:
    """Return run -> its monitor, for ``runs`` or all of the block. ``folder`` replaces the block's, for one run.

    SettingsError if a run is unknown, has no folder of images, or the folder does not exist.
    """
    known = monitors(project.params)
    if folder is not None and len(runs) != 1:
        raise SettingsError("--folder: the images are those of one run: name it")
    for run in runs:
        named(project.params.runs, run, "RUN")
        if folder is None and run not in known and not is_watched(project.params, run):
            raise SettingsError(f"monitor.{run}: missing; {run}: {{folder: incoming/{run}}} says where its new images are")
    monitored = {run: known[run] for run in runs or known if run in known}
    if folder is not None:
        (run,) = runs
        monitored = {run: monitored[run].model_copy(update={"folder": folder}) if run in monitored else Monitor(folder=folder)}
    for run, monitor in monitored.items():
        if not (project.folder / monitor.folder).exists():
            raise SettingsError(f"monitor.{run}.folder: {monitor.folder!r} does not exist in {project.folder}")
    return monitored


def watched_runs(project: Project, runs: tuple[str, ...]) -> list[str]:
    """Return those of ``runs``, or of all, whose new champions are watched; runs with faults are left out."""
    faulty = project.params.faults
    return [run for run in runs or project.params.runs if f"runs.{run}" not in faulty and is_watched(project.params, run)]


def watch(project: Project, run: str, monitor: Monitor, processes: Processes, log: Log) -> dict[str, Any]:
    """Score the run's new images in a separate process, which runs the champion's code. MonitorFailed if it fails."""
    command = [sys.executable, "-m", "components.registry.monitor", run, "--folder", monitor.folder]
    command += ["--least", str(monitor.least), "--alarm", str(monitor.alarm), "--psi", str(monitor.psi)]
    timeout = project.params.pipeline.stage_timeout
    ended = processes.run(command, folder=project.folder, env=for_children(project), log=log, timeout=timeout)
    if ended.timed_out:
        raise MonitorFailed(f"ran past {timeout:g} s (pipeline.stage_timeout)")
    if ended.code != 0:
        raise MonitorFailed(f"{ended.error} (exit code {ended.code})")
    return read(home(project, run) / "last.json")


def unreported(project: Project, run: str) -> Iterator[DriftReport]:
    """Yield the unsent reports, oldest first. Call it after ``watch``, which removes unfinished ones."""
    folders = [folder for folder in (home(project, run) / "reports").glob("*") if folder.name.isdigit()]
    for folder in sorted(folders, key=lambda folder: int(folder.name)):
        if not (folder / REPORTED).exists():
            yield DriftReport(folder, read(folder / "report.json"))


def home(project: Project, run: str) -> Path:
    """Return the monitor's folder for the run."""
    return settings.WORK / "monitor" / project.workspace.registered_name(run)
