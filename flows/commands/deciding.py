"""What the commands of decisions have in common: promote, approve, reject, rollback. Not a command itself."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from components.core.errors import redacted
from components.core.strict import SettingsError, must_exist
from flows.commands.chosen import place, project_of
from flows.environment import set_defaults
from flows.notify import check_addresses
from flows.preflight import check_versions
from flows.probe import listens
from flows.project import Project
from flows.running import running
from flows.server import start_server

if TYPE_CHECKING:
    from flows.decisions import Decide, DecideVersion


def who_and_why(parser: argparse.ArgumentParser) -> None:
    """RUN, ``--comment``, ``--by``, and the place."""
    parser.add_argument("run", metavar="RUN", help="a run of params.yaml")
    parser.add_argument("--comment", metavar="WHY", default="", help="why; goes into the audit")
    parser.add_argument("--by", metavar="NAME", default="", help="who decides (default: the login name)")
    place(parser)


def which(parser: argparse.ArgumentParser, meaning: str) -> None:
    """The optional VERSION."""
    parser.add_argument("version", metavar="VERSION", type=int, nargs="?", help=meaning)


def checked(given: argparse.Namespace, urgent: bool = False) -> Project:
    """The workspace of the command line; SettingsError where the run is none of it or the installation is wrong.

    Of an ``urgent`` decision an address that nobody can be told at is only a warning.
    """
    project = project_of(given)
    if not given.run:
        raise SettingsError("RUN is missing: a run of params.yaml, as in `make promote RUN=vit_digits`")
    must_exist(given.run, project.params.runs, "RUN")
    check_versions(project.root)
    try:
        check_addresses(project.params)
    except SettingsError as error:
        if not urgent:
            raise
        print(f"warning: {error}", file=sys.stderr)
    return project


def about_a_version(given: argparse.Namespace, flow: str, decide: DecideVersion, urgent: bool = False) -> int:
    """``carry_out`` for a decision that may name a version: approve, reject, rollback."""
    project = checked(given, urgent)
    parameters = {"run": given.run, "version": given.version, "comment": given.comment, "by": given.by}
    return carry_out(project, flow, lambda at: decide(at, given.version, given.by, given.comment), parameters)


def carry_out(project: Project, flow: str, decide: Decide, parameters: dict[str, Any]) -> int:
    """Decide: as a run of the flow of this name where a Prefect server answers, else right here. The exit code."""
    up = running(project.root)
    address = os.environ.get("PREFECT_API_URL") or (up.prefect_api if up else None)
    if address and listens(f"{address}/health"):
        return _as_flow(project, flow, parameters)
    if address:
        print(f"warning: Prefect's server {redacted(address)} does not answer: it is decided without it", file=sys.stderr)
    return _here(project, parameters["run"], decide)


def _as_flow(project: Project, flow: str, parameters: dict[str, Any]) -> int:
    set_defaults()
    start_server(project)  # there is one: it is found
    from flows import promote

    parameters |= {"study": project.study, "project": str(project.root)}
    try:
        state = getattr(promote, flow)(**parameters, return_state=True)
    except RuntimeError as error:  # Prefect's, before the flow starts
        print(f"error: {error}; nothing was decided", file=sys.stderr)
        return 1
    if not state.is_completed():
        print(f"error: {state.message}", file=sys.stderr)
    return 0 if state.is_completed() and state.name != promote.NAMES["refused"] else 1


def _here(project: Project, run: str, decide: Decide) -> int:
    from components.registry.promotion.journal import NotDone
    from components.registry.tracking import TrackingUnavailable
    from flows.aftermath import make_known
    from flows.decisions import desk

    try:
        with desk(project, run, _say) as at:
            outcome = decide(at)
    except (NotDone, TrackingUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if outcome.entry:
        make_known(project, outcome, _say)
    print(outcome.words)
    return 1 if outcome.refused else 0


def _say(line: str) -> None:
    print(line, flush=True)
