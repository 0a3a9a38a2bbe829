"""``sweep``: search for better settings of a run."""

from __future__ import annotations

import argparse

from components.core.config.strict import must_exist
from components.core.files import write_atomically
from components.core.settings import PARAMS
from components.versions import check_versions
from flows.cli.arguments import add_place, project_of


def sweep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run of params.yaml with a block `search`")
    parser.add_argument(
        "--trials", metavar="N", type=int, default=30, help="trainings in all, those of before included (default: 30)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws; the run's own seed stays (default: 0)")
    parser.add_argument(
        "--objective", metavar="FIGURE", help="figure of the validation curve (default: train.select_metric, or the recipe's)"
    )
    parser.add_argument(
        "--sampler",
        choices=("tpe", "greedy"),
        default="tpe",
        help="tpe: draws that learn from earlier trials; greedy: the lists of `search`, one setting after the other",
    )
    parser.add_argument("--no-prune", action="store_true", help="train every trial to its end")
    parser.add_argument("--apply", action="store_true", help="write the best settings into params.yaml")
    add_place(parser)


def sweep(args: argparse.Namespace) -> int:
    """Try other settings of RUN, those of its block `search`, and show the best by the validation curve.

    A setting is `model.<name>`, `train.<name>` or, of the view's transforms, `view.<Transform>.<argument>`, a list or a range:
    `search: {train.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}, model.width: [32, 64]}`. Trials are drawn by Optuna's
    tree-structured Parzen estimator, and stopped early where their curve is worse than the median. Stopped or killed, the
    command goes on where it was when it is started again; more --trials go on too. The test images are not used.
    """
    from flows.pipeline.report import table
    from flows.tuning.results import PICTURE, ROWS, TABLE, applied, as_yaml, draw, ranked, rows, values_of, write_table
    from flows.tuning.sweep import Sweep, search, shown
    from flows.tuning.trial_folder import sweep_folder

    if args.trials < 1:
        raise ValueError("--trials: at least 1")
    project = project_of(args)
    must_exist(args.run, project.params.runs, "RUN")
    check_versions(project.root)
    plan = Sweep(
        project, args.run, args.trials, args.seed, prune=not args.no_prune, objective=args.objective, sampler=args.sampler
    )
    with project.alone():
        done = search(plan, lambda line: print(line, flush=True))
        view = project.params.runs[args.run].view
        best = values_of(ranked(done.study)[0], done.space)
        folder = sweep_folder(project.workspace, args.run)
        every = rows(done.study, done.space, done.objective.name)
        write_table(folder / TABLE, every)
        draw(folder / PICTURE, done.study, done.space, done.objective.name)
        if args.apply:
            path = project.folder / PARAMS
            write_atomically(path, applied(path.read_text(encoding="utf-8"), args.run, view, best).encode())
    complete = [row for row in every if row["state"] == "complete"][:ROWS]
    print(table([{name: shown(row[name]) for name in row if name not in ("state", "failure")} for row in complete]))
    print(f"{len(every)} trials: {folder / TABLE}, {folder / PICTURE}")
    print(f"written into {PARAMS}:" if args.apply else "the best settings (--apply writes them):")
    print(as_yaml(args.run, view, best), end="")
    return 0
