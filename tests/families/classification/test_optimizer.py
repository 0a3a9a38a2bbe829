"""Layer-wise learning rates: every parameter's rate, the resumed one, and networks without layers."""

import pytest
import torch

from components.core.config.run import ModelSettings, RunSettings
from components.families.classification.optimizer import check_layers, make_optimizer
from components.families.classification.recipe import TrainSettings
from components.networks.resnets.resnet import ResNet
from components.networks.swin.swin import Swin, SwinV2
from components.networks.vit import ViT

RATE, DECAY = 0.1, 0.5
FACTS = {"image_size": 16, "channels": 1, "num_classes": 2, "patch": 2}
BOTH = pytest.mark.parametrize("network", [Swin, SwinV2])


def layers_by_rate(network, decay=DECAY):
    """Parameter name -> how many times its rate is decayed."""
    optimizer = make_optimizer(network, TrainSettings(learning_rate=RATE, layer_decay=decay, weight_decay=0.05))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in optimizer.param_groups)
    names = {name: rates[id(p)] / RATE for name, p in network.named_parameters()}
    return {name: round(float(torch.tensor(share).log() / torch.tensor(decay).log())) for name, share in names.items()}


def test_the_rates_of_vit_fall_from_the_head_to_the_embeddings():
    found = layers_by_rate(ViT(**FACTS, width=8, depth=3, heads=1))
    expected = {"cls_token": 4, "pos_embed": 4, "patch_embed": 4, "norm": 0, "head": 0}
    for name, times in found.items():
        parts = name.split(".")
        assert times == (3 - int(parts[1]) if parts[0] == "blocks" else expected[parts[0]]), name


@BOTH
def test_swin_counts_blocks_over_stages_and_a_merging_with_the_block_before_it(network):
    """Microsoft's fine-tuning: embedding 0, block i -> i + 1, merging = last block of its stage, norm and head last."""
    found = layers_by_rate(network(**FACTS, width=8, depths=(2, 1, 2), heads=(1, 1, 1), window=2))
    last = {"patch_embed": 0, "norm": 6, "head": 6, "layers.1.downsample": 2, "layers.2.downsample": 3}
    last |= {
        "layers.0.blocks.0": 1,
        "layers.0.blocks.1": 2,
        "layers.1.blocks.0": 3,
        "layers.2.blocks.0": 4,
        "layers.2.blocks.1": 5,
    }
    for name, times in found.items():
        (layer,) = [layer for part, layer in last.items() if name.startswith(f"{part}.")]
        assert 6 - times == layer, name


def test_weight_decay_is_the_same_with_and_without_layers():
    network = Swin(**FACTS, width=8, depths=(1, 1), heads=(1, 1), window=2)

    def decayed(layer_decay):
        groups = make_optimizer(network, TrainSettings(weight_decay=0.1, layer_decay=layer_decay)).param_groups
        return {id(p) for group in groups if group["weight_decay"] for p in group["params"]}

    assert decayed(1.0) == decayed(0.5) != set()


def test_without_layer_decay_the_groups_are_two_as_in_earlier_checkpoints():
    groups = make_optimizer(ViT(**FACTS, width=8, depth=1, heads=1), TrainSettings()).param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-3]


def test_networks_without_layers_in_a_row_are_refused_by_name():
    assert not hasattr(ResNet, "layer_ids")
    train = TrainSettings(layer_decay=0.9)
    blocks = {"train": train, "export": None, "evaluate": None}
    for name in ("vit", "swin", "swin_v2"):
        check_layers(RunSettings("run", "classification", "view", ModelSettings(name, {}), **blocks))
    with pytest.raises(ValueError, match=r"train\.layer_decay: 0\.9 .* pp_lcnet has no layers .*: swin, swin_v2, vit"):
        check_layers(RunSettings("run", "classification", "view", ModelSettings("pp_lcnet", {}), **blocks))
