"""What the view's report found in the data: duplicates, doubtful labels, odd pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.core.files import read_json
from components.stages.evaluate.report.images import uri
from components.stages.evaluate.report.page import Block, Card, Gallery, Section, Table, Text, cell
from components.stages.evaluate.report.pictures import Pictures
from components.stages.views.view import View

SHOWN = 24  # pictures, and rows of each table


def quality_section(workspace: Path, view: View) -> Section:
    """Return the findings of ``outputs/view_report/<view>/quality.json``: the pictures are shown, if the view has them."""
    found = read_json(workspace / "outputs" / "view_report" / view.folder.name / "quality.json")
    blocks: list[Block] = [Text(found["summary"], listed=True)] if found.get("summary") else []
    blocks += _doubtful(found.get("label_errors", {}).get("suspects", []), workspace, view)
    for name, key, caption in (
        ("duplicates", "pairs", "duplicates, and pictures that are nearly the same"),
        ("odd", "pictures", "odd pictures"),
    ):
        if rows := found.get(name, {}).get(key, []):
            blocks.append(Table(rows[:SHOWN], caption, max(0, len(rows) - SHOWN)))
    if found and not blocks:
        reason = found.get("label_errors", {}).get("not_judged")
        labels = f"; labels were not judged: {reason}" if reason else ""
        blocks.append(Text([f"No duplicates and no odd pictures among {cell(found.get('pictures'))}{labels}."]))
    return Section("Data quality", blocks)


def _doubtful(suspects: list[dict[str, Any]], workspace: Path, view: View) -> list[Gallery]:
    """Return the labels that a classifier of the pictures' own features doubts, the most doubtful first."""
    pictures = {split: Pictures.of(workspace, view, split) for split in view.facts.counts}
    cards = []
    for line in suspects[:SHOWN]:
        lines = [f"is {line['label']}, {line['split']}", f"perhaps {line['suggested']}"]
        bars = [
            (line["suggested"], float(line["probability_suggested"]), False),
            (line["label"], float(line["probability"]), True),
        ]
        cards.append(Card([uri(pictures[line["split"]].pixels(line["row"]))], line["name"], lines, bars))
    words = "labels that the pictures themselves speak against (confident learning across all splits, before any training)"
    return [Gallery(cards, words)] if cards else []
