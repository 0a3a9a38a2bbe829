"""Inception-v3 of the Fréchet distance: the published file's layout, the paper's grid sizes, blocks by plain convolutions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.networks.inception import InceptionV3, features_of, resized

CHAINS = {  # the branches of a block as the paper draws them: a chain | what sees its end
    "Mixed_5b": ["| branch1x1", "branch5x5_1 | branch5x5_2", "branch3x3dbl_1 branch3x3dbl_2 | branch3x3dbl_3"],
    "Mixed_6a": ["| branch3x3", "branch3x3dbl_1 branch3x3dbl_2 | branch3x3dbl_3"],
    "Mixed_6b": [
        "| branch1x1",
        "branch7x7_1 branch7x7_2 | branch7x7_3",
        "branch7x7dbl_1 branch7x7dbl_2 branch7x7dbl_3 branch7x7dbl_4 | branch7x7dbl_5",
    ],
    "Mixed_7a": ["branch3x3_1 | branch3x3_2", "branch7x7x3_1 branch7x7x3_2 branch7x7x3_3 | branch7x7x3_4"],
    "Mixed_7b": [
        "| branch1x1",
        "branch3x3_1 | branch3x3_2a branch3x3_2b",
        "branch3x3dbl_1 branch3x3dbl_2 | branch3x3dbl_3a branch3x3dbl_3b",
    ],
}
CHAINS["Mixed_7c"] = CHAINS["Mixed_7b"]
REDUCING = {"Mixed_6a", "Mixed_7a"}
KERNELS = {  # rows, columns
    "Mixed_5c.branch5x5_2": (5, 5),
    "Mixed_6c.branch7x7_2": (1, 7),
    "Mixed_6c.branch7x7_3": (7, 1),
    "Mixed_6e.branch7x7dbl_2": (7, 1),
    "Mixed_6e.branch7x7dbl_3": (1, 7),
    "Mixed_6e.branch7x7dbl_4": (7, 1),
    "Mixed_6e.branch7x7dbl_5": (1, 7),
    "Mixed_7a.branch7x7x3_2": (1, 7),
    "Mixed_7a.branch7x7x3_3": (7, 1),
    "Mixed_7c.branch3x3_2a": (1, 3),
    "Mixed_7c.branch3x3dbl_3b": (3, 1),
}


@pytest.fixture(scope="module")
def empty() -> InceptionV3:
    with torch.device("meta"):
        return InceptionV3().eval()


def pooled(x: Tensor, block: str) -> Tensor:
    """3x3 windows that leave out what lies outside the image: their largest value in the last block, their mean before it."""
    windows = F.unfold(F.pad(x, (1, 1, 1, 1), value=torch.nan), 3).reshape(*x.shape[:2], 9, *x.shape[2:])
    return windows.nan_to_num(-torch.inf).amax(2) if block == "Mixed_7c" else windows.nanmean(2)


def by_plain_convolutions(state: dict[str, Tensor], block: str, x: Tensor) -> Tensor:
    def layer(name: str, x: Tensor, reduce: bool = False) -> Tensor:
        kernel = state[f"{name}.conv.weight"]
        x = F.conv2d(x, kernel, None, 2 if reduce else 1, 0 if reduce else [n // 2 for n in kernel.shape[2:]])
        kinds = ("weight", "bias", "running_mean", "running_var")
        weight, bias, mean, variance = (state[f"{name}.bn.{kind}"][:, None, None] for kind in kinds)
        return ((x - mean) / (variance + 1e-3).sqrt() * weight + bias).clamp(min=0)

    outputs = []
    for branch in CHAINS[block]:
        chain, ends = branch.split("|")
        y = x
        for name in chain.split():
            y = layer(name, y)
        outputs += [layer(name, y, block in REDUCING) for name in ends.split()]
    last_branch = F.max_pool2d(x, 3, 2) if block in REDUCING else layer("branch_pool", pooled(x, block))
    return torch.cat([*outputs, last_branch], 1)


@pytest.mark.parametrize("name", CHAINS)
def test_a_block_is_what_plain_convolutions_make_of_the_file_s_tensors(name: str, empty: InceptionV3) -> None:
    generator = torch.Generator().manual_seed(0)
    block: nn.Module = empty.get_submodule(name)
    state = {}
    for key, value in block.state_dict().items():
        scale = (2 / value[0].numel()) ** 0.5 if value.dim() == 4 else 0.3
        state[key] = torch.randn(value.shape, generator=generator) * scale + (1.0 if key.endswith("bn.weight") else 0.0)
        if key.endswith("running_var"):
            state[key] = state[key].abs() + 0.5
    first = next(iter(state.values()))  # sees the image
    image = torch.randn(1, first.shape[1], 5, 5, generator=generator)
    found = torch.func.functional_call(block, state, (image,))
    torch.testing.assert_close(found, by_plain_convolutions(state, name, image), rtol=1e-4, atol=1e-4)


def test_names_sizes_and_number_of_parameters_are_the_published_file_s(empty: InceptionV3) -> None:
    state = {key: tuple(value.shape) for key, value in empty.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert len(state) == 94 * 5 + 2  # 94 convolutions, each with batch norm's four; fc
    assert sum(parameter.numel() for parameter in empty.parameters()) == 23_850_960
    assert state["fc.weight"] == (1008, 2048)
    assert state["Conv2d_4a_3x3.conv.weight"] == (192, 80, 3, 3)
    assert {key: state[f"{key}.conv.weight"][2:] for key in KERNELS} == KERNELS


def test_the_grid_shrinks_as_in_table_1_whatever_the_image(empty: InceptionV3) -> None:
    seen = {}
    watched = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"]
    hooks = [
        getattr(empty, name).register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: tuple(out.shape[1:])}))
        for name in watched
    ]
    logits, features = empty(torch.empty(2, 3, 28, 28, device="meta"))
    for hook in hooks:
        hook.remove()
    assert list(seen.values()) == [
        (32, 149, 149),
        (32, 147, 147),
        (64, 147, 147),
        (192, 71, 71),
        (288, 35, 35),
        (768, 17, 17),
        (2048, 8, 8),
    ]
    assert (logits.shape, features.shape) == ((2, 1008), (2, 2048))


def test_resizing_takes_the_two_nearest_pixels_and_no_more() -> None:
    """Of 598 pixels two neighbours meet in one; antialiasing would mix four."""
    row = torch.randn(598, generator=torch.Generator().manual_seed(0))
    found = resized(row.expand(1, 1, 598, 598))[0, 0, 7]
    torch.testing.assert_close(found, row.reshape(299, 2).mean(1))


def test_torchvision_s_file_is_refused_and_missing_step_counters_are_not(empty: InceptionV3) -> None:
    file = {key: value for key, value in empty.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert empty.load_published(file).lines() == []
    foreign = {**file, "fc.weight": torch.empty(1000, 2048, device="meta"), "AuxLogits.fc.bias": torch.empty(1000)}
    with pytest.raises(ValueError, match=r"1 left over: AuxLogits.fc.bias; 1 of another shape: fc.weight \(1000, 2048\)"):
        empty.load_published(foreign)


class Corner(nn.Module):
    """Features: the first pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.batches: list[int] = []

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        assert not self.training
        self.batches.append(len(image))
        return image, image[:, :, 0, 0] * self.weight


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_arrive_in_order_as_rgb_from_minus_1_to_1(channels: int) -> None:
    pixels = np.zeros((5, 4, 4, channels), np.uint8)
    pixels[:, 0, 0] = np.array([0, 51, 102, 204, 255])[:, None]
    network = Corner()
    found = features_of(network, pixels, batch=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.repeat([[-1], [-0.6], [-0.2], [0.6], [1]], 3, axis=1), atol=1e-6)
    assert network.batches == [2, 2, 1]


def test_pixels_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[N, H, W, 1 or 3\] are expected, found float32 \[2, 4, 4, 3\]"):
        features_of(Corner(), np.zeros((2, 4, 4, 3), np.float32))
