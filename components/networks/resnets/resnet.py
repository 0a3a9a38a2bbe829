"""ResNet-18, 34, 50 and 101 for photographs (He et al. 2016, arXiv 1512.03385, Table 1), in torchvision's names and sizes.

The bottleneck has its stride in the 3x3 convolution, not in the first 1x1 ("v1.5"): what torchvision publishes. For pictures of
32 px there is ``resnet18``, whose stem keeps all pixels.
"""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from ..published import ClassNames, Fitted, fit_classifier, with_counters
from .resnet18 import STEM, initialise, with_our_head
from .shortcut import projection

Variant = Literal[18, 34, 50, 101]

# Residual blocks of each stage: Table 1.
BLOCKS: dict[int, tuple[int, int, int, int]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
BOTTLENECKS = (50, 101)
WIDTHS = (64, 128, 256, 512)  # channels of the 3x3 convolutions of each stage
OTHER_STEM = "the file's is {} x {}, this network's 7 x 7 with a stride, for photographs"


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (Figure 5, left): [N, C, h, w] -> [N, width, h / stride, w / stride]."""

    expansion: ClassVar[int] = 1

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(width_in, width, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The batch norm at the end of the residual branch."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (Figure 5, right): [N, C, h, w] -> [N, 4 * width, h / stride, w / stride]."""

    expansion: ClassVar[int] = 4

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, self.expansion * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(self.expansion * width)
        self.downsample = _shortcut(width_in, self.expansion * width, stride)

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The batch norm at the end of the residual branch."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.bn1(self.conv1(x)))
        branch = F.relu(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        return F.relu(branch + self.downsample(x))


class ResNet(nn.Module):
    """Image classifier for photographs; shrinks 32 times (224 px -> 7) and takes every image size.

    With 1,000 classes: 11,689,512 (18), 21,797,672 (34), 25,557,032 (50), 44,549,160 (101) parameters; F = 512, or 2048 from 50
    on. ``variant``: number of layers. ``zero_init``: whether the last batch norm of each residual branch starts at weight 0, so
    that every block starts as the identity (Goyal et al. 2017, arXiv 1706.02677, section 5.1).
    """

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_classes: int,
        variant: Variant = 50,
        zero_init: bool = False,
    ):
        super().__init__()
        assert min(channels, num_classes) >= 1
        if variant not in get_args(Variant):
            raise ValueError(f"variant: {variant} is not allowed: {', '.join(map(str, get_args(Variant)))}")
        block = Bottleneck if variant in BOTTLENECKS else BasicBlock
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        width_in = WIDTHS[0]
        for index, (width, num_blocks) in enumerate(zip(WIDTHS, BLOCKS[variant], strict=True), start=1):
            self.add_module(f"layer{index}", _stage(block, width_in, width, num_blocks, stride=1 if index == 1 else 2))
            width_in = block.expansion * width
        self.head = nn.Linear(width_in, num_classes)
        self.apply(initialise)
        if zero_init:
            for module in self.modules():
                if isinstance(module, BasicBlock | Bottleneck):
                    nn.init.zeros_(module.last_norm.weight)

    def features(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, F], the mean over the last stage's pixels, >= 0."""
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for index in range(1, len(WIDTHS) + 1):
            x = self.get_submodule(f"layer{index}")(x)
        return x.mean((2, 3))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, C, H, W], standardised -> (logits [N, K], features [N, F])."""
        features = self.features(image)
        return self.head(features), features

    @staticmethod
    def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """torchvision's and OpenOOD's names -> ours: ``fc`` (or ``linear``) is ``head``, ``shortcut`` is ``downsample``."""
        return with_our_head({key.replace(".shortcut.", ".downsample."): tensor for key, tensor in state.items()})

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a published file's tensors, in its layout or ours.

        The head starts fresh if the file has none or other classes, and the stem if it is one of 3 x 3 pixels.
        ValueError lists what does not fit; the weights are then unchanged.
        """
        renamed = with_counters(self.state_dict(), self.from_published(state))
        fit = fit_classifier(self, renamed, names, STEM)
        kernel = fit.state.get(STEM)
        if kernel is not None and kernel.dim() == 4 and kernel.shape[2:] == (3, 3):
            fit.start_fresh("conv1", OTHER_STEM.format(*kernel.shape[2:]))
        return fit.load()


def _shortcut(width_in: int, width: int, stride: int) -> nn.Sequential:
    """Option B: a projection where the shape changes (eq. 2), else nothing (eq. 1)."""
    if stride == 1 and width_in == width:
        return nn.Sequential()
    return nn.Sequential(projection(width_in, width, stride), nn.BatchNorm2d(width))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], width_in: int, width: int, num_blocks: int, stride: int
) -> nn.Sequential:
    """``num_blocks`` residual blocks, the first of which changes width and size."""
    rest = [block(block.expansion * width, width, stride=1) for _ in range(num_blocks - 1)]
    return nn.Sequential(block(width_in, width, stride), *rest)
