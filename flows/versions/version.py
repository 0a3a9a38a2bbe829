"""One version of a view: as a commit recorded it, or as it lies in this folder."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.core.config.strict import SettingsError
from flows.dvc.stored import NotStored, Stored, commit_of, recorded_outs
from flows.project import Project
from flows.versions.changes import Picture

CLASS = "class:"
HERE = "this folder"


@dataclass(frozen=True)
class Version:
    """``title``: first digits of the commit, or "this folder"; ``array(split)``: file of the split's images, or NotStored."""

    title: str
    pictures: list[Picture]
    array: Callable[[str], Path]


def version_here(project: Project, view: str) -> Version:
    """Read the view in this folder; SettingsError if it is not there."""
    outputs = project.folder / "outputs"
    path = outputs / "view_report" / view / "rows.csv"
    if not path.is_file():
        raise SettingsError(f"{path}: no such file; `dvc repro augment@{view}` makes it, `dvc checkout` restores it")

    def array(split: str) -> Path:
        file = outputs / "views" / view / f"{split}.image.npy"
        if not file.is_file():
            raise NotStored(f"{file} is not there")
        return file

    return Version(HERE, read_pictures(path), array)


def version_at(project: Project, store: Stored, view: str, revision: str, argument: str) -> Version:
    """Read the view of a commit; SettingsError, naming the ``argument``, if it is not recorded or not stored."""
    commit = commit_of(project, revision, argument)
    outs = recorded_outs(project, commit, f"augment@{view}")
    report, arrays = (outs.get(f"outputs/{kind}/{view}") for kind in ("view_report", "views"))
    if arrays is None:
        raise SettingsError(f"{argument}: {commit[:12]} has no view {view!r} in its dvc.lock")
    if report is None:
        raise SettingsError(f"{argument}: {commit[:12]} is from before views kept names; the view {view!r} cannot be compared")
    try:
        pictures = read_pictures(store.path(store.files(report)["rows.csv"]))
    except NotStored as missing:
        raise SettingsError(f"{argument}: the names of {view!r} at {commit[:12]} are missing: {missing}") from None
    return Version(commit[:12], pictures, lambda split: store.path(store.files(str(arrays))[f"{split}.image.npy"]))


def read_pictures(path: Path) -> list[Picture]:
    """Read rows.csv, which ``components/stages/augment/report/rows.py`` documents."""
    with path.open(encoding="utf-8", newline="") as file:
        return [_picture(line) for line in csv.DictReader(file)]


def _picture(line: dict[str, str]) -> Picture:
    classes = {column.removeprefix(CLASS): name for column, name in line.items() if column.startswith(CLASS)}
    return Picture(line["split"], int(line["row"]), line["name"], line["content"], line["annotations"], classes)
