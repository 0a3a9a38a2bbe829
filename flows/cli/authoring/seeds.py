"""``seeds``: repeat a run with other seeds."""

from __future__ import annotations

import argparse

from components.core.config.seeds import seed_run
from components.core.config.strict import SettingsError, must_exist, read_yaml
from components.core.files import write_atomically
from components.core.settings import PARAMS
from flows.cli.arguments import add_place, project_of


def seeds_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run of params.yaml")
    parser.add_argument("seeds", metavar="SEED", type=int, nargs="*", help="its seeds (default: those of runs.RUN.seeds)")
    parser.add_argument("--none", action="store_true", help="remove the other seeds")
    parser.add_argument("--dry-run", action="store_true", help="only show params.yaml as it would be")
    add_place(parser)


def seeds(args: argparse.Namespace) -> int:
    """Repeat RUN with each SEED: write a run per seed and its links into params.yaml; comments and order stay.

    The repeated runs refer to the blocks of RUN by YAML's anchors: an edit of RUN is an edit of all. The evaluation of RUN then
    has the mean and the standard deviation of each metric over the seeds (seeds.<metric>.mean, .std, table seeds.csv), and
    `promote: {seed_spread: 2}` demands an improvement of so many standard deviations.
    """
    from components.core.config.params import read_params
    from flows.tuning.seeds import parse_params, with_seeds

    project = project_of(args)
    path = project.folder / PARAMS
    text = path.read_text(encoding="utf-8")
    runs = parse_params(text).runs
    must_exist(args.run, runs, "RUN")
    numbers = [] if args.none else args.seeds or list(runs[args.run].seeds)
    if not numbers and not args.none:
        raise SettingsError(f"SEED: name at least two seeds; runs.{args.run}.seeds has none")
    if numbers and (len(set(numbers)) < max(2, len(numbers)) or min(numbers) < 0):
        raise SettingsError(f"SEED: {numbers} is not allowed: at least two different whole numbers from 0 on are expected")
    with project.alone():
        written = with_seeds(text, args.run, numbers)
        read_params(read_yaml(path, written), str(path)).require(f"runs.{args.run}")
        if args.dry_run:
            print(written, end="")
            return 0
        write_atomically(path, written.encode())
    own = runs[args.run].train.get("seed", 0)
    others = ", ".join(seed_run(args.run, seed) for seed in numbers if seed != own) or "none"
    print(f"{PARAMS}: other seeds of {args.run}: {others}\n`python -m flows run --runs {args.run}` runs them")
    return 0
