"""``status`` and ``lineage``: show the champions; trace a model version back to data, parameters, code and decisions."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from components.core.config.strict import must_exist
from flows.cli.arguments import add_place, project_of
from flows.pipeline.report import Row, table
from flows.project import Project

DECISION = "{time}  {action} by {by}; champion {before} -> {after}"
CARRIED = "{stage}: computed by the code of {old_commit:.12}, accepted for that of {new_commit:.13}: same bits in {steps} steps"
UNKNOWN = ["unknown: published without a lineage; see the commit and the hash of dvc.lock above"]


def status_arguments(parser: argparse.ArgumentParser) -> None:
    add_place(parser)


def lineage_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run of params.yaml")
    words = "a number or an alias: candidate, champion, previous (default: the champion, else the candidate)"
    parser.add_argument("version", metavar="VERSION", nargs="?", help=words)
    add_place(parser)


def status(args: argparse.Namespace) -> int:
    """Show the champion of each run, since when, on which data, by which commit, and what waits for approval."""
    project = project_of(args)
    rows, notes = standings(project)
    print(table(rows), *notes, sep="\n")
    return 0


def lineage(args: argparse.Namespace) -> int:
    """Trace a model version back to data, parameters, code and training, and list the decisions about it."""
    project = project_of(args)
    must_exist(args.run, project.params.runs, "RUN")
    for title, lines in describe(project, args.run, args.version).items():
        print(f"\n{title}", *(f"  {line}" for line in lines), sep="\n")
    return 0


def describe(project: Project, run: str, version: str | None) -> dict[str, list[str]]:
    """Return title -> lines of the lineage."""
    from components.registry.promotion.foreign import noted
    from components.registry.promotion.journal import RETURNED, decisions
    from components.registry.record.origin import find_origin
    from components.registry.tracking import connect, reachable

    with reachable():
        name = project.workspace.registered_name(run)
        origin = find_origin(connect(), name, version)
    decisions_made = [
        DECISION.format(**asdict(at)).replace("None", "none") + (f"; {at.comment}" if at.comment else "")
        for at in decisions(origin.tags)
    ]
    decisions_made += [f"returned {origin.tags[RETURNED]}"] if RETURNED in origin.tags else []
    decisions_made += [f"{at.time}  found: {at.comment}" for at in noted(name, origin.version)]
    return {
        origin.title: _pairs(origin.facts),
        "parameters": _pairs(origin.params),
        "data and results": _results(origin.stages) if origin.stages else UNKNOWN,
        "code": _code(origin.stages) if origin.stages else UNKNOWN,
        **({"carried over": [CARRIED.format(**proof) for proof in origin.carried]} if origin.carried else {}),
        "decisions": decisions_made or ["none"],
    }


def _pairs(content: dict[str, str]) -> list[str]:
    width = max(map(len, content), default=0)
    return [f"{name:<{width}}  {value}" for name, value in content.items()] or ["none"]


def _results(stages: dict[str, Any]) -> list[str]:
    """Format one line per out of a stage and per input file of the user, with DVC's hash."""
    rows = []
    for stage, entry in stages.items():
        own = [dep for dep in entry.get("deps", []) if not _is_code(dep) and not dep["path"].startswith("outputs/")]
        for kind, items in (("in", own), ("out", entry.get("outs", []))):
            rows += [{"stage": stage, "": kind, "md5": str(item.get("md5", "")), "path": item["path"]} for item in items]
    return table(rows).splitlines()


def _code(stages: dict[str, Any]) -> list[str]:
    """Format one line per file or folder of code, with the stages that used it."""
    stages_of: dict[tuple[str, str], list[str]] = {}
    for stage, entry in stages.items():
        for dep in filter(_is_code, entry.get("deps", [])):
            stages_of.setdefault((dep["path"], str(dep.get("md5", ""))), []).append(stage.partition("@")[0])
    rows = [{"md5": md5, "path": path, "stages": " ".join(used)} for (path, md5), used in sorted(stages_of.items())]
    return table(rows).splitlines()


def _is_code(dep: dict[str, Any]) -> bool:
    return "components" in PurePosixPath(dep["path"]).parts


def standings(project: Project) -> tuple[list[Row], list[str]]:
    """Return the table's rows, in the order of params.yaml, and the notes below it."""
    from components.registry.promotion.standing import Standing, standing
    from components.registry.record.published import database
    from components.registry.tracking import connect, reachable

    runs, local_database, names = list(project.params.runs), database(), project.workspace.registered_name
    if local_database is not None and not local_database.is_file():  # a client would create it
        standing_of = {run: Standing(names(run)) for run in runs}
    else:
        with reachable():
            client = connect()
            standing_of = {run: standing(client, project.workspace, run) for run in runs}
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
        for run, at in standing_of.items()
    ]
    return rows, [note for at in standing_of.values() for note in at.notes]


def _number(version: int | None) -> str:
    return "" if version is None else f"version {version}"
