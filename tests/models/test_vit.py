"""ViT against its equations in numpy, its published sizes, and its positions against a smooth function."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from components.core.artifact import Artifact
from components.networks.vit import ViT, interpolate_positions, stochastic_depth

PUBLISHED = {"Ti": 5_717_416, "S": 22_050_664, "B": 86_567_656, "L": 304_326_632}  # patch 16, 224 px, 1000 classes


def vit(**settings) -> ViT:
    facts = {"image_size": 12, "channels": 2, "num_classes": 3}
    return ViT(**{**facts, "width": 16, "depth": 2, "heads": 2, **settings})


@pytest.mark.parametrize("variant", PUBLISHED)
def test_variants_have_the_published_number_of_parameters(variant) -> None:
    with torch.device("meta"):
        network = ViT(image_size=224, channels=3, num_classes=1000, variant=variant, patch=16)
    assert sum(parameter.numel() for parameter in network.parameters()) == PUBLISHED[variant]


def test_names_are_timm_s() -> None:
    with torch.device("meta"):
        keys = list(vit(depth=1).state_dict())
    layers = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"]
    named = ["patch_embed.proj", *(f"blocks.0.{layer}" for layer in layers), "norm", "head"]
    assert keys == ["cls_token", "pos_embed", *(f"{layer}.{kind}" for layer in named for kind in ("weight", "bias"))]


def flax_file(depth: int = 2, heads: int = 2, width: int = 16, hidden: int = 64) -> dict[str, torch.Tensor]:
    """A file in the authors' npz layout: names and shapes written out, values random."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls": (1, 1, width),
        "embedding/kernel": (4, 4, 2, width),
        "embedding/bias": (width,),
    }
    shapes |= {"Transformer/posembed_input/pos_embedding": (1, 10, width), "head/kernel": (width, 3), "head/bias": (3,)}
    shapes |= {f"Transformer/encoder_norm/{kind}": (width,) for kind in ("scale", "bias")}
    for block in (f"Transformer/encoderblock_{i}" for i in range(depth)):
        shapes |= {f"{block}/LayerNorm_{i}/{kind}": (width,) for i in (0, 2) for kind in ("scale", "bias")}
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            shapes |= {
                f"{attention}/{part}/kernel": (width, heads, width // heads),
                f"{attention}/{part}/bias": (heads, width // heads),
            }
        shapes |= {f"{attention}/out/kernel": (heads, width // heads, width), f"{attention}/out/bias": (width,)}
        mlp = f"{block}/MlpBlock_3/Dense"
        shapes |= {f"{mlp}_0/kernel": (width, hidden), f"{mlp}_0/bias": (hidden,)}
        shapes |= {f"{mlp}_1/kernel": (hidden, width), f"{mlp}_1/bias": (width,)}
    generator = torch.Generator().manual_seed(0)
    return {name: 0.4 * torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()}


@pytest.mark.parametrize("prefix", ["", "params/"])
def test_the_authors_npz_gives_what_its_own_arrays_give(prefix) -> None:
    """Every product written out with the file's axes: kernels [in, out], heads as axes of their own."""
    file = {name: tensor.numpy() for name, tensor in flax_file().items()}
    network = vit(activation="gelu_tanh").double().eval()
    given = {prefix + name: tensor for name, tensor in flax_file().items()} | {f"{prefix}pre_logits/bias": torch.zeros(16)}
    fitted = network.load_published(given)
    assert [str(note).partition(":")[0] for note in fitted.notes] == ["pre_logits"]
    image = torch.randn(1, 2, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pixels = image[0].permute(1, 2, 0).numpy()
    patches = [
        np.einsum("hwc,hwcd->d", pixels[y : y + 4, x : x + 4], file["embedding/kernel"]) + file["embedding/bias"]
        for y in range(0, 12, 4)
        for x in range(0, 12, 4)
    ]
    z = np.concatenate([file["cls"][0], patches]) + file["Transformer/posembed_input/pos_embedding"][0]
    for block in ("Transformer/encoderblock_0", "Transformer/encoderblock_1"):
        own = {name.removeprefix(f"{block}/"): value for name, value in file.items() if name.startswith(f"{block}/")}
        attend = {name.removeprefix("MultiHeadDotProductAttention_1/"): value for name, value in own.items()}
        h = layer_norm(z, own["LayerNorm_0/scale"], own["LayerNorm_0/bias"])
        q, k, v = (
            np.einsum("td,dhe->hte", h, attend[f"{p}/kernel"]) + attend[f"{p}/bias"][:, None] for p in ("query", "key", "value")
        )
        scores = np.exp(np.einsum("hte,hse->hts", q, k) / math.sqrt(8))
        mixed = np.einsum("hts,hse->the", scores / scores.sum(-1, keepdims=True), v)
        z = z + np.einsum("the,hed->td", mixed, attend["out/kernel"]) + attend["out/bias"]
        h = layer_norm(z, own["LayerNorm_2/scale"], own["LayerNorm_2/bias"])
        h = gelu(h @ own["MlpBlock_3/Dense_0/kernel"] + own["MlpBlock_3/Dense_0/bias"], "gelu_tanh")
        z = z + h @ own["MlpBlock_3/Dense_1/kernel"] + own["MlpBlock_3/Dense_1/bias"]
    features = layer_norm(z, file["Transformer/encoder_norm/scale"], file["Transformer/encoder_norm/bias"])[0]
    wanted = features @ file["head/kernel"] + file["head/bias"]
    assert np.abs(network(image)[0].detach().numpy()[0] - wanted).max() < 1e-10


TODAY = {
    "LayerNorm_2": "LayerNorm_1",
    "MlpBlock_3": "MlpBlock_0",
    "MultiHeadDotProductAttention_1": "MultiHeadDotProductAttention_0",
}


def test_both_names_of_the_encoder_s_parts_give_the_same_weights() -> None:
    """Released files count a block's modules through; today's Flax counts each kind by itself."""
    renamed = {}
    for name, tensor in flax_file().items():
        for old, new in TODAY.items():
            name = name.replace(old, new)  # noqa: PLW2901
        renamed[name] = tensor
    assert renamed.keys() != flax_file().keys()
    first, second = ViT.from_published(flax_file()), ViT.from_published(renamed)
    assert first.keys() == second.keys() == vit().state_dict().keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_an_npz_of_another_size_and_of_other_classes_starts_a_network(tmp_path) -> None:
    """From the file on disk: positions of 3 x 3 patches on 5 x 5, a head of 3 classes for 7, pre_logits left out."""
    arrays = {name: tensor.float().numpy() for name, tensor in flax_file().items()}
    arrays |= {"pre_logits/kernel": np.zeros((16, 16), np.float32), "pre_logits/bias": np.zeros(16, np.float32)}
    np.savez(tmp_path / "vit.npz", **arrays)
    network = vit(image_size=20, num_classes=7, activation="gelu_tanh")
    fitted = network.load_published(Artifact(tmp_path / "vit.npz", "").weights().state)
    lines = fitted.lines()
    assert sorted(line.partition(":")[0] for line in lines) == ["head", "pos_embed", "pre_logits"]
    assert not network.head.weight.any(), "a fresh head is 0"
    assert network.pos_embed.shape == (1, 26, 16)
    key = arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/key/kernel"].reshape(16, 16)
    np.testing.assert_array_equal(network.blocks[1].attn.qkv.weight[16:32].detach().numpy(), key.T)


# ------------------------------------------------------------------------------------------------ the equations


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * weight + bias


def gelu(x: np.ndarray, activation: str) -> np.ndarray:
    if activation == "gelu":
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attention(x: np.ndarray, w: dict[str, np.ndarray], heads: int) -> np.ndarray:
    """One image, [T, D], head by head with an explicit softmax."""
    query, key, value = np.split(x @ w["attn.qkv.weight"].T + w["attn.qkv.bias"], 3, axis=-1)
    mixed = []
    for q, k, v in zip(*(np.split(part, heads, axis=-1) for part in (query, key, value)), strict=True):
        weights = np.exp(q @ k.T / math.sqrt(q.shape[-1]))
        mixed.append(weights / weights.sum(-1, keepdims=True) @ v)
    return np.concatenate(mixed, -1) @ w["attn.proj.weight"].T + w["attn.proj.bias"]


def by_equations(
    state: dict[str, np.ndarray], image: np.ndarray, *, patch: int, heads: int, depth: int, activation: str
) -> np.ndarray:
    """Equations 1 to 4 of the paper for one image [C, H, W] -> features [D]."""
    rows = [
        image[:, y : y + patch, x : x + patch].ravel()
        for y in range(0, image.shape[1], patch)
        for x in range(0, image.shape[2], patch)
    ]
    kernel = state["patch_embed.proj.weight"]
    patches = np.stack(rows) @ kernel.reshape(len(kernel), -1).T + state["patch_embed.proj.bias"]
    z = np.concatenate([state["cls_token"][0], patches]) + state["pos_embed"][0]
    for i in range(depth):
        w = {key.removeprefix(f"blocks.{i}."): value for key, value in state.items() if key.startswith(f"blocks.{i}.")}
        z = z + attention(layer_norm(z, w["norm1.weight"], w["norm1.bias"]), w, heads)
        hidden = gelu(layer_norm(z, w["norm2.weight"], w["norm2.bias"]) @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"], activation)
        z = z + hidden @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]
    return layer_norm(z, state["norm.weight"], state["norm.bias"])[0]


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_network_equals_the_paper_s_equations(activation) -> None:
    torch.manual_seed(0)
    network = vit(activation=activation).double().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.4)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    image = torch.randn(2, 2, 12, 12, dtype=torch.float64)
    features = network.features(image).detach().numpy()
    for found, one in zip(features, image.numpy(), strict=True):
        wanted = by_equations(state, one, patch=4, heads=2, depth=2, activation=activation)
        assert np.abs(found - wanted).max() < 1e-11


# ---------------------------------------------------------------------------------------------------- positions


def smooth(side: int) -> torch.Tensor:
    """[1, 1 + side * side, 2]: a wave along the rows and another along the columns, read at patch centres."""
    centre = (torch.arange(side) + 0.5) / side
    rows, columns = torch.meshgrid(centre, centre, indexing="ij")
    grid = torch.stack([torch.sin(2 * rows), torch.cos(3 * columns)], dim=-1).reshape(1, side * side, 2)
    return torch.cat([torch.full((1, 1, 2), 7.0), grid], dim=1)


def test_interpolation_to_the_same_grid_changes_nothing() -> None:
    positions = torch.randn(1, 50, 6)
    assert torch.allclose(interpolate_positions(positions, (7, 7)), positions, atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(7, 14), (14, 7), (14, 24)])
def test_interpolation_follows_a_smooth_function(old, new) -> None:
    found = interpolate_positions(smooth(old), (new, new))
    assert torch.equal(found[:, 0], torch.full((1, 2), 7.0))
    off = (found - smooth(new))[0, 1:].reshape(new, new, 2).abs()
    assert off.max() < 0.12  # the border has one-sided neighbours
    assert off[3:-3, 3:-3].max() < 0.02
    assert (found[0, 1:].reshape(new, new, 2)[:, :, 0].diff(dim=1).abs() < 1e-5).all()  # rows and columns not mixed up


def test_interpolation_is_bicubic() -> None:
    """Keys' kernel with a = -1/2, that of anti-aliased resizing, at a place that has four neighbours: 3.75 among 0..7."""
    values = torch.tensor([0.0, 3.0, -1.0, 4.0, 1.0, 5.0, 9.0, 2.0])
    old = torch.cat([torch.zeros(1, 1, 1), values.repeat_interleave(8).view(1, 64, 1)], dim=1)  # the same in every column
    found = interpolate_positions(old, (16, 16))[0, 1:].view(16, 16)

    def keys(x: float) -> float:
        near = 1.5 * abs(x) ** 3 - 2.5 * x**2 + 1
        return near if abs(x) <= 1 else -0.5 * abs(x) ** 3 + 2.5 * x**2 - 4 * abs(x) + 2

    expected = sum(float(values[k]) * keys(3.75 - k) for k in range(2, 6))
    assert found[8].tolist() == pytest.approx([expected] * 16, abs=1e-5)


def test_positions_that_are_no_square_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^pos_embed: 8 positions"):
        interpolate_positions(torch.zeros(1, 8, 4), (3, 3))


def test_weights_of_another_image_size_load_with_interpolated_positions() -> None:
    giver, taker = vit(image_size=24), vit(image_size=12)
    notes = taker.load_published(giver.state_dict()).lines()
    assert notes == ["pos_embed: the file has 36 patches, this view 9: interpolated"]
    assert torch.allclose(taker.pos_embed, interpolate_positions(giver.pos_embed, (3, 3)))
    assert torch.equal(taker.blocks[1].attn.qkv.weight, giver.blocks[1].attn.qkv.weight)


# ----------------------------------------------------------------------------------------- start, training, settings


def test_the_start_is_the_paper_s() -> None:
    torch.manual_seed(0)
    network = vit(image_size=64, width=64, depth=1)
    assert not network.cls_token.any()
    assert not network(torch.randn(2, 2, 64, 64))[0].any()  # zero head
    assert network.pos_embed.std().item() == pytest.approx(0.02, rel=0.05)
    bound = math.sqrt(6 / (64 + 64))  # Xavier for each of q, k, v alone
    for part in network.blocks[0].attn.qkv.weight.chunk(3):
        assert 0.95 * bound < part.abs().max().item() <= bound


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    found = stochastic_depth(torch.ones(4000, 3, 2), 0.25, training=True)
    values = found.reshape(4000, 6)
    assert (values == values[:, :1]).all()
    assert sorted(set(values[:, 0].tolist())) == pytest.approx([0, 1 / 0.75])
    assert values.mean().item() == pytest.approx(1, abs=0.04)
    assert torch.equal(stochastic_depth(found, 0.25, training=False), found)


def test_stochastic_depth_rises_from_the_first_to_the_last_block() -> None:
    with torch.device("meta"):
        rates = [block.drop_path for block in vit(depth=5, drop_path=0.4).blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"heads": 5}, "heads: 5 does not divide width 16; allowed: 1, 2, 4, 8, 16"),
        ({"patch": 5}, "patch: 5 does not divide the image size 12; allowed: 1, 2, 3, 4, 6, 12"),
        ({"patch": 0}, "patch: 0"),
        ({"depth": 0}, "depth: 0 is not allowed: at least 1"),
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"drop_path": -0.1}, "drop_path: -0.1"),
        ({"mlp_ratio": 0.0}, "mlp_ratio: 0.0"),
        ({"activation": "relu"}, "activation: 'relu' is not allowed: gelu, gelu_tanh"),
        ({"variant": "H"}, "variant: 'H' is not allowed: Ti, S, B, L"),
        ({"variant": "S"}, "width: 16 is not allowed: variant S has 384"),
        ({"variant": "S", "width": 384, "depth": 12, "heads": 3}, "heads: 3 is not allowed: variant S has 6"),
        ({"variant": "S", "width": None, "depth": None, "heads": None, "mlp_ratio": 2.0}, "mlp_ratio: 2.0"),
    ],
)
def test_wrong_settings_are_refused_without_memory(settings, told) -> None:
    with torch.device("meta"), pytest.raises(ValueError) as caught:
        vit(**settings)
    assert str(caught.value).startswith(told)


def test_a_variant_may_be_repeated_in_numbers_and_ti_is_the_default() -> None:
    with torch.device("meta"):
        named = ViT(image_size=32, channels=3, num_classes=10, variant="Ti", width=192, depth=12, heads=3)
        default = ViT(image_size=32, channels=3, num_classes=10)
    shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in (named, default)]
    assert shapes[0] == shapes[1]
    assert default.blocks[0].attn.heads == 3


def test_positions_of_a_rectangle_are_rows_by_columns():
    giver = ViT(image_size=16, channels=1, num_classes=2, patch=4, width=8, depth=1, heads=1)
    taker = ViT(image_size=(8, 24), channels=1, num_classes=2, patch=4, width=8, depth=1, heads=1)
    notes = taker.load_published(giver.state_dict()).lines()
    assert taker.pos_embed.shape[1] == 1 + 2 * 6
    assert "the file has 16 patches, this view 12: interpolated" in notes[-1]
    assert torch.allclose(taker.pos_embed, interpolate_positions(giver.pos_embed, (2, 6)))
    with pytest.raises(ValueError, match=r"patch: 4 does not divide the image size \(8, 22\); allowed: 1, 2"):
        ViT(image_size=(8, 22), channels=1, num_classes=2, patch=4)
