"""``rollback``: make the previous champion, or a version that was champion before, the champion again."""

from __future__ import annotations

import argparse

from flows.commands.deciding import about_a_version, which, who_and_why

HELP = "make the previous champion the champion again"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows rollback``."""
    who_and_why(parser)
    which(parser, "a version that was champion before (default: the alias previous)")


def main(given: argparse.Namespace) -> int:
    """Decide; 1 if that is not possible as things stand."""
    from flows.decisions import rollback

    return about_a_version(given, "rollback", rollback, urgent=True)
