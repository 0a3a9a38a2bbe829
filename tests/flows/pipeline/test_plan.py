"""What is planned, why, and that it is what DVC would do."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from components.core.config.strict import SettingsError
from flows.pipeline.plan import PipelinePlan, make_plan
from flows.pipeline.report import describe


def plan(fake: Any, *runs: str, force: bool = False, study: str | None = None, published: bool = True) -> PipelinePlan:
    return make_plan(fake.project(study), runs, force, lambda workspace, run: published)


def names(found: PipelinePlan) -> list[str]:
    return [stage.name for stage in found.stages]


def reasons(found: PipelinePlan) -> dict[str, tuple[str, ...]]:
    return {stage.name: stage.reasons for stage in found.stages}


def test_new_project_plans_the_chosen_runs_and_what_they_need(new: Any) -> None:
    found = plan(new, "c")
    assert set(names(found)) == {
        *(
            "fetch@d",
            "augment@v",
            "wire@a",
            "wire@c",
            "train@a",
            "export@a",
            "link@teacher",
            "train@c",
            "export@c",
            "evaluate@c",
        )
    }
    assert {reason for why in reasons(found).values() for reason in why} == {"never run"}
    seen: set[str] = set()
    for stage in found.stages:
        assert set(stage.after) <= seen, f"{stage.name} comes before what it needs"
        seen.add(stage.name)
    assert {stage.name: set(stage.after) for stage in found.stages}["train@c"] == {"augment@v", "wire@c", "link@teacher"}


def test_after_dvc_repro_nothing_is_planned(done: Any) -> None:
    found = plan(done, "a", "b", "c")
    assert found.empty
    assert found.up_to_date == 16
    assert "nothing to do" in describe(found)


def test_changed_setting_plans_its_stage_and_what_follows(done: Any) -> None:
    done.change(lambda content: content["runs"]["a"]["train"].update(rate=2))
    assert reasons(plan(done, "a", "b")) == {
        "train@a": ("runs.a.train.rate: 2 added",),
        "export@a": ("downstream of train@a",),
        "evaluate@a": ("downstream of export@a",),
        "ood_table@odd": ("downstream of evaluate@a",),
    }
    followed = plan(done, "c")
    assert names(followed) == ["train@a", "export@a", "link@teacher", "train@c", "export@c", "evaluate@c"]
    assert followed.unpublished == ("c",)


def test_reasons_name_data_outs_and_commands(done: Any) -> None:
    (done.folder / "data.txt").write_text("other\n")
    assert reasons(plan(done, "a"))["fetch@d"] == ("modified dep data.txt",)
    shutil.rmtree(done.folder / "outputs" / "evaluate" / "b")
    assert reasons(plan(done, "b"))["evaluate@b"] == ("deleted out outputs/evaluate/b",)
    text = (done.folder / "dvc.yaml").read_text()
    (done.folder / "dvc.yaml").write_text(text.replace("stage.py export", "stage.py  export"))
    assert reasons(plan(done, "b"))["export@b"] == ("changed command",)


def test_a_changed_value_is_shown_before_and_after(done: Any) -> None:
    done.change(lambda content: content["runs"]["a"]["train"].update(threads=3))
    done.change(lambda content: content["runs"]["b"].update(model={"name": "n"}))
    found = reasons(plan(done, "a", "b"))
    assert found["train@a"] == ("runs.a.train.threads: 1 -> 3",)
    assert found["train@b"] == ("runs.b.model.name: m -> n",)


def test_a_new_clone_is_planned_in_a_line_per_kind(new: Any) -> None:
    lines = describe(plan(new, "a", "b", "c")).splitlines()
    assert "train (3)      never run: a, b, c" in lines
    assert "fetch@d        never run" in lines
    assert "publish (3)    new results: a, b, c" in lines
    assert len(lines) == 1 + 8 + 1 + 1, lines
    assert lines[-1] == "16 stages to run, 0 up to date"


def test_a_fault_elsewhere_stops_nothing_and_one_of_the_run_stops_it(done: Any) -> None:
    def breaks(content: dict[str, Any]) -> None:
        content["runs"]["b"] = {"recipe": "fake"}  # DVC itself cannot read it: its view is missing
        content["links"]["odd"] = {"run": "z", "stage": "train", "role": "r", "from": "nowhere"}

    done.change(breaks)
    assert plan(done, "a").empty
    with pytest.raises(SettingsError) as caught:
        plan(done, "a", "b")
    assert [line.strip().partition(";")[0] for line in str(caught.value).splitlines()[1:]] == [
        "runs.b.view: missing",
        "runs.b.model: missing",
        "runs.b.train: missing",
    ]


def test_force_plans_the_runs_own_chain_alone(done: Any) -> None:
    found = plan(done, "a", force=True)
    assert reasons(found) == dict.fromkeys(("train@a", "export@a", "evaluate@a", "ood_table@odd"), ("forced",))
    assert all(stage.force for stage in found.stages)


def test_unpublished_runs_are_work(done: Any) -> None:
    found = plan(done, "a", published=False)
    assert not found.empty
    assert found.unpublished == ("a",)
    assert "publish@a  not published yet" in describe(found)


def test_study_is_planned_by_its_own_params(done: Any) -> None:
    done.study("small")
    found = plan(done, "a", study="small")
    assert names(found)[0] == "fetch@d"
    assert {reason for why in reasons(found).values() for reason in why} == {"never run"}
    assert plan(done, "a").empty


def test_broken_study_stops_nothing_else(done: Any) -> None:
    done.study("small")
    done.study("broken", "runs: [")
    assert plan(done, "a").empty
    assert names(plan(done, "a", study="small"))
    with pytest.raises(SettingsError, match=r"experiments/broken/params.yaml: not readable as YAML"):
        done.project("broken").choose(())


def test_broken_graph_is_one_message(done: Any) -> None:
    (done.folder / "dvc.yaml").write_text("stages:\n  train:\n    foreach: ${nothing}\n    do: {cmd: x}\n")
    with pytest.raises(SettingsError, match=r"DVC cannot plan .*nothing"):
        plan(done, "a")


def test_choice_of_runs(done: Any) -> None:
    project = done.project()
    assert project.choose(()) == ("a", "b")
    assert project.choose((), every=True) == ("a", "b", "c")
    assert project.choose(("c", "a")) == ("a", "c")
    with pytest.raises(SettingsError, match="unknown run 'z'; there are: a, b, c"):
        project.choose(("a", "z"))
    with pytest.raises(SettingsError, match="no study 'z' in experiments/; there are: none"):
        done.project("z").choose(())
