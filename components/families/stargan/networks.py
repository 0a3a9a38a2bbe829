"""StarGAN (Choi et al. 2018, arXiv 1711.09020, Tables 4 and 5): one generator for all domains and data sets.

Layers are named as in the authors' files. Convolutions pad with zeros on purpose: the label enters as constant maps, and the
instance norm removes what a constant adds inside an image; only the zeros at the border make the label visible.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...networks.published import ClassNames, Fit, Fitted, with_counters

SMALLEST = 16  # pixels: a bottleneck of 4 x 4, patches of half an image
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def label_dim(num_labels: tuple[int, ...]) -> int:
    """Length of the label vector: all labels and, for more than one data set, the mask (section 3.2, eq. 7)."""
    return sum(num_labels) + (len(num_labels) if len(num_labels) > 1 else 0)


class ResidualBlock(nn.Module):
    """x + two 3 x 3 convolutions, without activation after the sum: [N, C, H, W] -> [N, C, H, W]."""

    def __init__(self, width: int, running: bool):
        super().__init__()
        convolutions = [nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2)]
        first, second = (nn.InstanceNorm2d(width, affine=True, track_running_stats=running) for _ in range(2))
        self.main = nn.Sequential(convolutions[0], first, nn.ReLU(), convolutions[1], second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class Generator(nn.Module):
    """Translate an image into a domain. 8,430,528 parameters for 3 channels and 5 labels.

    ``num_labels``: per data set; ``blocks``: residual blocks. ``running_statistics``: the norms track averages over images and
    use them in eval mode, in which the network then differs from training; otherwise they always use each image's own.
    """

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_labels: tuple[int, ...],
        width: int = 64,
        blocks: int = 6,
        running_statistics: bool = False,
    ):
        super().__init__()
        check_facts(image_size, channels, num_labels, width=width, blocks=blocks)
        self.channels, self.running_statistics = channels, running_statistics

        def normed(convolution: nn.Module, width: int) -> list[nn.Module]:
            return [convolution, nn.InstanceNorm2d(width, affine=True, track_running_stats=running_statistics), nn.ReLU()]

        layers = normed(nn.Conv2d(channels + label_dim(num_labels), width, 7, padding=3, bias=False), width)
        for wide in (width, 2 * width):
            layers += normed(nn.Conv2d(wide, 2 * wide, 4, stride=2, padding=1, bias=False), 2 * wide)
        layers += [ResidualBlock(4 * width, running_statistics) for _ in range(blocks)]
        for wide in (4 * width, 2 * width):
            layers += normed(nn.ConvTranspose2d(wide, wide // 2, 4, stride=2, padding=1, bias=False), wide // 2)
        self.main = nn.Sequential(*layers, nn.Conv2d(width, channels, 7, padding=3, bias=False), nn.Tanh())

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """float32 [N, C, H, W] in [-1, 1], label float32 [N, label_dim] -> [N, C, H, W] in [-1, 1]."""
        maps = label[:, :, None, None].expand(-1, -1, *image.shape[2:])
        return self.main(torch.cat([image, maps.to(image.dtype)], dim=1))

    def load_published(self, state: Mapping[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load the authors' ``G`` file: see ``fit_published``. ValueError lists what does not fit, and changes nothing."""
        return self.fit_published(state, names).load()

    def fit_published(self, state: Mapping[str, Tensor], names: ClassNames | None = None) -> Fit:
        """Fit the authors' ``G`` file.

        Its running statistics are left out unless ``running_statistics``: the authors always translate in training mode, with
        each image's own. Weights of other labels start fresh.
        """
        fit = Fit(self, with_counters(self.state_dict(), state), names)
        if not self.running_statistics:
            averages = [key for key in fit.state if key.endswith(STATISTICS)]
            fit.leave_out("running statistics", averages, "each image's own are used, as in training")
        key, kernel = "main.0.weight", fit.state.get("main.0.weight")
        if kernel is not None and kernel.shape[1] > self.channels:
            found, expected = (weight.shape[1] - self.channels for weight in (kernel, fit.own[key]))
            if difference := fit.other_classes(key, found, expected, what="labels (with masks)", none="no labels"):
                whole = torch.cat([kernel[:, : self.channels], fit.own[key][:, self.channels :]], dim=1)
                fit.replace(key, whole, "fresh", f"{difference}: theirs start fresh")
        return fit


class Discriminator(nn.Module):
    """Score patches of an image and classify its labels. 44,762,048 parameters at 128 px, 3 channels, 5 labels.

    ``depth``: halvings, each doubling the width; None: the published 6, fewer for small images, so that 2 or 3 pixels are left.
    """

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_labels: tuple[int, ...],
        width: int = 64,
        depth: int | None = None,
    ):
        super().__init__()
        check_facts(image_size, channels, num_labels, width=width)
        deepest = image_size.bit_length() - 1  # one pixel left
        depth = min(6, deepest - 1) if depth is None else depth
        if not 1 <= depth <= deepest:
            raise ValueError(f"depth: {depth} is not allowed: from 1 to {deepest} for images of {image_size} pixels")
        widths = [channels, *(width << step for step in range(depth))]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(0.01)]
        self.main = nn.Sequential(*layers)
        self.conv1 = nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(widths[-1], sum(num_labels), image_size >> depth, bias=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [N, C, H, W] in [-1, 1] -> (realness of patches [N, 1, h, w], label logits [N, sum of num_labels])."""
        h = self.main(image)
        return self.conv1(h), self.conv2(h).flatten(1)

    def scores(self, image: Tensor) -> Tensor:
        """The first output of ``forward``, for a penalty on its gradient with respect to ``image``.

        The activations' slopes enter as constant factors: otherwise backward through that gradient also passes through
        ``forward``, with zeros, which costs a quarter to a third of the penalty's time for the same numbers.
        """
        h = image
        for layer in self.main:
            if isinstance(layer, nn.LeakyReLU):  # tensors, not numbers: of numbers ``where`` makes float32, also in float64
                h = h * torch.where(h > 0, h.new_tensor(1.0), h.new_tensor(layer.negative_slope))
            else:
                h = layer(h)
        scores: Tensor = self.conv1(h)
        return scores

    def load_published(self, state: Mapping[str, Tensor], names: ClassNames | None = None) -> Fitted:
        """Load the authors' ``D`` file like the generator's."""
        return self.fit_published(state, names).load()

    def fit_published(self, state: Mapping[str, Tensor], names: ClassNames | None = None) -> Fit:
        """Fit the authors' ``D`` file; the head of other labels starts fresh."""
        fit = Fit(self, state, names)
        found, expected = (len(tensors.get("conv2.weight", ())) for tensors in (fit.state, fit.own))
        fit.fit_classes("conv2.weight", found, expected, what="labels")
        return fit


class Classifier(nn.Module):
    """The discriminator as a classifier of labels alone: image [N, C, H, W] -> logits [N, sum of num_labels]."""

    def __init__(self, discriminator: Discriminator):
        super().__init__()
        self.discriminator = discriminator

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(image)[1]
        return logits


class StarGAN(nn.Module):
    """Both networks. ``num_labels``: labels per data set, in the order of the label vector.

    ``width``: channels of the generator at full size; ``blocks``: residual blocks of the generator; ``running_statistics``:
    whether the generator's norms keep running statistics; ``discriminator_width``: channels of the discriminator's first layer;
    ``depth``: layers of the discriminator that halve the sides; None: by the image size.
    """

    prefers_fp32: ClassVar[bool] = False

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_labels: tuple[int, ...],
        width: int = 64,
        blocks: int = 6,
        running_statistics: bool = False,
        discriminator_width: int = 64,
        depth: int | None = None,
    ):
        super().__init__()
        check_at_least_1(discriminator_width=discriminator_width)
        self.generator = Generator(
            image_size=image_size,
            channels=channels,
            num_labels=num_labels,
            width=width,
            blocks=blocks,
            running_statistics=running_statistics,
        )
        self.discriminator = Discriminator(
            image_size=image_size, channels=channels, num_labels=num_labels, width=discriminator_width, depth=depth
        )

    def load_published(self, state: Mapping[str, Any], names: ClassNames | None = None) -> Fitted:
        """Load another run's weights, or the authors' two files in one: {"G": tensors, "D": tensors}, nested or flat.

        Of one of the two files alone the other network starts fresh.
        """
        parts = parts_of(state)
        fits = {name: getattr(self, name).fit_published(part, names) for name, part in parts.items()}
        fit = Fit.of_parts(self, fits)
        for name, _ in self.named_children():
            if name not in parts:
                fit.start_fresh(name, "not in the file")
        return fit.load()


NAMES = {"G": "generator", "D": "discriminator"}  # in the authors' code -> here


def parts_of(state: Mapping[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Return network -> its tensors. A file of one network is told by its names: the discriminator's has ``conv1``."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        network = NAMES.get(first, first)
        if network not in NAMES.values():
            return {"discriminator" if "conv1.weight" in state else "generator": dict(state)}
        tensors = value if isinstance(value, Mapping) else {rest: value}
        parts.setdefault(network, {}).update(tensors)
    return parts


def check_facts(image_size: int, channels: int, num_labels: tuple[int, ...], **options: int) -> None:
    """Raise ValueError for images or labels that no network is for, and for an option below 1."""
    assert channels >= 1
    if image_size < SMALLEST or image_size % 4:
        raise ValueError(f"image_size: {image_size} is not allowed: a multiple of 4 pixels, at least {SMALLEST}")
    if not num_labels or min(num_labels) < 1:
        raise ValueError(f"num_labels: {list(num_labels)} is not allowed: one number a data set, each at least 1")
    check_at_least_1(**options)


def check_at_least_1(**options: int) -> None:
    for name, value in options.items():
        if value < 1:
            raise ValueError(f"{name}: {value} is not allowed: at least 1")
