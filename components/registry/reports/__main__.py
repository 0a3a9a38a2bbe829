"""``python -m components.registry.reports RUN[:VERSION] RUN[:VERSION]``: compare two versions on today's evaluation pictures.

A version is a number or an alias (default: the candidate, else the champion). Prints the metrics and writes a page.
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
    parser.add_argument("first", metavar="RUN[:VERSION]")
    parser.add_argument("second", metavar="RUN[:VERSION]")
    args = parser.parse_args()
    workspace = Workspace()
    set_threads(1)
    try:
        with reachable():
            client = connect()
            comparison = Comparison(*(side(client, workspace, text) for text in (args.first, args.second)))
    except Unfit as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    print(table(comparison))
    print(f"report: {shown_path(write_comparison(workspace, comparison))}")


if __name__ == "__main__":
    run_command(main)
