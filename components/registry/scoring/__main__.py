"""``python -m components.registry.scoring <registered name> --fd N [--ready N]``: serve the champion.

The interface is that of ``mlflow models serve --env-manager local``, ``POST /invocations`` and ``GET /ping``; ``POST /predict``
takes encoded pictures (``pictures.py``), ``POST /embed`` texts (``texts.py``). Every response has the version in
its header ``X-Darkroom-Version``; ``GET /champion`` returns it too. Once the server accepts requests, it writes the version to
the file descriptor ``--ready``. Before it takes the socket it answers its example and its golden pictures; a version that
answers these differently is not served. What it answers is counted for the watch over a promotion
(``components.registry.watch``). Exit code 3: the model has no champion.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

from components.command import run_command
from components.core.files import read_arrays, this_process
from components.registry.scoring import NO_CHAMPION

VERSION = "X-Darkroom-Version"


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m components.registry.scoring", description=__doc__)
    parser.add_argument("name", help="registered name")
    parser.add_argument("--fd", type=int, required=True, help="file descriptor of a bound socket")
    parser.add_argument("--ready", type=int, help="file descriptor to which the version is written")
    args = parser.parse_args()
    version = champion(args.name)
    if version is None:
        print(f"{args.name} has no champion yet: promote one", file=sys.stderr)
        sys.exit(NO_CHAMPION)
    listening = socket.socket(fileno=args.fd)
    serve(args.name, *version, listening, args.ready)


def champion(name: str) -> tuple[int, str] | None:
    """Return the champion's version and the key of its export, or None."""
    from components.registry import model_registry as registry
    from components.registry.tracking import connect, reachable

    with reachable():
        version = registry.aliased(connect(), name, "champion")
    return None if version is None else (int(version.version), str(version.tags.get(registry.KEY, "")))


def serve(name: str, number: int, key: str, listening: socket.socket, ready: int | None) -> None:
    """Serve on the socket; write to ``ready`` once requests are accepted."""
    import uvicorn

    from components.registry.scoring.draining import DrainingServer, with_header
    from components.registry.scoring.requests import guarded
    from components.registry.watch.counting import count_rejected, counted
    from components.registry.watch.traffic import Recorder

    app, recorder = application(name, number), Recorder(name, number, key)
    count_rejected(app.state.served, recorder)
    counting = with_header(counted(guarded(app), recorder), VERSION.lower(), str(number))
    config = uvicorn.Config(counting, log_level="warning", access_log=False, timeout_graceful_shutdown=30)
    server = DrainingServer(config, lambda: notify_ready(ready, number))
    try:
        server.run(sockets=[listening])
    finally:
        recorder.flush()


def application(name: str, number: int) -> Any:
    """Return MLflow's scoring app of the version, with ``GET /champion`` and ``POST /predict``.

    ValueError if the version answers a golden picture differently on this machine.
    """
    from components.registry import model_registry as registry
    from components.registry.scoring.pictures import Predict
    from components.registry.scoring.texts import Embed
    from components.registry.tracking import connect
    from components.serving.golden import play

    client = connect()
    app, folder = registry.scoring_app(client, name, number), registry.export_folder(client, name, number)
    warm_up(app.state.served, folder)
    if differences := play(folder, app.state.served):
        raise ValueError(f"{name} version {number} is not served: {differences[0]}")
    signature = json.loads((folder / "signature.json").read_text(encoding="utf-8"))
    app.add_route("/predict", Predict(app.state.served, signature).answer, methods=["POST"])
    app.add_route("/embed", Embed(app.state.served).answer, methods=["POST"])
    facts = {"name": name, "version": number, "process": this_process()}
    app.get("/champion")(lambda: facts)
    return app


def warm_up(served: Any, folder: Path) -> None:
    """Answer the example, also of an export without golden pictures: the first request finds graphs and buffers ready."""
    served.predict(read_arrays(folder / "example.npz"))


def notify_ready(ready: int | None, number: int) -> None:
    """Write the version to the file descriptor ``ready``, if given, and close it."""
    if ready is not None:
        os.write(ready, f"{number}\n".encode())
        os.close(ready)


if __name__ == "__main__":
    run_command(main)
