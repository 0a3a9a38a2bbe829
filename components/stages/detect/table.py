"""Stage ``ood_table``: tabulate all detectors and other views of a block of ``detect``."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

from components.core.files import fresh_folder, write_json
from components.core.settings import Workspace
from components.stages.detect.figures import FIGURES, Row, Scores, aligned, compact_rows, metrics, read_scores, table_rows

COLUMNS = ("detector", "view", "kind", "images", *FIGURES)


def run(workspace: Workspace, name: str) -> None:
    """Read all scores of the block, write its table and print it."""
    scores = read_scores(workspace.folder / "outputs" / "ood" / name, workspace.ood(name))
    rows = table_rows(scores)
    write_table(workspace.folder / "outputs" / "ood_table" / name, scores, rows)
    if not rows:
        print(f"{name}: no other views, no table")
        return
    print(f"{name}: AUROC of each detector against each view\n\n{aligned(compact_rows(rows))}\n")


def write_table(out: Path, scores: Scores, rows: list[Row]) -> None:
    """Write metrics.json, report/ (tables and pictures) and plots/ (pictures for ``dvc plots``)."""
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
    """Write the rows as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
