"""The U-Net against its equations, its published sizes, its conditions; bf16 and ONNX."""

import math

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.core.batch import Batch
from components.core.recipe import Graph
from components.core.settings import parse_model
from components.networks.unet.blocks import AttentionBlock, GroupNorm, ResBlock, time_embedding
from components.networks.unet.classifier import AttentionPool, UNetClassifier
from components.networks.unet.unet import UNet
from components.stages.export.onnx_graph import write_graph

# DDPM's CIFAR-10 network in ADM's code, improved-diffusion's, ADM's for 64 px, and a class-conditional one for digits.
PUBLISHED = {
    35_746_307: {"image_size": 32, "width": 128, "multipliers": (1, 2, 2, 2), "attention": (16,)},
    52_546_438: {"image_size": 32, "width": 128, "multipliers": (1, 2, 2, 2), "blocks": 3, "attention": (16, 8), "heads": 4,
                 "scale_shift": True},
    295_904_454: {"image_size": 64, "width": 192, "multipliers": (1, 2, 3, 4), "blocks": 3, "attention": (32, 16, 8),
                  "head_width": 64, "scale_shift": True, "residual_resize": True, "num_classes": 1000},
    1_192_513: {"image_size": 28, "channels": 1, "width": 32, "multipliers": (1, 2, 2), "blocks": 1, "attention": (14,),
                "scale_shift": True, "num_classes": 10},
}  # fmt: skip
PREDICTS_VARIANCES = {52_546_438, 295_904_454}  # the file's last convolution has three more outputs, which we leave out
UNCONDITIONAL = {"num_classes": None, "text_width": None, "low_resolution": False}
TINY = {
    "image_size": 8,
    "channels": 2,
    "width": 8,
    "multipliers": (1, 2),
    "blocks": 1,
    "attention": (4,),
    "groups": 4,
    "heads": 2,
}
TIME = torch.tensor([0.0, 17.5, 999.0])


def tiny(seed: int = 0, **settings) -> UNet:
    """A network whose zero layers are not zero, so that every path shows."""
    torch.manual_seed(seed)
    network = UNet(**{**UNCONDITIONAL, **TINY, **settings}).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def conditions(count: int = 3) -> dict[str, Tensor]:
    mask = torch.arange(4) < torch.arange(count)[:, None] + 1
    text, low = noise(count, 4, 6), noise(count, 2, 4, 4)
    return {"label": torch.arange(count) % 5, "text": text, "text_mask": mask, "low_resolution": low}


def conditional(seed: int = 0) -> UNet:
    return tiny(seed, num_classes=5, text_width=6, low_resolution=True)


@pytest.mark.parametrize("count", [pytest.param(count, marks=[pytest.mark.slow] if count > 1e8 else []) for count in PUBLISHED])
def test_number_of_parameters_is_the_published_one(count) -> None:
    with torch.device("meta"):
        network = UNet(**{**UNCONDITIONAL, "channels": 3, **PUBLISHED[count]})
    own = sum(parameter.numel() for parameter in network.parameters())
    assert own + (network.out[2].weight.numel() + 3 if count in PREDICTS_VARIANCES else 0) == count
    assert count != 295_904_454 or len(network.state_dict()) == 541


def test_number_of_the_classifier_s_parameters_is_the_published_one() -> None:
    with torch.device("meta"):
        network = UNetClassifier(
            image_size=64, channels=3, num_classes=1000, width=128, multipliers=(1, 2, 3, 4), blocks=4, attention=(32, 16, 8),
            head_width=64,
        )  # fmt: skip
    assert sum(parameter.numel() for parameter in network.parameters()) == 65_438_568


# ------------------------------------------------------------------------------------------------ the equations


def norm(w: dict[str, Tensor], x: Tensor) -> Tensor:
    groups = x.reshape(len(x), 4, -1)
    groups = (groups - groups.mean(-1, keepdim=True)) / (groups.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    shape = (1, -1, *[1] * (x.dim() - 2))
    return groups.reshape(x.shape) * w["weight"].view(shape) + w["bias"].view(shape)


def part(w: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in w.items() if key.startswith(f"{name}.")}


def convolve(w: dict[str, Tensor], name: str, x: Tensor, **how) -> Tensor:
    kernel = w[f"{name}.weight"]
    return F.conv2d(x, kernel, w[f"{name}.bias"], padding=kernel.shape[-1] // 2, **how)


def residual(w: dict[str, Tensor], x: Tensor, embedding: Tensor) -> Tensor:
    h = convolve(w, "in_layers.2", F.silu(norm(part(w, "in_layers.0"), x)))
    h = h + (F.silu(embedding) @ w["emb_layers.1.weight"].T + w["emb_layers.1.bias"])[:, :, None, None]
    h = convolve(w, "out_layers.3", F.silu(norm(part(w, "out_layers.0"), h)))
    return h + (convolve(w, "skip_connection", x) if "skip_connection.weight" in w else x)


def test_scale_shift_is_adaptive_group_normalisation() -> None:
    """ADM's equation 3: GroupNorm(h) (1 + scale) + shift, both from the embedding."""
    torch.manual_seed(0)
    block = ResBlock(8, 8, 16, groups=4, dropout=0.0, scale_shift=True)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    w, x, embedding = {key: value.detach() for key, value in block.named_parameters()}, noise(2, 8, 4, 4), noise(2, 16)
    h = convolve(w, "in_layers.2", F.silu(norm(part(w, "in_layers.0"), x)))
    both = (F.silu(embedding) @ w["emb_layers.1.weight"].T + w["emb_layers.1.bias"])[:, :, None, None]
    h = norm(part(w, "out_layers.0"), h) * (1 + both[:, :8]) + both[:, 8:]
    assert torch.allclose(block(x, embedding), x + convolve(w, "out_layers.3", F.silu(h)), atol=1e-4, rtol=1e-4)


def attend(w: dict[str, Tensor], x: Tensor, heads: int, qkv_first: bool = False) -> Tensor:
    """An image and a head at a time, with an explicit softmax."""
    flat = norm(part(w, "norm"), x.flatten(2))
    qkv = w["qkv.weight"].squeeze(-1) @ flat + w["qkv.bias"][:, None]
    width, mixed = x.shape[1] // heads, []
    for head in range(heads):
        if qkv_first:
            rows = [qkv[:, (i * heads + head) * width :][:, :width] for i in range(3)]
        else:
            rows = [qkv[:, (head * 3 + i) * width :][:, :width] for i in range(3)]
        weight = torch.softmax(rows[0].transpose(1, 2) @ rows[1] / math.sqrt(width), -1)  # [N, query, key]
        mixed.append(rows[2] @ weight.transpose(1, 2))
    out = w["proj_out.weight"].squeeze(-1) @ torch.cat(mixed, 1) + w["proj_out.bias"][:, None]
    return x + out.reshape(x.shape)


def by_equations(w: dict[str, Tensor], x: Tensor, time: Tensor, label: Tensor) -> Tensor:
    """The tiny network, stage by stage, from tensors under guided-diffusion's names."""
    angle = time[:, None] * 10_000 ** (-torch.arange(4) / 4)
    hidden = F.silu(torch.cat([angle.cos(), angle.sin()], 1) @ w["time_embed.0.weight"].T + w["time_embed.0.bias"])
    e = hidden @ w["time_embed.2.weight"].T + w["time_embed.2.bias"] + w["label_emb.weight"][label]
    h0 = convolve(w, "input_blocks.0.0", x)
    h1 = residual(part(w, "input_blocks.1.0"), h0, e)
    h2 = convolve(w, "input_blocks.2.0.op", h1, stride=2)
    h3 = attend(part(w, "input_blocks.3.1"), residual(part(w, "input_blocks.3.0"), h2, e), 2)
    h = residual(part(w, "middle_block.0"), h3, e)
    h = residual(part(w, "middle_block.2"), attend(part(w, "middle_block.1"), h, 2), e)
    for i, kept in enumerate([h3, h2, h1, h0]):
        h = residual(part(w, f"output_blocks.{i}.0"), torch.cat([h, kept], 1), e)
        if i < 2:
            h = attend(part(w, f"output_blocks.{i}.1"), h, 2)
        if i == 1:
            h = convolve(w, "output_blocks.1.2.conv", h.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return convolve(w, "out.2", F.silu(norm(part(w, "out.0"), h)))


def published(**settings) -> dict[str, Tensor]:
    """A file's tensors, in guided-diffusion's layout."""
    return {key: value.clone() for key, value in tiny(5, num_classes=5, **settings).state_dict().items()}


def test_a_published_file_s_tensors_mean_what_the_equations_say() -> None:
    state, network = published(), tiny(6, num_classes=5)
    assert network.load_published(state).lines() == []
    x, label = noise(3, 2, 8, 8), torch.tensor([4, 0, 2])
    with torch.no_grad():
        assert torch.allclose(network(x, TIME, label=label), by_equations(state, x, TIME, label), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("order", ["heads_first", "qkv_first"])
def test_the_two_orders_of_qkv(order) -> None:
    torch.manual_seed(0)
    block = AttentionBlock(8, heads=2, groups=4, qkv_order=order)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x, state = noise(2, 8, 3, 3), {key: value.detach() for key, value in block.named_parameters()}
    assert torch.allclose(block(x, None, None), attend(state, x, 2, order == "qkv_first"), atol=1e-4)


def test_what_of_a_published_file_is_not_taken_is_told() -> None:
    network, file = tiny(6, num_classes=3), published()
    means = {key: file[key] for key in ("out.2.weight", "out.2.bias")}
    notes = network.load_published({**file, **{key: torch.cat([value, -value]) for key, value in means.items()}}).lines()
    assert notes == [
        "out.2: the file predicts variances too, this network does not: left out",
        "label_emb: the file has 5 classes, this view 3: starts fresh",
    ]
    assert torch.equal(network.out[2].weight, means["out.2.weight"])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"1 missing: out\.0\.bias"):
        network.load_published({key: value for key, value in published().items() if key != "out.0.bias"})
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


CONDITIONED = ["label_emb", "cross", "text_emb", "input_blocks.0.0.weight"]  # what depends on the conditions


def test_a_run_without_conditions_starts_from_a_network_with_all_and_the_other_way_round() -> None:
    """Without its conditions (embedding 0, low-resolution image 0, no attention to a text) the giver is the taker."""
    every = {"num_classes": 5, "text_width": 6, "low_resolution": True}
    giver, taker = tiny(5, **every), tiny(6)
    fitted = taker.load_published(giver.state_dict())
    assert [note.name for note in fitted.notes if note.kind == "left_out"] == CONDITIONED
    with torch.no_grad():
        for name, parameter in giver.named_parameters():
            if ".cross.proj_out" in name or name == "text_emb.proj.weight":
                parameter.zero_()
    x, text = noise(3, 2, 8, 8), noise(3, 4, 6)
    nothing = {"label": torch.full((3,), -1), "text": text, "text_mask": torch.ones(3, 4, dtype=torch.bool)}
    with torch.no_grad():
        wanted = giver(x, TIME, **nothing, low_resolution=torch.zeros(3, 2, 4, 4))
        assert torch.allclose(taker(x, TIME), wanted, atol=1e-5)
    again, own = tiny(7, **every), tiny(7, **every).state_dict()
    fitted = again.load_published(taker.state_dict())
    assert [note.name for note in fitted.notes if note.kind == "fresh"] == CONDITIONED
    state = again.state_dict()
    assert torch.equal(state["label_emb.weight"], own["label_emb.weight"])
    assert torch.equal(state["input_blocks.0.0.weight"][:, 2:], own["input_blocks.0.0.weight"][:, 2:])
    assert torch.equal(state["input_blocks.0.0.weight"][:, :2], taker.state_dict()["input_blocks.0.0.weight"])


def test_the_published_multipliers_at_512_pixels() -> None:
    """ADM's channel_mult there is (0.5, 1, 1, 2, 2, 4, 4) at width 256: half the width at full size."""
    options = parse_model({"name": "unet", "multipliers": [0.5, 1, 1, 2, 2, 4, 4], "width": 256, "head_width": 64}, "m").options
    assert options["multipliers"] == (0.5, 1, 1, 2, 2, 4, 4)
    assert [type(multiplier) for multiplier in options["multipliers"]] == [float, *[int] * 6], "whole numbers stay as they are"
    with torch.device("meta"):
        facts = {"image_size": 512, "channels": 3, "num_classes": 1000, "text_width": None, "low_resolution": False}
        network = UNet(**facts, **options | {"attention": (32, 16, 8), "scale_shift": True, "residual_resize": True})
        state = network.state_dict()
    assert state["input_blocks.0.0.weight"].shape == (128, 3, 3, 3)
    assert state["out.2.weight"].shape == (3, 128, 3, 3)
    assert state["time_embed.2.weight"].shape == (1024, 1024)
    with (
        torch.device("meta"),
        pytest.raises(ValueError, match=r"multipliers: 0\.3 is not allowed: .*256 = 76\.8 channels"),
    ):
        UNet(**facts, width=256, multipliers=(0.3, 1))


def test_odd_widths_of_the_time_embedding_end_in_zero() -> None:
    embedding = time_embedding(TIME, 9)
    assert embedding.shape == (3, 9)
    assert torch.equal(embedding[:, -1], torch.zeros(3))
    assert torch.allclose(embedding[1, :2], torch.tensor([math.cos(17.5), math.cos(17.5 / 10)]), atol=1e-5)


def test_fourier_features_are_channels_of_the_first_convolution() -> None:
    network, seen, x = tiny(fourier=(7, 8)), [], noise(3, 2, 8, 8)
    network.input_blocks[0][0].register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    network(x, TIME)
    waves = [wave(2**n * math.pi * x.double()) for n in (7, 8) for wave in (torch.sin, torch.cos)]
    assert torch.allclose(seen[0].double(), torch.cat([x.double(), *waves], 1), atol=1e-3)


# ------------------------------------------------------------------------------------------------ conditions


def test_output_is_zero_before_training_and_gradient_reaches_every_parameter() -> None:
    x = noise(3, 2, 8, 8)
    fresh = UNet(**TINY, num_classes=5, text_width=6, low_resolution=True)
    assert torch.equal(fresh(x, TIME, **conditions()), torch.zeros(3, 2, 8, 8))
    network = conditional()
    network(x, TIME, **conditions()).square().sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0] == []


def test_every_condition_changes_the_answer_of_its_image_alone() -> None:
    network, x, given = conditional(), noise(3, 2, 8, 8), conditions()
    with torch.no_grad():
        answer = network(x, TIME, **given)
        for name in ("label", "text", "text_mask", "low_resolution"):
            changed = given[name].clone()
            changed[1] = ~changed[1] if name == "text_mask" else changed[1] + 2
            difference = (network(x, TIME, **{**given, name: changed}) - answer).abs().flatten(1).max(1).values
            assert difference[1] > 1e-3
            assert difference[[0, 2]].max() < 1e-5


def test_the_mean_of_the_text_that_is_seen_is_added_as_a_label_is() -> None:
    """With attention to the text shut, only that mean counts: a class whose vector is its projection is the same condition."""
    network = tiny(3, num_classes=5, text_width=6, low_resolution=False)
    x, mask = noise(3, 2, 8, 8), torch.tensor([[True, True, False, False]]).expand(3, 4)
    given = {"label": torch.full((3,), -1), "text_mask": mask, "text": noise(3, 4, 6)}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".cross.proj_out" in name:
                parameter.zero_()
        answer = network(x, TIME, **given)
        turned = given["text"][:, [1, 0, 3, 2]]
        assert torch.allclose(network(x, TIME, **{**given, "text": turned}), answer, atol=1e-6), "any order"
        network.label_emb.weight[2] = network.text_emb.proj(network.text_emb.norm(given["text"][0, :2].mean(0)))
        labelled = {"label": torch.full((3,), 2), "text": given["text"], "text_mask": torch.zeros_like(mask)}
        found = network(x, TIME, **labelled)
    assert torch.allclose(found[0], answer[0], atol=1e-5)
    assert not torch.allclose(found[1], answer[1], atol=1e-3), "another text"


def test_no_label_and_no_text_leave_the_unconditional_network() -> None:
    """Label -1 and an empty mask: neither label vectors nor the text's content matter, and nothing is nan."""
    network, other, x, given = conditional(), conditional(), noise(3, 2, 8, 8), conditions()
    null = {**given, "label": torch.full((3,), -1), "text_mask": torch.zeros(3, 4, dtype=torch.bool)}
    nn.init.normal_(other.label_emb.weight, std=9.0)
    with torch.no_grad():
        answer = network(x, TIME, **null)
        assert torch.isfinite(answer).all()
        assert torch.equal(answer, other(x, TIME, **null))
        assert torch.allclose(answer, network(x, TIME, **{**null, "text": noise(3, 4, 6, seed=9)}), atol=1e-5)
    unconditional = tiny()
    unconditional.load_state_dict({key: network.state_dict()[key] for key in unconditional.state_dict()} | {
        "input_blocks.0.0.weight": network.state_dict()["input_blocks.0.0.weight"][:, :2]})  # fmt: skip
    labelled = tiny(0, num_classes=5)
    labelled.load_state_dict({**unconditional.state_dict(), "label_emb.weight": network.label_emb.weight})
    with torch.no_grad():
        assert torch.equal(labelled(x, TIME, label=torch.full((3,), -1)), unconditional(x, TIME))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"multipliers": ()}, "multipliers: .* one or more"),
        ({"multipliers": (1, 2, 2, 2, 2)}, "5 levels do not halve 8 pixels evenly; at most 4"),
        ({"attention": (16,)}, r"attention: \[16\] is not allowed: sizes of the levels, 8, 4"),
        ({"groups": 32}, "groups: 32 does not divide a level's 8 channels"),
        ({"heads": 3}, "heads: 3 does not divide"),
        ({"blocks": 0}, "blocks: 0 is not allowed: at least 1"),
        ({"dropout": 1.0}, "dropout: 1.0 is not allowed"),
        ({"text_width": 0}, "text_width: 0 is not allowed"),
        ({"qkv_order": "new"}, "qkv_order: 'new' is not allowed: heads_first, qkv_first"),
    ],
)
def test_bad_settings_say_what_is_allowed(settings, told) -> None:
    with pytest.raises(ValueError, match=told):
        UNet(**{**UNCONDITIONAL, **TINY, **settings})


def test_conditions_must_be_those_the_network_was_built_with() -> None:
    x = noise(3, 2, 8, 8)
    with pytest.raises(ValueError, match="label: given, but this network was built without it"):
        tiny()(x, TIME, label=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="low_resolution: missing, but this network was built with it"):
        conditional()(x, TIME, **{key: value for key, value in conditions().items() if key != "low_resolution"})
    with pytest.raises(ValueError, match="text and text_mask"):
        conditional()(x, TIME, **{key: value for key, value in conditions().items() if key != "text_mask"})


# ------------------------------------------------------------------------------------------------ bf16, the classifier, export


def test_bf16_autocast_keeps_group_norm_in_float32() -> None:
    network, x, seen = conditional(), noise(3, 2, 8, 8), []
    for module in network.modules():
        if isinstance(module, GroupNorm):
            module.register_forward_hook(lambda layer, inputs, output: seen.append((layer, inputs[0], output)))
    with torch.no_grad():
        exact = network(x, TIME, **conditions())
        seen.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            answer = network(x, TIME, **conditions())
    assert answer.dtype == torch.float32
    assert (answer - exact).abs().max() < 0.1 * exact.abs().max()
    assert torch.bfloat16 in {inputs.dtype for _, inputs, _ in seen}
    for layer, inputs, output in seen:
        expected = F.group_norm(inputs.float(), layer.num_groups, layer.weight, layer.bias, layer.eps).to(inputs.dtype)
        assert torch.equal(output, expected)


@pytest.mark.parametrize("scale_shift", [True, False])
@pytest.mark.parametrize("residual_resize", [True, False])
def test_every_combination_runs_and_trains(scale_shift, residual_resize) -> None:
    settings = {"scale_shift": scale_shift, "residual_resize": residual_resize, "dropout": 0.1, "qkv_order": "qkv_first"}
    network = tiny(0, head_width=4, **settings).train()
    network(noise(3, 2, 8, 8), TIME).square().sum().backward()
    assert all(value.grad is not None for value in network.parameters())


def test_classifier_answers_logits_and_loads_a_published_file() -> None:
    torch.manual_seed(0)
    file, network = (UNetClassifier(**TINY, num_classes=count).eval() for count in (5, 3))
    assert network.load_published(file.state_dict()).lines() == [
        "out.2.c_proj: the file has 5 classes, this view 3: starts fresh"
    ]
    assert torch.equal(network.out[2].qkv_proj.weight, file.out[2].qkv_proj.weight)
    x = noise(3, 2, 8, 8).requires_grad_()
    logits = file(x, TIME)
    assert logits.shape == (3, 5)
    logits.sum().backward()
    assert x.grad is not None
    with pytest.raises(ValueError, match="left over: more"):
        network.load_published({**file.state_dict(), "more": torch.zeros(1)})


def test_attention_pooling_is_the_mean_pixel_s_attention() -> None:
    torch.manual_seed(0)
    pool, x = AttentionPool(3, 8, 2, 5), noise(2, 8, 3, 3)
    pixels = torch.cat([x.flatten(2).mean(2, keepdim=True), x.flatten(2)], 2) + pool.positional_embedding
    query, key, value = (pool.qkv_proj.weight.squeeze(-1) @ pixels + pool.qkv_proj.bias[:, None]).chunk(3, 1)
    mixed = []
    for q, k, v in zip(query.chunk(2, 1), key.chunk(2, 1), value.chunk(2, 1), strict=True):
        weight = torch.softmax((q[:, :, :1] * k).sum(1) / 2, 1)  # [N, 10]; heads of 4 channels
        mixed.append((v * weight[:, None]).sum(2))
    expected = torch.cat(mixed, 1) @ pool.c_proj.weight.squeeze(-1).T + pool.c_proj.bias
    assert torch.allclose(pool(x), expected, atol=1e-5)


class Exported(nn.Module):
    """Takes the graph's inputs in order; ``names``: of the conditions after x and time."""

    def __init__(self, network: UNet, names: tuple[str, ...]):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, x: Tensor, time: Tensor, *given: Tensor) -> Tensor:
        return self.network(x, time, **dict(zip(self.names, given, strict=True)))


FLAT = {"multipliers": (1,), "attention": (), "num_classes": 5}
WHOLE = {"num_classes": 5, "text_width": 6, "low_resolution": True, "scale_shift": True, "residual_resize": True}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        pytest.param(FLAT, ("label",), id="one level", marks=pytest.mark.slow),
        pytest.param(WHOLE, tuple(conditions()), id="every condition", marks=pytest.mark.slow),
        pytest.param({}, (), id="two levels", marks=pytest.mark.slow),
    ],
)
def test_onnx_with_a_dynamic_batch(tmp_path, settings, names) -> None:
    """The default suite exports the networks of tests/families/tiny.yaml, and all conditions in the family's own test."""
    network = Exported(tiny(**settings), names)

    def inputs(batch: Batch) -> dict[str, Tensor]:
        count = len(batch["image"])
        given = {name: conditions(count)[name] for name in names}
        given |= {"label": given["label"] - 1} if "label" in given else {}
        return {"x": batch["image"], "time": torch.linspace(0, 999, count), **given}

    write_graph(Graph(network, inputs, ("prediction",)), {"image": noise(3, 2, 8, 8)}, tmp_path / "unet.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "unet.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 7):
        given = inputs({"image": noise(count, 2, 8, 8)})
        with torch.no_grad():
            expected = network(*given.values()).numpy()
        (found,) = session.run(["prediction"], {name: value.numpy() for name, value in given.items()})
        assert np.abs(found - expected).max() <= 1e-4


def test_both_networks_run_in_float64():
    """As in float32 up to rounding, and no part of it is computed in float32: the error is that of float64."""
    torch.manual_seed(0)
    options = {"image_size": 8, "channels": 1, "width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "attention": (8,)}
    unet = UNet(num_classes=3, text_width=4, low_resolution=True, fourier=(7, 8), **options)
    classifier = UNetClassifier(num_classes=3, **options)
    with torch.no_grad():
        for parameter in [*unet.parameters(), *classifier.parameters()]:
            parameter.add_(0.05 * torch.randn(parameter.shape))
    x, time = torch.randn(2, 1, 8, 8), torch.tensor([3.0, 700.0])
    conditions = {"text": torch.randn(2, 5, 4), "low_resolution": torch.randn(2, 1, 4, 4)}
    others = {"label": torch.tensor([0, -1]), "text_mask": torch.tensor([[True] * 5, [False] * 5])}
    double = {name: tensor.double() for name, tensor in conditions.items()}
    single = unet(x, time, **conditions, **others), classifier(x, time)
    unet, classifier = unet.double(), classifier.double()
    precise = unet(x.double(), time.double(), **double, **others), classifier(x.double(), time.double())
    for found, wanted in zip(single, precise, strict=True):
        assert (found.dtype, wanted.dtype) == (torch.float32, torch.float64)
        assert torch.allclose(found.double(), wanted, atol=1e-4)
    nearby = unet(x.double(), time.double() + 1e-9, **double, **others) - precise[0]
    assert 0 < nearby.abs().max() < 1e-6  # a step of 1e-9 in time is lost in float32


def test_the_plan_names_a_wrong_setting_of_either_network():
    options = {"image_size": 8, "channels": 1, "num_classes": 2, "width": 8, "groups": 4}
    for make in (lambda **o: UNet(text_width=None, low_resolution=False, **o), UNetClassifier):
        with pytest.raises(ValueError, match="multipliers: 5 levels do not halve 8 pixels evenly; at most 4"):
            make(**options, multipliers=(1, 1, 1, 1, 1))
        with pytest.raises(ValueError, match="heads: 3 does not divide a level's 8 channels"):
            make(**options, multipliers=(1,), heads=3)
