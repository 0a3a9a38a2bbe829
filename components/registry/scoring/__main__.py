"""``python -m components.registry.scoring <registered name> --fd N [--ready N]``: serve the champion on the socket N.

The interface is that of ``mlflow models serve --env-manager local``: ``POST /invocations``, ``GET /ping``. Every answer names
the version in the header ``X-Darkroom-Version``; ``GET /champion`` tells it too. The version is written to the file descriptor
``--ready`` once it is loaded and answers. Exit code 3: the model has no champion.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import Any

from components.command import run_command
from components.core.files import this_process
from components.registry.scoring import NO_CHAMPION

VERSION = "X-Darkroom-Version"


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m components.registry.scoring", description=__doc__)
    parser.add_argument("name", help="registered name")
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of a bound socket")
    parser.add_argument("--ready", type=int, help="file descriptor that is told the version")
    given = parser.parse_args()
    number = champion(given.name)
    if number is None:
        print(f"{given.name} has no champion yet: promote one", file=sys.stderr)
        sys.exit(NO_CHAMPION)
    listening = socket.socket(fileno=given.fd)
    serve(given.name, number, listening, given.ready)


def champion(name: str) -> int | None:
    """The number of the champion, or None."""
    from components.registry import model_registry as registry
    from components.registry.tracking import connect, reachable

    with reachable():
        found = registry.aliased(connect(), name, "champion")
    return None if found is None else int(found.version)


def serve(name: str, number: int, listening: socket.socket, ready: int | None) -> None:
    """Answer on the socket; ``ready`` is written to when requests are taken."""
    import uvicorn

    from components.registry.scoring.draining import DrainingServer, with_header

    app = with_header(application(name, number), VERSION.lower(), str(number))
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=30)
    server = DrainingServer(config, lambda: tell(ready, number))
    server.run(sockets=[listening])


def application(name: str, number: int) -> Any:
    """MLflow's scoring app of the version, and ``GET /champion``."""
    from components.registry import model_registry as registry
    from components.registry.tracking import connect

    app = registry.scoring_app(connect(), name, number)
    facts = {"name": name, "version": number, "process": this_process()}
    app.get("/champion")(lambda: facts)
    return app


def tell(ready: int | None, number: int) -> None:
    """Write the version to the descriptor of who waits for it."""
    if ready is not None:
        os.write(ready, f"{number}\n".encode())
        os.close(ready)


if __name__ == "__main__":
    run_command(main)
