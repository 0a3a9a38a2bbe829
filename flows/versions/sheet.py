"""Thumbnails of changed pictures (changes.png), and the table of all changes (changes.csv)."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from components.core.files import write_atomically, write_text
from flows.dvc.stored import NotStored
from flows.versions.changes import KINDS, Change, Comparison, Picture
from flows.versions.version import Version

SHOWN = 8  # pictures of a kind


def write_table(path: Path, comparison: Comparison) -> None:
    """Write all changes as CSV: kind, name, old name, split, old split, detail."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["change", "name", "old_name", "split", "old_split", "detail"])
    for kind in KINDS:
        for change in comparison.of(kind):
            old, new = change.old, change.new
            places = [new.name if new else "", old.name if old else "", new.split if new else "", old.split if old else ""]
            writer.writerow([kind, *places, change.detail])
    write_text(path, text.getvalue())


def write_sheet(path: Path, title: str, comparison: Comparison, old: Version, new: Version) -> list[str]:
    """Draw up to eight pictures of each kind, if there are any; return what is missing for it."""
    from components.stages.augment.contact import draw_sheet, enlarged

    missing: dict[str, None] = {}
    lines, captions = [], []
    for kind in KINDS:
        for change in comparison.of(kind)[:SHOWN]:
            tiles = []
            for version, picture in _sides(change, old, new):
                try:
                    tiles.append(enlarged(_pixels(version, picture)))
                except NotStored as error:
                    missing[f"pictures of {version.title}: {error}"] = None
            if tiles:
                lines.append(tiles)
                captions.append(f"{kind}: {change.name.rpartition('/')[2]},")
    if lines:
        write_atomically(path, draw_sheet(title, "left: the old version where there are two", lines, captions))
    return list(missing)


def _sides(change: Change, old: Version, new: Version) -> list[tuple[Version, Picture]]:
    """Return both pictures if their contents differ, else the one that there is."""
    if change.kind == "changed" and change.old and change.new:
        return [(old, change.old), (new, change.new)]
    picture = change.new or change.old
    assert picture is not None
    return [(new if change.new else old, picture)]


def _pixels(version: Version, picture: Picture):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.load(version.array(picture.split), mmap_mode="r", allow_pickle=False)[picture.row]
