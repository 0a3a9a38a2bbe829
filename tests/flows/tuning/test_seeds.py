"""``flows seeds``: params.yaml keeps its lines, the repeated runs follow the first, and the evaluation summarises them."""

import difflib
import json
import statistics
from pathlib import Path

import pytest

from components.core.config.params import read_params
from components.core.config.strict import SettingsError, read_yaml, refuse
from flows.pipeline.fill import fill_in
from flows.project import Project
from flows.tuning.seeds import parse_params, with_seeds
from tests.workbench import make_project, run, toy_params

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


def check(text: str) -> None:
    """Raise SettingsError with all faults of the text of a params.yaml."""
    faults = read_params(read_yaml(Path("params.yaml"), text), "params.yaml").faults
    refuse(line for lines in faults.values() for line in lines)


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [line[2:] for line in lines if line[0] == "-"], [line[2:] for line in lines if line[0] == "+"]


def test_other_seeds_are_lines_of_their_own_and_nothing_else_changes():
    removed, added = changed(TEXT, with_seeds(TEXT, "lcnet_glyphs", [0, 1, 2]))
    blocks = [line for line in added if "&lcnet_glyphs_" in line]
    assert [line.replace(f" &lcnet_glyphs_{line.split(':')[0].strip()}", "") for line in blocks] == removed
    assert [line.split(":")[0].strip() for line in added if line not in blocks] == [
        *("seeds", "lcnet_glyphs_seed1", "lcnet_glyphs_seed2"),
        *("lcnet_glyphs_seed1_fonts", "lcnet_glyphs_seed1", "lcnet_glyphs_seed2_fonts", "lcnet_glyphs_seed2"),
    ]


def test_a_repeated_run_differs_in_its_seed_alone_and_follows_an_edit():
    text = with_seeds(TEXT, "vit_digits", [0, 7]).replace("learning_rate: 2.0e-3", "learning_rate: 5.0e-4")
    runs = parse_params(text).runs
    assert runs["vit_digits_seed7"].train == runs["vit_digits"].train | {"seed": 7}
    assert runs["vit_digits_seed7"].train["learning_rate"] == 5e-4
    assert runs["vit_digits_seed7"].model == runs["vit_digits"].model
    check(text)


def test_another_list_replaces_the_first_and_none_removes_all():
    three = with_seeds(TEXT, "lcnet_glyphs", [0, 1, 2])
    assert with_seeds(three, "lcnet_glyphs", [0, 1, 2]) == three
    again = parse_params(with_seeds(three, "lcnet_glyphs", [3, 0]))
    assert [name for name in again.runs if "seed" in name] == ["lcnet_glyphs_seed3"]
    none = parse_params(with_seeds(three, "lcnet_glyphs", []))
    assert (none.runs, none.links) == (parse_params(TEXT).runs, parse_params(TEXT).links)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [0, 1]", "seeds: [1, 2]", r"vit_digits\.seeds: \[1, 2\] is not allowed: .*train\.seed, 0, must be one"),
        ("seeds: [0, 1]", "seeds: [0, 0]", "at least two different seeds"),
        ("seeds: [0, 1]", "seeds: [0]", "at least two different seeds"),
        ("seeds: [0, 1]", "seeds: [0, 1, 4]", "no run 'vit_digits_seed4' for the seed 4; `python -m flows seeds vit_digits`"),
        ("seed: 1}, export", "seed: 1, steps: 9}, export", r"runs\.vit_digits_seed1\.train\.steps: differs"),
        ("role: seed_1", "role: seed_2", r"links\.vit_digits_seed1|no link gives the metrics"),
    ],
)
def test_blocks_that_do_not_fit_are_refused_with_the_remedy(old, new, message):
    text = with_seeds(TEXT, "vit_digits", [0, 1])
    assert text.count(old) == 1
    with pytest.raises(SettingsError, match=message):
        check(text.replace(old, new))


def test_a_list_in_the_run_is_enough_for_plan_and_run(tmp_path):
    listed = TEXT.replace("    view: digits\n    model", "    view: digits\n    seeds: [0, 4]      # two\n    model", 1)
    (tmp_path / "params.yaml").write_text(listed, encoding="utf-8")
    assert fill_in(Project(tmp_path)) == ["params.yaml: added the other seeds of runs.vit_digits: vit_digits_seed4"]
    text = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    assert "    seeds: [0, 4]      # two\n" in text
    assert parse_params(text).runs["vit_digits_seed4"].train["seed"] == 4
    check(text)
    assert fill_in(Project(tmp_path)) == []


def test_a_name_that_is_taken_is_refused():
    block = TEXT[TEXT.index("  lcnet_glyphs:\n") : TEXT.index("\nlinks:")]
    taken = TEXT.replace("\nlinks:", block.replace("lcnet_glyphs:", "vit_digits_seed1:") + "\nlinks:")
    with pytest.raises(SettingsError, match="the name is taken"):
        with_seeds(taken, "vit_digits", [0, 1])


@pytest.mark.slow
def test_dvc_repeats_the_run_and_its_evaluation_has_mean_and_deviation(tmp_path):
    from ruamel.yaml import YAML

    project = make_project(tmp_path / "p", toy_params())
    with (project / "params.yaml").open("w") as file:
        YAML().dump(toy_params(), file)
    run("python", "-m", "flows", "seeds", "toy", "0", "1", "2", "--project", str(project), cwd=project)
    run("dvc", "repro", "evaluate@toy", cwd=project, PYTHONPATH=str(project))
    metrics = {
        name: json.loads((project / f"outputs/evaluate/{name}/metrics.json").read_text())
        for name in ("toy", "toy_seed1", "toy_seed2")
    }
    values = [content["squared_error"] for content in metrics.values()]
    assert len(set(values)) == 3
    assert metrics["toy"]["seeds.squared_error.mean"] == pytest.approx(statistics.mean(values), rel=1e-12)
    assert metrics["toy"]["seeds.squared_error.std"] == pytest.approx(statistics.stdev(values), rel=1e-12)
    table = (project / "outputs/evaluate/toy/report/seeds.csv").read_text().splitlines()
    assert table[0] == "metric,mean,std,seed 0,seed 1,seed 2"
    # One setting of the first run is a setting of all.
    run("dvc", "repro", "evaluate@toy", cwd=project, PYTHONPATH=str(project))
    status = run("dvc", "status", "--with-deps", "evaluate@toy", cwd=project, PYTHONPATH=str(project)).stdout
    assert "up to date" in status
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("learning_rate: 0.001", "learning_rate: 0.002"))
    status = run("dvc", "status", "--with-deps", "evaluate@toy", cwd=project, PYTHONPATH=str(project)).stdout
    assert {"train@toy:", "train@toy_seed1:", "train@toy_seed2:"} <= set(status.split())
