"""The flow itself, as a process with a temporary Prefect server: what survives what."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.pipeline.plan import make_plan


def alive(fake: Any) -> list[str]:
    """Command lines of every process that works for the project: flow, server, leashes, DVC, stages."""
    found, mine = [], f"DARKROOM_WORK={fake.folder}/.work".encode()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mine in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def until_training(fake: Any, *words: str) -> subprocess.Popen[str]:
    """A flow that is in the middle of train@a, which has started a process in a session of its own."""
    fake.change(lambda content: content["runs"]["a"]["train"].update(seconds=60, escape=True))
    (fake.folder / ".work" / "running" / "train@a").unlink(missing_ok=True)
    process: subprocess.Popen[str] = fake.flows("run", *words)
    wait_for(lambda: (fake.folder / ".work" / "running" / "train@a").exists() or process.poll() is not None, 90)
    assert process.poll() is None, process.communicate()[0]
    time.sleep(0.3)
    assert any("escaped" in words for words in alive(fake))
    assert any("uvicorn" in words for words in alive(fake))
    return process


def artifacts(fake: Any) -> set[str]:
    """Keys in Prefect's database."""
    with sqlite3.connect(Path(os.environ["PREFECT_HOME"]) / "prefect.db") as database:
        return {key for (key,) in database.execute("select key from artifact")}


@pytest.mark.slow  # tests/flows/test_processes.py: SIGKILL of the parent ends the whole family; tests/chaos kills at random
@pytest.mark.usefixtures("_quiet")
def test_killed_flow_leaves_nothing_and_the_next_one_finishes(new: Any) -> None:
    until_training(new, "--runs", "a").kill()
    wait_for(lambda: alive(new) == [], 30)
    new.change(lambda content: content["runs"]["a"].update(train={"threads": 1}))
    output, _ = new.flows("run", "--runs", "a").communicate(timeout=120)
    assert "published" in output
    assert make_plan(new.project(), ("a",), False, lambda workspace, run: True).empty
    wait_for(lambda: alive(new) == [], 10)


@pytest.mark.slow  # test_retries.py and test_stages.py: what is tried again, and what a stage did, without a whole flow
@pytest.mark.usefixtures("_quiet")
def test_what_fails_is_named_and_what_may_pass_is_tried_again(new: Any, receiver: Any) -> None:
    def break_b(content: dict[str, Any]) -> None:
        content["runs"]["b"]["export"] = {"fail": True}
        content["notify"] = {"on_failure": [receiver.url]}
        content["runs"]["c"]["export"] = {"code": 75, "times": 2}
        content["runs"]["c"]["evaluate"] = {"code": -9, "times": 1}

    new.change(break_b)
    # Someone else's DVC holds the files of evaluate@a for a while.
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc"]) as other:
        path = new.folder / ".dvc" / "tmp" / "rwlock"
        held = {str(new.folder / "outputs" / "evaluate" / "a"): {"pid": other.pid, "cmd": "dvc repro"}}
        path.write_text(json.dumps({"write": held, "read": {}}))
        process = new.flows("run", "--all")
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if "is busy, it is being blocked by" in line:
                other.kill()
        other.kill()
    code = process.wait(60)
    print(output)

    assert code == 1, output
    assert "is busy, it is being blocked by" in output
    table = output.partition("note\n")[2].partition("\n\n")[0]
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert rows["train@a"][0] == "ran"
    assert rows["export@b"][:2] == ["failed", "exit"]
    tried = {name: (new.folder / ".work" / "running" / name).read_text() for name in ("export@c", "evaluate@c")}
    assert tried == {"export@c": "xxx", "evaluate@c": "xx"}  # what can pass was tried until it had
    assert not (new.folder / ".work" / "running" / "export@b").read_text()  # a failure of its own was not
    assert rows["evaluate@b"] == ["not", "run", "needs", "export@b"]
    assert rows["publish@b"] == ["not", "run", "needs", "evaluate@b"]
    assert rows["publish@c"][0] == "published"
    assert "cannot export b" in output.partition("export@b failed")[2]
    (message,) = receiver.messages
    assert message["title"].endswith("pipeline: export@b failed")
    assert "\nexport@b: exit code 1 after" in message["message"]
    assert "  cannot export b\n" in message["message"]
    assert sorted((new.folder / ".work" / "published").read_text().split()) == ["a", "c"]
    assert {"stages", "metrics"} <= artifacts(new)
    wait_for(lambda: alive(new) == [], 10)

    assert make_plan(new.project(), ("a", "c"), False, lambda workspace, run: True).empty
    new.change(lambda content: content["runs"]["b"].update(export={}))
    assert "up to date" not in new.dvc("repro")  # runs b's stages, and only those
    assert new.dvc("status") == "Data and pipelines are up to date.\n"


@pytest.mark.slow  # test_a_second_interrupt_at_exit_leaves_no_traceback also ends a flow in the middle of a training
@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_ends_the_stages_in_order(done: Any, number: signal.Signals, code: int) -> None:
    process = until_training(done)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    wait_for(lambda: alive(done) == [], 10)
    rwlock = done.folder / ".dvc" / "tmp" / "rwlock"
    assert str(done.folder) not in rwlock.read_text()  # DVC has lived on to give back its locks


@pytest.mark.usefixtures("_quiet")
def test_a_second_interrupt_at_exit_leaves_no_traceback(done: Any) -> None:
    done.change(lambda content: content["runs"]["a"]["train"].update(seconds=60))
    running = done.folder / ".work" / "running" / "train@a"
    running.unlink(missing_ok=True)
    process = done.flows("run", code="print('at exit', flush=True)\nimport time\ntime.sleep(60)")
    wait_for(lambda: running.exists() or process.poll() is not None, 90)
    process.send_signal(signal.SIGINT)
    for line in process.stdout:
        if line == "at exit\n":
            process.send_signal(signal.SIGINT)
            break
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "stopped at once" in output
    wait_for(lambda: alive(done) == [], 30)
