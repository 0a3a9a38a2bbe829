"""Two states of a training, leaf by leaf: one bit is a difference, and the first is named."""

import math

import pytest
import torch

from flows.carry.states import digest, first_difference, load

STATE = {
    "recipe.a": torch.tensor([1.0, float("nan"), 0.0]),
    "recipe.b": torch.zeros(0),
    "optimizers.0.step": torch.tensor(3.0),
    "optimizers.0.lr": 0.1,
}


def with_leaf(name, leaf):
    return {**{key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in STATE.items()}, name: leaf}


def test_the_same_bits_are_no_difference_whatever_they_mean():
    again = with_leaf("recipe.a", torch.tensor([1.0, float("nan"), 0.0]))
    assert first_difference(STATE, again) is None
    assert digest(STATE) == digest(again)


@pytest.mark.parametrize(
    ("name", "leaf", "says"),
    [
        ("recipe.a", torch.tensor([math.nextafter(1.0, 2.0), float("nan"), 0.0], dtype=torch.float64), "float32"),
        ("recipe.a", torch.tensor([1.0 + 2.0**-23, float("nan"), 0.0]), "recipe.a (3,) differs"),
        ("recipe.a", torch.tensor([1.0, float("nan"), -0.0]), "recipe.a (3,) differs"),
        ("recipe.a", torch.tensor([[1.0, float("nan"), 0.0]]), r"(3,) and is torch.float32 (1, 3)"),
        ("optimizers.0.step", torch.tensor(4.0), "optimizers.0.step () differs, by 1 at most"),
        ("optimizers.0.lr", 0.10000000000000002, "optimizers.0.lr was 0.1 and is 0.10000000000000002"),
        ("averages.a", torch.zeros(1), "averages.a is not in the state of the old code"),
    ],
)
def test_the_first_leaf_that_differs_is_named(name, leaf, says):
    other = with_leaf(name, leaf)
    assert says in first_difference(STATE, other)
    assert digest(STATE) != digest(other)


def test_a_leaf_that_is_gone_is_named():
    assert first_difference(with_leaf("averages.a", 1), STATE) == "averages.a is not in the state of the new code"


def test_the_compared_parts_are_weights_optimizers_and_averages(tmp_path):
    state = {"recipe": {"a": torch.ones(2)}, "optimizers": [{"lr": 0.1}], "averages": {"a": torch.zeros(2)}, "curves": [1]}
    torch.save({"step": 5, "state": state}, tmp_path / "state.pt")
    step, leaves = load(tmp_path / "state.pt")
    assert step == 5
    assert set(leaves) == {"recipe.a", "optimizers.0.lr", "averages.a"}
