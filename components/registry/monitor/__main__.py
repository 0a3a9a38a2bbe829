"""``python -m components.registry.monitor <run> --folder F --least N --alarm A --psi L``: score new images.

Score them with the run's champion, and write a report once at least N images are in no report yet. The counts are written to
``.work/monitor/<registered name>/last.json``.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.command import run_command
from components.core import settings
from components.core.config.strict import must_exist
from components.core.files import locked, write_json
from components.core.settings import Workspace
from components.registry.monitor.champion import Champion, find_champion
from components.registry.monitor.drift import Rule
from components.registry.monitor.incoming import base_of, incoming
from components.registry.monitor.report import home, remove_unfinished, write_report
from components.registry.monitor.scan import Scan
from components.registry.monitor.score_database import ScoreDatabase


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m components.registry.monitor", description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--folder", type=Path, required=True, help="folder of images, or text file with one path per line")
    parser.add_argument("--least", type=int, required=True, help="minimum number of new images in a report")
    parser.add_argument("--alarm", type=float, required=True, help="false-alarm rate per report")
    parser.add_argument("--psi", type=float, required=True, help="population stability index from which a difference is drift")
    args = parser.parse_args()
    workspace = Workspace()
    must_exist(args.run, workspace.params.runs, "run")
    # MLflow downloads a version from a distant store and leaves it in the temporary folder.
    with tempfile.TemporaryDirectory(prefix="darkroom-monitor-") as scratch:
        tempfile.tempdir = scratch
        with locked(settings.WORK / "locks" / f"monitor-{workspace.registered_name(args.run)}"):
            monitor(find_champion(workspace, args.run), args.folder, Rule(args.least, args.alarm, args.psi))


def monitor(champion: Champion, place: Path, rule: Rule) -> dict[str, Any]:
    """Score new images, write a report if enough wait, and return the content of ``last.json``. Hold the model's lock."""
    folder = home(champion.name)
    database = ScoreDatabase(folder / "memory.sqlite", champion.model)
    try:
        remove_unfinished(champion.name, database.last_report())
        base = base_of(place)
        tally = Scan(champion, database, base).take_in(incoming(place))
        waiting = len(database.scores())
        report = write_report(champion, database, tally, base, rule) if waiting >= rule.least else None
    finally:
        database.close()
    summary = {"version": champion.version, "detector": champion.detector, "prepared_by": champion.prepared_by, **asdict(tally)}
    summary |= {"waiting": 0 if report else waiting, "least": rule.least, "report": report and report["number"]}
    write_json(folder / "last.json", summary)
    print(f"{champion.name} version {champion.version} ({champion.detector}): {describe(summary)}", flush=True)
    for line in tally.broken_names:
        print(f"broken: {line}")
    if report:
        print(judgement(report))
    return summary


def describe(summary: dict[str, Any]) -> str:
    """Format the counts of ``monitor`` as one line."""
    counts = "{scored} of {found} images scored, {seen} seen before, {broken} broken".format(**summary)
    missing = f", {summary['missing']} gone" if summary["missing"] else ""
    waiting = "{waiting} wait, {least} are judged together".format(**summary)
    return f"{counts}{missing}; " + (f"report {summary['report']}" if summary["report"] else waiting)


def judgement(report: dict[str, Any]) -> str:
    """Format the figures of a report as one line."""
    verdict = "DRIFT" if report["drift"] else "no drift"
    rejected = f"{report['rejected']:.2%} rejected ({report['rejected_expected']:.2%} expected)"
    index = f"stability index {report['psi']:.3f} ({report['psi_expected']:.3f} without drift, {report['psi_level']:g} counts)"
    return f"{verdict} in {report['images']} images: {rejected}, {index}, p {report['p']:.2g} (alarm below {report['alarm']:g})"


if __name__ == "__main__":
    run_command(main)
