"""Every check of the doctor: a planted fault is found without a byte being changed, repaired, and not found again."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tracking.conftest import make_export

from components.core import settings
from components.core.files import identity, this_process, write_json
from components.serving import golden
from components.serving.loading import load_served
from flows.__main__ import main
from flows.project import STARTED_BY
from flows.upkeep.doctor import CHECKS, Finding, examine, repair

Fake = Any
GONE = 2**22 + 1  # no process has this number


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path / "prefect"


def find(fake: Fake, check: str) -> list[Finding]:
    """What the check finds; it must leave the tree as it was."""
    before = tree(fake.folder)
    found = examine(fake.project(), {check: CHECKS[check]})
    assert tree(fake.folder) == before
    return found


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def repaired(fake: Fake, check: str, *words: str) -> None:
    """As many findings as ``words``, each with its word; repaired, they are gone."""
    found = find(fake, check)
    assert len(found) == len(words), found
    for finding, word in zip(found, words, strict=True):
        assert word in finding.what + finding.where
        assert repair(finding) is None
    assert find(fake, check) == []


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with any of this."""
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def rwlock(fake: Fake, **holders: int) -> Path:
    held = {str(fake.folder / "outputs" / name): {"pid": pid, "cmd": "/bin/dvc repro"} for name, pid in holders.items()}
    return write(fake.folder / ".dvc/tmp/rwlock", json.dumps({"write": held, "read": {}}))


def test_locks_of_dead_and_of_renumbered_processes(new: Fake, sleeper: subprocess.Popen[bytes]) -> None:
    rwlock(new, gone=GONE, renumbered=sleeper.pid)
    repaired(new, "locks", "gone", "renumbered")
    # An entry of something that runs DVC in its own process, as the plan does, and lives.
    held = {"pid": os.getpid(), "cmd": "pytest"}
    write(new.folder / ".dvc/tmp/rwlock", json.dumps({"write": {"x": held}, "read": {"y": [held]}}))
    assert find(new, "locks") == []


def test_lock_older_than_the_process_of_its_number(new: Fake, sleeper: subprocess.Popen[bytes]) -> None:
    path = write(new.folder / ".dvc/tmp/rwlock", json.dumps({"read": {"x": [{"pid": sleeper.pid, "cmd": "sleep"}]}}))
    assert find(new, "locks") == []
    os.utime(path, (1, 1))
    repaired(new, "locks", "has it for read")


def test_lock_file_that_a_kill_has_cut_off(new: Fake) -> None:
    write(new.folder / ".dvc/tmp/rwlock", '{"write": {"x"')
    repaired(new, "locks", "cannot be read")
    from dvc.rwlock import SCHEMA

    assert SCHEMA(json.loads((new.folder / ".dvc/tmp/rwlock").read_text())) == {"write": {}, "read": {}}


@pytest.mark.parametrize("text", ["", '{"write": {"x"'])
def test_a_run_repairs_the_lock_file_itself_and_says_so(new: Fake, monkeypatch: pytest.MonkeyPatch, capsys, text: str) -> None:
    from flows.cli import run as command

    class Planned(Exception):
        pass

    def make_plan(*_: Any) -> None:
        assert json.loads((new.folder / ".dvc/tmp/rwlock").read_text()) == {"write": {}, "read": {}}
        raise Planned

    write(new.folder / ".dvc/tmp/rwlock", text)
    monkeypatch.setattr(command, "make_plan", make_plan)
    with pytest.raises(Planned):
        main(["run", "--project", str(new.folder)])
    assert "DVC's lock file cannot be read, repaired:" in capsys.readouterr().out


def test_half_written_files_and_folders(new: Fake) -> None:
    write(new.folder / f"outputs/train/a/.weights.pt.{GONE}.part", "half")
    write(new.folder / "outputs/views/.v.part/data", "half")
    write(settings.WORK / f"published/.a.json.{GONE}.part", "half")
    write(settings.WORK / f"published/.b.json.{os.getpid()}.part", "being written")
    repaired(new, "outputs", "weights.pt", ".v.part", ".a.json")


def test_folder_that_a_living_dvc_writes_is_left_alone(new: Fake) -> None:
    write(new.folder / "outputs/views/.v.part/data", "half")
    held = {str(new.folder / "outputs/views/v"): {"pid": os.getpid(), "cmd": "pytest"}}
    write(new.folder / ".dvc/tmp/rwlock", json.dumps({"write": held}))
    assert find(new, "outputs") == []


def test_exports_that_answer_otherwise(new: Fake) -> None:
    export = new.folder / "outputs/export/small"
    make_export(export)
    data = io.BytesIO()
    Image.new("L", (9, 9), 77).save(data, "PNG")
    entry = golden.record(export, load_served(export), 0, name="cat/0.png", data=data.getvalue(), suffix=".png", inputs={})
    write_json(export / "golden.json", {"decoder": golden.decoder(), "pictures": [entry]})
    assert find(new, "golden pictures") == []
    write_json(export / "golden.json", {"decoder": golden.decoder(), "pictures": [entry | {"pixels": "0" * 64}]})
    (finding,) = find(new, "golden pictures")
    assert finding.where == "golden picture cat/0.png: its decoded pixels differ, by up to 0 of 255"
    assert "dvc repro -f export@small" in finding.remedy
    write(export / "served.py", "import nothing_of_this_name")
    (finding,) = find(new, "golden pictures")
    assert finding.where.startswith("does not load: ModuleNotFoundError: ")


def test_broken_notes(new: Fake) -> None:
    write(settings.WORK / "published/a.json", '{"key": ')
    write(settings.WORK / "live/a.json", "{}")
    repaired(new, "state", "published/a.json")


def test_checkpoints_that_do_not_load(new: Fake) -> None:
    folder = settings.WORK / "checkpoints/train@a/f"
    folder.mkdir(parents=True)
    for step in (1, 2, 3):
        with zipfile.ZipFile(folder / f"{step}.pt", "w") as archive:
            archive.writestr("data", bytes(1000))
    (folder / "2.pt").write_bytes((folder / "2.pt").read_bytes().replace(bytes(10), bytes([1] * 10), 1))
    (folder / "3.pt").write_bytes((folder / "3.pt").read_bytes()[:500])
    repaired(new, "checkpoints", "2.pt: data is damaged", "3.pt: File is not a zip file")
    assert (folder / "1.pt").is_file()


def test_note_of_servers_whose_supervisor_is_gone(new: Fake) -> None:
    def note(supervisor: str) -> None:
        servers = {"supervisor": supervisor, "root": str(new.folder), "prefect_api": "", "mlflow_uri": ""}
        write(settings.WORK / "up.json", json.dumps(servers | {"scoring": {}}))

    note(identity(GONE))
    repaired(new, "servers", "is gone")
    note(this_process())
    assert find(new, "servers") == []
    write(settings.WORK / "up.json", "{")
    repaired(new, "servers", "cannot be read")


def test_versions_and_databases_are_left_to_a_person(new: Fake, home: Path) -> None:
    write(new.folder / "requirements.lock", "dvc==1.0\nno-such-package==2\n")
    home.mkdir()
    with sqlite3.connect(home / "prefect.db") as database:
        database.execute("create table alembic_version (version_num)")
        database.execute("insert into alembic_version values ('feedbeef')")
    wrong, missing = find(new, "versions")
    assert "dvc: 1.0 is wanted, 3." in wrong.where
    assert "no-such-package: 2 is wanted, none is installed" in missing.where
    (unknown,) = find(new, "databases")
    assert "prefect does not know its revision feedbeef" in unknown.where
    assert repair(unknown) is not None
    (home / "prefect.db").write_bytes(b"no database" * 100)
    assert "cannot be read" in find(new, "databases")[0].what


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


def test_orphans_end_and_the_living_stay(new: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.upkeep.processes.AFTER_TERM", 0.5)
    work, started = str(settings.WORK), []

    def start(starter: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", STUBBORN], env={**os.environ, STARTED_BY: starter}, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        started.append(process)
        return process

    try:
        orphan = start(f"{identity(GONE)} {work}")
        living, foreign = start(f"{this_process()} {work}"), start(f"{identity(GONE)} /another/work")
        repaired(new, "processes", str(orphan.pid))
        assert (living.poll(), foreign.poll(), orphan.wait()) == (None, None, -9)
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_results_come_back_from_the_cache_and_nothing_is_lost(done: Fake) -> None:
    outputs = done.folder / "outputs"
    wanted = tree(outputs)
    write(outputs / "evaluate/a/metrics.json", "half a res")
    write(outputs / "evaluate/a/notes.txt", "mine")
    (outputs / "export/b/metrics.json").unlink()
    (outputs / "export/b").rmdir()
    repaired(done, "results", "outputs/evaluate/a", "outputs/export/b")
    assert tree(outputs) == wanted
    assert {path.read_text() for path in (settings.WORK / "aside").rglob("*") if path.is_file()} == {"half a res", "mine"}
    assert done.dvc("status") == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize("kept", [0, 40, "train@b"])
def test_a_lock_file_that_dvc_was_killed_in(done: Fake, kept: int | str) -> None:
    path, timeline = done.folder / "dvc.lock", (done.folder / ".work/timeline").read_text()
    text = path.read_text()
    cut = kept if isinstance(kept, int) else text.index("md5: ", text.index(f"  {kept}:")) + len("md5")
    path.write_text(text[:cut])
    repaired(done, "lock file", "dvc.lock")
    assert path.exists() == (kept == "train@b")
    done.dvc("repro", "-q")
    assert path.read_text() == text
    assert (done.folder / ".work/timeline").read_text() == timeline


@pytest.mark.slow
def test_results_that_no_cache_has_are_named_and_kept(done: Fake) -> None:
    path = write(done.folder / "outputs/evaluate/a/metrics.json", "half a res")
    shutil.rmtree(done.folder / ".dvc/cache/files")
    found = find(done, "results")
    (spoilt,) = (finding for finding in found if "differs" in finding.what)
    assert "outputs/evaluate/a;" in spoilt.where
    assert "runs evaluate@a again" in str(repair(spoilt))
    assert path.read_text() == "half a res"
    assert {finding.what for finding in found} == {spoilt.what, "result is not in DVC's cache"}
    done.dvc("repro", "-q", "evaluate@a")
    for finding in find(done, "results"):
        assert repair(finding) is None
    assert find(done, "results") == []


def test_broken_check_is_a_finding_and_stops_no_other(new: Fake) -> None:
    write(settings.WORK / "published/a.json", "{")
    found = examine(new.project(), {"broken": "flows.upkeep.nowhere:check", "state": CHECKS["state"]})
    assert [finding.what for finding in found] == ["the check of broken does not work", "broken note"]


def test_command(new: Fake) -> None:
    def doctor(*words: str) -> tuple[int, str]:
        process = new.flows("doctor", *words)
        return process.wait(120), process.stdout.read()

    write(settings.WORK / "published/a.json", "{")
    code, said = doctor()
    assert (code, "broken note" in said, "1 findings; `python -m flows doctor --fix`" in said) == (1, True, True), said
    code, said = doctor("--fix")
    assert (code, "1 findings, 0 remain" in said) == (0, True), said
