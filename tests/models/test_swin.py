"""Swin, versions 1 and 2, against loops over pixels, published sizes and layouts, and windows of other sizes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from components.core.recipe import Graph
from components.networks.saliency import grad_cam
from components.networks.swin.attention import CosineWindowAttention, WindowAttention
from components.networks.swin.blocks import PatchMerging
from components.networks.swin.files import interpolate_table
from components.networks.swin.swin import Swin, SwinV2
from components.networks.swin.windows import Windows
from components.stages.export.onnx_graph import largest_differences, paired_outputs, write_graph

BOTH = pytest.mark.parametrize("network", [Swin, SwinV2])
PUBLISHED = [  # with 1,000 classes
    (Swin, "T", 224, 28_288_354),
    (Swin, "S", 224, 49_606_258),
    (Swin, "B", 224, 87_768_224),
    (Swin, "L", 224, 196_532_476),
    (SwinV2, "T", 256, 28_347_154),
]


def small(network=Swin, seed=0, **settings):
    """Two stages, of 8 x 8 and 4 x 4 tokens, in float64 with random parameters."""
    facts = {"image_size": 16, "channels": 2, "num_classes": 3}
    options = {"patch": 2, "width": 8, "depths": (2, 2), "heads": (2, 4), "window": 4, "drop_path": 0.0}
    torch.manual_seed(seed)
    return randomised(network(**{**facts, **options, **settings})).double().eval()


def randomised(module):
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4)
    return module


def images(size=(16, 16), count=3):
    return torch.randn(count, 2, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("network", "variant", "image_size", "parameters"), PUBLISHED)
def test_variants_have_the_published_number_of_parameters(network, variant, image_size, parameters):
    with torch.device("meta"):
        built = network(image_size=image_size, channels=3, num_classes=1000, variant=variant)
    assert sum(parameter.numel() for parameter in built.parameters()) == parameters


# -------------------------------------------------------------------------------- attention, pixel by pixel


def cut(place: int, side: int, window: int, shifted: bool) -> int:
    """The window along one axis that holds a place: cuts at shift, shift + window, ...; what lies before is one of its own."""
    window = min(window, side)
    return (place - (window // 2 if shifted and window < side else 0)) // window


def bias_v1(attention, head, down, across, size):
    return attention.relative_position_bias_table[down + size[0] - 1, across + size[1] - 1, head].item()


def bias_v2(attention, head, down, across, size):
    """Equations 3 and 4: a network of the offset's logarithm, scaled to the window; its answer lies in (0, 16)."""
    scaled = [8 * offset / max(side - 1, 1) for offset, side in zip((down, across), size, strict=True)]
    x = np.array([math.copysign(math.log2(1 + abs(value)) / 3, value) for value in scaled])
    first, _, second = attention.cpb_mlp
    hidden = np.maximum(first.weight.detach().numpy() @ x + first.bias.detach().numpy(), 0)
    return 16 / (1 + math.exp(-float(second.weight.detach().numpy()[head] @ hidden)))


def score_v1(attention, head, query, key):
    return query @ key / math.sqrt(len(query))


def score_v2(attention, head, query, key):
    scale = min(math.exp(attention.logit_scale[head].item()), 100)
    return scale * (query @ key) / np.linalg.norm(query) / np.linalg.norm(key)


def by_pixels(attention, x, grid, *, window, shifted, qkv_bias, score, bias) -> np.ndarray:
    """One image, [L, D] -> [L, D]: every pixel attends to all pixels of the image in its window, and to nothing else."""
    places = [(row, column) for row in range(grid[0]) for column in range(grid[1])]
    at = [tuple(cut(p, side, window, shifted) for p, side in zip(place, grid, strict=True)) for place in places]
    size = tuple(min(window, side) for side in grid)
    qkv = x @ attention.qkv.weight.detach().numpy().T + qkv_bias
    out = np.zeros_like(x)
    for head, (query, key, value) in enumerate(zip(*(np.split(p, 2, -1) for p in np.split(qkv, 3, -1)), strict=True)):
        for i, (row, column) in enumerate(places):
            others = [j for j in range(len(places)) if at[j] == at[i]]
            offsets = [(row - places[j][0], column - places[j][1]) for j in others]
            scores = [
                score(attention, head, query[i], key[j]) + bias(attention, head, *offset, size)
                for j, offset in zip(others, offsets, strict=True)
            ]
            weights = np.exp(np.array(scores) - max(scores))
            width = value.shape[1]
            out[i, head * width : (head + 1) * width] = weights / weights.sum() @ value[others]
    return out @ attention.proj.weight.detach().numpy().T + attention.proj.bias.detach().numpy()


GRIDS = [
    ((4, 6), 2, False),
    ((4, 6), 2, True),
    ((5, 7), 3, False),  # padded
    ((5, 7), 3, True),  # padded and shifted
    ((2, 7), 4, True),  # the window is 2 x 4, shifted across alone
    ((3, 3), 4, True),  # one window, smaller than wanted
    ((1, 5), 2, True),  # windows of one row
]


@pytest.mark.parametrize(("grid", "window", "shifted"), GRIDS)
@pytest.mark.parametrize("version", [1, 2])
def test_attention_is_that_of_loops_over_pixels(version, grid, window, shifted):
    torch.manual_seed(0)
    windows = Windows.of(grid, window, shifted=shifted)
    x = torch.randn(2, math.prod(grid), 6, dtype=torch.float64)
    if version == 1:
        attention = randomised(WindowAttention(6, 2, windows)).double()
        qkv_bias, score, bias = attention.qkv.bias.detach().numpy(), score_v1, bias_v1
    else:
        attention = randomised(CosineWindowAttention(6, 2, windows, windows.size)).double()
        nn.init.constant_(attention.logit_scale[0], 9.0)  # over the bound, log 100
        zero = torch.zeros(6, dtype=torch.float64)
        qkv_bias = torch.cat([attention.q_bias, zero, attention.v_bias]).detach().numpy()
        score, bias = score_v2, bias_v2
    found, paper = attention(x).detach().numpy(), {"qkv_bias": qkv_bias, "score": score, "bias": bias}
    for one, tokens in zip(found, x.numpy(), strict=True):
        assert np.abs(one - by_pixels(attention, tokens, grid, window=window, shifted=shifted, **paper)).max() < 1e-10


@pytest.mark.parametrize("grid", [(4, 6), (3, 5)])
@pytest.mark.parametrize("norm_first", [True, False])
def test_patch_merging_joins_two_by_two_neighbours_column_by_column(grid, norm_first):
    torch.manual_seed(0)
    merging = randomised(PatchMerging(3, grid, norm_first=norm_first)).double()
    x = torch.randn(2, math.prod(grid), 3, dtype=torch.float64)
    padded = torch.zeros(2, 6, 6, 3, dtype=torch.float64)
    padded[:, : grid[0], : grid[1]] = x.unflatten(1, grid)
    rows, columns = (math.ceil(side / 2) for side in grid)
    four = [
        torch.cat([padded[:, 2 * r + down, 2 * c + across] for across in (0, 1) for down in (0, 1)], dim=-1)
        for r in range(rows)
        for c in range(columns)
    ]
    wanted = torch.stack(four, dim=1)
    wanted = merging.reduction(merging.norm(wanted)) if norm_first else merging.norm(merging.reduction(wanted))
    assert torch.allclose(merging(x), wanted, atol=1e-12)


def test_blocks_normalise_before_the_branches_in_version_1_and_after_them_in_version_2():
    one, two = (small(network, depths=(2,), heads=(2,)) for network in (Swin, SwinV2))
    x = torch.randn(2, 64, 8, dtype=torch.float64)
    block = one.layers[0].blocks[1]
    middle = x + block.attn(block.norm1(x))
    assert torch.allclose(block(x), middle + block.mlp(block.norm2(middle)), atol=1e-12)
    block = two.layers[0].blocks[1]
    middle = x + block.norm1(block.attn(x))
    assert torch.allclose(block(x), middle + block.norm2(block.mlp(middle)), atol=1e-12)


@BOTH
def test_every_second_block_shifts_its_windows_and_a_small_stage_has_one_window(network):
    stages = small(network, image_size=24, depths=(3, 2, 1), heads=(1, 1, 1), window=3).layers
    assert [block.attn.windows.shift for block in stages[0].blocks] == [(0, 0), (1, 1), (0, 0)]
    assert [block.attn.windows.size for block in stages[1].blocks] == [(3, 3), (3, 3)]
    stages = small(network, image_size=12, depths=(1, 2), heads=(1, 1), window=4).layers
    assert [(block.attn.windows.size, block.attn.windows.shift) for block in stages[1].blocks] == [((3, 3), (0, 0))] * 2


@BOTH
@pytest.mark.parametrize("size", [(1, 1), (9, 5), (19, 30)])
def test_any_image_size_has_finite_answers_and_gradients(network, size):
    built = small(network, image_size=size, window=3, depths=(2, 2, 2), heads=(1, 1, 1)).train()
    logits, _ = built(images(size))
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in built.parameters())


# ------------------------------------------------------------------------------------------------ published files


def microsoft(network) -> dict[str, torch.Tensor]:
    """A network's tensors in Microsoft's layout: merging at the end of a stage, flat tables, buffers of windows."""
    file = {}
    for key, tensor in network.state_dict().items():
        if ".trained_window" in key:
            rows, columns = (2 * side - 1 for side in tensor.tolist())
            table = torch.zeros(1, rows, columns, 2, dtype=torch.float64)
            table[..., 0] += torch.linspace(-1, 1, rows)[:, None] * (math.log2(9) / 3)
            table[..., 1] += torch.linspace(-1, 1, columns) * (math.log2(9) / 3)
            file[key.replace("trained_window", "relative_coords_table")] = table
            continue
        name = key.replace("layers.1.downsample.", "layers.0.downsample.")
        file[name] = tensor.flatten(0, 1) if key.endswith("bias_table") else tensor
    indices = {f"layers.0.blocks.{block}.attn.relative_position_index": torch.zeros(16, 16) for block in (0, 1)}
    return file | indices | {"layers.0.blocks.1.attn_mask": torch.zeros(4, 16, 16)}


def timm(network) -> dict[str, torch.Tensor]:
    """A network's tensors in timm's layout: merging at the start of a stage, the head below ``fc``, no window."""
    state = {key: tensor for key, tensor in network.state_dict().items() if ".trained_window" not in key}
    flat = {key: tensor.flatten(0, 1) if key.endswith("bias_table") else tensor for key, tensor in state.items()}
    return {key.replace("head.", "head.fc."): tensor for key, tensor in flat.items()}


@BOTH
@pytest.mark.parametrize("layout", [microsoft, timm])
def test_published_layouts_give_the_same_answers(network, layout):
    giver, taker = small(network, seed=0), small(network, seed=1)
    lines = taker.load_published(layout(giver)).lines()
    assert torch.equal(taker(images())[0], giver(images())[0])
    left_out = ["attn: masks and tables of indices follow from the window's size: left out"] if layout is microsoft else []
    assumed = "trained_window: the file does not name its windows; assumed: this network's, or model.pretrained_windows"
    assert lines == ([assumed] if layout is timm and network is SwinV2 else []) + left_out


@pytest.mark.parametrize("flat", [True, False])
def test_bias_tables_of_another_window_are_interpolated(flat):
    giver, taker = small(window=3), small(window=4, seed=1)
    file = timm(giver) if flat else giver.state_dict()
    told = "the file has other windows (3 x 3 to 4 x 4 tokens): 4 tables interpolated"
    assert taker.load_published(file).lines() == [f"relative_position_bias_table: {told}"]
    key = "layers.1.blocks.0.attn.relative_position_bias_table"
    assert torch.allclose(taker.state_dict()[key], interpolate_table(giver.state_dict()[key], (7, 7)))


def test_tables_are_interpolated_bicubically():
    """Keys' kernel with a = -3/4, torch's and the authors', at a place that has four neighbours: 3.75 among 0..7."""
    values = [0.0, 3.0, -1.0, 4.0, 1.0, 5.0, 9.0, 2.0]
    table = torch.tensor(values).view(8, 1, 1).expand(8, 8, 2).contiguous()

    def keys(x):
        near = 1.25 * abs(x) ** 3 - 2.25 * x**2 + 1
        return near if abs(x) <= 1 else -0.75 * abs(x) ** 3 + 3.75 * x**2 - 6 * abs(x) + 3

    expected = sum(values[k] * keys(3.75 - k) for k in range(2, 6))
    assert interpolate_table(table, (16, 16))[8].flatten().tolist() == pytest.approx([expected] * 32, abs=1e-5)


def test_interpolated_tables_keep_rows_columns_and_the_centre():
    row, column = torch.meshgrid(torch.linspace(-1, 1, 13), torch.linspace(-1, 1, 13), indexing="ij")
    table = torch.stack([row, column**2], dim=-1)
    assert torch.allclose(interpolate_table(table, (13, 13)), table, atol=1e-6)
    found = interpolate_table(table, (23, 15))
    assert found.shape == (23, 15, 2)
    assert found[11, 7].abs().max() < 0.01  # offset 0
    assert (found[..., 0].diff(dim=1).abs() < 1e-5).all()
    assert (found[1:-1, :, 0].diff(dim=0) > 0).all()


@pytest.mark.parametrize("layout", [microsoft, lambda network: network.state_dict()])
def test_biases_of_another_window_are_recomputed_and_the_same_for_the_same_offset(layout):
    giver, taker = small(SwinV2, window=3), small(SwinV2, window=4, seed=1)
    lines = taker.load_published(layout(giver)).lines("adapted")
    assert lines == ["cpb_mlp: the file has other windows (3 x 3 to 4 x 4 tokens): 4 biases recomputed"]
    old, new = (net.layers[0].blocks[1].attn.position_bias().unflatten(2, (s, s)) for net, s in ((giver, 3), (taker, 4)))
    assert torch.allclose(new[:, 0, :3, :3], old[:, 0])  # from the first token, offsets of up to 2
    again = small(SwinV2, window=4, seed=2)
    assert again.load_published(taker.state_dict()).lines("kept") == []
    assert torch.equal(again(images())[0], taker(images())[0])


def test_pretrained_windows_stand_for_a_file_that_does_not_name_them():
    giver = small(SwinV2, window=3)
    by_setting = small(SwinV2, window=4, pretrained_windows=(3, 3), seed=1)
    by_file = small(SwinV2, window=4, seed=2)
    by_setting.load_published(timm(giver))
    by_file.load_published(giver.state_dict())
    assert torch.equal(by_setting(images())[0], by_file(images())[0])


def test_the_versions_do_not_take_each_other_s_files():
    with pytest.raises(ValueError, match="left over"):
        small(SwinV2).load_published(small(Swin).state_dict())


# ---------------------------------------------------------------------------------- start, training, export, settings


def test_the_start_is_the_papers_():
    torch.manual_seed(0)
    one, two = (
        network(image_size=64, channels=3, num_classes=10, width=64, depths=(2,), window=8) for network in (Swin, SwinV2)
    )
    attention, cosine = one.layers[0].blocks[0].attn, two.layers[0].blocks[0].attn
    assert attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert attention.relative_position_bias_table.std().item() == pytest.approx(0.02, rel=0.1)
    assert not attention.qkv.bias.any()
    assert torch.allclose(cosine.logit_scale.exp(), torch.tensor(10.0))
    x = torch.randn(2, 256, 64)
    assert torch.equal(two.layers[0].blocks(x), x)  # norms of the branches start at 0
    assert not torch.equal(one.layers[0].blocks(x), x)


@BOTH
def test_stochastic_depth_rises_from_the_first_to_the_last_block_of_all_stages(network):
    blocks = [block for stage in small(network, depths=(2, 3), drop_path=0.4).layers for block in stage.blocks]
    assert [block.drop_path for block in blocks] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.slow
@BOTH
def test_a_graph_of_a_rectangle_gives_the_same_answers_at_batch_1_and_7(network, tmp_path):
    """Padded windows, odd sides, a stage of one window (2 x 3 tokens): through the stage's own exporter."""
    built = small(network, image_size=(10, 22), depths=(2, 1, 1), heads=(1, 1, 1), window=3).float()
    graph = Graph(built, lambda batch: {"image": batch["image"]}, ("logits", "features"))
    batches = [{"image": images((10, 22), count).float()} for count in (1, 7, 2)]
    write_graph(graph, batches[2], tmp_path / "model.onnx")
    differences = largest_differences(paired_outputs(graph, tmp_path / "model.onnx", batches[:2], threads=1))
    assert max(differences.values()) < 1e-4


@BOTH
def test_grad_cam_reads_the_last_stage_with_more_than_one_token(network):
    label = torch.tensor([0, 1, 2])
    assert grad_cam(small(network).float(), images().float(), label).shape == (3, 4, 4)
    deep = small(network, depths=(1, 1, 1, 1), heads=(1, 1, 1, 1)).float()  # 8, 4, 2 and 1 token a side
    assert grad_cam(deep, images().float(), label).shape == (3, 2, 2)


WRONG = [
    ({"heads": (3, 4)}, "heads: 3 does not divide width 8 of stage 0; allowed: 1, 2, 4, 8"),
    ({"heads": (2, 3)}, "heads: 3 does not divide width 16 of stage 1; allowed: 1, 2, 4, 8, 16"),
    ({"heads": (2,)}, "heads: [2] is not allowed: one number for each of the 2 stages (depths)"),
    ({"heads": None}, "heads: missing; width 8 is no multiple of 32"),
    ({"depths": (2, 0)}, "depths: [2, 0] is not allowed: at least 1"),
    ({"depths": ()}, "depths: 0 is not allowed: at least 1"),
    ({"window": 0}, "window: 0 is not allowed: at least 1"),
    ({"patch": 0}, "patch: 0 is not allowed: at least 1"),
    ({"width": 0}, "width: 0 is not allowed: at least 1"),
    ({"mlp_ratio": 0.0}, "mlp_ratio: 0.0"),
    ({"drop_path": 1.0}, "drop_path: 1.0"),
    ({"variant": "H"}, "variant: 'H' is not allowed: T, S, B, L"),
    ({"variant": "T"}, "width: 8 is not allowed: variant T has 96; leave one of the two out"),
]


@BOTH
@pytest.mark.parametrize(("settings", "told"), WRONG)
def test_wrong_settings_are_refused_without_memory(network, settings, told):
    with torch.device("meta"), pytest.raises(ValueError) as caught:
        small(network, **settings)
    assert str(caught.value).startswith(told)


def test_pretrained_windows_are_one_a_stage():
    with pytest.raises(ValueError, match=r"pretrained_windows: \[8\] is not allowed: a window, at least 1, for each of the 2"):
        small(SwinV2, pretrained_windows=(8,))
