"""``rollback``: make the previous champion, or a version that was champion before, the champion again."""

from __future__ import annotations

import argparse

from flows.commands.deciding import carry_out, checked, which, who_and_why

HELP = "make the previous champion the champion again"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows rollback``."""
    who_and_why(parser)
    which(parser, "a version that was champion before (default: the alias previous)")


def main(given: argparse.Namespace) -> int:
    """Decide; 1 if that is not possible as things stand."""
    project = checked(given, urgent=True)
    from flows.decisions import Desk, Outcome, rollback

    def decide(at: Desk) -> Outcome:
        return rollback(at, given.version, given.by, given.comment)

    parameters = {"run": given.run, "version": given.version, "comment": given.comment, "by": given.by}
    return carry_out(project, "rollback", decide, parameters)
