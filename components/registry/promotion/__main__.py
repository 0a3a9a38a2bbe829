"""``python -m components.registry.promotion check|score <run> <version>``: test a registered version for a promotion.

``check``: load the version as MLflow serves it and predict its example. ``score``: also score it on today's evaluation data,
and the version ``--against`` unless its scores on this data are cached.

Exit codes: 4 the version is unfit, 5 the one ``--against``.
"""

import argparse
import sys
from typing import NoReturn

from components.command import run_command
from components.core.runtime import set_threads
from components.core.settings import Workspace
from components.registry import model_registry as registry
from components.registry.promotion import CHAMPION_UNFIT, UNFIT, UNFIT_WORD
from components.registry.promotion.scores import VersionScores, data_key, read_scores
from components.registry.promotion.trial import Unfit, load_and_answer, must_be_outs, score_version
from components.registry.tracking import connect


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m components.registry.promotion", description=__doc__)
    parser.add_argument("what", choices=("check", "score"))
    parser.add_argument("run")
    parser.add_argument("version", type=int)
    parser.add_argument("--against", type=int, metavar="VERSION")
    args = parser.parse_args()
    workspace = Workspace()
    if args.what == "check":
        check(workspace, args.run, args.version)
    else:
        compare(workspace, args.run, args.version, args.against)


def check(workspace: Workspace, run: str, version: int) -> None:
    """Load the version and predict its example; exit with code 4 if that fails."""
    try:
        load_and_answer(connect(), workspace.registered_name(run), version)
    except Unfit as error:
        _end(error, UNFIT)
    print(f"version {version} loads and answers its example")


def compare(workspace: Workspace, run: str, version: int, against: int | None) -> None:
    """Score the version, and ``against`` unless its scores are cached."""
    client = connect()
    set_threads(workspace.run(run).train.threads)
    try:
        must_be_outs(client, workspace, run, version)
        candidate = score_and_print(workspace, run, version)
    except Unfit as error:
        _end(error, UNFIT)
    if against is None:
        return
    name, data = workspace.registered_name(run), data_key(workspace, run)
    model = str(client.get_model_version(name, str(against)).tags.get(registry.KEY, ""))
    if read_scores(name, against, data, model) is not None:
        print(f"version {against}: scored on this data before")
        return
    try:
        score_and_print(workspace, run, against, candidate.classes)
    except Unfit as error:
        _end(error, CHAMPION_UNFIT)


def score_and_print(workspace: Workspace, run: str, version: int, classes: tuple[str, ...] = ()) -> VersionScores:
    """Score the version and print its metrics; ``classes``: see ``score_version``."""
    scores = score_version(connect(), workspace, run, version, classes)
    print(f"version {version}: " + ", ".join(f"{name} {value:.4f}" for name, value in scores.metrics.items()), flush=True)
    return scores


def _end(error: Unfit, code: int) -> NoReturn:
    print(f"{UNFIT_WORD}{error}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    run_command(main)
