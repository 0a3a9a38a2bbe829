"""A small project with the real stage names and trivial commands, in a git and DVC repository of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.core import settings
from flows.dvc import merge_driver
from flows.project import Project

ROOT = Path(__file__).resolve().parents[2]

DVC_YAML = """
stages:
  fetch:
    foreach: ${datasets}
    do:
      cmd: mkdir -p outputs/datasets/${key} && cp ${item.path} outputs/datasets/${key}/data
      deps: ["${item.path}"]
      params: ["datasets.${key}"]
      outs: ["outputs/datasets/${key}"]
  augment:
    foreach: ${views}
    do:
      cmd: mkdir -p outputs/views/${key} && cp outputs/datasets/${item.dataset}/data outputs/views/${key}/data
      deps: ["outputs/datasets/${item.dataset}"]
      params: ["views.${key}"]
      outs: ["outputs/views/${key}"]
  wire:
    foreach: ${runs}
    do:
      cmd: for s in train evaluate; do mkdir -p outputs/links/${key}/$s; echo ${key} > outputs/links/${key}/$s/run; done
      outs: ["outputs/links/${key}/train/run", "outputs/links/${key}/evaluate/run"]
  link:
    foreach: ${links}
    do:
      cmd: md5sum ${item.from}/* > outputs/links/${item.run}/${item.stage}/${item.role}
      deps: ["${item.from}", "outputs/links/${item.run}/${item.stage}/run"]
      params: ["links.${key}"]
      outs: ["outputs/links/${item.run}/${item.stage}/${item.role}"]
  train:
    foreach: ${runs}
    do:
      cmd: python ${root}/stage.py train ${key}
      deps: ["${root}/stage.py", "outputs/views/${item.view}", "outputs/links/${key}/train"]
      params: ["runs.${key}.model", "runs.${key}.train"]
      outs: ["outputs/train/${key}"]
  export:
    foreach: ${runs}
    do:
      cmd: python ${root}/stage.py export ${key}
      deps: ["outputs/train/${key}"]
      params: ["runs.${key}.export"]
      outs: ["outputs/export/${key}"]
  evaluate:
    foreach: ${runs}
    do:
      cmd: python ${root}/stage.py evaluate ${key}
      deps: ["outputs/export/${key}", "outputs/views/${item.view}", "outputs/links/${key}/evaluate"]
      params: ["runs.${key}.evaluate"]
      outs: ["outputs/evaluate/${key}"]
  ood_table:
    foreach: ${detect}
    do:
      cmd: mkdir -p outputs/ood_table/${key} && cp outputs/evaluate/${item.run}/metrics.json outputs/ood_table/${key}
      deps: ["outputs/evaluate/${item.run}/metrics.json"]
      outs: ["outputs/ood_table/${key}"]
"""

# Knows nothing of die_with_parent: what it starts, and itself, must be ended by the flow.
STAGE = """
import json, os, pathlib, signal, subprocess, sys, time
stage, run = sys.argv[1:]
block = json.loads(pathlib.Path("params.yaml").read_text())["runs"][run][stage]
started = time.time()
if block.get("deaf"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(f"{stage} {run} starts on {os.environ.get('DARKROOM_DEVICE', 'the default device')}")
if block.get("escape"):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)", "escaped"], start_new_session=True)
pathlib.Path(".work/running").mkdir(parents=True, exist_ok=True)
pathlib.Path(f".work/running/{stage}@{run}").touch()
while not pathlib.Path(".work/running", block.get("meet", f"{stage}@{run}")).exists():
    time.sleep(0.05)
time.sleep(block.get("seconds", 0))
if block.get("fail"):
    sys.exit(f"cannot {stage} {run}")
with open(f".work/running/{stage}@{run}", "a") as file:
    file.write("x")
if block.get("code") and os.path.getsize(f".work/running/{stage}@{run}") <= block.get("times", 99):  # a signal as -number
    os.kill(os.getpid(), -block["code"]) if block["code"] < 0 else sys.exit(block["code"])
out = pathlib.Path("outputs") / stage / run
out.mkdir(parents=True)
(out / "metrics.json").write_text(json.dumps({"accuracy": 0.5, "block": sum(map(ord, json.dumps(block)))}))
with open(".work/timeline", "a") as file:
    print(stage, run, started, time.time(), file=file)
"""

PUBLISH = """
import sys
assert sys.argv[1] == "publish"
with open(".work/published", "a") as file:
    print(sys.argv[2], file=file)
"""


def run_block(**train: Any) -> dict[str, Any]:
    """A run of the fake project."""
    train = {"threads": 1, **train}
    blocks: dict[str, Any] = {"model": {"name": "m"}, "train": train, "export": {}, "evaluate": {}, "promote": {}}
    return {"recipe": "fake", "view": "v", **blocks}


def params(root: str = ".") -> dict[str, Any]:
    """Three runs: "c" learns from the export of "a", which has detectors; "b" stands alone."""
    return {
        "root": root,
        "seed": 1,
        "pipeline": {"runs": ["a", "b"], "retry_delay": 0.2},
        "datasets": {"d": {"source": "fake", "path": "data.txt"}},
        "views": {"v": {"dataset": "d"}},
        "runs": {"a": run_block(), "b": run_block(), "c": run_block()},
        "links": {"teacher": {"run": "c", "stage": "train", "role": "teacher", "from": "outputs/export/a"}},
        "detect": {"odd": {"run": "a", "view": "v"}},
        "ood": {},
    }


class Fake:
    """A fake project in ``folder``."""

    def __init__(self, folder: Path):
        self.folder = folder

    def project(self, study: str | None = None) -> Project:
        """A fresh look at it."""
        return Project(self.folder, study)

    def change(self, edit: Callable[[dict[str, Any]], None], workspace: str = ".") -> None:
        """Edit params.yaml (written as JSON, which is YAML)."""
        path = self.folder / workspace / "params.yaml"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content, indent=1))

    def study(self, name: str, text: str | None = None) -> Path:
        """Make a study; ``text`` instead of a valid params.yaml."""
        folder = self.folder / "experiments" / name
        folder.mkdir(parents=True)
        shutil.copyfile(self.folder / "dvc.yaml", folder / "dvc.yaml")
        (folder / "data.txt").write_text("study\n")
        (folder / "params.yaml").write_text(json.dumps(params("../..")) if text is None else text)
        return folder

    def dvc(self, *words: str) -> str:
        """A DVC command in it."""
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(command, cwd=self.folder, env=self.env(), check=True, capture_output=True, text=True).stdout

    def env(self) -> dict[str, str]:
        """For a process that works on it with the real ``flows``."""
        work = str(self.folder / ".work")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "DARKROOM_WORK": work, "PYTHONPATH": str(ROOT), "PATH": path}

    def flows(self, *words: str, options: str = "", code: str = "") -> subprocess.Popen[str]:
        """``python -m flows`` on it, in which settings are not checked in depth; ``code`` runs at its end."""
        # A shell's background job is born deaf to SIGINT, and so would be all that the tests start from there.
        program = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from flows.__main__ import main
check = dict(check=lambda project, plan: None) if sys.argv[1] in ("run", "plan") else dict()
exit_code = main(sys.argv[1:], **check, {options})
{code}
sys.exit(exit_code)
"""
        command = [sys.executable, "-c", program, *words, "--project", str(self.folder)]
        return subprocess.Popen(command, env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def timeline(self) -> dict[str, tuple[float, float]]:
        """Stage -> start and end of its last command."""
        lines = [line.split() for line in (self.folder / ".work" / "timeline").read_text().splitlines()]
        return {f"{stage}@{run}": (float(start), float(end)) for stage, run, start, end in lines}


@pytest.fixture(scope="session")
def _quiet(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ.update(PREFECT_HOME=str(tmp_path_factory.mktemp("prefect")), DO_NOT_TRACK="true")
    os.environ.update(DVC_NO_ANALYTICS="1", DVC_SITE_CACHE_DIR=str(tmp_path_factory.mktemp("dvc")), OMP_NUM_THREADS="1")


@pytest.fixture(scope="session")
def bare(tmp_path_factory: pytest.TempPathFactory, _quiet: None) -> Path:
    """The template: nothing run yet."""
    folder = tmp_path_factory.mktemp("bare") / "project"
    (folder / "components").mkdir(parents=True)
    for name, text in {
        "dvc.yaml": DVC_YAML,
        "stage.py": STAGE,
        "params.yaml": json.dumps(params(), indent=1),
        "data.txt": "data\n",
        ".gitignore": "outputs/\n.work/\n",
        "components/__init__.py": "",
        "components/__main__.py": PUBLISH,
    }.items():
        (folder / name).write_text(text)
    shutil.copy(ROOT / "requirements.lock", folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    merge_driver.install(folder)
    fake = Fake(folder)
    fake.dvc("init", "-q")
    fake.dvc("config", "core.check_update", "false")
    return folder


@pytest.fixture(scope="session")
def made(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template after ``dvc repro``."""
    folder = tmp_path_factory.mktemp("made") / "project"
    shutil.copytree(bare, folder, symlinks=True)
    Fake(folder).dvc("repro", "-q")
    return folder


def _copy(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    folder = tmp_path / "project"
    shutil.copytree(template, folder, symlinks=True)
    monkeypatch.setattr(settings, "WORK", folder / ".work")
    return Fake(folder)


@pytest.fixture
def new(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A project in which nothing has run."""
    return _copy(bare, tmp_path, monkeypatch)


@pytest.fixture
def done(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A project in which every stage is up to date."""
    return _copy(made, tmp_path, monkeypatch)


class Receiver:
    """An HTTP server that keeps what it is told; paths with "teapot" are answered 418."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.paths: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.messages.append(json.loads(content))
                receiver.paths.append(self.path)
                self.send_response(418 if "teapot" in self.path else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()
