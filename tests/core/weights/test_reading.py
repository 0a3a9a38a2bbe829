"""Clean names: containers, averages, wrappers and prefixes of published checkpoints; what is no number is refused."""

import json

import pytest
import torch

from components.core.weights.reading import read_weights, unwrapped, without_prefixes

PLAIN = {"conv.weight": torch.ones(2), "fc.bias": torch.zeros(2)}
AVERAGE = {"conv.weight": torch.full((2,), 3.0), "fc.bias": torch.full((2,), 4.0)}


def saved(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    return tmp_path / "w.pt"


@pytest.mark.parametrize("key", ["state", "state_dict", "model", "net", "params"])
def test_containers_are_opened_also_in_each_other(tmp_path, key) -> None:
    weights = read_weights(saved(tmp_path, {"epoch": 3, key: {"state_dict": PLAIN}, "optimizer": {"state": {0: {"step": 1}}}}))
    torch.testing.assert_close(weights.state, PLAIN)
    assert weights.notes == ()


def test_four_containers_are_opened_and_no_more() -> None:
    four = {"state": {"state_dict": {"model": {"net": PLAIN}}}}
    assert unwrapped(four) == (PLAIN, [])
    assert unwrapped({"params": four})[0] == {"params": four}


@pytest.mark.parametrize("key", ["model_ema", "state_dict_ema", "params_ema", "ema"])
@pytest.mark.parametrize("beside", ["model", "params"])
def test_averages_win_and_it_says_so(tmp_path, key, beside) -> None:
    weights = read_weights(saved(tmp_path, {beside: PLAIN, key: AVERAGE}))
    torch.testing.assert_close(weights.state, AVERAGE)
    assert weights.notes == (f"{key}: the averaged weights are taken, not {beside} beside them",)
    alone = read_weights(saved(tmp_path, {key: AVERAGE, "epoch": 1}))
    assert alone.notes == (f"{key}: the averaged weights are taken",)


def test_an_optimizer_s_state_is_no_container(tmp_path) -> None:
    optimizer = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    assert unwrapped(optimizer) == (optimizer, [])
    with pytest.raises(ValueError, match="holds no tensors by name; its keys: state, param_groups"):
        read_weights(saved(tmp_path, optimizer))


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_wrappers_go_at_any_depth(tmp_path, wrapper) -> None:
    content = {f"{wrapper}{name}": value for name, value in PLAIN.items()}
    torch.testing.assert_close(read_weights(saved(tmp_path, content)).state, PLAIN)
    nested = {"generator": content, "discriminator": {f"{wrapper}main.0.weight": torch.ones(1)}}
    found = read_weights(saved(tmp_path, nested)).state
    assert {name: list(part) for name, part in found.items()} == {"generator": list(PLAIN), "discriminator": ["main.0.weight"]}
    with pytest.raises(ValueError, match=r"holds 'conv\.weight' twice"):
        read_weights(saved(tmp_path, PLAIN | content))


@pytest.mark.parametrize("prefix", ["model.", "backbone.", "encoder.", "model.encoder."])
def test_a_prefix_goes_if_all_names_have_it_and_the_network_s_have_not(prefix) -> None:
    given = {f"{prefix}{name}": value for name, value in PLAIN.items()}
    names, notes = without_prefixes(given, PLAIN)
    assert list(names) == list(PLAIN)
    assert notes == [f"{part}.: removed from all names" for part in prefix.split(".") if part]
    assert without_prefixes(given | {"head.bias": torch.ones(1)}, PLAIN)[1] == []
    assert without_prefixes(given, given) == (given, [])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_names_its_tensor(tmp_path, bad) -> None:
    content = {"a": PLAIN, "b": {"dec.weight": torch.tensor([1.0, bad, bad])}}
    with pytest.raises(ValueError, match=r"w\.pt: tensor b\.dec\.weight: 2 of its 3 numbers are NaN or infinite"):
        read_weights(saved(tmp_path, content))


def test_classes_are_those_of_a_run_s_view_or_of_the_export_beside(tmp_path) -> None:
    settings = {"view": {"classes": {"label": ("a", "b"), "domain": ("x",)}}}
    assert read_weights(saved(tmp_path, {"settings": settings, "state": PLAIN})).classes == {
        "label": ("a", "b"),
        "domain": ("x",),
    }
    assert read_weights(saved(tmp_path, PLAIN)).classes == {}
    (tmp_path / "facts.json").write_text(json.dumps({"classes": ["a", "b"], "image_size": 8}))
    assert read_weights(saved(tmp_path, PLAIN)).classes == {"label": ("a", "b")}


def test_what_is_no_tensor_is_left_out_and_named(tmp_path) -> None:
    weights = read_weights(saved(tmp_path, PLAIN | {"epoch": 3, "arch": "resnet"}))
    assert list(weights.state) == list(PLAIN)
    assert weights.notes == ("epoch, arch: no tensors, left out",)
