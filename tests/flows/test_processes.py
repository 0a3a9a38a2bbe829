"""Commands behind a process guard: their lines, their timeouts, and that nothing of them is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import processes
from flows.processes import Ended, FlowStopped, Lines, Processes

ROOT = Path(__file__).resolve().parents[2]

# Starts a grandchild that leaves the group and ignores SIGTERM, then sleeps; every process carries the marker.
FAMILY = """
import signal, subprocess, sys, time
stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"
subprocess.Popen([sys.executable, "-c", stubborn, sys.argv[1]], start_new_session=True, stdout=1)
time.sleep(300)
"""


def run(context: Processes, *command: str, timeout: float = 60.0, log: Callable[[str], None] = print) -> Ended:
    return context.run(command, folder=Path.cwd(), env=dict(os.environ), log=log, timeout=timeout)


def alive(marker: str) -> list[str]:
    """Command lines, other than pytest's own, that hold the marker."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace") if folder.name.isdigit() else ""
        except OSError:
            continue
        if marker in words and int(folder.name) != os.getpid():
            found.append(words.replace("\0", " "))
    return found


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_lines_are_whole_and_progress_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, now = Lines(), 100.0
    monkeypatch.setattr(processes.time, "monotonic", lambda: now)
    assert list(lines.feed(b"one\r\ntwo\nthr")) == ["one", "two"]
    assert list(lines.feed("ee \u00fc\n".encode()[:-2])) == []  # half a character
    assert list(lines.feed("\u00fc\n".encode()[1:])) == ["three \u00fc"]
    assert list(lines.feed(b"\r 10%\r 20%\r 30%\r \x1b[A40%")) == [" 10%"]  # one update, the others come too soon
    now = 106.0
    assert list(lines.feed(b"\r 50%\r 60%\r\n\n")) == [" 40%", " 60%"]  # the last one always shows
    assert list(lines.feed(b"no end", last=True)) == ["no end"]


def test_output_code_and_last_lines() -> None:
    seen: list[str] = []
    ended = run(Processes(), sys.executable, "-c", "for i in range(30): print(i)\nraise SystemExit(7)", log=seen.append)
    assert (ended.code, ended.timed_out) == (7, False)
    assert seen == [str(number) for number in range(30)]
    assert ended.tail == tuple(seen[-20:])
    assert run(Processes(), "/no/such/program").code == 127


def test_a_ctrl_c_at_the_terminal_does_not_reach_the_command() -> None:
    """The terminal sends it to the processes of its session; the flow ends the stages in order itself."""
    ended = run(Processes(), sys.executable, "-c", "import os; print(os.getsid(0))")
    assert ended.tail != (str(os.getsid(0)),)
    assert ended.code == 0


def test_passwords_in_lines_are_not_passed_on() -> None:
    seen: list[str] = []
    ended = run(Processes(), sys.executable, "-c", "print('to http://me:planted@host/x failed')", log=seen.append)
    assert seen == ["to http://me:***@host/x failed"] == list(ended.tail)


def test_timeout_ends_the_whole_family() -> None:
    marker = f"family-{uuid.uuid4()}"
    ended = run(Processes(grace=0.5), sys.executable, "-c", FAMILY, marker, timeout=1.0)
    assert ended.timed_out
    assert ended.seconds < 10
    assert ended.tail == ("up",)
    assert alive(marker) == []


def test_what_a_finished_command_leaves_behind_is_ended() -> None:
    marker = f"left-{uuid.uuid4()}"
    leave = FAMILY.replace("time.sleep(300)\n", "time.sleep(0.3)\n")
    ended = run(Processes(grace=0.5), sys.executable, "-c", leave, marker)
    assert ended.code == 0
    assert alive(marker) == []


def test_the_commands_child_is_told_first() -> None:
    """DVC is the command, the stage its child: DVC must live on to give back its locks."""
    child = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit('checkpoint written')); time.sleep(60)"
    command = f"import subprocess, sys; print(subprocess.run([sys.executable, '-c', {child!r}]).returncode, 'noted')"
    ended = run(Processes(grace=10.0), sys.executable, "-c", command, timeout=1.5)
    assert ended.tail == ("checkpoint written", "1 noted")


def test_stop_ends_what_runs_and_starts_nothing_more() -> None:
    context, marker, caught = Processes(grace=0.5), f"stop-{uuid.uuid4()}", []

    def work() -> None:
        with pytest.raises(FlowStopped) as error:
            run(context, sys.executable, "-c", FAMILY, marker)
        caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: len(alive(marker)) >= 3)  # guard, command, grandchild
    context.stop()
    thread.join(10)
    assert len(caught) == 1
    assert alive(marker) == []
    with pytest.raises(FlowStopped):
        run(context, "true")


def test_sigkill_of_the_parent_ends_the_whole_family() -> None:
    marker = f"kill-{uuid.uuid4()}"
    parent = (
        "import os, sys; from pathlib import Path; from flows.processes import Processes; "
        "Processes(0.5).run([sys.executable, '-c', sys.argv[1], sys.argv[2]], folder=Path.cwd(), env=dict(os.environ), "
        "log=print, timeout=60)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent, FAMILY, marker], cwd=ROOT, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(alive(marker)) >= 4)  # parent, guard, command, grandchild
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: alive(marker) == [])


def test_a_guard_waits_for_signals_and_never_handles_them() -> None:
    """The kernel tells it of its parent's death once for each of the parent's threads: a handler would be interrupted."""
    words = [sys.executable, str(processes.GUARD), str(os.getpid()), "0.2", sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guard:
        assert guard.stdout is not None
        guard.stdout.readline()
        status = dict(line.split(":\t") for line in Path(f"/proc/{guard.pid}/status").read_text().splitlines())
        guard.terminate()
        assert guard.wait(10) == 143
    assert int(status["SigCgt"], 16) & 1 << signal.SIGTERM - 1 == 0
