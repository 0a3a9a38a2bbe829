"""Conditions of an image as tensors, and the null of each, which means "unconditional".

``label``: int64 [N], null -1; ``tokens``: int64 [N, T], UTF-8 bytes padded with zeros, null all zeros; ``low_resolution``:
float32 [N, C, h, w] in [-1, 1], null all 0 (grey).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Condition = dict[str, Tensor]  # name -> [N, ...]; empty: unconditional

NUM_TOKENS = 256  # bytes; no text in UTF-8 has a 0 but NUL
NO_LABEL = -1


def null_of(condition: Condition) -> Condition:
    """Return the null of every condition, with the same keys and shapes."""
    return {key: torch.full_like(value, NO_LABEL if key == "label" else 0) for key, value in condition.items()}


def tokens_of(texts: Sequence[str], context: int) -> Tensor:
    """Encode texts as int64 [N, context]; ValueError for a text longer than ``context`` bytes, or one that contains NUL."""
    rows = [text.encode() for text in texts]
    for text, row in zip(texts, rows, strict=True):
        if len(row) > context:
            raise ValueError(f"text: {text!r} is {len(row)} bytes long, longer than the context of {context}")
        if 0 in row:
            raise ValueError(f"text: {text!r} holds a NUL, which stands for padding")
    padded = b"".join(row.ljust(context, b"\0") for row in rows)
    return torch.frombuffer(bytearray(padded), dtype=torch.uint8).view(len(rows), context).long()


def texts_of(tokens: Tensor) -> list[str]:
    """Decode what ``tokens_of`` encoded; half a character at the end of a text that was cut is left out."""
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in tokens.to(torch.uint8).tolist()]


def lower_resolution(image: Tensor, factor: int) -> Tensor:
    """[N, C, H, W] in [-1, 1] -> [N, C, H / factor, W / factor] by average pooling, rounded to 8 bits like an image on disk."""
    return F.avg_pool2d(image, factor).add(1).mul(127.5).round().div(127.5).sub(1)


def drop_conditions(condition: Condition, null: Condition, dropped: Tensor) -> Condition:
    """Replace all conditions of the images in ``dropped`` (bool [N]) by their nulls, so that one network learns both models."""
    return {
        key: torch.where(dropped.to(value.device).view(-1, *[1] * (value.dim() - 1)), null[key], value)
        for key, value in condition.items()
    }
