"""Check a container context without a container: install its requirements into a new venv and let its server answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.registry.container.context import MODULE, golden_pictures

INSTALLATION, START = 1800, 120  # seconds
TOLERANCE = 1e-3  # of a probability

Say = Callable[[str], None]


class ContextFault(Exception):
    """The context cannot be installed, does not start, or answers differently; the message says why."""


def check_context(folder: Path, say: Say) -> None:
    """Install, start, and send each golden picture to ``/predict``. Raise ContextFault at the first fault."""
    with tempfile.TemporaryDirectory(prefix="darkroom-image-") as scratch:
        python = install(folder, Path(scratch) / "venv", say)
        with running(folder, python) as address:
            pictures = golden_pictures(folder)
            for picture in pictures:
                compare(picture, folder, _post(f"{address}/predict", picture.read_bytes()))
            say(f"the server started by itself, and answers {len(pictures)} golden pictures as it did when it was exported")


def install(folder: Path, venv: Path, say: Say) -> Path:
    """Create ``venv``, install the context's requirements and nothing else; return its interpreter."""
    begin = time.monotonic()
    _run([sys.executable, "-m", "venv", str(venv)], "the venv cannot be created")
    python = venv / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*install, "--requirement", str(folder / "requirements.txt")], "requirements.txt cannot be installed")
    number = len((folder / "requirements.txt").read_text(encoding="utf-8").splitlines())
    say(f"{number} packages installed into a new venv in {time.monotonic() - begin:.0f} s")
    return python


def _run(command: list[str], fault: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLATION, check=False, env=_environment())
    if done.returncode:
        raise ContextFault(f"{fault}: {' '.join(done.stderr.split())[-600:]}")


def _environment() -> dict[str, str]:
    """Return this environment without paths to this installation."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in hidden}


@contextmanager
def running(folder: Path, python: Path) -> Iterator[str]:
    """Start the context's server on a free loopback port, as its Dockerfile does; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryFile() as output:
        command = [str(python), "-m", MODULE, "model", "--port", str(port)]
        process = subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=output, env=_environment() | {"PYTHONDONTWRITEBYTECODE": "1"}
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _wait(process, address, output)
            yield address
        finally:
            process.terminate()
            process.wait()


def _wait(process: subprocess.Popen[bytes], address: str, output: Any) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            _open(urllib.request.Request(f"{address}/ping"))  # noqa: S310  our own address
            return
        except OSError:
            time.sleep(0.1)
    output.seek(0)
    words = " ".join(output.read().decode(errors="replace").split())[-600:]
    raise ContextFault(f"the server {'ended' if process.poll() is not None else 'does not answer'}: {words}")


def _post(url: str, data: bytes) -> dict[str, Any]:
    request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"})  # noqa: S310
    try:
        content: dict[str, Any] = json.loads(_open(request))
    except urllib.error.HTTPError as error:
        raise ContextFault(f"/predict answers {error.code}: {error.read().decode(errors='replace')[:600]}") from None
    return content


def _open(request: urllib.request.Request) -> bytes:
    """Send the request without the environment's proxy, which cannot reach this machine's loopback address."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as response:
        body: bytes = response.read()
    return body


def compare(picture: Path, folder: Path, answer: dict[str, Any]) -> None:
    """Compare the answer over HTTP with golden.json. Images are compared by the server itself, at its start."""
    entries = json.loads((folder / "model" / "golden.json").read_text(encoding="utf-8"))["pictures"]
    expected = next(entry["outputs"] for entry in entries if entry["file"] == picture.name)
    (row,) = answer["predictions"]
    for name, value in expected.items():
        same = abs(row[name] - value) <= TOLERANCE * max(1, abs(value)) if isinstance(value, float) else row[name] == value
        if not same:
            raise ContextFault(f"{picture.name}: {name} is {row[name]} over HTTP, expected {value}")
