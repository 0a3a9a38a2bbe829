"""Secrets stand in the environment, and nowhere else: planted there, none of them is in anything that a pipeline run writes."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import zipfile
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from workbench import make_project, run, toy_params, write_params

SECRETS = {
    "NOTIFY_TOKEN": "planted-notify-6f1d",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-9c2e",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=planted-azure-77aa",
    "MLFLOW_TRACKING_PASSWORD": "planted-mlflow-31b0",
}
URI_PASSWORD = "planted-uri-5d4c"
MARK = b"planted-"


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """An Apprise address, and the (path, message) pairs that were sent to it."""
    told: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.append((self.path, f"{content['title']}\n{content['message']}"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/${{NOTIFY_TOKEN}}", told
    server.shutdown()
    server.server_close()
    thread.join()


def holders(folder: Path) -> list[str]:
    """The files below the folder that hold a planted secret, also packed."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path.relative_to(folder)) for path in files if any(MARK in data for data in _contents(path))]


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:1] == b"\x78" and path.suffix == "":  # an object of git
        try:
            yield zlib.decompress(data)
        except zlib.error:
            return
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            yield from (packed.read(name) for name in packed.namelist())


def test_the_search_finds_what_is_planted(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"x" * 1000 + MARK)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(MARK))
    (tmp_path / "object").write_bytes(zlib.compress(MARK))
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inside", MARK * 10)
    (tmp_path / "innocent").write_bytes(b"nothing")
    assert sorted(holders(tmp_path)) == ["object", "packed.gz", "packed.zip", "plain"]


@pytest.mark.slow
def test_a_pipeline_run_writes_none_of_them(tmp_path: Path, receiver: tuple[str, list[tuple[str, str]]]) -> None:
    """First against a tracking server that is away, named with a password; then in full, with a training that fails."""
    address, told = receiver
    params = toy_params()
    params["pipeline"]["retries"] = 1
    params["pipeline"]["retry_delay"] = 0.1
    params["notify"] = {"on_failure": [address]}
    params["runs"]["bad"] = json.loads(json.dumps(params["runs"]["toy"]))
    params["runs"]["bad"]["train"]["learning_rate"] = 1e30
    project = make_project(tmp_path / "home" / "project", params)
    write_params(project, params)
    homes = {name: str(tmp_path / "home" / name) for name in ("HOME", "PREFECT_HOME", "DVC_SITE_CACHE_DIR", "TMPDIR")}
    for folder in homes.values():
        Path(folder).mkdir()
    environment = {**homes, **SECRETS, "PYTHONPATH": str(project)}

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://me:{URI_PASSWORD}@127.0.0.1:{closed.getsockname()[1]}"
        first = run("python", "-m", "flows", "run", cwd=project, check=False, MLFLOW_TRACKING_URI=uri, **environment)
        (project / ".work" / "output-1").write_text(first.stdout + first.stderr)
    second = run("python", "-m", "flows", "run", "--all", cwd=project, check=False, **environment)
    (project / ".work" / "output-2").write_text(second.stdout + second.stderr)

    assert (first.returncode, second.returncode) == (1, 1), first.stdout + first.stderr + second.stdout + second.stderr
    assert "publish@toy failed" in first.stderr + first.stdout
    assert "train@bad failed" in second.stderr + second.stdout
    assert "http://me:***@127.0.0.1" in (project / ".work" / "output-1").read_text()
    assert [path for path, _ in told] == [f"/{SECRETS['NOTIFY_TOKEN']}"] * 2
    assert not any(MARK.decode() in text for _, text in told)
    databases = [*project.glob(".work/mlflow-*/mlflow.db"), Path(homes["PREFECT_HOME"]) / "prefect.db"]
    assert len(databases) == 2
    assert all(path.stat().st_size > 100_000 for path in databases)
    assert holders(tmp_path / "home") == []
