"""The entry of every stage in bare surroundings: no name, an ASCII terminal, a full disk, other versions, results elsewhere."""

import errno
import getpass
import io
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest

import components.__main__ as stages
from components import command, environment, full_disks
from components.core.config.strict import SettingsError
from components.core.outputs import require_inside
from components.core.settings import ROOT, Workspace


def test_a_user_without_a_name_gets_one_and_a_home(monkeypatch):
    def unknown(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    environment.name_user()
    assert getpass.getuser() == f"uid{os.getuid()}"
    assert Path.home().name == "home"


def test_a_name_that_is_set_stays(monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    environment.name_user()
    assert os.environ["LOGNAME"] == "ada"


def test_output_that_the_terminal_lacks_is_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    environment.escape_output()
    print("Äpfel → 3", flush=True)
    assert written.getvalue() == b"\\xc4pfel \\u2192 3\n"


@pytest.mark.skipif(sys.platform != "linux", reason="torch's OpenMP is GNU's on Linux alone")
def test_threads_that_wait_give_their_core_away():
    """What torch's OpenMP has read when a stage runs: the entry comes before the import of torch, and users' values stay."""
    program = "import components.__main__ as stages\nstages.run_command(lambda: __import__('torch'))"

    def read(**given: str) -> str:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP", "OMP"))}
        environ |= {"OMP_DISPLAY_ENV": "VERBOSE", **given}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=True).stderr

    assert "GOMP_SPINCOUNT = '10000'" in read()
    assert "GOMP_SPINCOUNT = '7'" in read(GOMP_SPINCOUNT="7")


def test_a_user_s_policy_of_waiting_stays(monkeypatch):
    """GNU OpenMP would follow the number of turns instead."""
    monkeypatch.setenv("GOMP_SPINCOUNT", "")  # so that it is restored
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    environment.share_cores()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file data/0"), True),
    ],
)
def test_a_full_disk_is_named(error, named, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(full_disks, "places", lambda: [tmp_path, tmp_path / "none"])
    monkeypatch.setattr(full_disks, "_free", lambda path: 4_000)
    monkeypatch.setattr(command, "die_with_parent", lambda: None)

    def fail():
        raise error

    with pytest.raises(SystemExit) as ended:
        command.run_command(fail)
    assert ended.value.code == 2
    assert (f"; free: {tmp_path} 0.0 MB" in capsys.readouterr().err) is named


def test_a_writer_that_fails_for_another_reason_keeps_its_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr(full_disks, "places", lambda: [tmp_path])
    monkeypatch.setattr(full_disks, "_free", lambda path: 10**10)
    assert full_disks.note_of(RuntimeError("PytorchStreamWriter failed writing file data/0")) == ""


def test_results_are_not_written_out_of_the_clone(tmp_path):
    clone, other = tmp_path / "clone", tmp_path / "other"
    for folder in (clone / "disk", other):
        folder.mkdir(parents=True)
    (clone / "outputs").symlink_to(clone / "disk")
    require_inside(clone / "outputs", clone)  # it stays in the clone
    (clone / "disk/train").symlink_to(other)
    with pytest.raises(SettingsError, match=rf"outputs/train: a link to {other}, out of the clone"):
        require_inside(clone / "outputs", clone)
    (clone / "outputs").unlink()
    (clone / "outputs").symlink_to(tmp_path / "not there")
    with pytest.raises(SettingsError, match="out of the clone"):
        require_inside(clone / "outputs", clone)


def test_versions_of_another_environment_stop_a_stage(monkeypatch, tmp_path):
    (tmp_path / "requirements.lock").write_text("torch==0.4.1\n")
    monkeypatch.setattr(stages, "ROOT", tmp_path)
    with pytest.raises(SettingsError, match=r"torch: 0.4.1 is wanted"):
        stages.run_stage(Workspace(tmp_path), "train", "any")


def test_a_schedule_that_never_comes_stops_the_check(tmp_path):
    root = Path(stages.__file__).parents[1]
    text, number = re.subn(r"(?m)^  pipeline: .*$", "  pipeline: 30 2 31 2 *", (root / "params.yaml").read_text(), count=1)
    assert number
    (tmp_path / "params.yaml").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "components", "check"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert (
        done.stderr
        == "params.yaml: schedules.pipeline: '30 2 31 2 *' is not allowed: it never comes: no month 2 has a day 31\n"
    )


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    """As `python -m components check | head`: the pipe is closed before all is written."""
    program = """
from components.command import run_command
run_command(lambda: [print("x" * 1000) for _ in range(1000)])
"""
    command_line = [sys.executable, "-c", program]
    process = subprocess.Popen(command_line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (141, b"")
    process.stderr.close()


def test_a_work_goes_on_when_the_reader_of_its_output_is_gone():
    """As `python -m flows run | head`: the flow ends as it would have ended."""
    program = """
import sys
from components.command import tell
for _ in range(1000):
    tell("x" * 1000, "y")
print("done", file=sys.stderr)
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (0, b"done\n")
    process.stderr.close()
