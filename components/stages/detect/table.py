"""``python -m components.stages.detect.table <run>``: tabulate all detectors and other views of a run."""

import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from components.core.runtime import argument, fresh_folder, run_command
from components.core.settings import Workspace
from components.stages.detect.figures import FIGURES, Row, Scores, aligned, compact_rows, metrics, read_scores, table_rows
from components.stages.detect.files import write_json

COLUMNS = ("detector", "view", "kind", "images", *FIGURES)


def main() -> None:
    run = argument("python -m components.stages.detect.table <run>")
    workspace = Workspace()
    scores = read_scores(workspace.folder / "outputs" / "ood" / run)
    rows = table_rows(scores)
    write_table(workspace.folder / "outputs" / "ood_table" / run, scores, rows)
    if not rows:
        print(f"{run}: no other views, no table")
        return
    print(f"{run}: AUROC of each detector against each view\n\n{aligned(compact_rows(rows))}\n")
    publish(workspace, run)


def write_table(out: Path, scores: Scores, rows: list[Row]) -> None:
    """metrics.json; report/ with tables and pictures; plots/ with the pictures, for ``dvc plots``."""
    compact = compact_rows(rows)
    with fresh_folder(out / "report") as report, fresh_folder(out / "plots") as plots:
        write_csv(report / "ood.csv", COLUMNS, rows)
        write_csv(report / "auroc.csv", list(compact[0]) if compact else ["detector"], compact)
        unfitted = [{"detector": name, "reason": reason} for name, reason in scores.unfitted.items()]
        write_csv(report / "unfitted.csv", ("detector", "reason"), unfitted)
        if compact:
            from components.stages.detect.plots import draw

            for picture in draw(report, scores, compact):
                shutil.copyfile(picture, plots / picture.name)
    write_json(out / "metrics.json", metrics(rows))


def write_csv(path: Path, columns: Sequence[str], rows: list[Row]) -> None:
    """A line a row."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def publish(workspace: Workspace, run: str) -> None:
    """Record the table with the run in MLflow; a server that does not answer is a warning, never a lost result."""
    from components.registry.tracking import TrackingUnavailable
    from components.registry.tracking import publish as record

    try:
        print(f"{run}: published as version {record(workspace, run).version}")
    except TrackingUnavailable as error:
        print(f"warning: {error}; the results are safe, the next flow run publishes them", file=sys.stderr)


if __name__ == "__main__":
    run_command(main)
