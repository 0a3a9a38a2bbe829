"""An entry that names other inputs than its stage ran with: planned, reported and removed, though DVC calls it up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.core.config.strict import SettingsError
from components.core.inputs import lock
from components.core.inputs.record import inputs_of, record_path, serialise
from components.registry.record.dvc_lock import stage_entry
from flows.pipeline.plan import make_plan
from flows.upkeep.doctor import CHECKS, examine, repair

STAGE = "train@a"


@pytest.fixture
def recorded(done: Any) -> Any:
    """A project whose trainings have a record of their inputs."""
    graph = done.folder / "dvc.yaml"
    graph.write_text(graph.read_text().replace('outs: ["outputs/train/${key}"]', f'outs: ["outputs/train/${{key}}", "{OUT}"]'))
    for run in ("a", "b", "c"):
        name = f"train@{run}"
        path = done.folder / record_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(serialise(*inputs_of(entry_of(done, name))))
        done.dvc("commit", "-f", name)
    assert planned(done) == {}
    return done


OUT = "outputs/inputs/train/${key}.json"


def entry_of(fake: Any, name: str) -> Any:
    return lock.parsed(name, lock.entries(fake.folder)[name])


def planned(fake: Any) -> dict[str, tuple[str, ...]]:
    plan = make_plan(fake.project(), ("a", "b", "c"), False, lambda workspace, run: True)
    return {stage.name: stage.reasons for stage in plan.stages}


def edited_too_late(fake: Any) -> None:
    """As a bare DVC leaves it after an edit between the end of the stage and DVC's own look."""
    fake.change(lambda content: content["runs"]["a"]["train"].update(rate=7))
    path: Path = fake.folder / "dvc.lock"
    text = lock.entries(fake.folder)[STAGE]
    other = text.replace("          threads: 1\n", "          threads: 1\n          rate: 7\n")
    assert text != other
    path.write_text(path.read_text().replace(text, other))
    assert fake.dvc("status", STAGE) == "Data and pipelines are up to date.\n"


def test_the_plan_runs_it_again(recorded: Any) -> None:
    edited_too_late(recorded)
    plan = planned(recorded)
    assert plan[STAGE] == ("recorded with inputs that changed while it ran",)
    assert plan["export@a"] == (f"downstream of {STAGE}",)
    assert "train@b" not in plan


def test_the_doctor_names_and_removes_it(recorded: Any) -> None:
    checks = {"recorded inputs": CHECKS["recorded inputs"]}
    assert examine(recorded.project(), checks) == []
    edited_too_late(recorded)
    (finding,) = examine(recorded.project(), checks)
    assert (finding.what, finding.where) == ("dvc.lock has inputs that the stage did not run with", STAGE)
    before = lock.entries(recorded.folder)
    assert repair(finding) is None
    assert lock.entries(recorded.folder) == {name: text for name, text in before.items() if name != STAGE}
    assert examine(recorded.project(), checks) == []
    assert planned(recorded)[STAGE] == ("never run",)


def test_it_is_published_nowhere(recorded: Any) -> None:
    assert stage_entry(recorded.project().workspace, STAGE)["outs"]
    edited_too_late(recorded)
    with pytest.raises(SettingsError, match="train@a is recorded with inputs that changed while it ran"):
        stage_entry(recorded.project().workspace, STAGE)
