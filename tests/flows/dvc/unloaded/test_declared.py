"""Who needs whom, by paths alone."""

import pytest

from components.core.inputs.declared import Unusual
from flows.dvc.unloaded.declared import Dep, Out, Stage, read_graph, read_stages

BLOCK = {"foreach": "${runs}", "do": {"cmd": "x ${key}", "deps": ["data"], "params": ["runs.${key}.a"], "outs": ["o/${key}"]}}


def stage(name, deps=(), outs=()):
    return Stage(name, "x", "/w", [Dep(path, f"/w/{path}") for path in deps], [Out(path, f"/w/{path}") for path in outs])


def test_a_stage_needs_the_maker_of_what_it_reads_lies_in_or_contains():
    stages = [stage("a", outs=["o/a"]), stage("ab", outs=["o/ab/one", "o/ab/two"]), stage("z", outs=["z"])]
    stages += [stage("same", ["o/a"]), stage("file", ["o/a/x/y"]), stage("folder", ["o/ab"]), stage("all", ["o"])]
    stages += [stage("none", ["o/abc", "o/ab/on", "data"]), stage("both", ["z", "o/a"])]
    needs = read_graph(stages).needs
    found = {name: sorted(needed) for name, needed in needs.items() if needed}
    assert found == {"same": ["a"], "file": ["a"], "folder": ["ab"], "all": ["a", "ab"], "both": ["a", "z"]}
    assert list(needs) == [one.name for one in stages]


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ([stage("a", outs=["o"]), stage("b", outs=["o"])], "two stages with one out"),
        ([stage("a", outs=["o"]), stage("a", outs=["p"])], "two stages with one out"),
        ([stage("a", outs=["o"]), stage("b", outs=["o/x/y"])], "an out in an out"),
        ([stage("a", ["o/x"], ["o"])], "a stage that depends on itself"),
    ],
)
def test_a_graph_that_dvc_refuses_is_left_to_dvc(stages, told):
    with pytest.raises(Unusual, match=told):
        read_graph(stages)


def test_stages_are_made_of_templates_and_those_of_faulty_blocks_left_out(tmp_path):
    params = {"runs": {"m": {"a": 1}, "n": {"a": 2}}}
    content = {
        "vars": [{"detect": {}}],
        "stages": {"train": BLOCK, "none": BLOCK | {"foreach": "${detect}"}, "one": {"cmd": "y"}},
    }
    found = {one.name: one for one in read_stages(tmp_path, content, params, {"runs.n"})}
    assert list(found) == ["train@m", "one"]
    train = found["train@m"]
    assert (train.cmd, train.wdir) == ("x m", str(tmp_path))
    assert [(dep.def_path, dep.fs_path, dep.keys) for dep in train.deps] == [
        ("data", str(tmp_path / "data"), None),
        ("params.yaml", str(tmp_path / "params.yaml"), ["runs.m.a"]),
    ]
    assert train.deps[1].read_params() == {"runs.m.a": 1}
    assert [(out.def_path, out.fs_path) for out in train.outs] == [("o/m", str(tmp_path / "o/m"))]


PLOTS = {"cmd": "y", "plots": [{"p": {"x": "step", "y": "loss"}}], "metrics": ["m"]}


def test_metrics_and_plots_are_outs(tmp_path):
    (one,) = read_stages(tmp_path, {"stages": {"one": PLOTS}}, {}, set())
    assert [out.def_path for out in one.outs] == ["m", "p"]


@pytest.mark.parametrize(
    "block",
    [
        [],
        BLOCK | {"frozen": True},
        {"foreach": "${runs.m.a}", "do": {"cmd": "x"}},
        {"foreach": "${odd}", "do": {"cmd": "x"}},
        {"cmd": ["x", "y"]},
        {"cmd": "x \\\n y"},
        {"cmd": "x", "always_changed": True},
        {"cmd": "x", "outs": [{"o": {"persist": True}}]},
        {"cmd": "x", "outs": [{"o": {}, "p": {}}]},
        {"cmd": "x", "outs": [{"o": None}]},
    ],
)
def test_what_only_dvc_reads_is_left_to_it(tmp_path, block):
    params = {"runs": {"m": {"a": 1}}, "odd": {"a.b": {}}}
    with pytest.raises(Unusual):
        read_stages(tmp_path, {"stages": {"s": block}}, params, set())
    with pytest.raises(Unusual):
        read_stages(tmp_path, {"stages": {}, "plots": []}, params, set())
