"""``notify``: who is told of failures, promotions, drift; ``--test`` sends each a message. Exit code 1: one did not arrive."""

from __future__ import annotations

import argparse

from flows.commands.chosen import place, project_of
from flows.report import table

HELP = "show who is notified; --test sends each a message"


def arguments(parser: argparse.ArgumentParser) -> None:
    """``python -m flows notify``."""
    place(parser)
    parser.add_argument("--test", action="store_true", help="send a message to each address")


def main(given: argparse.Namespace) -> int:
    """Print a line for each address, without its secrets."""
    from flows.notify import drift_addresses, failure_addresses, promotion_addresses, send

    params = project_of(given).params
    chosen = [*failure_addresses(params), *promotion_addresses(params), *drift_addresses(params)]
    if not chosen:
        print(_how())
        return 0
    if not given.test:
        print("\n".join(map(str, chosen)))
        return 0
    faults = send(chosen, "a test message", "Failures, promotions or drift will be told here.")
    print(table([{"address": str(address), "result": fault or "delivered"} for address, fault in faults.items()]))
    return 1 if any(faults.values()) else 0


def _how() -> str:
    lines = [
        "nobody is notified; in params.yaml, for example:",
        "  notify:",
        "    on_failure: ['mailto://user:${MAIL_PASSWORD}@example.org']",
        "    on_promotion: ['slack://${SLACK_TOKENS}/#models']",
        "    on_drift: ['slack://${SLACK_TOKENS}/#data']",
        "addresses: https://github.com/caronc/apprise/wiki; ${NAME} is taken from the environment",
    ]
    return "\n".join(lines)
