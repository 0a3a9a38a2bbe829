"""``python -m components.registry.monitor <run> --folder F --least N --alarm A --psi L``: new images before the run's champion.

Scores what has come in, and writes a report once at least N images wait that no report has judged. What was found stands in
``.work/monitor/<registered name>/last.json``.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.command import run_command
from components.core import settings
from components.core.files import locked, write_json
from components.core.settings import Workspace
from components.core.strict import must_exist
from components.registry.monitor.champion import Champion, find_champion
from components.registry.monitor.drift import Rule
from components.registry.monitor.incoming import base_of, incoming
from components.registry.monitor.memory import Memory
from components.registry.monitor.report import home, remove_unfinished, write_report
from components.registry.monitor.scan import Scan


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m components.registry.monitor", description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--folder", type=Path, required=True, help="of images, or a text file that lists one path a line")
    parser.add_argument("--least", type=int, required=True, help="smallest number of new images that is judged")
    parser.add_argument("--alarm", type=float, required=True, help="false-alarm rate of one report")
    parser.add_argument("--psi", type=float, required=True, help="population stability index from which a difference counts")
    given = parser.parse_args()
    workspace = Workspace()
    must_exist(given.run, workspace.params.runs, "run")
    # MLflow downloads a version from a distant store and leaves it in the temporary folder.
    with tempfile.TemporaryDirectory(prefix="darkroom-monitor-") as scratch:
        tempfile.tempdir = scratch
        with locked(settings.WORK / "locks" / f"monitor-{workspace.registered_name(given.run)}"):
            monitor(find_champion(workspace, given.run), given.folder, Rule(given.least, given.alarm, given.psi))


def monitor(champion: Champion, place: Path, rule: Rule) -> dict[str, Any]:
    """Score, judge where enough images wait, and note what was found; it is returned. Hold the model's lock around it."""
    folder = home(champion.name)
    memory = Memory(folder / "memory.sqlite", champion.model)
    try:
        remove_unfinished(champion.name, memory.last_report())
        base = base_of(place)
        tally = Scan(champion, memory, base).take_in(incoming(place))
        waiting = len(memory.scores())
        report = write_report(champion, memory, tally, base, rule) if waiting >= rule.least else None
    finally:
        memory.close()
    found = {"version": champion.version, "detector": champion.detector, "prepared_by": champion.prepared_by, **asdict(tally)}
    found |= {"waiting": 0 if report else waiting, "least": rule.least, "report": report and report["number"]}
    write_json(folder / "last.json", found)
    print(f"{champion.name} version {champion.version} ({champion.detector}): {told(found)}", flush=True)
    for line in tally.broken_names:
        print(f"broken: {line}")
    if report:
        print(judgement(report))
    return found


def told(found: dict[str, Any]) -> str:
    """What was found, as one line."""
    counts = f"{found['scored']} of {found['found']} images scored, {found['seen']} seen before, {found['broken']} broken"
    missing = f", {found['missing']} gone" if found["missing"] else ""
    return f"{counts}{missing}; " + (
        f"report {found['report']}" if found["report"] else f"{found['waiting']} wait, {found['least']} are judged together"
    )


def judgement(report: dict[str, Any]) -> str:
    """The figures of a report, as one line."""
    verdict = "DRIFT" if report["drift"] else "no drift"
    rejected = f"{report['rejected']:.2%} rejected ({report['rejected_expected']:.2%} expected)"
    index = f"stability index {report['psi']:.3f} ({report['psi_expected']:.3f} without drift, {report['psi_level']:g} counts)"
    return f"{verdict} in {report['images']} images: {rejected}, {index}, p {report['p']:.2g} (alarm below {report['alarm']:g})"


if __name__ == "__main__":
    run_command(main)
