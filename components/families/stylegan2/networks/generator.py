"""StyleGAN2's generator: a mapping network and a synthesis network with skip connections (arXiv 1912.04958, figures 2c, 7b)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import EqualLinear, StyledConv, ToImage, normalised, widths_by_side

MAPPING_RATE = 0.01  # factor on the mapping network's learning rate


class PixelNorm(nn.Module):
    """Normalise each row to a mean square of 1."""

    def forward(self, x: Tensor) -> Tensor:
        return normalised(x)


class ConstantInput(nn.Module):
    """A learnt image [1, C, 4, 4], the same for every style."""

    def __init__(self, width: int):
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, width, 4, 4))

    def forward(self, number: Tensor) -> Tensor:
        """``number``: any tensor with N rows -> [N, C, 4, 4]."""
        return self.input.expand(number.shape[0], -1, -1, -1)


class Mapping(nn.Module):
    """latent z [N, Z] (, class int64 [N]) -> style w [N, S]. The layers are ``style.1``, ``style.2``, ...

    ``num_classes`` 0: no classes. Otherwise an embedding of the class, normalised, is appended to the normalised z
    (StyleGAN2-ADA, arXiv 2006.06676, class-conditional runs).
    """

    def __init__(self, latent_dim: int, style_dim: int, layers: int, num_classes: int = 0):
        super().__init__()
        self.latent_dim, self.style_dim, self.num_classes = latent_dim, style_dim, num_classes
        self.embed = EqualLinear(num_classes, style_dim) if num_classes else None
        width = latent_dim + (style_dim if num_classes else 0)
        widths = [width, *[style_dim] * layers]
        stack = [EqualLinear(widths[i], widths[i + 1], rate=MAPPING_RATE, activate=True) for i in range(layers)]
        self.style = nn.Sequential(nn.Identity() if num_classes else PixelNorm(), *stack)

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        if self.embed is None:
            return self.style(latent)
        assert label is not None
        one_hot = torch.nn.functional.one_hot(label, self.num_classes).to(latent.dtype)
        return self.style(torch.cat([normalised(latent), normalised(self.embed(one_hot))], dim=1))


class Generator(nn.Module):
    """Mapping and synthesis. 30,370,060 parameters at 1024 px with the defaults (configuration F).

    ``base``: channels times side, at most ``max_width`` channels. ``mapping_layers``: 8 in the paper, 2 in ADA's CIFAR-10 runs.
    """

    def __init__(
        self,
        *,
        image_size: int,
        channels: int,
        num_classes: int = 0,
        latent_dim: int = 512,
        style_dim: int = 512,
        mapping_layers: int = 8,
        base: int = 32768,
        max_width: int = 512,
    ):
        super().__init__()
        self.image_size, self.channels = image_size, channels
        self.mapping_layers, self.base, self.max_width = mapping_layers, base, max_width
        self.mapping = Mapping(latent_dim, style_dim, mapping_layers, num_classes)
        widths = widths_by_side(image_size, base, max_width)
        self.sides = tuple(side for side in widths for _ in range(1 if side == 4 else 2))  # of each layer's noise
        self.input = ConstantInput(widths[4])
        self.conv1 = StyledConv(widths[4], widths[4], style_dim)
        self.to_rgb1 = ToImage(widths[4], channels, style_dim)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        for side in list(widths)[1:]:
            self.convs.append(StyledConv(widths[side // 2], widths[side], style_dim, upsample=True))
            self.convs.append(StyledConv(widths[side], widths[side], style_dim))
            self.to_rgbs.append(ToImage(widths[side], channels, style_dim))
        self.noises = nn.Module()
        for index, side in enumerate(self.sides):
            self.noises.register_buffer(f"noise_{index}", torch.randn(1, 1, side, side))

    @property
    def num_styles(self) -> int:
        """L: styles that an image takes, one per convolution and one more for the last ``to_rgb``."""
        return len(self.sides) + 1

    @property
    def noise_size(self) -> int:
        """P: numbers of noise per image, of all layers."""
        return sum(side**2 for side in self.sides)

    def forward(self, latent: Tensor, label: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """latent [N, Z], class int64 [N] or None, noise [N, P] or None (fixed) -> image [N, C, H, W], about [-1, 1]."""
        return self.synthesise(self.repeated(self.mapping(latent, label)), noise)

    def repeated(self, style: Tensor) -> Tensor:
        """One style for every layer: [N, S] -> [N, L, S]."""
        return style[:, None].expand(-1, self.num_styles, -1)

    def mixed(self, first: Tensor, second: Tensor, crossover: int) -> Tensor:
        """Style mixing: ``first`` [N, S] in the layers before ``crossover``, ``second`` from there on: [N, L, S]."""
        layers = torch.arange(self.num_styles, device=first.device) < crossover
        return torch.where(layers[None, :, None], self.repeated(first), self.repeated(second))

    def synthesise(self, styles: Tensor, noise: Tensor | None = None) -> Tensor:
        """styles [N, L, S], noise [N, P] or None (the fixed one) -> image [N, C, H, W]."""
        planes = self.noise_planes(noise)
        x = self.conv1(self.input(styles), styles[:, 0], planes[0])
        image = self.to_rgb1(x, styles[:, 1])
        for level, to_rgb in enumerate(self.to_rgbs):
            first = 2 * level + 1
            x = self.convs[2 * level](x, styles[:, first], planes[first])
            x = self.convs[2 * level + 1](x, styles[:, first + 1], planes[first + 1])
            image = to_rgb(x, styles[:, first + 2], image)
        return image

    def noise_planes(self, noise: Tensor | None) -> list[Tensor]:
        """[N, P] -> one [N, 1, side, side] per layer; None -> the fixed ones, [1, 1, side, side]."""
        if noise is None:
            return [self.noises.get_buffer(f"noise_{index}") for index in range(len(self.sides))]
        parts = noise.split([side**2 for side in self.sides], dim=1)
        return [part.view(-1, 1, side, side) for part, side in zip(parts, self.sides, strict=True)]

    def fixed_noise(self) -> Tensor:
        """The fixed noise of all layers, [P]."""
        return torch.cat([plane.flatten() for plane in self.noise_planes(None)])
