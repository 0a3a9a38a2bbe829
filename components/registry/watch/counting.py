"""The scoring server's side: count answers by status and time, and the pictures that the model rejects."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from components.registry.scoring.draining import App, Message, Receive, Send
from components.registry.watch.traffic import Recorder

COUNTED = ("/invocations", "/predict", "/embed")
REJECTED = "is_ood"  # output of a model with a detector


def counted(app: App, recorder: Recorder) -> App:
    """Wrap ``app``: count the answers to requests for predictions. A client that goes away before its answer is not counted."""

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in COUNTED:
            await app(scope, receive, send)
            return
        started, statuses = time.perf_counter(), []

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(int(message["status"]))
            await send(message)

        try:
            await app(scope, receive, note)
        except Exception:  # uvicorn answers 500
            statuses[:] = [500]
            raise
        finally:
            if statuses:
                recorder.answered(statuses[0], time.perf_counter() - started)

    return answer


def count_rejected(served: Any, recorder: Recorder) -> None:
    """Let the model count what its detector rejects: ``outputs_of``, by which ``predict`` and ``/predict`` both answer."""
    method = "outputs_of" if hasattr(served, "outputs_of") else "predict"
    original = getattr(served, method)

    def counting(*arguments: Any, **options: Any) -> Any:
        outputs = original(*arguments, **options)
        if isinstance(outputs, dict) and REJECTED in outputs:
            rejected = np.asarray(outputs[REJECTED])
            recorder.judged(rejected.size, int(rejected.sum()))
        return outputs

    setattr(served, method, counting)
