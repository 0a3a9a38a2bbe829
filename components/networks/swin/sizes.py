"""Sizes of a Swin Transformer, published (Liu et al. 2021, arXiv 2103.14030, section 3.3) or free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .windows import Size, Windows

# variant -> (width of the first stage, blocks of each stage); a head has 32 channels
VARIANTS: dict[str, tuple[int, tuple[int, ...]]] = {
    "T": (96, (2, 2, 6, 2)),
    "S": (96, (2, 2, 18, 2)),
    "B": (128, (2, 2, 18, 2)),
    "L": (192, (2, 2, 18, 2)),
}
HEAD_WIDTH = 32
VARIANT_MLP_RATIO = 4.0


@dataclass(frozen=True)
class Sizes:
    """``image``: (height, width) in pixels; ``widths``, ``depths``, ``heads``: of each stage; the rest as in ``Swin``."""

    image: Size
    patch: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    mlp_ratio: float
    drop_path: float

    @property
    def image_padding(self) -> Size:
        """Pixels to pad (below, on the right), so that patches divide the image."""
        return -self.image[0] % self.patch, -self.image[1] % self.patch

    @property
    def grids(self) -> list[Size]:
        """Tokens of each stage: (rows, columns)."""
        steps = [self.patch * 2**stage for stage in range(len(self.depths))]
        return [(math.ceil(self.image[0] / step), math.ceil(self.image[1] / step)) for step in steps]

    def windows(self, stage: int) -> list[Windows]:
        """Windows of each block of a stage: every second block shifts them."""
        grid = self.grids[stage]
        return [Windows.of(grid, self.window, shifted=block % 2 == 1) for block in range(self.depths[stage])]

    def rates(self) -> list[list[float]]:
        """Rate of stochastic depth of each block of each stage, from 0 to ``drop_path``."""
        last, places = max(sum(self.depths) - 1, 1), iter(range(sum(self.depths)))
        return [[self.drop_path * next(places) / last for _ in range(depth)] for depth in self.depths]


def sizes_of(
    image_size: int | Size,
    *,
    variant: str | None,
    patch: int,
    width: int | None,
    depths: Sequence[int] | None,
    heads: Sequence[int] | None,
    window: int,
    mlp_ratio: float,
    drop_path: float,
) -> Sizes:
    """Return the variant's sizes, or the given ones. ValueError names the setting, the value and what is allowed."""
    if variant is not None and variant not in VARIANTS:
        raise ValueError(f"variant: {variant!r} is not allowed: {', '.join(VARIANTS)}")
    _check_positive(patch=(patch,), window=(window,), width=(1 if width is None else width,))
    published_width, published_depths = VARIANTS[variant or "T"]
    width, depths = width or published_width, published_depths if depths is None else tuple(depths)
    _check_positive(depths=depths or (0,))
    widths = tuple(width * 2**stage for stage in range(len(depths)))
    heads = _default_heads(widths) if heads is None else tuple(heads)
    if variant is not None:
        _check_published(variant, width=width, depths=depths, heads=heads, mlp_ratio=mlp_ratio)
    _check_heads(heads, widths)
    if mlp_ratio * width < 1:
        raise ValueError(f"mlp_ratio: {mlp_ratio} is not allowed: at least 1 / width")
    if not 0 <= drop_path < 1:
        raise ValueError(f"drop_path: {drop_path} is not allowed: at least 0 and below 1")
    image = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
    return Sizes(image, patch, widths, depths, heads, window, mlp_ratio, drop_path)


def _check_positive(**settings: Sequence[int]) -> None:
    for key, values in settings.items():
        if min(values) < 1:
            shown = values[0] if len(values) == 1 else list(values)
            raise ValueError(f"{key}: {shown} is not allowed: at least 1")


def _default_heads(widths: tuple[int, ...]) -> tuple[int, ...]:
    """One head per 32 channels (section 3.3)."""
    if widths[0] % HEAD_WIDTH:
        raise ValueError(
            f"heads: missing; width {widths[0]} is no multiple of {HEAD_WIDTH}, so one per {HEAD_WIDTH} is not possible"
        )
    return tuple(width // HEAD_WIDTH for width in widths)


def _check_heads(heads: tuple[int, ...], widths: tuple[int, ...]) -> None:
    """Check that there is one number a stage, which divides the stage's width."""
    if len(heads) != len(widths):
        raise ValueError(f"heads: {list(heads)} is not allowed: one number for each of the {len(widths)} stages (depths)")
    for stage, (number, width) in enumerate(zip(heads, widths, strict=True)):
        if number < 1 or width % number:
            allowed = ", ".join(str(divisor) for divisor in range(1, width + 1) if width % divisor == 0)
            raise ValueError(f"heads: {number} does not divide width {width} of stage {stage}; allowed: {allowed}")


def _check_published(variant: str, **given: object) -> None:
    """Check that what stands beside ``variant`` repeats its numbers."""
    width, depths = VARIANTS[variant]
    heads = _default_heads(tuple(width * 2**stage for stage in range(len(depths))))
    published = {"width": width, "depths": depths, "heads": heads, "mlp_ratio": VARIANT_MLP_RATIO}
    for key, value in given.items():
        if value != published[key]:
            shown, own = (list(part) if isinstance(part, tuple) else part for part in (value, published[key]))
            raise ValueError(f"{key}: {shown} is not allowed: variant {variant} has {own}; leave one of the two out")
