"""The ``search`` block: what it may name, what is drawn from it, and how the best values come into params.yaml."""

import difflib
from pathlib import Path

import optuna
import pytest

from components.core.config.strict import SettingsError
from flows.tuning.greedy import check_lists, next_choice
from flows.tuning.results import applied, as_yaml
from flows.tuning.seeds import parse_params
from flows.tuning.space import read_space, with_values, with_view_values

TEXT = (Path(__file__).resolve().parents[3] / "params.yaml").read_text(encoding="utf-8")


def space_of(block: dict):
    params = parse_params(TEXT)
    return read_space(
        params.model_copy(update={"runs": {"a": params.runs["vit_digits"].model_copy(update={"search": block})}}), "a"
    )


def test_each_kind_of_range_is_drawn_within_its_bounds():
    strides = [[1, 2, 2], [2, 2, 2]]
    space = space_of(
        {
            "train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
            "model.width": {"low": 32, "high": 96, "step": 32},
            "train.weight_decay": {"low": 0.0, "high": 0.3, "step": 0.1},
            "model.strides": strides,
        }
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    draws = []
    for _ in range(200):
        trial = study.ask()
        draws.append({dimension.setting: dimension.draw(trial) for dimension in space})
        assert {d.setting: d.value(trial.params[d.setting]) for d in space} == draws[-1]
    assert {draw["model.width"] for draw in draws} == {32, 64, 96}
    assert {round(draw["train.weight_decay"], 6) for draw in draws} == {0.0, 0.1, 0.2, 0.3}
    assert all(draw["model.strides"] in strides for draw in draws)
    rates = sorted(draw["train.learning_rate"] for draw in draws)
    assert rates[0] >= 1e-4
    assert rates[-1] <= 1e-2
    assert 0.5e-3 < rates[100] < 2e-3  # the median of a logarithmic range is its geometric mean, 1e-3


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({}, r"runs\.a\.search: missing; .*for example"),
        ({"train.seed": [0, 1]}, r"search\.train\.seed: 'train\.seed' cannot be searched"),
        ({"export.x": [0, 1]}, "'export.x' cannot be searched"),
        ({"learning_rate": [0, 1]}, "'learning_rate' cannot be searched"),
        ({"view.RandAugment": [0, 1]}, "'view.RandAugment' cannot be searched"),
        ({"train.": [0, 1]}, "'train.' cannot be searched"),
        ({"train.weight_decay": [0.1]}, "at least two different choices"),
        ({"train.weight_decay": [0.1, 0.1]}, "at least two different choices"),
        ({"train.weight_decay": 0.1}, "a list of choices, or low and high"),
        ({"train.weight_decay": {"low": 1.0, "high": 0.5}}, r"low, 1\.0, must be less than high, 0\.5"),
        ({"train.weight_decay": {"low": 0.0, "high": 0.5, "log": True}}, "log needs a low above 0"),
        ({"train.weight_decay": {"lo": 0.0, "high": 0.5}}, r"search\.train\.weight_decay\.lo: unknown key"),
    ],
)
def test_a_block_that_says_nothing_to_try_is_refused(block, message):
    with pytest.raises(SettingsError, match=message):
        space_of(block)


def test_values_replace_those_of_the_run_and_the_block_itself_stays():
    run = {"model": {"name": "vit", "width": 64}, "train": {"seed": 0}, "recipe": "classification"}
    assert with_values(run, {"model.width": 32, "train.steps": 9}) == {
        "model": {"name": "vit", "width": 32},
        "train": {"seed": 0, "steps": 9},
        "recipe": "classification",
    }
    assert run["model"]["width"] == 64


def test_the_best_values_are_written_and_every_other_character_stays():
    best = {"train.learning_rate": 0.00123, "model.scale": 0.5, "model.strides": [1, 1, 2, 2, 2], "train.clip_norm": 1.0}
    text = applied(TEXT, "lcnet_glyphs", "glyphs", best)
    lines = [line[2:].strip() for line in difflib.ndiff(TEXT.splitlines(), text.splitlines()) if line[0] == "+"]
    assert lines == [
        "model: {name: pp_lcnet, scale: 0.5, strides: [1, 1, 2, 2, 2]}",
        "learning_rate: 0.00123",
        "clip_norm: 1.0",
    ]
    before, after = parse_params(TEXT).runs, parse_params(text).runs
    assert after["lcnet_glyphs"].train == before["lcnet_glyphs"].train | {"learning_rate": 0.00123, "clip_norm": 1.0}
    assert {name: run for name, run in after.items() if name != "lcnet_glyphs"} == {
        name: run for name, run in before.items() if name != "lcnet_glyphs"
    }


EDA = """runs:
  a:
    train: {steps: 9, random_erasing: {probability: 0.1}}   # of PULC
  b:
    train:
      steps: 9
views:
  v:
    augment:
      - HorizontalFlip:
      - RandAugment: {magnitude: 9, p: 0.1}  # timm's
"""


def test_probabilities_of_a_block_and_of_a_view_s_transform_are_searched_and_written():
    view = {"augment": [{"HorizontalFlip": None}, {"RandAugment": {"magnitude": 9, "p": 0.1}}]}
    values = {"view.RandAugment.p": 0.5, "train.random_erasing.probability": 0.0}
    assert with_values({"train": {"steps": 9}}, values) == {"train": {"steps": 9, "random_erasing": {"probability": 0.0}}}
    changed = with_view_values(view, values, "runs.a.search")
    assert changed["augment"] == [{"HorizontalFlip": None}, {"RandAugment": {"magnitude": 9, "p": 0.5}}]
    assert view["augment"][1]["RandAugment"]["p"] == 0.1
    text = applied(applied(EDA, "a", "v", values), "b", "v", {"train.random_erasing.probability": 0.5})
    expected = EDA.replace("probability: 0.1", "probability: 0.0").replace("p: 0.1}  #", "p: 0.5}  #")
    assert text == expected.replace("      steps: 9\n", '      steps: 9\n      random_erasing: {"probability": 0.5}\n')
    assert as_yaml("a", "v", values) == (
        "runs:\n  a:\n    train:\n      random_erasing:\n        probability: 0.0\n"
        "views:\n  v:\n    augment:\n    - RandAugment: {p: 0.5}\n"
    )
    with pytest.raises(SettingsError, match=r"search: 'RandAug' must be in the view's augment once; its transforms: Horiz"):
        with_view_values(view, {"view.RandAug.p": 0.5}, "runs.a.search")


def test_a_greedy_search_tries_one_setting_after_the_other_and_keeps_the_best():
    figures = {(0, 0): 3.0, (1, 0): 5.0, (2, 0): 5.0, (1, 1): 4.0, (1, 2): 6.0}
    tried = {}
    while (choice := next_choice([3, 3], tried)) is not None:
        tried[choice] = figures[choice]
    assert list(tried) == [(0, 0), (1, 0), (2, 0), (1, 1), (1, 2)]  # of equal ones the earlier, and none twice
    assert next_choice([2], {(0,): 1.0, (1,): -float("inf")}) is None
    with pytest.raises(SettingsError, match=r"x\.train\.weight_decay: a range is not allowed with --sampler greedy"):
        check_lists(space_of({"train.weight_decay": {"low": 0.0, "high": 0.3}}), "x")
