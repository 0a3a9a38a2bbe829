"""Write a report: report.json, table.csv and two figures in ``.work/monitor/<registered name>/reports/<number>``."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.core import settings
from components.core.files import fresh_folder
from components.registry.monitor.champion import Champion
from components.registry.monitor.drift import Drift, Rule, judge
from components.registry.monitor.incoming import shown
from components.registry.monitor.pictures import write_histogram, write_strangest
from components.registry.monitor.scan import Tally
from components.registry.monitor.score_database import ScoreDatabase

SHOWN = 36  # images with the lowest scores


def home(name: str) -> Path:
    """Return the monitor's folder for a registered model."""
    return settings.WORK / "monitor" / name


def remove_unfinished(name: str, last: int) -> None:
    """Remove reports after ``last``: a killed process left them, and their images still wait."""
    for folder in (home(name) / "reports").glob("*"):
        if not folder.name.isdigit() or int(folder.name) > last:
            shutil.rmtree(folder)


def write_report(champion: Champion, database: ScoreDatabase, tally: Tally, base: bytes, rule: Rule) -> dict[str, Any]:
    """Judge all waiting images, write the report and add it to the database; return the content of report.json.

    The folder is complete before the database names it.
    """
    number, now = database.last_report() + 1, datetime.now(UTC).isoformat(timespec="seconds")
    new = database.scores()
    drift = judge(champion.reference, new, champion.threshold, rule)
    content = _content(champion, drift, number, len(new)) | {"time": now, "alarm": rule.alarm, "psi_level": rule.psi}
    title = f"{champion.name}, version {champion.version}, report {number}"
    with fresh_folder(home(champion.name) / "reports" / str(number)) as folder:
        strangest = list(database.strangest(SHOWN))
        content |= asdict(tally) | {"strangest": [shown(image.path, base) for image in strangest]}
        text = json.dumps(content, indent=1, sort_keys=True)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
        _write_table(folder / "table.csv", database, base)
        write_histogram(folder / "histogram.png", title, champion.reference, new, champion.threshold)
        words = f"{title}: the {len(strangest)} strangest of {len(new):,} new images, threshold {champion.threshold:.4g}"
        write_strangest(folder / "strangest.png", words, strangest, champion.decode)
    database.judged(number, now)
    return content


def _content(champion: Champion, drift: Drift, number: int, images: int) -> dict[str, Any]:
    bins = {name: getattr(drift.bins, name).tolist() for name in ("edges", "reference", "new")}
    return {
        **asdict(drift),
        "bins": bins,
        "number": number,
        "name": champion.name,
        "version": champion.version,
        "detector": champion.detector,
        "threshold": champion.threshold,
        "prepared_by": champion.prepared_by,
        "images": images,
        "reference_images": len(champion.reference),
    }


def _write_table(path: Path, database: ScoreDatabase, base: bytes) -> None:
    """Write one line per image, lowest score first."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "ood_score", "is_ood", "class_name", "probability"])
        for image in database.strangest():
            assert image.probability is not None
            line = [image.score, bool(image.rejected), image.class_name, f"{image.probability:.6f}"]
            table.writerow([shown(image.path, base), *line])
