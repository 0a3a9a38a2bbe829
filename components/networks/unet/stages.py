"""The levels of a U-Net: which residual and attention blocks follow each other on the way down and up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from .blocks import AttentionBlock, Downsample, QkvOrder, ResBlock, Upsample


class Stage(nn.ModuleList):
    """Blocks in sequence; the embedding goes to residual blocks, the text to attention blocks."""

    def forward(self, x: Tensor, embedding: Tensor, text: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        for block in self:
            if isinstance(block, ResBlock):
                x = block(x, embedding)
            elif isinstance(block, AttentionBlock):
                x = block(x, text, mask)
            else:
                x = block(x)
        return x


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The settings that all stages of one network share, as documented by ``UNet``; ValueError names the wrong one."""

    image_size: int
    width: int
    multipliers: Sequence[float]
    blocks: int
    attention: Sequence[int]
    heads: int
    head_width: int | None
    groups: int
    dropout: float
    scale_shift: bool
    residual_resize: bool
    qkv_order: QkvOrder
    text_width: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Plan:
        """Take the settings of stages out of a network's arguments."""
        return cls(**{field.name: options[field.name] for field in fields(cls) if field.name in options})

    def __post_init__(self) -> None:
        parts = {"groups": self.groups, "heads": self.heads, "head_width": self.head_width}
        for key, value in {"width": self.width, "blocks": self.blocks, **parts}.items():
            if value is not None and value < 1:
                raise ValueError(f"{key}: {value} is not allowed: at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: {self.dropout} is not allowed: at least 0 and below 1")
        if self.qkv_order not in ("heads_first", "qkv_first"):
            raise ValueError(f"qkv_order: {self.qkv_order!r} is not allowed: heads_first, qkv_first")
        check_levels(self.image_size, self.multipliers, self.attention)
        for multiplier in self.multipliers:
            if multiplier * self.width % 1:
                channels = f"{multiplier} x width {self.width} = {multiplier * self.width:g} channels"
                raise ValueError(f"multipliers: {multiplier} is not allowed: {channels}, a whole number is needed")
        for key, part in parts.items():
            if uneven := [count for count in self.counts if part is not None and count % part]:
                raise ValueError(f"{key}: {part} does not divide a level's {uneven[0]} channels (width x multiplier)")

    @property
    def counts(self) -> list[int]:
        """Channels of each level."""
        return [int(multiplier * self.width) for multiplier in self.multipliers]

    @property
    def sizes(self) -> list[int]:
        """Height and width of the image at each level."""
        return [self.image_size >> level for level in range(len(self.multipliers))]

    def residual(self, channels: int, out: int, resize: str = "none") -> ResBlock:
        """A residual block; the embedding that it receives has 4 ``width`` numbers."""
        return ResBlock(
            channels,
            out,
            4 * self.width,
            groups=self.groups,
            dropout=self.dropout,
            scale_shift=self.scale_shift,
            resize=resize,
        )

    def heads_of(self, count: int) -> int:
        """Number of attention heads for ``count`` channels."""
        return self.heads if self.head_width is None else count // self.head_width

    def attend(self, count: int) -> AttentionBlock:
        """An attention block of ``count`` channels."""
        heads = self.heads_of(count)
        return AttentionBlock(count, heads=heads, groups=self.groups, qkv_order=self.qkv_order, text_width=self.text_width)

    def block(self, channels: int, level: int) -> list[nn.Module]:
        """A residual block, followed by attention if this level has it."""
        count = self.counts[level]
        return [self.residual(channels, count), *([self.attend(count)] if self.sizes[level] in self.attention else [])]


def way_down(plan: Plan, inputs: int) -> tuple[nn.ModuleList, list[int]]:
    """The encoder: stages from ``inputs`` channels to the last level, and the number of output channels of each."""
    count = plan.counts[0]
    stages, skipped = nn.ModuleList([Stage([nn.Conv2d(inputs, count, 3, padding=1)])]), [count]
    for level in range(len(plan.counts)):
        for _ in range(plan.blocks):
            stages.append(Stage(plan.block(count, level)))
            count = plan.counts[level]
            skipped.append(count)
        if level < len(plan.counts) - 1:
            stages.append(Stage([plan.residual(count, count, "down") if plan.residual_resize else Downsample(count)]))
            skipped.append(count)
    return stages, skipped


def middle(plan: Plan) -> Stage:
    """The stage of smallest size, always with attention."""
    count = plan.counts[-1]
    return Stage([plan.residual(count, count), plan.attend(count), plan.residual(count, count)])


def way_up(plan: Plan, skipped: list[int]) -> nn.ModuleList:
    """The decoder: each stage also receives the output of an encoder stage, of ``skipped`` channels, the last one first."""
    stages, skipped, count = nn.ModuleList(), list(skipped), plan.counts[-1]
    for level in reversed(range(len(plan.counts))):
        for i in range(plan.blocks + 1):
            stage = plan.block(count + skipped.pop(), level)
            count = plan.counts[level]
            if level and i == plan.blocks:
                stage.append(plan.residual(count, count, "up") if plan.residual_resize else Upsample(count))
            stages.append(Stage(stage))
    return stages


def check_levels(image_size: int, multipliers: Sequence[float], attention: Sequence[int]) -> None:
    """ValueError if the image cannot be halved that often, or if attention is asked for at a size that no level has."""
    if not multipliers or min(multipliers) <= 0:
        raise ValueError(f"multipliers: {list(multipliers)} is not allowed: one or more numbers above 0")
    if image_size % 2 ** (len(multipliers) - 1):
        most = (image_size & -image_size).bit_length()
        raise ValueError(f"multipliers: {len(multipliers)} levels do not halve {image_size} pixels evenly; at most {most}")
    sizes = [image_size >> level for level in range(len(multipliers))]
    if unknown := [size for size in attention if size not in sizes]:
        raise ValueError(f"attention: {unknown} is not allowed: sizes of the levels, {', '.join(map(str, sizes))}")
