"""Two processes on one socket: while one takes over from the other, no request is lost."""

import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

from components.core.settings import ROOT

SERVER = """
import socket, sys
import uvicorn
from components.registry.scoring import draining

draining.DRAIN = 0.5

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

config = uvicorn.Config(draining.with_header(app, "x-who", sys.argv[2]), log_level="warning", lifespan="off")
server = draining.DrainingServer(config, lambda: print("ready", flush=True))
server.run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""


def serve(listening: socket.socket, name: str) -> subprocess.Popen[str]:
    """A server, once it takes requests."""
    command = [sys.executable, "-c", SERVER, str(listening.fileno()), name]
    found = subprocess.Popen(command, cwd=ROOT, pass_fds=[listening.fileno()], stdout=subprocess.PIPE, text=True)
    assert found.stdout is not None
    assert found.stdout.readline() == "ready\n"
    return found


class Asking(threading.Thread):
    """Asks without a pause until told to stop; ``told``: who answered, in order, or what went wrong."""

    def __init__(self, port: int, keep: bool) -> None:
        super().__init__()
        self.told: list[str] = []
        self.enough = threading.Event()
        self._port, self._keep = port, keep

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self.enough.wait(0.002):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                self.told.append(str(answer.headers["x-who"]))
                if not self._keep:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.told.append(repr(error))
                connection.close()


def test_no_request_is_lost_when_one_takes_over() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        old = serve(listening, "old")
        askers = [Asking(listening.getsockname()[1], keep) for keep in (True, True, False, False)]
        for asker in askers:
            asker.start()
        new = serve(listening, "new")
        old.send_signal(signal.SIGTERM)
        assert old.wait(30) in (0, -signal.SIGTERM)
        seen = [len(asker.told) for asker in askers]
        while any(len(asker.told) < number + 20 for asker, number in zip(askers, seen, strict=True)):
            assert new.poll() is None
            time.sleep(0.02)
        for asker in askers:
            asker.enough.set()
            asker.join()
        new.terminate()
        new.wait(30)
    told = Counter(answer for asker in askers for answer in asker.told)
    assert set(told) == {"old", "new"}
    assert all(asker.told[-1] == "new" for asker in askers)
    for process in (old, new):
        assert process.stdout is not None
        process.stdout.close()
