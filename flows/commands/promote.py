"""``promote``: make the run's candidate the champion, if it passes the gates of the run's promote block."""

from __future__ import annotations

import argparse

from flows.commands.deciding import carry_out, checked, who_and_why

HELP = "make the candidate the champion, if it passes the run's gates"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows promote``."""
    who_and_why(parser)
    words = "pass the champion over, where it cannot be scored on today's data: floor and latency decide (needs --comment)"
    parser.add_argument("--no-compare", action="store_true", help=words)


def main(given: argparse.Namespace) -> int:
    """Judge the candidate; 1 if it is refused."""
    project = checked(given)
    project.workspace.gates(given.run).must_decide(f"runs.{given.run}.promote")
    from flows.decisions import Desk, Outcome, promote

    def decide(at: Desk) -> Outcome:
        return promote(at, given.by, given.comment, not given.no_compare)

    parameters = {"run": given.run, "comment": given.comment, "by": given.by, "compare": not given.no_compare}
    return carry_out(project, "promote", decide, parameters)
