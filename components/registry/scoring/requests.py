"""Guard MLflow's ``POST /invocations``: bad requests are errors of the client, in a few words.

MLflow's server of 3.17 answers 500 to a request without Content-Type and to deeply nested JSON, has no limit for the body, and
repeats the whole input in the message about a wrong shape.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from starlette.requests import Request

from components.registry.scoring.draining import App, Message, Receive, Send
from components.registry.scoring.pictures import MEGABYTES

LONGEST = 500  # characters of a message
DEEPEST = 64  # nested brackets; a batch of pictures has 6
PREDICTED = re.compile(r"Failed to predict data '.*'\. \nError: ", re.DOTALL)
ENFORCED = re.compile(r" of data '.*' with schema ", re.DOTALL)
OTHERS = bytes(set(range(256)) - set(b"[]{}"))
TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


def guarded(app: App) -> App:
    """Wrap MLflow's ``app``: 400 without Content-Type or for JSON nested too deeply, 413 for a body that is too long."""
    limit = int(os.environ.get("DARKROOM_MAX_REQUEST_MB") or MEGABYTES) * 1_000_000

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/invocations":
            await app(scope, receive, send)
            return
        body = await _body(receive, limit)
        fault = _fault(scope, body, limit)
        if fault:
            await _refuse(send, *fault)
        else:
            await app(scope, _replay(body or b"", receive), _Shortened(send))

    return answer


def _fault(scope: Message, body: bytes | None, limit: int) -> tuple[int, str] | None:
    """Return status and reason if the request is refused."""
    if body is None:
        return 413, f"a request may have at most {limit:,} bytes (DARKROOM_MAX_REQUEST_MB on the server)"
    headers = dict(scope["headers"])
    if scope["method"] == "POST" and not headers.get(b"content-type", b"").strip():
        return 400, "there is no Content-Type: application/json is expected"
    if b"json" in headers.get(b"content-type", b"").lower() and is_deep(body):
        return 400, f"the body is nested too deeply: about {DEEPEST} brackets are allowed"
    return None


def is_deep(body: bytes) -> bool:
    """Whether the brackets of a JSON text are nested deeper than ``DEEPEST``, or as many are never closed.

    Innermost pairs are removed level by level, each by one search in C.
    """
    brackets = TEXT.sub(b"", body).translate(None, OTHERS)
    for _ in range(DEEPEST):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return len(brackets) > DEEPEST


async def _body(receive: Receive, limit: int) -> bytes | None:
    """Read the body; None if it is longer than ``limit`` bytes."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            return None
        more = message.get("more_body", False) and message["type"] == "http.request"
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body that was read, then what comes further."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error_code": "BAD_REQUEST", "message": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Shortened:
    """A ``send`` that shortens the message of an error and leaves out MLflow's stack trace."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        """Pass a good response on; keep a bad one until its body is complete."""
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._finish(self._start, shortened(self._body))

    async def _finish(self, start: Message, body: bytes) -> None:
        others = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await self._send({**start, "headers": [*others, (b"content-length", str(len(body)).encode())]})
        await self._send({"type": "http.response.body", "body": body})


def shortened(body: bytes) -> bytes:
    """Shorten the message in MLflow's JSON of an error: without the input, at most ``LONGEST`` characters."""
    try:
        content: Any = json.loads(body)
        message = ENFORCED.sub(" ", PREDICTED.sub("", content["message"]))
    except (ValueError, KeyError, TypeError):
        return body if len(body) <= 2 * LONGEST else body[:LONGEST] + b" ..."
    content.pop("stack_trace", None)
    cut = message if len(message) <= LONGEST else f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
    return json.dumps(content | {"message": cut}).encode()


async def limited_body(request: Request, most: int) -> bytes:
    """Read the body; ValueError beyond ``most`` bytes, whatever its header says."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise ValueError(f"the body has more than {most:,} bytes")
        parts.append(part)
    return b"".join(parts)
