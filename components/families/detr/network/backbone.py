"""ResNet (He et al. 2016) as a backbone: maps of its last stages; batch norm frozen, or group norm to train from scratch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.networks.published import ClassNames, Fit, Fitted
from components.networks.resnets.resnet import BLOCKS, BOTTLENECKS, BasicBlock, Bottleneck, Variant
from components.networks.resnets.resnet18 import initialise

Norm = Literal["frozen", "group"]
GROUPS = 32  # Wu & He 2018, arXiv 1803.08494; fewer if the channels are not a multiple
UNTRAINED = ("conv1", "layer1")  # with frozen batch norm: DETR's code trains stages 2 to 4 alone
LEFT_OUT = ("fc.", "head.")  # a classifier's last layer


class FrozenBatchNorm(nn.Module):
    """Batch norm with fixed statistics and weights: an affine map of each channel."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)


class Backbone(nn.Module):
    """image [N, C, H, W], standardised -> the maps of the last ``levels`` stages, the coarsest last.

    ``width``: channels of the first stage (64 in the paper); ``stages``: 4 give a stride of 32 pixels, 3 of 16, 2 of 8.
    """

    def __init__(self, channels: int, variant: Variant, *, norm: Norm, width: int, stages: int, levels: int):
        super().__init__()
        _check(variant, width, stages, levels)
        block = Bottleneck if variant in BOTTLENECKS else BasicBlock
        self.levels, self.stages = levels, stages
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(width)
        width_in, self.widths = width, []
        for stage in range(stages):
            size = width * 2**stage
            first = block(width_in, size, 1 if stage == 0 else 2)
            rest = [block(block.expansion * size, size, 1) for _ in range(BLOCKS[variant][stage] - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
            width_in = block.expansion * size
            self.widths.append(width_in)
        self.apply(initialise)
        replace_norms(self, FrozenBatchNorm if norm == "frozen" else group_norm)
        if norm == "frozen":
            for name in UNTRAINED:
                self.get_submodule(name).requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, stride=2, padding=1)
        maps = []
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        return maps[-self.levels :]

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a classifier in torchvision's names or ours; its last layer and stages that are not used here are left out."""
        fit = Fit(self, {name.replace(".shortcut.", ".downsample."): tensor for name, tensor in state.items()})
        fit_backbone(fit)
        return fit.load()


def fit_backbone(fit: Fit, prefix: str = "") -> None:
    """Fit the tensors of a ResNet below ``prefix``: no counters, no last layer, no stage that the model lacks; grey or RGB."""
    unused = [name for name in fit.state if name.startswith(prefix) and name.endswith(".num_batches_tracked")]
    fit.drop(name for name in unused if name not in fit.own)
    mine = {name: name.removeprefix(prefix) for name in fit.state if name.startswith(prefix)}
    fit.leave_out(f"{prefix}fc", [name for name, rest in mine.items() if rest.startswith(LEFT_OUT)], "no classifier here")
    present = {name.removeprefix(prefix).partition(".")[0] for name in fit.own if name.startswith(prefix)}
    for stage in sorted({rest.partition(".")[0] for rest in mine.values() if rest.startswith("layer")} - present):
        later = [name for name, rest in mine.items() if rest.startswith(f"{stage}.")]
        fit.leave_out(f"{prefix}{stage}", later, "this backbone ends before it")
    fit.fit_channels(f"{prefix}conv1.weight")


def group_norm(channels: int) -> nn.Module:
    """Group norm of 32 groups, or of as many as divide the channels."""
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


def replace_norms(module: nn.Module, make: Callable[[int], nn.Module]) -> None:
    """Replace every batch norm in ``module`` by another norm of as many channels."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, make(child.num_features))
        else:
            replace_norms(child, make)


def _check(variant: int, width: int, stages: int, levels: int) -> None:
    if variant not in get_args(Variant):
        raise ValueError(f"backbone: {variant} is not allowed: {', '.join(map(str, get_args(Variant)))}")
    if width < 8 or width % 8:
        raise ValueError(f"width: {width} is not allowed: a multiple of 8, at least 8")
    if not 2 <= stages <= 4:
        raise ValueError(f"stages: {stages} is not allowed: 2 to 4")
    if not 1 <= levels <= stages:
        raise ValueError(f"levels: {levels} is not allowed: 1 to stages, {stages}")
