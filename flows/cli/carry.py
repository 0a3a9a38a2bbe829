"""``carry``: keep the results of trainings when an edit of code has changed no bit of them."""

from __future__ import annotations

import argparse
import sys

from flows.cli.arguments import add_place, project_of


def carry_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="runs whose training is stale for its code alone")
    parser.add_argument("--from", dest="commit", metavar="COMMIT", required=True, help="whose code made the results")
    parser.add_argument("--steps", metavar="N", type=int, default=20, help="that both codes run (default: 20)")
    add_place(parser)


def carry(given: argparse.Namespace) -> int:
    """Run the first steps of a training by the code of COMMIT and by today's; accept its results if the bits are the same.

    Compared are weights, optimizer states and averages. The proof (commits, steps, digest of the states, machine) goes into
    carried.json beside dvc.lock, to be committed with it, and into the model's lineage. Settings and data must be those of
    the recorded training. What follows a training (export, evaluation) is run again by the next ``run``.
    Exit code 1: a result was refused; what differs first is said, and nothing of it changes.
    """
    from flows.carry.carry import Refused
    from flows.carry.carry import carry as carry_over

    if given.steps < 1:
        raise ValueError("--steps: at least 1")
    project, refused = project_of(given), 0
    runs = project.choose(tuple(given.runs))
    with project.alone():
        for run in runs:
            try:
                proof = carry_over(project, run, given.commit, given.steps)
                print(f"train@{run}: carried over; {proof.steps} steps of both codes end in the same bits", flush=True)
            except Refused as error:
                refused += 1
                print(f"train@{run}: not carried over: {error}", file=sys.stderr, flush=True)
    return 1 if refused else 0
