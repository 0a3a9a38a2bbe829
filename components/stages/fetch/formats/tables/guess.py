"""Recognise which columns of a table have the pictures' names, their classes, splits, groups and captions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.stages.fetch.files.faults import Faults
from components.stages.fetch.files.names import split_of
from components.stages.fetch.files.suffixes import IMAGES
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.tables.pictures import file_name
from components.stages.fetch.formats.tables.rows import TABLES, Rows, read_rows

ENCODINGS = ("utf-8", "utf-16", "cp1252")
# role -> usual names of its column, in the order of preference
USUAL = {
    "label": ("label", "class", "category", "species", "breed", "target", "class_name", "label_name", "diagnosis", "y"),
    "split": ("split", "set", "subset", "partition"),
    "group": ("group", "group_id", "patient", "patient_id", "subject", "subject_id", "video", "page"),
    "caption": ("caption", "text", "description", "prompt", "comment"),
    "labels": ("labels", "tags", "classes", "categories"),
}
CHECKED = 5  # rows whose files must exist


def guess_table(walk: Walk, file: str | None) -> dict[str, Any] | None:
    """Return the settings of the source ``table`` for the folder, or for the file in it; None if no table lists pictures."""
    names = [file] if file else [path.name for path in walk.entries(walk.root)]
    tables = [name for name in names if Path(name).suffix.lower() in TABLES]
    found = [settings for name in tables if (settings := _settings(walk.root, name, needed=file is None))]
    if len(found) > 1:
        listed = ", ".join(settings["table"] for settings in found)
        raise ValueError(f"{walk.root}: several tables list pictures ({listed}); name the one to read")
    return found[0] if found else None


def _settings(root: Path, name: str, *, needed: bool) -> dict[str, Any] | None:
    """Return the settings for one table; None if it lists no pictures, or with ``needed`` says nothing about them."""
    table, encoding = _read(root, name)
    place = _place(root, table) if table else None
    if table is None or place is None:
        return None
    roles = {"file": place["file"]} | _roles(table, place.pop("file"))
    if needed and not {"label", "caption", "labels"} & set(roles):
        return None
    settings: dict[str, Any] = {"table": name} | {role: column for role, column in roles.items() if role != column} | place
    if set(table.header) - set(roles.values()):
        settings["columns"] = []
    return settings | ({"encoding": encoding} if encoding != "utf-8" else {})


def _read(root: Path, name: str) -> tuple[Rows | None, str]:
    """Read the table in the first encoding that fits."""
    for encoding in ENCODINGS:
        try:
            table = read_rows(root / name, Walk(root, Faults(name)), encoding)
        except (OSError, ValueError):
            continue
        if table.rows:
            return table, encoding
    return None, ""


def _place(root: Path, table: Rows) -> dict[str, str] | None:
    """Return the column with names of existing pictures, and what leads from them to the files."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    folders += [inner for path in folders[:20] for inner in sorted(path.iterdir()) if inner.is_dir()]
    bases = ["", *(path.relative_to(root).as_posix() for path in folders)]
    for index, column in enumerate(table.header):
        if (root / file_name(column, "", "")).is_file():
            raise ValueError(
                f"{table.rows[0][0].rpartition(', ')[0]}: no header; write a first line that names the columns: file, label"
            )
        cells = [str(cells[index]) for _, cells in table.rows[:CHECKED]]
        for base in bases:
            for suffix in ("", *IMAGES):
                if all(cell and (root / file_name(cell, suffix, base)).is_file() for cell in cells):
                    return {"file": column} | ({"images": base} if base else {}) | ({"suffix": suffix} if suffix else {})
    return None


def _roles(table: Rows, file: str) -> dict[str, str]:
    """Return role -> column by the columns' names; a split's column must have nothing but names of splits.

    Without one of a usual name for the class it is the only other column, if most of its values stand there more than once.
    """
    folded = {column.casefold().replace(" ", "_"): column for column in reversed(table.header)}
    roles = {role: folded[name] for role, names in USUAL.items() for name in reversed(names) if name in folded}
    if "split" in roles:
        index = table.header.index(roles["split"])
        if not all(split_of(str(cells[index])) for _, cells in table.rows):
            del roles["split"]
    others = [column for column in table.header if column not in (file, *roles.values())]
    if len(others) == 1 and not {"label", "caption", "labels"} & set(roles):
        values = {str(cells[table.header.index(others[0])]) for _, cells in table.rows}
        roles |= {"label": others[0]} if 2 * len(values) <= len(table.rows) else {}
    return roles
