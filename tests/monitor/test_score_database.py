"""No image is lost, scored twice by one champion, or judged twice: not by moving it, a promotion, or SIGKILL at any moment."""

import csv
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from monitor.conftest import put

from components.registry.monitor import report, scan
from components.registry.monitor.__main__ import monitor
from components.registry.monitor.drift import Rule
from components.registry.monitor.report import home
from components.registry.monitor.score_database import ScoreDatabase

RULE = Rule(least=20, alarm=0.01, psi=0.1)


@pytest.fixture
def quick(monkeypatch):
    """Without pictures."""
    for name in ("write_histogram", "write_strangest"):
        monkeypatch.setattr(report, name, lambda path, *rest: path.touch())


def judged() -> list[str]:
    """The images of all reports."""
    found = []
    for table in (home("small") / "reports").glob("*/table.csv"):
        with table.open(newline="") as file:
            found += [row["image"] for row in csv.DictReader(file)]
    return sorted(found)


def names(folder: Path) -> list[str]:
    return sorted(f"./{path.name}" for path in folder.iterdir())


@pytest.mark.usefixtures("quick")
def test_too_few_images_wait_with_their_scores(champion, tmp_path):
    one = champion()
    put(tmp_path / "in", 15)
    found = monitor(one, tmp_path / "in", RULE)
    assert (found["scored"], found["waiting"], found["report"]) == (15, 15, None)
    (tmp_path / "in" / "0-3.png").unlink()  # its score is kept
    (tmp_path / "in" / "0-4.png").rename(tmp_path / "in" / "moved.png")
    (tmp_path / "in" / "copy.png").write_bytes((tmp_path / "in" / "0-5.png").read_bytes())
    put(tmp_path / "in", 5, seed=1)
    found = monitor(one, tmp_path / "in", RULE)
    assert (found["scored"], found["seen"], found["waiting"], found["report"]) == (5, 15, 0, 1)
    assert one.served.calls == [15, 5]
    assert len(judged()) == 20
    found = monitor(one, tmp_path / "in", RULE)
    assert (found["scored"], found["waiting"], found["report"]) == (0, 0, None)


@pytest.mark.usefixtures("quick")
def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is_new(champion, tmp_path, monkeypatch):
    put(tmp_path / "in", 4)
    monitor(champion(), tmp_path / "in", RULE)
    read: list[bytes] = []
    monkeypatch.setattr(scan, "read", lambda path: read.append(path) or Path(os.fsdecode(path)).read_bytes())
    put(tmp_path / "other", 1, seed=7)
    (tmp_path / "in" / "0-2.png").write_bytes((tmp_path / "other" / "7-0.png").read_bytes())
    found = monitor(champion(), tmp_path / "in", RULE)
    assert (found["scored"], found["seen"], found["waiting"]) == (1, 3, 5)
    assert [os.path.basename(path) for path in read] == [b"0-2.png"]


@pytest.mark.usefixtures("quick")
def test_a_new_champion_scores_again_what_waits_and_only_that(champion, tmp_path):
    put(tmp_path / "old", 20)
    assert monitor(champion(), tmp_path / "old", RULE)["report"] == 1
    put(tmp_path / "in", 10, seed=1)
    monitor(champion(), tmp_path / "in", RULE)
    (tmp_path / "in" / "1-0.png").unlink()  # nobody can score it again
    put(tmp_path / "elsewhere", 11, seed=2)
    two = champion(2)
    found = monitor(two, tmp_path / "elsewhere", RULE)
    assert (found["scored"], found["missing"], found["report"]) == (9 + 11, 1, 2)
    assert sum(two.served.calls) == 20
    content = json.loads((home("small") / "reports" / "2" / "report.json").read_text())
    assert (content["images"], content["version"]) == (20, 2)
    assert monitor(two, tmp_path / "old", RULE)["seen"] == 20  # judged before its time


@pytest.mark.usefixtures("quick")
def test_another_preparation_scores_again_what_waits(champion, tmp_path):
    put(tmp_path / "in", 5)
    monitor(champion(), tmp_path / "in", RULE)
    found = monitor(champion(fit="pad"), tmp_path / "in", RULE)
    assert (found["scored"], found["waiting"]) == (5, 5)


@pytest.mark.usefixtures("quick")
def test_an_image_that_scores_nan_is_broken(champion, tmp_path, monkeypatch):
    put(tmp_path / "in", 3)
    one = champion()
    real = one.served.predict

    def predict(inputs, params=None):
        said = real(inputs)
        said["ood_score"][1] = np.nan
        return said

    monkeypatch.setattr(one.served, "predict", predict)
    found = monitor(one, tmp_path / "in", RULE)
    assert (found["scored"], found["broken"], found["waiting"]) == (2, 1, 2)
    assert found["broken_names"][0].endswith(": the champion scores it nan")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.999])
def test_killed_at_any_moment_nothing_is_lost_and_nothing_judged_twice(champion, tmp_path, share, steps):
    one = champion()
    put(tmp_path / "in", 25)
    left = [int(share * steps)]

    def step() -> None:
        left[0] -= 1
        if left[0] <= 0:
            die()

    killed(lambda: with_each_line(step, one, tmp_path / "in"))
    nothing_is_lost_and_nothing_judged_twice(one, tmp_path)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("counts", [False, True])
def test_killed_just_before_or_after_a_report_counts(champion, tmp_path, counts):
    one = champion()
    put(tmp_path / "in", 25)
    judged_at = ScoreDatabase.judged

    def judge_and_die(database, *rest) -> None:
        if counts:
            judged_at(database, *rest)
        die()

    def run() -> None:
        ScoreDatabase.judged = judge_and_die  # in the child alone
        monitor(one, tmp_path / "in", RULE)

    killed(run)
    assert (home("small") / "reports" / "1" / "table.csv").is_file()
    nothing_is_lost_and_nothing_judged_twice(one, tmp_path)
    assert sorted(path.name for path in (home("small") / "reports").iterdir()) == (["1", "2"] if counts else ["1"])


def nothing_is_lost_and_nothing_judged_twice(one, tmp_path: Path) -> None:
    """More images come, and the monitor runs on."""
    put(tmp_path / "in", 20, seed=1)
    for _ in range(2):
        monitor(one, tmp_path / "in", RULE)
    assert Counter(judged()) == Counter(names(tmp_path / "in"))
    numbers = sorted(path.name for path in (home("small") / "reports").iterdir())
    assert numbers in (["1"], ["1", "2"])
    assert not list(home("small").rglob("*.part"))


@pytest.fixture
def steps(champion, tmp_path) -> int:
    """How many lines of the monitor a run over 25 images takes."""
    put(tmp_path / "twin", 25)
    lines = [0]

    def count() -> None:
        lines[0] += 1

    with_each_line(count, champion(), tmp_path / "twin")
    for path in sorted(home("small").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return lines[0]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(action) -> None:
    """Run it in a process of its own, which gets SIGKILL."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def with_each_line(step, one, folder: Path) -> None:
    """Run the monitor; ``step`` is called at each line of its modules."""
    own = str(Path(scan.__file__).parent)

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.startswith(own):
            return None
        step()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        monitor(one, folder, RULE)
    finally:
        sys.settrace(before)


def test_a_spoilt_memory_is_named(tmp_path):
    (tmp_path / "memory.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(ValueError, match=r"memory.sqlite: not readable .*move it away"):
        ScoreDatabase(tmp_path / "memory.sqlite", "m")


@pytest.mark.usefixtures("quick")
def test_a_report_that_does_not_count_is_removed_before_anyone_is_told(champion, tmp_path):
    put(tmp_path / "in", 5)
    unfinished = home("small") / "reports" / "1"
    unfinished.mkdir(parents=True)
    (unfinished / "report.json").write_text("{}")
    assert monitor(champion(), tmp_path / "in", RULE)["report"] is None
    assert not unfinished.exists()
