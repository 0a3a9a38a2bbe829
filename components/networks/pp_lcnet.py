"""PP-LCNet, a light network for CPUs (Cui et al. 2021, arXiv 2109.15099), in the names and sizes of its published weights.

Depthwise separable blocks with hard-swish after every convolution, 5x5 kernels and squeeze-and-excitation near the end, and
a wide 1x1 convolution after the pooling (section 3).
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from .published import ClassNames, Fitted, fit_classifier, with_counters

Stride = int | tuple[int, int]

# Stage -> its blocks: (kernel, width at scale 1, squeeze-and-excitation). Paper, Figure 2; PaddleClas, NET_CONFIG.
STEM_WIDTH = 16
STAGES: dict[str, tuple[tuple[int, int, bool], ...]] = {
    "blocks2": ((3, 32, False),),
    "blocks3": ((3, 64, False), (3, 64, False)),
    "blocks4": ((3, 128, False), (3, 128, False)),
    "blocks5": ((3, 256, False), *((5, 256, False),) * 5),
    "blocks6": ((5, 512, True), (5, 512, True)),
}
RENAMED = {"fc.": "head.", ".bn._mean": ".bn.running_mean", ".bn._variance": ".bn.running_var"}


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, hard-swish: [N, C, H, W] -> [N, C', H / stride, W / stride]."""

    def __init__(self, width_in: int, width: int, kernel: int, stride: tuple[int, int] = (1, 1), groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(width_in, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(self.bn(self.conv(x)))


class SqueezeExcitation(nn.Module):
    """A gate a channel from the mean over pixels (Hu et al. 2018; reduction 4, hard sigmoid)."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width // 4, 1)
        self.conv2 = nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.conv2(F.relu(self.conv1(x.mean((2, 3), keepdim=True))))  # [N, C, 1, 1]
        return x * F.hardsigmoid(gate)


class DepthSepBlock(nn.Module):
    """Depthwise convolution, gate where the table has one, pointwise convolution; no shortcut."""

    def __init__(self, width_in: int, width: int, kernel: int, stride: tuple[int, int], gated: bool):
        super().__init__()
        self.dw_conv = ConvNorm(width_in, width_in, kernel, stride, groups=width_in)
        self.se = SqueezeExcitation(width_in) if gated else nn.Identity()
        self.pw_conv = ConvNorm(width_in, width, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pw_conv(self.se(self.dw_conv(x)))


class PPLCNet(nn.Module):
    """Image classifier; takes every image size. At scale 1, 3 channels and 1000 classes: 2,952,520 parameters.

    ``scale`` (0.25..2.5): factor of all widths but the last; published: .25 .35 .5 .75 1 1.5 2 2.5.
    ``strides``: of the stem and of the stages blocks3..blocks6, each a number or a pair (rows, columns). The default
    is the published one, which shrinks 32 times (224 px -> 7); (1, 1, 2, 2, 2) suits 32 px (-> 4), and
    (2, (2, 1), (2, 1), (2, 1), (2, 1)) is PULC's for text lines.
    ``dropout`` (0 <= p < 1): share of the features that is set to 0 in training. ``last_width``: number of features F.
    """

    takes_rectangles: ClassVar[bool] = True
    prefers_fp32: ClassVar[bool] = True  # depthwise convolutions, measured on a CPU: 0.161 s a step instead of 0.124 s

    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        channels: int,
        num_classes: int,
        scale: float = 1.0,
        strides: tuple[Stride, ...] = (2, 2, 2, 2, 2),
        dropout: float = 0.2,
        last_width: int = 1280,
    ):
        super().__init__()
        assert min(channels, num_classes) >= 1
        _check(scale, dropout, last_width)
        stem_stride, *stage_strides = _stride_pairs(strides)
        width = scaled(STEM_WIDTH, scale)
        self.conv1 = ConvNorm(channels, width, kernel=3, stride=stem_stride)
        for (name, rows), stride in zip(STAGES.items(), [(1, 1), *stage_strides], strict=True):
            self.add_module(name, _stage(width, rows, stride, scale))
            width = scaled(rows[-1][1], scale)
        self.last_conv = nn.Conv2d(width, last_width, 1, bias=False)
        self.dropout = dropout
        self.head = nn.Linear(last_width, num_classes)
        self.apply(_initialise)

    def features(self, image: Tensor) -> Tensor:
        """float32 [N, C, H, W], standardised -> [N, last_width], what the head reads: dropout and its factor included."""
        x = self.conv1(image)
        for name in STAGES:
            x = self.get_submodule(name)(x)
        x = F.hardswish(self.last_conv(x.mean((2, 3), keepdim=True))).flatten(1)
        return downscale_dropout(x, self.dropout, self.training)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, C, H, W], standardised -> (logits [N, K], features [N, F])."""
        features = self.features(image)
        return self.head(features), features

    @staticmethod
    def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """PaddleClas' names -> ours: ``fc`` is ``head`` and transposed, batch norm has other names."""
        renamed: dict[str, Tensor] = {}
        for published, value in state.items():
            key = published
            for old, new in RENAMED.items():
                key = key.replace(old, new)
            renamed[key] = value.t() if published == "fc.weight" else value  # Paddle keeps it as [in, out]
        return renamed

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a published file's tensors, in its layout or ours.

        The head starts fresh if the file has none or other classes. ValueError lists what does not fit; the weights are then
        unchanged.
        """
        renamed = with_counters(self.state_dict(), self.from_published(state))
        return fit_classifier(self, renamed, names, "conv1.conv.weight").load()


def scaled(width: int, scale: float) -> int:
    """``width * scale`` as a multiple of 8, the nearest unless that loses more than a tenth (MobileNet's rule)."""
    wanted = width * scale
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def downscale_dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Dropout as first published (Srivastava et al. 2014): the mask alone in training, times 1 - rate afterwards.

    Paddle's ``downscale_in_infer``; torch's own dropout divides by 1 - rate in training, which the factor here takes back.
    """
    return F.dropout(x, rate, training) * (1 - rate)


def _stage(width_in: int, rows: tuple[tuple[int, int, bool], ...], stride: tuple[int, int], scale: float) -> nn.Sequential:
    """The table's blocks; the first takes the stage's stride."""
    widths = [width_in, *(scaled(width, scale) for _, width, _ in rows)]
    strides = [stride, *((1, 1),) * (len(rows) - 1)]
    return nn.Sequential(
        *(DepthSepBlock(widths[i], widths[i + 1], kernel, strides[i], gated) for i, (kernel, _, gated) in enumerate(rows))
    )


def _check(scale: float, dropout: float, last_width: int) -> None:
    if not 0.25 <= scale <= 2.5:
        raise ValueError(f"scale: {scale} is not allowed: 0.25 to 2.5")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: {dropout} is not allowed: at least 0 and below 1")
    if last_width < 1:
        raise ValueError(f"last_width: {last_width} is not allowed: at least 1")


def _stride_pairs(strides: tuple[Stride, ...]) -> list[tuple[int, int]]:
    """(rows, columns) of the stem and of blocks3..blocks6."""
    pairs = [(stride, stride) if isinstance(stride, int) else (stride[0], stride[1]) for stride in strides]
    if len(pairs) != len(STAGES) or min(min(pair) for pair in pairs) < 1:
        raise ValueError(f"strides: {strides} is not allowed: {len(STAGES)} numbers or pairs (rows, columns), each at least 1")
    return pairs


def _initialise(module: nn.Module) -> None:
    """PaddleClas' start: normal with variance 2 / fan-in for convolutions, Xavier for the head, biases 0."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
