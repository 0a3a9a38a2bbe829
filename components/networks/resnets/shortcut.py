"""The projection of a residual block's shortcut: a 1 x 1 convolution, with the block's stride.

torch 2.13.0 writes beyond the end of its weights' gradient for few channels, in channels_last on a CPU (found by glibc's heap
checks): below 8 channels without AVX-512; with it below 16, for pictures of about 50 pixels and more. Such a projection drops
the pixels that the stride passes over before it convolves: the same numbers, without a stride in the convolution.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SAFE_CHANNELS = 16  # from here on torch's own stride is right


class Subsampled(nn.Conv2d):
    """A 1 x 1 convolution of every ``stride``-th pixel: [N, C, h, w] -> [N, width, h / stride, w / stride], rounded up."""

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight, self.bias)


def projection(width_in: int, width: int, stride: int) -> nn.Conv2d:
    """Return the convolution without bias, of which torch computes the right gradients."""
    kind = Subsampled if stride > 1 and width_in < SAFE_CHANNELS else nn.Conv2d
    return kind(width_in, width, 1, stride, bias=False)
