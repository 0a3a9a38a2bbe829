"""A small DVC project whose stages report what they ran with, edits of its inputs, and DVC: bare or as the flow runs it."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.core.inputs import lock
from components.core.inputs.declared import parse_yaml
from components.core.inputs.record import contradicts

ROOT = Path(__file__).resolve().parents[2]
FORK = multiprocessing.get_context("fork")  # DVC is imported once

DVC_YAML = """
stages:
  code:
    cmd: exec python entry.py code
    deps: [source]
    outs: [outputs/code, outputs/inputs/code.json]
  work:
    foreach: ${runs}
    do:
      cmd: exec python entry.py work ${key}
      deps: ["${item.path}", "outputs/code/work/${key}.json"]
      params: ["runs.${key}.work", seed]
      outs: ["outputs/work/${key}.json", "outputs/inputs/work/${key}.json"]
  last:
    foreach: ${runs}
    do:
      cmd: exec python entry.py last ${key}
      deps: ["outputs/work/${key}.json"]
      params: ["runs.${key}.last"]
      outs: ["outputs/last/${key}.json", "outputs/inputs/last/${key}.json"]
"""

# The entry of every stage; DELAY seconds pass before and after the inputs are read, and LATE after the record is written.
ENTRY = """
import hashlib, json, os, pathlib, sys, time
from components.core.inputs.code import Code
from components.core.inputs.declared import parse_yaml
from components.core.inputs.recording import InputsChanged, recorded_inputs
from components.core.settings import held_params

folder = pathlib.Path.cwd()
kind, name = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
delay, late = (float(os.environ.get(key, 0)) for key in ("DELAY", "LATE"))

class Workspace:
    study = None
    def __init__(self): self.folder = folder
    def checkpoints(self, run): return folder / "checkpoints" / run

def code(texts=None):
    path = pathlib.Path("source/lazy.py").resolve()
    lines = (texts[str(path)].decode() if texts else path.read_text()).splitlines()
    return json.dumps([line for line in lines if not line.startswith("#")])

def write(path, text):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)

def read(path):
    path = pathlib.Path(path)
    files = [place for place in path.rglob("*") if place.is_file()] if path.is_dir() else [path]
    return {str(place.relative_to(path)): place.read_text() for place in files if place.suffix != ".pyc"}

def run():
    params = parse_yaml(held_params(folder))
    if kind == "code":
        source = read("source")
        write("outputs/code/work/a.json", code())
        time.sleep(delay)
        write("outputs/code/said.json", json.dumps({"deps": {"source": source}, "params": {}}))
        return
    block = params["runs"][name]
    deps = [block["path"], f"outputs/code/work/{name}.json"] if kind == "work" else [f"outputs/work/{name}.json"]
    keys = {f"runs.{name}.{kind}": block[kind], **({"seed": params["seed"]} if kind == "work" else {})}
    time.sleep(delay)
    if kind == "work":
        from source.lazy import version
    else:
        version = None
    said = json.dumps({"version": version, "deps": {dep: read(dep) for dep in deps}, "params": keys}, indent=1)
    time.sleep(delay)
    write(f"outputs/{kind}/{name}.json", said)

try:
    written = pathlib.Path(f"outputs/code/work/{name}.json")
    edited = lambda texts: [] if code(texts) == written.read_text() else ["lazy.py"]
    digest = Code(folder / "source", edited) if kind == "work" else None
    with recorded_inputs(Workspace(), f"{kind}@{name}" if name else kind, digest):
        run()
except (InputsChanged, ValueError, OSError) as error:
    print("error:", error, file=sys.stderr, flush=True)
    os._exit(75)
time.sleep(late)
"""


class Toy:
    """The project in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        """Write its files."""
        from dvc.repo import Repo

        folder = self.folder
        (folder / "data").mkdir(parents=True)
        Repo.init(str(folder), no_scm=True).close()
        self.write("dvc.yaml", DVC_YAML)
        self.write("entry.py", ENTRY)
        (folder / "source").mkdir()
        self.write("source/lazy.py", "version = 0\n")
        self.write(".dvcignore", "__pycache__\n")
        self.write("data/picture", "0")
        self.params(steps=0)

    def write(self, name: str, text: str) -> None:
        """Replace a file as an editor does: in place or by a new file, at random."""
        path = self.folder / name
        if path.exists() and random.random() < 0.5:
            path.with_name(".new").write_text(text)
            path.with_name(".new").replace(path)
        else:
            path.write_text(text)

    def params(self, **changes: Any) -> None:
        """Write params.yaml; numbers and words of all kinds must survive DVC's own writing."""
        run = {
            "path": "data",
            "work": {"steps": 0, "rate": 1e-3, "note": "é 1e-3", "list": [1, 2.5, None, True]},
            "last": {"x": 0},
        }
        run["work"] |= changes
        self.write("params.yaml", json.dumps({"seed": changes.get("seed", 0), "runs": {"a": run}}))

    def repro(self, *words: str, **options: Any) -> int:
        """``dvc repro``; its exit code."""
        process = self.start(*words, **options)
        process.join()
        return process.exitcode or 0

    def start(self, *words: str, **options: Any) -> Any:
        """The process of ``dvc repro``; for the options see ``_dvc``."""
        (self.folder / "said").unlink(missing_ok=True)
        process = FORK.Process(target=_dvc, args=(self.folder, ["repro", *words]), kwargs=options)
        process.start()
        return process

    def start_and_edit(self, edit: Callable[[], None]) -> None:
        """Run all, with an edit while ``work@a`` runs and has not read its inputs yet."""
        process = self.start(delay=1.0)
        while not list(self.folder.glob(".work/inputs/*work@a*.json")):
            time.sleep(0.01)
        edit()
        process.join()

    def words(self, beginning: str) -> list[str]:
        """The lines of the last run's output with this beginning."""
        return [line for line in (self.folder / "said").read_text().splitlines() if line.startswith(beginning)]

    def entries(self) -> dict[str, Any]:
        """dvc.lock."""
        texts = lock.entries(self.folder)
        return {name: parse_yaml(text)[name] for name, text in texts.items()}

    def check(self) -> list[str]:
        """Every entry says what its stage's output says, or contradicts its record; the names of the latter."""
        wrong = []
        for name, entry in self.entries().items():
            if contradicts(name, entry):
                wrong.append(name)
                continue
            said = self.said(name, entry)
            assert {dep["path"]: dep["md5"] for dep in entry["deps"]} == {
                dep: dvc_hash(said["deps"][dep]) for dep in said["deps"]
            }
            if name == "work@a":  # the toy's digest is its lines
                (digest,) = said["deps"]["outputs/code/work/a.json"].values()
                assert f"version = {said['version']}" in json.loads(digest)
            assert entry.get("params", {}).get("params.yaml", {}) == said["params"]
        return wrong

    def said(self, name: str, entry: dict[str, Any]) -> dict[str, Any]:
        """What the output that the entry names says of its inputs, from DVC's cache."""
        (hashed,) = (out["md5"] for out in entry["outs"] if not out["path"].startswith("outputs/inputs"))
        content = self.cached(hashed)
        if name == "code":
            content = self.cached(*(file["md5"] for file in content if file["relpath"] == "said.json"))
        found: dict[str, Any] = content
        return found

    def cached(self, hashed: str) -> Any:
        """A JSON file in DVC's cache."""
        return json.loads((self.folder / ".dvc/cache/files/md5" / hashed[:2] / hashed[2:]).read_text())


def dvc_hash(files: dict[str, str]) -> str:
    """DVC's hash of a file or folder with this content."""
    hashed = {name: hashlib.md5(text.encode()).hexdigest() for name, text in files.items()}
    if list(hashed) == ["."]:
        return hashed["."]
    tree = [{"md5": hashed[name], "relpath": name} for name in sorted(hashed)]
    return hashlib.md5(json.dumps(tree).encode()).hexdigest() + ".dir"


def _dvc(
    folder: Path,
    words: list[str],
    *,
    flow: bool = False,
    delay: float = 0.0,
    late: float = 0.0,
    while_restoring: Callable[[], None] | None = None,
) -> None:
    """DVC's command line, as the flow runs it if ``flow``; ``while_restoring`` runs once DVC knows which result to restore."""
    os.chdir(folder)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ.update(PATH=path, PYTHONPATH=str(ROOT), DARKROOM_WORK=str(folder / ".work"), DELAY=str(delay), LATE=str(late))
    from dvc.cli import main
    from dvc.stage.cache import StageCache

    if flow:
        from flows.dvc import entries

        entries.install()
    else:
        bare()
    if while_restoring:
        load = StageCache._load

        def loaded(*arguments: Any) -> Any:
            found = load(*arguments)
            while_restoring()
            return found

        StageCache._load = loaded
    sys.stdout = sys.stderr = (folder / "said").open("a")
    for handler in logging.getLogger("dvc").handlers:
        handler.setStream(sys.stdout)  # type: ignore[attr-defined]
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    code = main(words)
    sys.stdout.flush()
    os._exit(code)


def bare() -> None:
    """Undo what planning in this process, in another test, has done to DVC."""
    from dvc.stage import PipelineStage
    from dvc.stage.cache import StageCache
    from dvc.stage.loader import StageLoader

    from flows.dvc.inputs import _originals

    if _originals:
        PipelineStage.save_outs, StageCache._load_cache = _originals["save_outs"], _originals["load_cache"]
        StageLoader.fill_from_lock = staticmethod(_originals["fill_from_lock"])


@contextmanager
def edited(toy: Toy, draw: random.Random, seconds: float) -> Iterator[list[str]]:
    """Edit something at a random moment of the next ``seconds``, or soon after a stage wrote its record, and perhaps undo it.

    Yields what was edited.
    """
    edits: dict[str, Callable[[int], None]] = {
        "params": lambda value: toy.params(steps=value),
        "seed": lambda value: toy.params(seed=value),
        "source": lambda value: toy.write("source/lazy.py", f"version = {value}\n"),
        "comment": lambda value: toy.write("source/lazy.py", f"# {value}\nversion = 0\n"),
        "picture": lambda value: toy.write("data/picture", str(value)),
        "new picture": lambda value: toy.write(f"data/{value}", "new"),
        "half written": lambda value: toy.write("params.yaml", '{"seed": [' + str(value)),
    }
    done: list[str] = []

    def edit() -> None:
        until = time.monotonic() + draw.uniform(0, seconds)
        record = toy.folder / "outputs/inputs" / draw.choice(["code.json", "work/a.json", "last/a.json", "none"])
        before = modified(record)
        while time.monotonic() < until and modified(record) in (0, before):
            time.sleep(0.005)
        kind = draw.choice(list(edits))
        edits[kind](draw.randrange(3))
        done.append(kind)
        undone = kind not in ("source", "comment") and draw.random() < 0.4
        if kind == "half written" or undone:
            time.sleep(draw.uniform(0, 0.3))
            toy.params(steps=draw.randrange(3))
            if kind == "picture":
                toy.write("data/picture", "0")

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        yield done
    finally:
        thread.join()


def modified(path: Path) -> int:
    """When the file was written; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
