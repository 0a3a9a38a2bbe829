"""``promote``, ``approve``, ``reject``, ``rollback``: decisions about a run's models, with or without a Prefect server."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from components.core.errors import redacted
from components.core.strict import SettingsError, must_exist
from flows.cli.arguments import add_place, project_of
from flows.pipeline.preflight import check_versions
from flows.project import Project, set_defaults
from flows.services.notify import check_addresses
from flows.services.prefect_server import listens, start_server
from flows.services.running import running

if TYPE_CHECKING:
    from flows.decide.decisions import Decide, DecideVersion, Decision, DecisionContext

IF_SEVERAL = "which version, if several wait"
PREVIOUS = "a version that was champion before (default: the alias previous)"


def add_decision(parser: argparse.ArgumentParser, version: str = "") -> None:
    """RUN, VERSION with this meaning, if any, ``--comment``, ``--by``, and the place."""
    parser.add_argument("run", metavar="RUN", help="a run of params.yaml")
    if version:
        parser.add_argument("version", metavar="VERSION", type=int, nargs="?", help=version)
    parser.add_argument("--comment", metavar="WHY", default="", help="why; goes into the audit log")
    parser.add_argument("--by", metavar="NAME", default="", help="who decides (default: the login name)")
    add_place(parser)


def promote_arguments(parser: argparse.ArgumentParser) -> None:
    add_decision(parser)
    words = (
        "do not compare with the champion, if it cannot be scored on today's data: floor and latency decide (needs --comment)"
    )
    parser.add_argument("--no-compare", action="store_true", help=words)


def approve_arguments(parser: argparse.ArgumentParser) -> None:
    add_decision(parser, IF_SEVERAL)


def reject_arguments(parser: argparse.ArgumentParser) -> None:
    add_decision(parser, IF_SEVERAL)


def rollback_arguments(parser: argparse.ArgumentParser) -> None:
    add_decision(parser, PREVIOUS)


def promote(given: argparse.Namespace) -> int:
    """Make the run's candidate the champion, if it passes the gates of the run's promote block; exit code 1 if it does not."""
    project = _checked(given)
    project.workspace.gates(given.run).must_decide(f"runs.{given.run}.promote")
    from flows.decide import decisions

    def decide(context: DecisionContext) -> Decision:
        return decisions.promote(context, given.by, given.comment, not given.no_compare)

    parameters = {"run": given.run, "comment": given.comment, "by": given.by, "compare": not given.no_compare}
    return _carry_out(project, "promote", decide, parameters)


def approve(given: argparse.Namespace) -> int:
    """Promote the version that passed its gates and waits for approval."""
    from flows.decide import decisions

    return _about_a_version(given, "approve", decisions.approve)


def reject(given: argparse.Namespace) -> int:
    """Do not promote the version that passed its gates and waits for approval."""
    from flows.decide import decisions

    return _about_a_version(given, "reject", decisions.reject)


def rollback(given: argparse.Namespace) -> int:
    """Make the previous champion, or a version that was champion before, the champion again."""
    from flows.decide import decisions

    return _about_a_version(given, "rollback", decisions.rollback, urgent=True)


def _checked(given: argparse.Namespace, urgent: bool = False) -> Project:
    """The workspace of the command line; SettingsError if it has no such run or the installation is wrong.

    For an ``urgent`` decision an unusable notification address is only a warning.
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


def _about_a_version(given: argparse.Namespace, flow: str, decide: DecideVersion, urgent: bool = False) -> int:
    """Carry out a decision that may name a version: approve, reject, rollback."""
    project = _checked(given, urgent)
    parameters = {"run": given.run, "version": given.version, "comment": given.comment, "by": given.by}
    return _carry_out(project, flow, lambda context: decide(context, given.version, given.by, given.comment), parameters)


def _carry_out(project: Project, flow: str, decide: Decide, parameters: dict[str, Any]) -> int:
    """Decide: as a run of the flow of this name if a Prefect server answers, else right here. Return the exit code."""
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
    from flows.decide import flows

    parameters |= {"study": project.study, "project": str(project.root)}
    try:
        state = getattr(flows, flow)(**parameters, return_state=True)
    except RuntimeError as error:  # Prefect's, before the flow starts
        print(f"error: {error}; nothing was decided", file=sys.stderr)
        return 1
    if not state.is_completed():
        print(f"error: {state.message}", file=sys.stderr)
    return 0 if state.is_completed() and state.name != flows.NAMES["refused"] else 1


def _here(project: Project, run: str, decide: Decide) -> int:
    from components.registry.promotion.journal import NotDone
    from components.registry.tracking import TrackingUnavailable
    from flows.decide.decisions import announce, decision_context

    try:
        with decision_context(project, run, _say) as context:
            decision = decide(context)
    except (NotDone, TrackingUnavailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if decision.entry:
        announce(project, decision, _say)
    print(decision.words)
    return 1 if decision.refused else 0


def _say(line: str) -> None:
    print(line, flush=True)
