"""Inception-v3 (Szegedy et al. 2016, arXiv 1512.00567) as the Fréchet inception distance uses it: 2015's TensorFlow weights.

Names and sizes are those of ``pt_inception-2015-12-05``, pytorch-fid's copy of these weights, which differs from torchvision's
network in three ways: 1008 classes, averages that leave padding out, and a max-pool where the last block should average.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .published import Fitted, taken_whole, with_counters

IMAGE_SIZE = 299
WIDTH = 2048  # features
NUM_CLASSES = 1008

Kernel = tuple[int, int]  # rows, columns
Row = tuple[str, int, Kernel]  # a convolution: its name in the file, channels out, kernel
Branch = tuple[list[Row], list[Row]]  # a chain, and what follows it: one convolution, or two in parallel

POINT, ROW, COLUMN, SQUARE = (1, 1), (1, 3), (3, 1), (3, 3)
LONG_ROW, LONG_COLUMN = (1, 7), (7, 1)


class ConvNorm(nn.Module):
    """Convolution, batch norm, ReLU. ``padded``: the size is kept (at stride 1); else no padding."""

    def __init__(self, width_in: int, width: int, kernel: Kernel, stride: int = 1, padded: bool = True):
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
        self.conv = nn.Conv2d(width_in, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Parallel branches and a pooled one, concatenated along the channels.

    ``pooled``: channels of the 1x1 convolution after the pool. None: the grid is reduced (figure 10); the last convolution of
    each branch and the pool, which then has no convolution, have stride 2 and no padding.
    """

    def __init__(self, width_in: int, branches: list[Branch], pool: nn.Module, pooled: int | None = None):
        super().__init__()
        stride = 2 if pooled is None else 1
        for chain, ends in branches:
            width = width_in
            for name, width_out, kernel in chain:
                self.add_module(name, ConvNorm(width, width_out, kernel))
                width = width_out
            for name, width_out, kernel in ends:
                self.add_module(name, ConvNorm(width, width_out, kernel, stride, padded=stride == 1))
        self.chains = [([name for name, *_ in chain], [name for name, *_ in ends]) for chain, ends in branches]
        self.pool = pool
        self.branch_pool = nn.Identity() if pooled is None else ConvNorm(width_in, pooled, POINT)

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for chain, ends in self.chains:
            y = x
            for name in chain:
                y = self.get_submodule(name)(y)
            outputs += [self.get_submodule(name)(y) for name in ends]
        return torch.cat([*outputs, self.branch_pool(self.pool(x))], 1)


class InceptionV3(nn.Module):
    """RGB images -> logits and the 2,048 features of the distance. 23,850,960 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, SQUARE, stride=2, padded=False)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, SQUARE, padded=False)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, SQUARE)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, POINT)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, SQUARE, padded=False)
        self.Mixed_5b = _fine(192, pooled=32)
        self.Mixed_5c = _fine(256, pooled=64)
        self.Mixed_5d = _fine(288, pooled=64)
        self.Mixed_6a = _fine_to_middle(288)
        self.Mixed_6b = _middle(768, narrow=128)
        self.Mixed_6c = _middle(768, narrow=160)
        self.Mixed_6d = _middle(768, narrow=160)
        self.Mixed_6e = _middle(768, narrow=192)
        self.Mixed_7a = _middle_to_coarse(768)
        self.Mixed_7b = _coarse(1280, _average())
        self.Mixed_7c = _coarse(2048, nn.MaxPool2d(3, 1, padding=1))
        self.fc = nn.Linear(WIDTH, NUM_CLASSES)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, 3, H, W] in [-1, 1] of any size -> (logits [N, 1008], features [N, 2048], >= 0)."""
        features = self.features(resized(image))
        return self.fc(features), features

    def features(self, image: Tensor) -> Tensor:
        """float32 [N, 3, H, W], H and W >= 75, in [-1, 1] -> [N, 2048], the mean over the last block's pixels."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(image)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))  # [N, 288, 35, 35] of 299 px
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # [N, 768, 17, 17]
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # [N, 2048, 8, 8]
        return x.mean((2, 3))

    def load_published(self, state: dict[str, Tensor]) -> Fitted:
        """Load ``pt_inception-2015-12-05``. ValueError lists what does not fit, as for torchvision's file.

        Batch norm's step counters may be missing: they are unused.
        """
        return taken_whole(self, with_counters(self.state_dict(), state))


def resized(image: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 299, 299]: bilinear between pixel centres without antialiasing, as in published figures."""
    return F.interpolate(image, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False, antialias=False)


def features_of(network: nn.Module, pixels: np.ndarray, batch: int = 32) -> np.ndarray:
    """Features float32 [N, 2048] of uint8 images [N, H, W, C], grey or RGB.

    Puts the network into eval mode and computes on its device, ``batch`` images at a time.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[-1] not in (1, 3) or len(pixels) == 0:
        raise ValueError(f"pixels: uint8 [N, H, W, 1 or 3] are expected, found {pixels.dtype} {list(pixels.shape)}")
    network.eval()
    device = next(network.parameters()).device
    features = []
    with torch.inference_mode():
        for start in range(0, len(pixels), batch):
            image = torch.tensor(pixels[start : start + batch], device=device).permute(0, 3, 1, 2).float() / 127.5 - 1
            features.append(network(image.expand(-1, 3, -1, -1))[1].cpu().numpy())
    return np.concatenate(features)


def _average() -> nn.Module:
    return nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)


def _fine(width_in: int, pooled: int) -> Mixed:
    """Figure 5 (35 x 35), with a 5x5 convolution in one branch, as in the published weights."""
    branches: list[Branch] = [
        ([], [("branch1x1", 64, POINT)]),
        ([("branch5x5_1", 48, POINT)], [("branch5x5_2", 64, (5, 5))]),
        ([("branch3x3dbl_1", 64, POINT), ("branch3x3dbl_2", 96, SQUARE)], [("branch3x3dbl_3", 96, SQUARE)]),
    ]
    return Mixed(width_in, branches, _average(), pooled)


def _fine_to_middle(width_in: int) -> Mixed:
    """Figure 10, 35 x 35 -> 17 x 17."""
    branches: list[Branch] = [
        ([], [("branch3x3", 384, SQUARE)]),
        ([("branch3x3dbl_1", 64, POINT), ("branch3x3dbl_2", 96, SQUARE)], [("branch3x3dbl_3", 96, SQUARE)]),
    ]
    return Mixed(width_in, branches, nn.MaxPool2d(3, 2))


def _middle(width_in: int, narrow: int) -> Mixed:
    """Figure 6 (17 x 17): 7x7 as a row and a column."""
    twice: list[Row] = [
        ("branch7x7dbl_1", narrow, POINT),
        ("branch7x7dbl_2", narrow, LONG_COLUMN),
        ("branch7x7dbl_3", narrow, LONG_ROW),
        ("branch7x7dbl_4", narrow, LONG_COLUMN),
    ]
    branches: list[Branch] = [
        ([], [("branch1x1", 192, POINT)]),
        ([("branch7x7_1", narrow, POINT), ("branch7x7_2", narrow, LONG_ROW)], [("branch7x7_3", 192, LONG_COLUMN)]),
        (twice, [("branch7x7dbl_5", 192, LONG_ROW)]),
    ]
    return Mixed(width_in, branches, _average(), pooled=192)


def _middle_to_coarse(width_in: int) -> Mixed:
    """As figure 10, 17 x 17 -> 8 x 8."""
    long: list[Row] = [
        ("branch7x7x3_1", 192, POINT),
        ("branch7x7x3_2", 192, LONG_ROW),
        ("branch7x7x3_3", 192, LONG_COLUMN),
    ]
    branches: list[Branch] = [
        ([("branch3x3_1", 192, POINT)], [("branch3x3_2", 320, SQUARE)]),
        (long, [("branch7x7x3_4", 192, SQUARE)]),
    ]
    return Mixed(width_in, branches, nn.MaxPool2d(3, 2))


def _coarse(width_in: int, pool: nn.Module) -> Mixed:
    """Figure 7 (8 x 8): a row and a column in parallel."""
    branches: list[Branch] = [
        ([], [("branch1x1", 320, POINT)]),
        ([("branch3x3_1", 384, POINT)], [("branch3x3_2a", 384, ROW), ("branch3x3_2b", 384, COLUMN)]),
        (
            [("branch3x3dbl_1", 448, POINT), ("branch3x3dbl_2", 384, SQUARE)],
            [("branch3x3dbl_3a", 384, ROW), ("branch3x3dbl_3b", 384, COLUMN)],
        ),
    ]
    return Mixed(width_in, branches, pool, pooled=192)
