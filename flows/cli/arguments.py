"""Shared by the commands: arguments for clone, study and runs, and the start of a flow."""

from __future__ import annotations

import argparse
import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

from components.core.config.strict import collected
from components.core.settings import ROOT
from components.versions import check_versions
from flows.pipeline.fill import fill_in, fill_splits
from flows.pipeline.preflight import broken_studies, left_out, refuse_all
from flows.project import Project, set_defaults
from flows.settings import schedules


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add ``--study`` and ``--project``."""
    parser.add_argument("--study", metavar="NAME", help="work in experiments/NAME instead of the root")
    parser.add_argument("--project", metavar="FOLDER", type=Path, default=ROOT, help="another clone (default: this one)")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add ``--runs`` or ``--all``, ``--force``, and ``add_place``'s arguments."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--runs", metavar="A,B", default="", help="these runs of params.yaml (default: its pipeline.runs)")
    chosen.add_argument("--all", action="store_true", help="every run of params.yaml")
    parser.add_argument("--force", action="store_true", help="train, export and evaluate the runs even if nothing changed")
    add_place(parser)


def project_of(args: argparse.Namespace) -> Project:
    """Return the workspace that ``add_place``'s arguments select."""
    return Project(args.project.resolve(), args.study)


def chosen_runs(args: argparse.Namespace) -> tuple[Project, tuple[str, ...]]:
    """Return the workspace and the runs that ``add_runs``'s arguments select; warn of broken studies."""
    project = project_of(args)
    added = fill_in(project)
    runs = project.choose(tuple(filter(None, args.runs.split(","))), args.all)
    check_versions(project.root)
    for line in [*added, *fill_splits(project, runs)]:
        print(line, file=sys.stderr)
    params, workspace = project.params, project.workspace
    gates = collected(*(partial(workspace.gates, run) for run in runs))  # early: no stage reads them
    refuse_all(project, [*params.faults_of(runs), *gates])
    schedules(params)
    for line in [*left_out(params, runs), *broken_studies(project.root)]:
        print(f"warning: {line}", file=sys.stderr)
    return project, runs


def other_runs(args: argparse.Namespace, project: Project, runs: tuple[str, ...]) -> str:
    """Name the runs that ``pipeline.runs`` does not contain, if it was used; "" for none."""
    rest = [] if args.runs else [run for run in project.params.every_run() if run not in runs]
    return f"not among pipeline.runs: {', '.join(rest)} (--runs {rest[0]}, or --all)" if rest else ""


def ready_flow(project: Project, module: str, name: str) -> Any | None:
    """Return the flow ``name`` of ``module`` once the user's or a temporary Prefect server answers; None if it fails."""
    from flows.services.prefect_server import ServerFailed, start_server

    set_defaults()
    server = start_server(project)
    flow = getattr(importlib.import_module(module), name)  # Prefect is imported while the server starts
    try:
        server.wait_until_healthy()
    except ServerFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return None
    return flow
