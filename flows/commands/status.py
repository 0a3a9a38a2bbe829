"""``status``: which version of each run is the champion, since when, on which data, by which commit; what waits for a word."""

from __future__ import annotations

import argparse

from flows.commands.chosen import place, project_of
from flows.project import Project
from flows.report import Row, table

HELP = "what is champion, since when, on which data, by which commit"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows status``."""
    place(parser)


def main(given: argparse.Namespace) -> int:
    """Print a row a run, and what a person should know; 1 where the tracking server does not answer."""
    project = project_of(given)
    rows, notes = standings(project)
    print(table(rows), *notes, sep="\n")
    return 0


def standings(project: Project) -> tuple[list[Row], list[str]]:
    """The table's rows in the order of params.yaml, and the notes below it."""
    from components.registry.promotion.standing import Standing, standing
    from components.registry.record.published import database
    from components.registry.tracking import connect, reachable

    runs, own, names = list(project.params.runs), database(), project.workspace.registered_name
    if own is not None and not own.is_file():  # asking would make it
        found = {run: Standing(names(run)) for run in runs}
    else:
        with reachable():
            client = connect()
            found = {run: standing(client, project.workspace, run) for run in runs}
    rows = [
        {
            "run": run,
            "champion": _number(at.champion) or ("never promoted" if at.candidate else "not published"),
            "since (UTC)": at.since,
            "data": at.data,
            "commit": at.commit,
            "metric": at.metric,
            "candidate": _number(at.candidate),
            "previous": _number(at.previous),
        }
        for run, at in found.items()
    ]
    return rows, [note for at in found.values() for note in at.notes]


def _number(version: int | None) -> str:
    return "" if version is None else f"version {version}"
