"""``plan``: what run would do, and why."""

from __future__ import annotations

import argparse

from components.registry.record.published import published
from flows.commands.chosen import choice, chosen_runs
from flows.plan import IsPublished, make_plan
from flows.report import describe

HELP = "show what run would do, and why"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows plan``."""
    choice(parser)


def main(given: argparse.Namespace, is_published: IsPublished = published) -> int:
    """Print the plan."""
    project, runs = chosen_runs(given)
    print(describe(make_plan(project, runs, given.force, is_published)))
    return 0
