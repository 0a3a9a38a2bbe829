"""Write the findings: ``quality.json`` and three tables, each of which is there if it has a line.

``duplicates.csv``: pairs of pictures; ``label_errors.csv``: doubtful labels, the most doubtful first; ``odd.csv``: blank, dark,
bright, elongated and small pictures. ``quality.json`` has the counts, the first of each table, and ``summary``, the lines that
the stage prints.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.core.files import write_json, write_text
from components.stages.augment.quality import features
from components.stages.augment.quality.pictures import WORDS
from components.stages.augment.quality.splits import APART
from components.stages.augment.report.findings import FEW, Findings

LISTED = 100  # of a table in quality.json
NAMED = 3  # in a line of the summary
Line = Mapping[str, Any]


def write_quality(folder: Path, found: Findings, sizes: np.ndarray) -> None:
    """Write the files. ``sizes`` int [N, 2]: (height, width) of the pictures in the dataset."""
    tables = {"duplicates": _pairs(found), "label_errors": _doubtful(found), "odd": _odd(found)}
    content = {
        "summary": _summary(found),
        "pictures": len(found.places),
        "sizes": _sizes(sizes),
        "classes_with_few_pictures": found.few,
        "classes_without_test_picture": found.untested,
        "told_from_train": {split: round(value, 3) for split, value in found.apart.items()},
        "duplicates": _pair_counts(found) | {"pairs": tables["duplicates"][:LISTED]},
        "label_errors": _judgement(found) | {"suspects": tables["label_errors"][:LISTED]},
        "odd": {fault: len(rows) for fault, rows in found.odd.items()} | {"pictures": tables["odd"][:LISTED]},
    }
    write_json(folder / "quality.json", content, ensure_ascii=False)
    for name, table in tables.items():
        if table:
            write_text(folder / f"{name}.csv", _csv(table))


def _pairs(found: Findings) -> list[Line]:
    lines: list[Line] = []
    for first, second, equal in found.pairs:
        one, other = found.places[first], found.places[second]
        names = {"name": one.name, "split": one.split, "label": one.label}
        names |= {"other_name": other.name, "other_split": other.split, "other_label": other.label}
        lines.append({"pixels": "equal" if equal else "near", **names})
    return lines


def _doubtful(found: Findings) -> list[Line]:
    suspects = found.suspects
    lines: list[Line] = []
    for row, suggested, own, other in zip(suspects.rows, suspects.suggested, suspects.own, suspects.other, strict=True):
        place = found.places[int(row)]
        line: dict[str, Any] = {"name": place.name, "split": place.split, "row": place.row, "label": place.label}
        line |= {"suggested": found.classes[suggested], "probability": round(float(own), 3)}
        lines.append(line | {"probability_suggested": round(float(other), 3), "margin": round(float(own - other), 3)})
    return lines


def _odd(found: Findings) -> list[Line]:
    places = [(fault, found.places[row]) for fault, rows in found.odd.items() for row in rows.tolist()]
    return [
        {"fault": fault, "name": place.name, "split": place.split, "row": place.row, "label": place.label}
        for fault, place in places
    ]


def _pair_counts(found: Findings) -> dict[str, Any]:
    pairs = found.pairs
    return {
        "equal": len(found.equal),
        "near": len(found.near),
        "two_splits": sum(found.leak(first, second) for first, second, _ in pairs),
        "two_classes": sum(found.conflict(first, second) for first, second, _ in pairs),
        "two_classes_equal": sum(found.conflict(first, second) for first, second, equal in pairs if equal),
        "complete": found.near.complete,
    }


def _judgement(found: Findings) -> dict[str, Any]:
    suspects = found.suspects
    facts: dict[str, Any] = {"judged": suspects.judged, "accuracy": round(suspects.accuracy, 3)}
    facts |= {"doubtful": len(suspects.rows), "features": features.WORDS}
    return facts | ({"not_judged": suspects.reason} if suspects.reason else {})


def _sizes(sizes: np.ndarray) -> dict[str, list[int]]:
    """Return the (height, width) of the smallest, the median and the largest picture by area."""
    order = np.lexsort((sizes[:, 0], sizes.prod(axis=1, dtype=np.int64)))
    chosen = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
    return {name: sizes[row].tolist() for name, row in chosen.items()}


def _summary(found: Findings) -> list[str]:
    """Describe the findings in lines; none for a view without fault."""
    counts, lines = _pair_counts(found), []
    if number := counts["two_classes"]:
        pairs = [f"{_called(found, a)} = {_called(found, b)}" for a, b, _ in found.pairs if found.conflict(a, b)]
        equal = f"{counts['two_classes_equal']} with equal pixels; settings conflicts and near_duplicates"
        lines.append(f"WARNING: {number} pairs are the same picture in two classes ({equal}): {_some(pairs)}")
    if number := counts["two_splits"]:
        pairs = [f"{found.places[a].name} = {found.places[b].name}" for a, b, _ in found.pairs if found.leak(a, b)]
        hint = "near_duplicates: equal keeps them in one"
        lines.append(f"WARNING: {number} pairs are nearly the same picture in two splits ({hint}): {_some(pairs)}")
    if number := counts["equal"] + counts["near"]:
        more = "" if counts["complete"] else "; there are more"
        lines.append(f"{number} pairs of duplicates, {counts['equal']} with equal pixels{more}")
    if doubtful := _doubtful(found):
        names = [f"{line['name']} ({line['label']}) looks like {line['suggested']}" for line in doubtful]
        lines.append(f"{len(doubtful)} doubtful labels among {found.suspects.judged} judged: {_some(names)}")
    if found.few:
        named = [f"{name} {count}" for name, count in found.few.items()]
        lines.append(f"{len(found.few)} classes have fewer than {FEW} pictures: {_some(named)}")
    if found.untested:
        lines.append(f"{len(found.untested)} classes have no test picture: {_some(found.untested)}")
    for split, value in found.apart.items():
        if value >= APART:
            words = f"simple features tell them apart, AUROC {value:.2f}: another camera, border, hand or time?"
            lines.append(f"WARNING: the {split} pictures are unlike the training pictures ({words})")
    for fault, rows in found.odd.items():
        if len(rows):
            names = [found.places[row].name for row in rows.tolist()]
            lines.append(f"{len(rows)} {fault} pictures ({WORDS[fault]}): {_some(names)}")
    return lines


def _called(found: Findings, row: int) -> str:
    return f"{found.places[row].name} ({found.places[row].label})"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _csv(lines: Sequence[Line]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
