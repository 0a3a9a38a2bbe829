"""The step of ``make check`` that looks known vulnerabilities up, against a service of the test's own."""

from __future__ import annotations

import importlib.util
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / "audit" / "__main__.py"
FAULT = {
    "id": "OSV-2020-1",
    "summary": "it leaks",
    "affected": [
        {
            "package": {"name": "leaky", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.5"}]}],
        }
    ],
}


@pytest.fixture
def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def service() -> Iterator[str]:
    """Knows one vulnerability, of "leaky"."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps({"vulns": [FAULT]} if asked["package"]["name"] == "leaky" else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()
    thread.join()


def write(folder: Path, ignored: str, *pins: str) -> tuple[Path, Path]:
    (folder / "some.lock").write_text("".join(f"{pin}\n" for pin in pins))
    (folder / "ignored.txt").write_text(ignored)
    return folder / "some.lock", folder / "ignored.txt"


@pytest.mark.slow
def test_a_known_vulnerability_fails_unless_there_is_a_reason(
    audit: Any, service: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pins = ("leaky==1.0  # why", "sound==2.0")
    assert audit.main(*write(tmp_path, "# none\n", *pins), "--osv-url", service) == 1
    assert capsys.readouterr().out.splitlines() == [
        "leaky==1.0: OSV-2020-1, mended in: 1.5",
        "2 packages of some.lock, 1 known vulnerabilities, 0 ignored",
    ]
    assert audit.main(*write(tmp_path, "OSV-2020-1  nothing of ours calls it\n", *pins), "--osv-url", service) == 0
    assert capsys.readouterr().out == "2 packages of some.lock, 0 known vulnerabilities, 1 ignored\n"


@pytest.mark.slow
def test_no_network_is_one_line_and_no_failure(audit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1/query"
        assert audit.main(*write(tmp_path, "", "sound==2.0"), "--osv-url", url) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("skipped: known vulnerabilities of some.lock: the service does not answer")
    # A fault of the lock is not taken for a lost network.
    assert audit.main(*write(tmp_path, "", "sound>=2.0"), "--osv-url", url) != 0


def test_ignoring_needs_a_reason(audit: Any, tmp_path: Path) -> None:
    _, ignored = write(tmp_path, "GHSA-x  since\nCVE-1\n")
    with pytest.raises(ValueError, match=r"ignored\.txt: CVE-1 needs a reason"):
        audit.reasons(ignored)
    audit.reasons(PROGRAM.with_name("ignored.txt"))
