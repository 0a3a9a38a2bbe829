"""ResNet-18 for small images (He et al. 2016, arXiv 1512.03385): Table 1's 18 layers on section 4.2's 3x3 stem, no max-pool.

Names and sizes are those of OpenOOD's ``ResNet18_32x32``, so that its checkpoints load; only its ``fc`` is our ``head``. Of
torchvision's ``resnet18`` all but the 7x7 stem is taken.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ..published import ClassNames, Fitted, fit_classifier, with_counters
from .shortcut import projection

BLOCKS = (2, 2, 2, 2)  # residual blocks a stage: Table 1, 18-layer
RENAMED = {"fc": "head", "linear": "head"}  # OpenOOD, torchvision and timm; kuangliu/pytorch-cifar
STEM = "conv1.weight"


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (eq. 1; option B, a projection, where the shape changes: eq. 2)."""

    def __init__(self, width_in: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(projection(width_in, width, stride), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.bn1(self.conv1(x)))
        branch = self.bn2(self.conv2(branch))
        return F.relu(branch + self.shortcut(x))


class ResNet18(nn.Module):
    """Image classifier; takes every image size, meant for 32 px. 11,173,962 parameters for 3 channels and 10 classes.

    ``width`` (>= 1): channels of the first stage; the stages have 1, 2, 4 and 8 times as many, features F = 8 * width.
    """

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = False

    def __init__(self, *, image_size: int | tuple[int, int], channels: int, num_classes: int, width: int = 64):
        super().__init__()
        assert min(channels, num_classes) >= 1
        if width < 1:
            raise ValueError(f"width: {width} is not allowed: at least 1")
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _stage(width, width, BLOCKS[0], stride=1)
        self.layer2 = _stage(width, 2 * width, BLOCKS[1], stride=2)
        self.layer3 = _stage(2 * width, 4 * width, BLOCKS[2], stride=2)
        self.layer4 = _stage(4 * width, 8 * width, BLOCKS[3], stride=2)
        self.head = nn.Linear(8 * width, num_classes)
        self.apply(initialise)

    def features(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, 8 * width], the mean over the last stage's pixels, >= 0."""
        x = F.relu(self.bn1(self.conv1(image)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean((2, 3))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, C, H, W], standardised -> (logits [N, K], features [N, F])."""
        features = self.features(image)
        return self.head(features), features

    @staticmethod
    def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """OpenOOD's and torchvision's names -> ours: ``fc`` (or ``linear``) is ``head``, ``downsample`` is ``shortcut``."""
        return with_our_head({key.replace(".downsample.", ".shortcut."): tensor for key, tensor in state.items()})

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a published file's tensors, in its layout or ours.

        The head starts fresh if the file has none or other classes, and the stem if it is torchvision's of 7 x 7 pixels.
        ValueError lists what does not fit; the weights are then unchanged.
        """
        renamed = with_counters(self.state_dict(), self.from_published(state))
        fit = fit_classifier(self, renamed, names, STEM)
        if (kernel := fit.state.get(STEM)) is not None and kernel.shape[-2:] == (7, 7):
            fit.start_fresh("conv1", "the file's is 7 x 7 with a stride, for photographs; this network's is 3 x 3")
        return fit.load()


def _stage(width_in: int, width: int, num_blocks: int, stride: int) -> nn.Sequential:
    """``num_blocks`` residual blocks, the first of which changes width and size."""
    rest = [ResidualBlock(width, width, stride=1) for _ in range(num_blocks - 1)]
    return nn.Sequential(ResidualBlock(width_in, width, stride), *rest)


def with_our_head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the last layer of published ResNets, ``fc`` or ``linear``, to ``head``."""
    parts = {key: key.partition(".") for key in state}
    return {f"{RENAMED.get(first, first)}{dot}{rest}": state[key] for key, (first, dot, rest) in parts.items()}


def initialise(module: nn.Module) -> None:
    """Normal with variance 2 / fan-out for convolutions (He et al. 2015, arXiv 1502.01852, eq. 14)."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
