"""``approve``: promote the version that passed its gates and waits for a person's word."""

from __future__ import annotations

import argparse

from flows.commands.deciding import about_a_version, which, who_and_why

HELP = "promote the version that waits for a word"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows approve``."""
    who_and_why(parser)
    which(parser, "which version, if several wait")


def main(given: argparse.Namespace) -> int:
    """Decide; 1 if that is not possible as things stand."""
    from flows.decisions import approve

    return about_a_version(given, "approve", approve)
