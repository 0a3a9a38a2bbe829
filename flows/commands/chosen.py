"""What the commands have in common: which clone, which study, which runs. Not a command itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from components.core.settings import ROOT
from flows.preflight import broken_studies, check_versions
from flows.project import Project


def place(parser: argparse.ArgumentParser) -> None:
    """``--study`` and ``--project``."""
    parser.add_argument("--study", metavar="NAME", help="work in experiments/NAME instead of the root")
    parser.add_argument("--project", metavar="FOLDER", type=Path, default=ROOT, help="another clone (default: this one)")


def choice(parser: argparse.ArgumentParser) -> None:
    """``--runs`` or ``--all``, ``--force``, and the place."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--runs", metavar="A,B", default="", help="these runs of params.yaml (default: its pipeline.runs)")
    chosen.add_argument("--all", action="store_true", help="every run of params.yaml")
    parser.add_argument("--force", action="store_true", help="train, export and evaluate the runs though nothing changed")
    place(parser)


def project_of(given: argparse.Namespace) -> Project:
    """The workspace that the command line means, by ``place``."""
    return Project(given.project.resolve(), given.study)


def chosen_runs(given: argparse.Namespace) -> tuple[Project, tuple[str, ...]]:
    """The workspace and the runs that the command line means; warns of broken studies."""
    project = project_of(given)
    runs = project.choose(tuple(filter(None, given.runs.split(","))), given.all)
    check_versions(project.root)
    for run in runs:
        project.workspace.gates(run)  # no stage reads them, so that nothing else would look before a promotion
    for line in broken_studies(project.root):
        print(f"warning: {line}", file=sys.stderr)
    return project, runs
