"""The environment of a command: proxies that cannot reach our own servers, DVC's files in the state folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from components.core import settings
from flows import environment

ROOT = Path(__file__).resolve().parents[2]
ASK = """
import threading, http.server, sys
from pathlib import Path
from flows import environment
environment.prepare(Path("."))
import httpx
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.handle_request, daemon=True).start()
print(httpx.get(f"http://127.0.0.1:{server.server_port}/").status_code)
"""


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks5h://ada:secret@127.0.0.1:9", "http://127.0.0.1:9"])
def test_our_own_servers_are_asked_without_a_proxy(proxy: str, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env |= {"PYTHONPATH": str(ROOT), "ALL_PROXY": proxy, "DARKROOM_WORK": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "200\n", done.stderr
    assert "secret" not in done.stderr
    assert ("ALL_PROXY=socks5" in done.stderr) is proxy.startswith("socks")


def test_dvc_keeps_its_files_in_the_state_folder_unless_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".dvc").mkdir()
    monkeypatch.setattr(settings, "WORK", tmp_path / ".work")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    monkeypatch.setenv(environment.SITE, "/chosen")
    environment.keep_dvc_files(tmp_path)
    assert os.environ[environment.SITE] == "/chosen"
    monkeypatch.delenv(environment.SITE)
    for config in (tmp_path / ".dvc" / "config.local", tmp_path / "config" / "dvc" / "config"):
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text("[core]\n    site_cache_dir = /mine\n['remote \"a\"']\n    url = /x%y\n")
        environment.keep_dvc_files(tmp_path)
        assert environment.SITE not in os.environ
        config.unlink()
    environment.keep_dvc_files(tmp_path)
    assert os.environ[environment.SITE] == str(tmp_path / ".work" / "dvc")
