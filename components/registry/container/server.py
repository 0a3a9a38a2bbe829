"""``python -m components.registry.container.server FOLDER``: serve the export in FOLDER over HTTP, without MLflow.

``GET /ping``, ``GET /version``; ``POST /predict`` takes pictures, ``POST /embed`` texts, by the scoring server's own
code; ``POST /invocations`` takes MLflow's JSON, {"inputs": {name: array}, "params": {...}}. The golden pictures are played
first: with a difference the server does not start (exit code 4).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from components.registry.scoring.pictures import Predict
from components.registry.scoring.requests import limited_body
from components.registry.scoring.texts import Embed
from components.serving.golden import play
from components.serving.loading import load_served

DIFFERENT = 4  # exit code: a golden picture has another answer here
MAX_BODY = 2**28  # bytes of a request


def main() -> None:
    """Parse the command line, play the golden pictures, and serve until SIGTERM."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m components.registry.container.server", description=__doc__)
    parser.add_argument("folder", type=Path, help="the export: served.py, facts.json, graphs")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    args = parser.parse_args()
    served = load_served(args.folder)
    if faults := play(args.folder, served):
        print("\n".join(["the model does not answer as it did when it was exported:", *faults]), file=sys.stderr)
        sys.exit(DIFFERENT)
    signature, about = _read(args.folder / "signature.json"), _read(args.folder.parent / "model.json")
    uvicorn.run(application(served, signature, about), host=args.host, port=args.port, log_level="warning")


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def application(served: Any, signature: dict[str, Any], about: dict[str, Any]) -> Starlette:
    """Return the ASGI application of a served model. ``about``: the answer of ``/version``."""

    async def ping(request: Request) -> JSONResponse:
        return JSONResponse({})

    async def version(request: Request) -> JSONResponse:
        return JSONResponse(about)

    async def invoke(request: Request) -> JSONResponse:
        try:
            inputs, params = invocation(await limited_body(request, MAX_BODY))
            outputs = await asyncio.to_thread(served.predict, inputs, params)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"predictions": {name: np.asarray(array).tolist() for name, array in outputs.items()}})

    gets = [Route(path, ping) for path in ("/ping", "/health")] + [Route("/version", version)]
    answers = {"/invocations": invoke, "/predict": Predict(served, signature).answer, "/embed": Embed(served).answer}
    posts = [Route(path, answer, methods=["POST"]) for path, answer in answers.items()]
    return Starlette(routes=[*gets, *posts])


def invocation(body: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """Parse MLflow's JSON to inputs by name and params; ValueError for anything else."""
    try:
        content = json.loads(body)
    except ValueError as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), dict):
        raise ValueError('{"inputs": {name: array}} is expected, with "params": {name: value} if the model takes some')
    if unknown := sorted(set(content) - {"inputs", "params"}):
        raise ValueError(f"unknown key {unknown[0]!r}: inputs and params are expected")
    return {name: _array(name, value) for name, value in content["inputs"].items()}, content.get("params")


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"input {name!r}: the rows differ in length") from None


if __name__ == "__main__":
    main()
