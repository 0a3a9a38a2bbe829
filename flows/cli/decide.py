"""``promote``, ``approve``, ``reject``, ``rollback``: decisions about a run's models, with or without a Prefect server."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from components.core.config.strict import SettingsError, must_exist
from components.core.errors import redacted
from components.versions import check_versions
from flows.cli.arguments import add_place, project_of
from flows.project import Project, set_defaults
from flows.services.notify import check_addresses
from flows.services.prefect_server import listens, start_server
from flows.services.running import running

if TYPE_CHECKING:
    from flows.decide.decisions import Decide, DecideVersion, Decision, DecisionContext

IF_SEVERAL = "which version, if several wait"
PREVIOUS = "a version that was champion before (default: the alias previous)"


def add_decision(parser: argparse.ArgumentParser, version: str = "") -> None:
    """Add RUN, ``--comment``, ``--by``, ``add_place``'s arguments, and VERSION if ``version``, its help text, is given."""
    parser.add_argument("run", metavar="RUN", help="a run of params.yaml")
    if version:
        parser.add_argument("version", metavar="VERSION", type=int, nargs="?", help=version)
    parser.add_argument("--comment", metavar="WHY", default="", help="reason, for the audit log")
    parser.add_argument("--by", metavar="NAME", default="", help="who decides (default: the login name)")
    add_place(parser)


def promote_arguments(parser: argparse.ArgumentParser) -> None:
    add_decision(parser)
    help_text = "do not compare with the champion, e.g. one that cannot be scored on today's data; needs --comment"
    parser.add_argument("--no-compare", action="store_true", help=help_text)


def approve_arguments(parser: argparse.ArgumentParser) -> None:
    add_decision(parser, IF_SEVERAL)


def reject_arguments(parser: argparse.ArgumentParser) -> None:
    add_decision(parser, IF_SEVERAL)


def rollback_arguments(parser: argparse.ArgumentParser) -> None:
    add_decision(parser, PREVIOUS)


def promote(args: argparse.Namespace) -> int:
    """Make the run's candidate the champion if it passes the gates of the run's promote block; exit code 1 if it does not."""
    project = _checked(args)
    project.workspace.gates(args.run).must_decide(f"runs.{args.run}.promote")
    from flows.decide import decisions

    def decide(context: DecisionContext) -> Decision:
        return decisions.promote(context, args.by, args.comment, not args.no_compare)

    parameters = {"run": args.run, "comment": args.comment, "by": args.by, "compare": not args.no_compare}
    return _carry_out(project, "promote", decide, parameters)


def approve(args: argparse.Namespace) -> int:
    """Promote the version that passed its gates and waits for approval."""
    from flows.decide import decisions

    return _about_a_version(args, "approve", decisions.approve)


def reject(args: argparse.Namespace) -> int:
    """Do not promote the version that passed its gates and waits for approval."""
    from flows.decide import decisions

    return _about_a_version(args, "reject", decisions.reject)


def rollback(args: argparse.Namespace) -> int:
    """Make the previous champion, or a version that was champion before, the champion again."""
    from flows.decide import decisions

    return _about_a_version(args, "rollback", decisions.rollback, urgent=True)


def _checked(args: argparse.Namespace, urgent: bool = False) -> Project:
    """Return the selected workspace; SettingsError if it has no such run or the installation is wrong.

    For an ``urgent`` decision an unusable notification address is only a warning.
    """
    project = project_of(args)
    if not args.run:
        raise SettingsError("RUN is missing: a run of params.yaml, as in `make promote RUN=vit_digits`")
    must_exist(args.run, project.params.runs, "RUN")
    check_versions(project.root)
    try:
        check_addresses(project.params)
    except SettingsError as error:
        if not urgent:
            raise
        print(f"warning: {error}", file=sys.stderr)
    return project


def _about_a_version(args: argparse.Namespace, flow: str, decide: DecideVersion, urgent: bool = False) -> int:
    """Carry out a decision that may name a version: approve, reject, rollback."""
    project = _checked(args, urgent)
    parameters = {"run": args.run, "version": args.version, "comment": args.comment, "by": args.by}
    return _carry_out(project, flow, lambda context: decide(context, args.version, args.by, args.comment), parameters)


def _carry_out(project: Project, flow: str, decide: Decide, parameters: dict[str, Any]) -> int:
    """Decide, in a run of the named flow if a Prefect server answers, else in this process. Return the exit code."""
    up = running(project.root)
    address = os.environ.get("PREFECT_API_URL") or (up.prefect_api if up else None)
    if address and listens(f"{address}/health"):
        return _as_flow(project, flow, parameters)
    if address:
        print(f"warning: Prefect's server {redacted(address)} does not answer: it is decided without it", file=sys.stderr)
    return _here(project, parameters["run"], decide)


def _as_flow(project: Project, flow: str, parameters: dict[str, Any]) -> int:
    set_defaults()
    start_server(project)  # finds the running one
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
