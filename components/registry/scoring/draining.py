"""Graceful shutdown: a uvicorn server that loses no request when another process takes over its socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

DRAIN = 1.5  # seconds in which accepted connections may still send a request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class DrainingServer(uvicorn.Server):
    """On SIGTERM, stop accepting connections, answer pending requests, and ask clients to close.

    uvicorn itself closes a connection whose first request has not arrived yet, which its client sees as a reset.
    ``started`` is called once requests are accepted.
    """

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then call ``started``."""
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, drain the connections, then shut down as uvicorn does."""
        for server in self.servers:
            server.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        await asyncio.sleep(DRAIN)
        await super().shutdown(sockets)


def with_header(app: App, name: str, value: str) -> App:
    """Wrap ``app``: add a header to every response."""
    header = (name.encode(), value.encode())

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], header]
            await send(message)

        await app(scope, receive, add)

    return answer
