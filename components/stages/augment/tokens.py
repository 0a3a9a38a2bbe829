"""Tokenise captions to their UTF-8 bytes, padded with zeros, as in ``components.diffusion.conditions``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def tokenise(captions: Sequence[str], context_length: int, truncate: bool) -> np.ndarray:
    """Tokenise to uint8 [captions, context_length]. ValueError for a caption with a NUL, the padding, or for a longer one.

    With ``truncate`` a longer one is cut after the last whole character that fits.
    """
    rows = np.zeros((len(captions), context_length), dtype=np.uint8)
    for row, caption in zip(rows, captions, strict=True):
        data = caption.encode()
        if b"\0" in data:
            raise ValueError(f"the caption {caption!r} holds a NUL, which stands for padding")
        if len(data) > context_length:
            if not truncate:
                long = f"the caption {caption!r} has {len(data)} bytes, more than context_length, {context_length}"
                raise ValueError(f"{long}; truncate: true cuts it")
            data = data[:context_length].decode(errors="ignore").encode()
        row[: len(data)] = np.frombuffer(data, dtype=np.uint8)
    return rows


def captions_of(text: str | Sequence[str]) -> list[str]:
    """Return all captions of an image, whose text is one caption or a list of them."""
    return [text] if isinstance(text, str) else list(text)
