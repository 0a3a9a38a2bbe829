"""``carry``: accept the results of trainings for edited code that computes the same bits."""

from __future__ import annotations

import argparse
import sys

from flows.cli.arguments import add_place, project_of


def carry_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="runs whose training is stale only because of its code")
    parser.add_argument("--from", dest="commit", metavar="COMMIT", required=True, help="commit whose code produced the results")
    parser.add_argument("--steps", metavar="N", type=int, default=20, help="number of steps to compare (default: 20)")
    add_place(parser)


def carry(args: argparse.Namespace) -> int:
    """Run the first steps of a training with the code of COMMIT and with today's; accept its results if the bits are the same.

    Weights, optimizer states and averages are compared. The proof (commits, steps, digest of the states, machine) is written
    to carried.json beside dvc.lock, to be committed with it, and to the model's lineage. Settings and data must be those of
    the recorded training. The next ``run`` repeats the stages after the training (export, evaluation).
    Exit code 1: a result was refused; the first difference is printed, and nothing changes.
    """
    from flows.carry.carry import Refused
    from flows.carry.carry import carry as carry_over

    if args.steps < 1:
        raise ValueError("--steps: at least 1")
    project, refused = project_of(args), 0
    runs = project.choose(tuple(args.runs))
    with project.alone():
        for run in runs:
            try:
                proof = carry_over(project, run, args.commit, args.steps)
                print(f"train@{run}: carried over; {proof.steps} steps of both codes end in the same bits", flush=True)
            except Refused as error:
                refused += 1
                print(f"train@{run}: not carried over: {error}", file=sys.stderr, flush=True)
    return 1 if refused else 0
