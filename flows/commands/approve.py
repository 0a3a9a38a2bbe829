"""``approve``: promote the version that passed its gates and waits for a person's word."""

from __future__ import annotations

import argparse

from flows.commands.deciding import carry_out, checked, which, who_and_why

HELP = "promote the version that waits for a word"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows approve``."""
    who_and_why(parser)
    which(parser, "which version, if several wait")


def main(given: argparse.Namespace) -> int:
    """Decide; 1 if that is not possible as things stand."""
    project = checked(given)
    from flows.decisions import Desk, Outcome, approve

    def decide(at: Desk) -> Outcome:
        return approve(at, given.version, given.by, given.comment)

    parameters = {"run": given.run, "version": given.version, "comment": given.comment, "by": given.by}
    return carry_out(project, "approve", decide, parameters)
