"""``python -m components.registry.reports RUN[:VERSION] RUN[:VERSION] ...``: compare models on today's evaluation pictures.

Of two: versions from the registry (default: the candidate, else the champion), metric by metric. Of more: a ladder of
exports in outputs/, or of versions: one metric, with latency and size. A version is a number or an alias. Prints a table and
writes a page.
Exit code 1: a version does not load or cannot be scored.
"""

import argparse
import sys

from components.command import run_command
from components.core.runtime import set_threads
from components.core.settings import Workspace
from components.registry.promotion.trial import Unfit
from components.registry.publishing import shown_path
from components.registry.reports.comparison import Comparison, side, table
from components.registry.reports.comparison_page import write_comparison
from components.registry.tracking import connect, reachable


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m components.registry.reports", description=__doc__)
    parser.add_argument("runs", metavar="RUN[:VERSION]", nargs="+")
    parser.add_argument("--metric")
    args = parser.parse_args()
    set_threads(1)
    if len(args.runs) == 2:
        compare_two(Workspace(), args.runs)
    else:
        compare_steps(Workspace(), args.runs, args.metric)


def compare_two(workspace: Workspace, names: list[str]) -> None:
    """Print all metrics of two versions, and write the page."""
    try:
        with reachable():
            client = connect()
            comparison = Comparison(*(side(client, workspace, text) for text in names))
    except Unfit as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(table(comparison))
    print(f"report: {shown_path(write_comparison(workspace, comparison))}")


def compare_steps(workspace: Workspace, names: list[str], metric: str | None) -> None:
    """Print the ladder of several models, and write its table and page."""
    from components.registry.latency.__main__ import export_of
    from components.registry.latency.table import costs
    from components.registry.reports import ladder

    ladder.check_names(names)
    exports = {name: export_of(workspace, name) for name in names}
    steps = [ladder.step(workspace, name, export) for name, export in exports.items()]
    measured = costs(exports)
    rows = ladder.rows(steps, measured, metric)
    print(ladder.text(rows, measured))
    print(f"report: {shown_path(ladder.write(rows, measured))}")


if __name__ == "__main__":
    run_command(main)
