"""Gated PixelCNN (van den Oord et al. 2016, arXiv 1606.05328): two stacks, so that there is no blind spot."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...networks.published import ClassNames, Fit, Fitted

FIRST_KERNEL = 7


def colour_mask(width_out: int, width_in: int, kind: str, colours: int) -> Tensor:
    """Ones [width_out, width_in] where a feature sees one of the same pixel: earlier colours, for kind "B" also its own.

    Feature i belongs to colour ``i % colours``, in the order R, G, B.
    """
    colour_out, colour_in = (torch.arange(width).remainder(colours) for width in (width_out, width_in))
    seen = colour_in[None] <= colour_out[:, None] if kind == "B" else colour_in[None] < colour_out[:, None]
    return seen.float()


class RowConv2d(nn.Conv2d):
    """Convolution over the pixel (masked by colour) and ``reach`` pixels to its left: [N, A, H, W] -> [N, B, H, W]."""

    mask: Tensor

    def __init__(self, width_in: int, width_out: int, reach: int, kind: str, colours: int):
        super().__init__(width_in, width_out, (1, reach + 1))
        mask = torch.ones(width_out, width_in, 1, reach + 1)
        mask[:, :, 0, -1] = colour_mask(width_out, width_in, kind, colours)
        self.register_buffer("mask", mask, persistent=False)
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (self.reach, 0)), self.weight * self.mask, self.bias)


def gate(x: Tensor) -> Tensor:
    """Equation 2: tanh of the first half of the features times the sigmoid of the second."""
    signal, door = x.chunk(2, 1)
    return torch.tanh(signal) * torch.sigmoid(door)


class GatedLayer(nn.Module):
    """Figure 2. ``vertical`` covers the rows from ``reach`` above to its own; its input is shifted down by a row."""

    gate = staticmethod(gate)

    def __init__(self, width_in: int, width: int, reach: int, colours: int, *, num_classes: int, first: bool):
        super().__init__()
        self.reach, self.first = reach, first
        self.vertical = nn.Conv2d(width_in, 2 * width, (reach + 1, 2 * reach + 1))
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.horizontal = RowConv2d(width_in, 2 * width, reach, "A" if first else "B", colours)
        self.out = RowConv2d(width, width, 0, "B", colours)
        self.condition = nn.Embedding(num_classes, 4 * width) if num_classes else None

    def conditions(self, label: Tensor | None) -> tuple[Tensor | float, Tensor | float]:
        """Class biases before the gates of the vertical and horizontal stack (eq. 4): [N, 2 width] each, or 0."""
        if self.condition is None or label is None:
            return 0.0, 0.0
        first, second = self.condition(label).chunk(2, 1)
        return first, second

    def forward(self, above: Tensor, beside: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features of both stacks, [N, A, H, W] each -> [N, width, H, W] each."""
        for_above, for_beside = (c if isinstance(c, float) else c[:, :, None, None] for c in self.conditions(label))
        seen = self.vertical(F.pad(above, (self.reach, self.reach, self.reach, 0)))
        change = self.out(self.gate(self.horizontal(beside) + self.link(seen) + for_beside))
        return self.gate(seen + for_above), change if self.first else beside + change


class GatedPixelCNN(nn.Module):
    """p(image) or, with ``class_condition``, p(image | label), as a product of softmaxes over ``levels``.

    ``levels``: intensities of a colour; ``width``: features in each stack, a multiple of the number of colours; ``depth``:
    layers, the first with a kernel of 7; ``kernel``: side of the others' kernels; ``class_condition``: whether a class is
    given.
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        channels: int,
        num_classes: int,
        levels: int = 256,
        width: int = 128,
        depth: int = 10,
        kernel: int = 3,
        class_condition: bool = False,
    ):
        super().__init__()
        assert channels >= 1
        if not 2 <= levels <= 256:
            raise ValueError(f"levels: {levels} is not allowed: from 2 to 256")
        if width < 1 or width % channels:
            raise ValueError(f"width: {width} is not allowed: a multiple of the {channels} colours")
        if depth < 1:
            raise ValueError(f"depth: {depth} is not allowed: at least 1")
        if kernel < 3 or kernel % 2 == 0:
            raise ValueError(f"kernel: {kernel} is not allowed: odd, at least 3")
        if class_condition and num_classes < 1:
            raise ValueError("class_condition: true needs images with a class, and these have none")
        self.channels, self.levels, self.takes_label = channels, levels, class_condition
        classes = num_classes if class_condition else 0
        first = GatedLayer(channels, width, FIRST_KERNEL // 2, channels, num_classes=classes, first=True)
        rest = [GatedLayer(width, width, kernel // 2, channels, num_classes=classes, first=False) for _ in range(depth - 1)]
        self.layers = nn.ModuleList([first, *rest])
        self.head = nn.Sequential(
            nn.ReLU(),
            RowConv2d(width, width, 0, "B", channels),
            nn.ReLU(),
            RowConv2d(width, levels * channels, 0, "B", channels),
        )

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """float [N, C, H, W], level / (levels - 1), in [0, 1], label int64 [N] -> logits [N, levels, C, H, W]."""
        if self.takes_label and label is None:
            raise ValueError("label: missing; this network is of p(image | label)")
        above, beside = F.pad(x, (0, 0, 1, 0))[:, :, :-1], x
        for layer in self.layers:
            above, beside = layer(above, beside, label)
        return self.head(beside).unflatten(1, (self.levels, self.channels))

    def load_published(self, state: dict[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load another run's tensors; the classes' biases start fresh if its classes are others, or it has none.

        ValueError lists what does not fit, and no weight is changed then.
        """
        fit = Fit(self, state, names)
        if self.takes_label:
            key = "layers.0.condition.weight"
            found, expected = (len(tensors.get(key, ())) for tensors in (fit.state, fit.own))
            for layer in range(len(self.layers)):
                fit.fit_classes(f"layers.{layer}.condition", found, expected, none="no classes")
        else:
            fit.leave_out("condition", [key for key in fit.state if ".condition." in key], "this network has no classes")
        return fit.load()
