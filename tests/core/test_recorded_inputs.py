"""Whatever is edited while stages run: dvc.lock says what they ran with, or contradicts the record and does not stay."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from core.recorded_inputs import Toy, edited

from components.core.inputs import lock
from flows.pipeline.retries import Limit, failure
from flows.processes import Ended, TransientFailure

SHORT, LONG = 1, 50


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with all its stages run."""
    toy = Toy(tmp_path_factory.mktemp("toy") / "made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(toy.folder.parent / "state"))
        toy.make()
        assert toy.repro() == 0
        assert toy.check() == []
    return toy.folder


@pytest.fixture
def toy(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of it."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("DARKROOM_INPUTS", raising=False)
    return Toy(Path(shutil.copytree(made, tmp_path / "toy")))


@pytest.mark.parametrize("flow", [False, True])
@pytest.mark.parametrize("number", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)])
def test_edits_at_random_moments(toy: Toy, flow: bool, number: int) -> None:
    draw = random.Random(number + flow)
    wrong, seconds = 0, 2.0
    for _ in range(number):
        toy.params(steps=draw.randrange(3))
        start = time.monotonic()
        with edited(toy, draw, seconds) as edits:
            toy.repro(flow=flow, delay=draw.uniform(0, 0.3), late=draw.uniform(0, 1))
            seconds = time.monotonic() - start  # for the next run: the machine may be busy
        contradicting = toy.check()
        print(f"{seconds:.1f} s, edited {edits}, contradicting {contradicting}")
        wrong += len(contradicting)
        assert not (flow and contradicting)
        lock.forget(toy.folder, contradicting)
        assert toy.repro(flow=flow) == 0
        assert toy.check() == []
    print(f"{wrong} entries contradicted their record")


def test_an_edit_after_the_last_comparison_under_bare_dvc(toy: Toy) -> None:
    """The entry is wrong for as long as nobody reads it: the next stage of the chain removes it and ends the run."""
    toy.params(steps=1)
    edit_when(toy, "outputs/inputs/work/a.json", lambda: toy.params(steps=2), late=1.0)
    assert toy.words("error:") == [
        "error: dvc.lock had work@a with inputs that changed while it ran; the entry is removed, run it again"
    ]
    assert sorted(toy.entries()) == ["code", "last@a"]
    assert toy.repro() == 0
    assert toy.check() == []
    assert toy.entries()["work@a"]["params"]["params.yaml"]["runs.a.work"]["steps"] == 2


def test_an_edit_after_the_last_comparison_under_the_flow(toy: Toy) -> None:
    toy.params(steps=1)
    edit_when(toy, "outputs/inputs/work/a.json", lambda: toy.params(steps=2), late=1.0, flow=True)
    (said,) = toy.words("ERROR:")
    assert "work@a is not recorded, its inputs changed while it ran: params.yaml: runs.a.work.steps" in said
    ended = Ended(255, (said,), 1.0, timed_out=False)
    assert isinstance(failure(ended, Limit(10), 0), TransientFailure)
    assert toy.check() == []
    assert toy.repro(flow=True) == 0
    assert toy.check() == []


@pytest.mark.parametrize("flow", [False, True])
def test_an_edit_while_dvc_restores_a_result(toy: Toy, flow: bool) -> None:
    """No command of ours runs then; the restored record tells."""
    toy.params(steps=1)
    assert toy.repro() == 0
    toy.params(steps=0)
    assert (toy.repro("-s", "work@a", flow=flow, while_restoring=lambda: toy.params(steps=2)) == 0) == (not flow)
    assert lock.wrong_entries(toy.folder) == ([] if flow else ["work@a"])
    assert toy.repro(flow=True) == 0  # the flow's DVC does not believe the entry of the other
    assert toy.check() == []
    assert toy.entries()["work@a"]["params"]["params.yaml"]["runs.a.work"]["steps"] == 2


@pytest.mark.slow
def test_a_wrong_run_is_not_restored_after_it_is_forgotten(toy: Toy) -> None:
    """DVC's run cache has taken it, too."""
    toy.params(steps=1)
    edit_when(toy, "outputs/inputs/work/a.json", lambda: toy.params(steps=2), late=1.0)
    for steps in (1, 2):
        toy.params(steps=steps)
        assert toy.repro() == 0
        assert toy.check() == []


@pytest.mark.parametrize("name", ["data/new", pytest.param("params.yaml", marks=pytest.mark.slow)])
def test_an_edit_while_the_stage_runs_is_named_and_not_recorded(toy: Toy, name: str) -> None:
    toy.params(steps=3)
    edit = (lambda: toy.params(steps=5)) if name == "params.yaml" else (lambda: toy.write(name, "other"))
    toy.start_and_edit(edit)
    (said,) = toy.words("error:")
    changed = f"{name}: runs.a.work.steps" if name == "params.yaml" else name
    assert said == f"error: work@a is not recorded, its inputs changed while it ran: {changed}"
    assert toy.check() == []
    assert toy.entries()["work@a"]["params"]["params.yaml"]["runs.a.work"]["steps"] == 0
    assert toy.repro() == 0
    assert toy.check() == []


def test_a_picture_changed_and_changed_back_is_a_change(toy: Toy) -> None:
    def edit() -> None:
        toy.write("data/picture", "other")
        toy.write("data/picture", "0")

    toy.params(steps=3)
    toy.start_and_edit(edit)
    assert toy.words("error:") == ["error: work@a is not recorded, its inputs changed while it ran: data/picture"]


def test_code_edited_while_the_stage_runs_changes_neither_the_run_nor_the_record(toy: Toy) -> None:
    """The module is imported after the edit."""
    toy.params(steps=5)
    toy.start_and_edit(lambda: toy.write("source/lazy.py", "version = 7\n"))
    assert toy.words("error:") == []
    entry = toy.entries()["work@a"]
    assert toy.said("work@a", entry)["version"] == 0
    assert toy.repro() == 0
    assert toy.said("work@a", toy.entries()["work@a"])["version"] == 7
    assert toy.check() == []


def test_code_edited_before_the_stage_starts_is_not_run(toy: Toy) -> None:
    toy.write("source/lazy.py", "version = 7\n")
    assert toy.repro("-f", "-s", "work@a") != 0
    (said,) = toy.words("error:")
    assert said == "error: the code of work@a changed since its digest was written (lazy.py); start again with stage code"
    assert toy.repro() == 0
    assert toy.said("work@a", toy.entries()["work@a"])["version"] == 7


def edit_when(toy: Toy, name: str, edit: Callable[[], None], late: float, flow: bool = False) -> None:
    """Edit when the file is written, in a run whose stages end ``late`` seconds after."""
    (toy.folder / name).unlink(missing_ok=True)
    process = toy.start(flow=flow, late=late)
    while not (toy.folder / name).exists():
        time.sleep(0.01)
    edit()
    process.join()
