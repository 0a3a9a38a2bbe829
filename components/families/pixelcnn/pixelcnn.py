"""PixelCNN (van den Oord et al. 2016, arXiv 1601.06759): residual blocks of masked convolutions, pixels in row-major order.

Sizes are those of a widely read PyTorch version: at width 128, depth 15 and 256 levels 3,313,664 parameters. Its mask hides
more than it must: with a 3 x 3 kernel there is a blind spot to the right above each pixel (arXiv 1606.05328, figure 1).
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.published import ClassNames, Fitted, taken_whole


def causal_mask(width_out: int, width_in: int, kernel: int, kind: str, colours: int) -> Tensor:
    """Ones [width_out, width_in, kernel, kernel] at visible pixels: above, to the left, and itself depending on ``kind``.

    Feature i belongs to colour ``i % colours``, in the order R, G, B. At the pixel itself a feature sees earlier colours, for
    kind "B" also its own (arXiv 1601.06759, section 3.4).
    """
    middle = kernel // 2
    mask = torch.zeros(width_out, width_in, kernel, kernel)
    mask[:, :, :middle] = 1
    mask[:, :, middle, :middle] = 1
    colour_out, colour_in = (torch.arange(width).remainder(colours) for width in (width_out, width_in))
    seen = colour_in[None] <= colour_out[:, None] if kind == "B" else colour_in[None] < colour_out[:, None]
    mask[:, :, middle, middle] = seen.to(mask.dtype)
    return mask


class MaskedConv2d(nn.Conv2d):
    """A convolution that keeps the size and sees no later pixel. The mask is no part of the state."""

    mask: Tensor

    def __init__(self, width_in: int, width_out: int, kernel: int, kind: str, colours: int):
        super().__init__(width_in, width_out, kernel, padding=kernel // 2)
        self.register_buffer("mask", causal_mask(width_out, width_in, kernel, kind, colours), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        # Masking the weight in place could not be exported, and would leave the optimizer moments of what is masked.
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class ResidualBlock(nn.Module):
    """Figure 5 on the left, ReLU before and batch norm behind each convolution: [N, 2h, H, W] -> [N, 2h, H, W]."""

    def __init__(self, width: int, colours: int, batch_norm: bool):
        super().__init__()
        self.conv1 = MaskedConv2d(2 * width, width, 1, "B", colours)
        self.bn1 = norm(width, batch_norm)
        self.conv2 = MaskedConv2d(width, width, 3, "B", colours)
        self.bn2 = norm(width, batch_norm)
        self.conv3 = MaskedConv2d(width, 2 * width, 1, "B", colours)
        self.bn3 = norm(2 * width, batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn1(self.conv1(F.relu(x)))
        branch = self.bn2(self.conv2(F.relu(branch)))
        return x + self.bn3(self.conv3(F.relu(branch)))


class PixelCNN(nn.Module):
    """p(image) as a product over pixels and colours, each a softmax over ``levels``.

    ``levels``: grey levels or intensities of a colour; ``width``: the paper's h, channels; ``depth``: number of residual
    blocks; ``batch_norm``: whether the blocks normalise. With it the training statistics mix later pixels into earlier ones:
    likelihoods are those of eval mode.
    """

    prefers_fp32: ClassVar[bool] = False
    takes_label: ClassVar[bool] = False

    def __init__(self, *, channels: int, levels: int = 256, width: int = 128, depth: int = 15, batch_norm: bool = True):
        super().__init__()
        assert channels >= 1
        if not 2 <= levels <= 256:
            raise ValueError(f"levels: {levels} is not allowed: from 2 to 256")
        if width < channels:
            raise ValueError(f"width: {width} is not allowed: at least 1 a colour, {channels}")
        if depth < 0:
            raise ValueError(f"depth: {depth} is not allowed: at least 0")
        self.channels, self.levels = channels, levels
        self.conv1 = MaskedConv2d(channels, 2 * width, 7, "A", channels)
        self.bn1 = norm(2 * width, batch_norm)
        self.residual_blocks = nn.ModuleList(ResidualBlock(width, channels, batch_norm) for _ in range(depth))
        self.head = nn.Sequential(
            MaskedConv2d(2 * width, width, 1, "B", channels),
            nn.ReLU(),
            MaskedConv2d(width, width, 1, "B", channels),
            nn.ReLU(),
            MaskedConv2d(width, levels * channels, 1, "B", channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """float [N, C, H, W], level / (levels - 1), in [0, 1] -> logits [N, levels, C, H, W]."""
        x = self.bn1(self.conv1(x))
        for block in self.residual_blocks:
            x = block(x)
        return self.head(F.relu(x)).unflatten(1, (self.levels, self.channels))

    @staticmethod
    def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename published parameters: there a masked convolution wraps its convolution as ``conv``."""
        return {key.replace(".conv.", "."): value for key, value in state.items()}

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load a file's tensors, in its layout or this one; ValueError lists what does not fit, no weight is changed then."""
        return taken_whole(self, self.from_published(state))


def norm(width: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(width) if batch_norm else nn.Identity()
