"""What an image may be conditioned on, as tensors, and what says "nothing" in its place.

``label``: int64 [N], -1 for none; ``tokens``: int64 [N, T], the bytes of a text in UTF-8, then zeros, zeros alone for none;
``low_resolution``: float32 [N, C, h, w] in [-1, 1], all 0 (grey) for none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .denoiser import Condition

NUM_TOKENS = 256  # bytes; no text in UTF-8 has a 0 but NUL
NO_LABEL = -1


def null_of(condition: Condition) -> Condition:
    """The same keys and shapes, saying "nothing"."""
    return {key: torch.full_like(value, NO_LABEL if key == "label" else 0) for key, value in condition.items()}


def tokens_of(texts: Sequence[str], context: int) -> Tensor:
    """int64 [N, context]; ValueError for a text that is longer than ``context`` bytes, or that holds NUL."""
    rows = [text.encode() for text in texts]
    for text, row in zip(texts, rows, strict=True):
        if len(row) > context:
            raise ValueError(f"text: {text!r} is {len(row)} bytes long, longer than the context of {context}")
        if 0 in row:
            raise ValueError(f"text: {text!r} holds a NUL, which stands for padding")
    padded = b"".join(row.ljust(context, b"\0") for row in rows)
    return torch.frombuffer(bytearray(padded), dtype=torch.uint8).view(len(rows), context).long()


def lower_resolution(image: Tensor, factor: int) -> Tensor:
    """[N, C, H, W] in [-1, 1] -> [N, C, H / factor, W / factor]: means of squares, rounded to 8 bits as an image on disk is."""
    return F.avg_pool2d(image, factor).add(1).mul(127.5).round().div(127.5).sub(1)
