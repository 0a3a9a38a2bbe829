"""StarGAN v2's residual blocks (Choi et al. 2020, arXiv 1912.01865, appendix), layers named as in its files."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # of every leaky ReLU


class AdaIN(nn.Module):
    """AdaIN: mean and standard deviation of each channel predicted from the style (Huang & Belongie 2017, eq. 8).

    x [N, C, H, W], style [N, S] -> (1 + gamma) (x - mean) / deviation + beta. Mean and variance are written out, because the
    ONNX exporter silently converts the customary batch norm in training mode to one with fixed statistics.
    """

    def __init__(self, style_dim: int, width: int):
        super().__init__()
        self.fc = nn.Linear(style_dim, 2 * width)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        exact = torch.promote_types(x.dtype, torch.float32)  # under autocast x is bf16, in which sums lose digits
        gamma, beta = self.fc(style).to(exact)[:, :, None, None].chunk(2, dim=1)
        pixels = x.to(exact)
        centred = pixels - pixels.mean((2, 3), keepdim=True)  # twice as fast as torch.var_mean forward, on a CPU
        scale = (1 + gamma) * torch.rsqrt(centred.square().mean((2, 3), keepdim=True) + 1e-5)
        return torch.addcmul(beta, centred, scale).to(x.dtype)


class DownBlock(nn.Module):
    """[N, width_in, H, W] -> [N, width, H, W]; ``halve``: half the sides; ``norm``: with instance norm."""

    def __init__(self, width_in: int, width: int, *, halve: bool, norm: bool):
        super().__init__()
        self.halve = halve
        self.norm1, self.norm2 = (nn.InstanceNorm2d(width_in, affine=True) if norm else nn.Identity() for _ in range(2))
        self.conv1 = nn.Conv2d(width_in, width_in, 3, padding=1)
        self.conv2 = nn.Conv2d(width_in, width, 3, padding=1)
        self.conv1x1 = shortcut(width_in, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.leaky_relu(self.norm1(x), SLOPE))
        if self.halve:  # the shortcut before its convolution, too: the same numbers for a quarter of the work
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        h = self.conv2(F.leaky_relu(self.norm2(h), SLOPE))
        return (self.conv1x1(x) + h) / math.sqrt(2)


class UpBlock(nn.Module):
    """[N, width_in, H, W], style [N, S] -> [N, width, H, W]; ``enlarge``: twice the sides.

    Without ``residual`` (the paper's generator of faces) the shortcut is unused and untrained; its weights exist because the
    published files hold them.
    """

    def __init__(self, width_in: int, width: int, style_dim: int, *, enlarge: bool, residual: bool):
        super().__init__()
        self.enlarge, self.residual = enlarge, residual
        self.norm1, self.norm2 = AdaIN(style_dim, width_in), AdaIN(style_dim, width)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv1x1 = shortcut(width_in, width).requires_grad_(residual)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        h = self.conv1(self._enlarged(F.leaky_relu(self.norm1(x, style), SLOPE)))
        h = self.conv2(F.leaky_relu(self.norm2(h, style), SLOPE))
        # The shortcut is convolved, then enlarged: the same numbers as in the opposite order, for a quarter of the work.
        return (self._enlarged(self.conv1x1(x)) + h) / math.sqrt(2) if self.residual else h

    def _enlarged(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.enlarge else x


def shortcut(width_in: int, width: int) -> nn.Module:
    return nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1, bias=False)


def ladder(image_size: int, width: int | None, max_width: int, steps: int) -> list[int]:
    """Channels before and after each of ``steps`` halvings: doubled, up to ``max_width``.

    ``width`` None: the published 2^14 / image_size, but at most image_size. That is 64 at 256 px and 128 at 128 px as
    published, and 64 and 32 at 64 and 32 px, for which the published rule gives 256 and 512, with most of the work at full
    size.
    """
    width = min(2**14 // image_size, image_size, max_width) if width is None else width
    if not 1 <= width <= max_width:
        raise ValueError(f"width: {width} is not allowed: from 1 to max_width, {max_width}")
    return [min(width << step, max_width) for step in range(steps + 1)]


def he_initialised(module: nn.Module) -> None:
    """Initialise by a normal with variance 2 / fan-in, biases 0; AdaIN's scale starts at 1 + gamma = 1 (appendix)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
