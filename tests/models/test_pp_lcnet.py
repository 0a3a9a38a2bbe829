"""PP-LCNet against plain convolutions that read the published layout, its published sizes, and its dropout."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from components.core.settings import parse_model
from components.networks.pp_lcnet import PPLCNet, downscale_dropout

# 1000 classes, as PaddleClas counts them. At .35 the rule that a width loses at most a tenth makes the difference.
PUBLISHED = {0.25: 1_521_184, 0.35: 1_643_090, 0.5: 1_879_576, 0.75: 2_357_008, 1.0: 2_952_520, 2.5: 9_017_560}
TEXT = (2, (2, 1), (2, 1), (2, 1), (2, 1))

# Every block at scale .25, written out: name, kernel, channels in and out, stride, gate.
BLOCKS = [
    ("blocks2.0", 3, 8, 8, 1, False),
    ("blocks3.0", 3, 8, 16, 2, False),
    ("blocks3.1", 3, 16, 16, 1, False),
    ("blocks4.0", 3, 16, 32, 2, False),
    ("blocks4.1", 3, 32, 32, 1, False),
    ("blocks5.0", 3, 32, 64, 2, False),
    *((f"blocks5.{i}", 5, 64, 64, 1, False) for i in range(1, 6)),
    ("blocks6.0", 5, 64, 128, 2, True),
    ("blocks6.1", 5, 128, 128, 1, True),
]


def build(**settings) -> PPLCNet:
    return PPLCNet(**{"image_size": 32, "channels": 3, "num_classes": 6, "scale": 0.25, **settings})


def made_up_file(num_classes: int = 6) -> dict[str, Tensor]:
    """A file in PaddleClas' layout at scale .25."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv1.conv.weight": (8, 3, 3, 3), "last_conv.weight": (1280, 128, 1, 1), "fc.weight": (1280, num_classes)}
    norms = {"conv1": 8}
    for name, kernel, width_in, width, _, gated in BLOCKS:
        shapes |= {
            f"{name}.dw_conv.conv.weight": (width_in, 1, kernel, kernel),
            f"{name}.pw_conv.conv.weight": (width, width_in, 1, 1),
        }
        norms |= {f"{name}.dw_conv": width_in, f"{name}.pw_conv": width}
        if gated:
            shapes |= {f"{name}.se.conv1.weight": (width_in // 4, width_in, 1, 1), f"{name}.se.conv1.bias": (width_in // 4,)}
            shapes |= {f"{name}.se.conv2.weight": (width_in, width_in // 4, 1, 1), f"{name}.se.conv2.bias": (width_in,)}
    shapes |= {
        f"{name}.bn.{kind}": (width,) for name, width in norms.items() for kind in ("weight", "bias", "_mean", "_variance")
    }
    shapes["fc.bias"] = (num_classes,)
    file = {key: 0.3 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    return {key: value.abs() + 0.5 if key.endswith(("_variance", "bn.weight")) else value for key, value in file.items()}


def by_plain_convolutions(file: dict[str, Tensor], image: Tensor) -> Tensor:
    """Logits [N, K] of the published file: equations written out, nothing taken from the network under test."""

    def hard_swish(x: Tensor) -> Tensor:
        return x * (x + 3).clamp(0, 6) / 6

    def layer(name: str, x: Tensor, stride: int = 1) -> Tensor:
        kernel = file[f"{name}.conv.weight"]
        x = F.conv2d(x, kernel, None, stride, kernel.shape[-1] // 2, groups=len(kernel) if kernel.shape[1] == 1 else 1)
        weight, bias, mean, variance = (
            file[f"{name}.bn.{kind}"][:, None, None] for kind in ("weight", "bias", "_mean", "_variance")
        )
        return hard_swish((x - mean) / (variance + 1e-5).sqrt() * weight + bias)

    def gate(name: str, x: Tensor) -> Tensor:
        squeezed = x.mean((2, 3)) @ file[f"{name}.se.conv1.weight"][:, :, 0, 0].T + file[f"{name}.se.conv1.bias"]
        excited = squeezed.clamp(min=0) @ file[f"{name}.se.conv2.weight"][:, :, 0, 0].T + file[f"{name}.se.conv2.bias"]
        return x * (excited / 6 + 0.5).clamp(0, 1)[:, :, None, None]

    x = layer("conv1", image, stride=2)
    for name, _, _, _, stride, gated in BLOCKS:
        x = layer(f"{name}.dw_conv", x, stride)
        x = layer(f"{name}.pw_conv", gate(name, x) if gated else x)
    pooled = hard_swish(x.mean((2, 3)) @ file["last_conv.weight"][:, :, 0, 0].T)
    return 0.8 * pooled @ file["fc.weight"] + file["fc.bias"]


@pytest.mark.parametrize("scale", PUBLISHED)
def test_scales_have_the_published_number_of_parameters(scale) -> None:
    with torch.device("meta"):
        network = PPLCNet(image_size=224, channels=3, num_classes=1000, scale=scale)
    assert sum(parameter.numel() for parameter in network.parameters()) == PUBLISHED[scale]


def test_a_published_file_gives_what_plain_convolutions_give() -> None:
    file, network = made_up_file(), build().eval()
    assert len(file) == 146
    assert network.load_published(file).lines() == []
    image = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    wanted = by_plain_convolutions(file, image)
    assert torch.allclose(network(image)[0], wanted, atol=1e-4 * wanted.abs().max().item())


def test_renaming_twice_is_renaming_once() -> None:
    once = PPLCNet.from_published(made_up_file())
    twice = PPLCNet.from_published(once)
    counters = {name for name in build().state_dict() if name.endswith("num_batches_tracked")}  # Paddle has none
    assert once.keys() == twice.keys() == build().state_dict().keys() - counters
    assert all(torch.equal(once[key], twice[key]) for key in once)


def test_a_published_head_of_other_classes_starts_fresh() -> None:
    network = build()
    assert network.load_published(made_up_file(num_classes=4)).lines() == [
        "head: the file has 4 classes, this view 6: starts fresh"
    ]


def test_dropout_masks_in_training_and_scales_afterwards() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 100)
    dropped = downscale_dropout(x, 0.2, training=True)
    kept = dropped != 0
    assert torch.allclose(dropped[kept], x[kept])  # not divided by 1 - p
    assert kept.float().mean().item() == pytest.approx(0.8, abs=0.01)
    assert torch.equal(downscale_dropout(x, 0.2, training=False), x * 0.8)


def test_features_carry_the_dropout() -> None:
    """Its share of zeros in training, its factor in eval mode."""
    torch.manual_seed(0)
    image = torch.randn(8, 3, 32, 32)
    networks = [build(dropout=rate) for rate in (0.2, 0.0)]
    networks[1].load_state_dict(networks[0].state_dict())
    with_dropout, without = (network.eval().features(image) for network in networks)
    assert torch.allclose(with_dropout, 0.8 * without)
    zeros = (networks[0].train().features(image) == 0).float().mean().item()
    assert zeros == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("strides", "size", "last"),
    [((2, 2, 2, 2, 2), (64, 96), (2, 3)), ((1, 1, 2, 2, 2), (32, 32), (4, 4)), (TEXT, (64, 32), (2, 16))],
)
def test_strides_are_of_the_stem_and_of_four_stages(strides, size, last) -> None:
    with torch.device("meta"):
        network = build(strides=strides)
        shapes = []
        network.blocks6.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[2:])))
        network(torch.zeros(1, 3, *size))
    assert shapes == [last]


def test_strides_of_one_network_do_not_leak_into_the_next() -> None:
    with torch.device("meta"):
        build(strides=TEXT)
        assert build().blocks3[0].dw_conv.conv.stride == (2, 2)


def test_strides_come_from_yaml_as_numbers_and_pairs() -> None:
    settings = parse_model({"name": "pp_lcnet", "strides": [2, [2, 1], [2, 1], [2, 1], [2, 1]], "scale": 1}, "model")
    assert settings.options["strides"] == TEXT


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"scale": 0.2}, "scale: 0.2 is not allowed: 0.25 to 2.5"),
        ({"dropout": 1.0}, "dropout: 1.0 is not allowed"),
        ({"last_width": 0}, "last_width: 0 is not allowed: at least 1"),
        ({"strides": (2, 2, 2)}, "strides: (2, 2, 2) is not allowed: 5 numbers or pairs"),
        ({"strides": (2, 2, 2, 2, (0, 1))}, "strides: (2, 2, 2, 2, (0, 1)) is not allowed"),
    ],
)
def test_wrong_settings_are_refused_without_memory(settings, told) -> None:
    with torch.device("meta"), pytest.raises(ValueError) as caught:
        build(**settings)
    assert str(caught.value).startswith(told)
