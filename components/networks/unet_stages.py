"""How residual and attention blocks stand together in the way down and the way up of a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .unet_blocks import AttentionBlock, Downsample, QkvOrder, ResBlock, Upsample


class Stage(nn.ModuleList):
    """Blocks in a row, each given what it takes."""

    def forward(self, x: Tensor, embedding: Tensor, text: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        for block in self:
            if isinstance(block, ResBlock):
                x = block(x, embedding)
            elif isinstance(block, AttentionBlock):
                x = block(x, text, mask)
            else:
                x = block(x)
        return x


@dataclass(frozen=True)
class Plan:
    """What every stage of one network has in common; the settings are those of ``UNet``.

    ``counts``: channels, a level; ``sizes``: the image's side, a level; ``embedding``: width of the time embedding.
    """

    counts: Sequence[int]
    sizes: Sequence[int]
    attention: Sequence[int]
    blocks: int
    embedding: int
    groups: int
    dropout: float
    heads: int
    head_width: int | None
    scale_shift: bool
    residual_resize: bool
    qkv_order: QkvOrder
    text_width: int | None = None

    def residual(self, inside: int, out: int, resize: str = "none") -> ResBlock:
        return ResBlock(
            inside,
            out,
            self.embedding,
            groups=self.groups,
            dropout=self.dropout,
            scale_shift=self.scale_shift,
            resize=resize,
        )

    def heads_of(self, count: int) -> int:
        """How many heads share ``count`` channels."""
        return self.heads if self.head_width is None else count // self.head_width

    def attend(self, count: int) -> AttentionBlock:
        heads = self.heads_of(count)
        return AttentionBlock(count, heads=heads, groups=self.groups, qkv_order=self.qkv_order, text_width=self.text_width)

    def block(self, inside: int, level: int) -> list[nn.Module]:
        """A residual block, and attention where this level has it."""
        count = self.counts[level]
        return [self.residual(inside, count), *([self.attend(count)] if self.sizes[level] in self.attention else [])]


def way_down(plan: Plan, inputs: int) -> tuple[nn.ModuleList, list[int]]:
    """The stages from ``inputs`` channels to the last level, and how many channels each one answers with."""
    count = plan.counts[0]
    stages, kept = nn.ModuleList([Stage([nn.Conv2d(inputs, count, 3, padding=1)])]), [count]
    for level in range(len(plan.counts)):
        for _ in range(plan.blocks):
            stages.append(Stage(plan.block(count, level)))
            count = plan.counts[level]
            kept.append(count)
        if level < len(plan.counts) - 1:
            stages.append(Stage([plan.residual(count, count, "down") if plan.residual_resize else Downsample(count)]))
            kept.append(count)
    return stages, kept


def middle(plan: Plan) -> Stage:
    count = plan.counts[-1]
    return Stage([plan.residual(count, count), plan.attend(count), plan.residual(count, count)])


def way_up(plan: Plan, kept: list[int]) -> nn.ModuleList:
    """The stages back to full size; each takes one of ``kept`` beside what comes from below, the last kept first."""
    stages, kept, count = nn.ModuleList(), list(kept), plan.counts[-1]
    for level in reversed(range(len(plan.counts))):
        for i in range(plan.blocks + 1):
            stage = plan.block(count + kept.pop(), level)
            count = plan.counts[level]
            if level and i == plan.blocks:
                stage.append(plan.residual(count, count, "up") if plan.residual_resize else Upsample(count))
            stages.append(Stage(stage))
    return stages


def make_plan(
    *,
    image_size: int,
    width: int,
    multipliers: Sequence[int],
    blocks: int,
    attention: Sequence[int],
    heads: int,
    head_width: int | None,
    groups: int,
    dropout: float,
    scale_shift: bool,
    residual_resize: bool,
    qkv_order: QkvOrder,
    text_width: int | None = None,
) -> Plan:
    """The settings, checked; ValueError names the key and what is allowed."""
    parts = {"groups": groups, "heads": heads, "head_width": head_width}
    for key, value in {"width": width, "blocks": blocks, **parts}.items():
        if value is not None and value < 1:
            raise ValueError(f"{key}: {value} is not allowed: at least 1")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: {dropout} is not allowed: at least 0 and below 1")
    if qkv_order not in ("heads_first", "qkv_first"):
        raise ValueError(f"qkv_order: {qkv_order!r} is not allowed: heads_first, qkv_first")
    sizes = level_sizes(image_size, multipliers, attention)
    counts = [multiplier * width for multiplier in multipliers]
    for key, part in parts.items():
        if uneven := [count for count in counts if part is not None and count % part]:
            raise ValueError(f"{key}: {part} does not divide a level's {uneven[0]} channels (width x multiplier)")
    return Plan(
        counts,
        sizes,
        attention,
        blocks,
        4 * width,
        groups,
        dropout,
        heads,
        head_width,
        scale_shift,
        residual_resize,
        qkv_order,
        text_width,
    )


def level_sizes(image_size: int, multipliers: Sequence[int], attention: Sequence[int]) -> list[int]:
    """The image's side at each level."""
    if not multipliers or min(multipliers) < 1:
        raise ValueError(f"multipliers: {list(multipliers)} is not allowed: one or more numbers of at least 1")
    if image_size % 2 ** (len(multipliers) - 1):
        most = (image_size & -image_size).bit_length()
        raise ValueError(f"multipliers: {len(multipliers)} levels do not halve {image_size} pixels evenly; at most {most}")
    sizes = [image_size >> level for level in range(len(multipliers))]
    if unknown := [size for size in attention if size not in sizes]:
        raise ValueError(f"attention: {unknown} is not allowed: sizes of the levels, {', '.join(map(str, sizes))}")
    return sizes
