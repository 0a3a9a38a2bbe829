"""The served graphs of MUNIT and UNIT: an encoder and a decoder per domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from . import pixels, session

BATCH = 64  # images: their codes are larger than they are
CELLS = 4  # per side, that a content code is averaged over


class AutoEncoders:
    """``encode_<k>.onnx`` (image -> codes) and ``decode_<k>.onnx`` (codes -> image) of domain k in an export folder.

    ``codes``: the names of the graphs' codes, content (or latent) first. Images are uint8 [N, H, W, C]; ``source`` and
    ``target`` are the domains int64 [N] whose networks encode and decode each image.
    """

    def __init__(self, folder: Path, codes: tuple[str, ...]):
        self.names = codes
        self.encoders = [session.open_session(folder / f"encode_{k}.onnx") for k in (0, 1)]
        self.decoders = [session.open_session(folder / f"decode_{k}.onnx") for k in (0, 1)]

    def recode(self, image: np.ndarray, source: np.ndarray, target: np.ndarray, style: np.ndarray | None = None) -> np.ndarray:
        """Encode and decode the images with their own style, or with ``style`` float32 [N, S]."""

        def part(image: np.ndarray, source: np.ndarray, target: np.ndarray, *style: np.ndarray) -> tuple[np.ndarray]:
            codes = self.encode(image, source)
            return (self.decode((codes[0], *style) if style else codes, target),)

        styles = () if style is None else (style.astype(np.float32),)
        return in_batches(part, image, source, target, *styles)[0]

    def codes(self, image: np.ndarray, source: np.ndarray) -> dict[str, np.ndarray]:
        """Return "content" float32 [N, F], means over at most 4 x 4 cells, and "style" float32 [N, S], if there is one."""

        def part(image: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, ...]:
            content, *style = self.encode(image, source)
            return cells(content), *style

        content, *style = in_batches(part, image, source)
        return {"content": content} | dict(zip(self.names[1:], style, strict=True))

    def encode(self, image: np.ndarray, source: np.ndarray) -> tuple[np.ndarray, ...]:
        """Encode to content float32 [N, C', h, w] and style float32 [N, S], if there is one; N >= 1, also in ``decode``."""
        ranged = pixels.to_unit_range(image)
        return per_domain(source, lambda k, rows: self.encoders[k].run(list(self.names), {"image": ranged[rows]}))

    def decode(self, codes: tuple[np.ndarray, ...], target: np.ndarray) -> np.ndarray:
        """Decode to images, uint8 [N, H, W, C]."""

        def one(k: int, rows: np.ndarray) -> list[np.ndarray]:
            return self.decoders[k].run(["image"], {name: code[rows] for name, code in zip(self.names, codes, strict=True)})

        return pixels.from_unit_range(per_domain(target, one)[0])


def in_batches(function: Callable[..., tuple[np.ndarray, ...]], *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Apply ``function`` to BATCH rows of ``arrays``, each [N, ...], at a time; return its outputs, each [N, ...]."""
    number = len(arrays[0])
    if number == 0:  # not every operator takes an empty batch
        one = (np.zeros((1, *array.shape[1:]), array.dtype) for array in arrays)
        return tuple(output[:0] for output in function(*one))
    starts = range(0, number, BATCH)
    outputs = [function(*(array[start : start + BATCH] for array in arrays)) for start in starts]
    return tuple(np.concatenate(parts) for parts in zip(*outputs, strict=True))


def per_domain(domain: np.ndarray, function: Callable[[int, np.ndarray], Sequence[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Apply ``function(k, rows)`` to the rows of each domain k of ``domain``, int64 [N]; return its outputs, [N, ...]."""
    rows = [np.flatnonzero(domain == k) for k in np.unique(domain)]
    outputs = [function(int(domain[some[0]]), some) for some in rows]
    order = np.argsort(np.concatenate(rows))
    return tuple(np.concatenate(parts)[order] for parts in zip(*outputs, strict=True))


def cells(content: np.ndarray) -> np.ndarray:
    """Average over at most 4 x 4 cells: float32 [N, C, h, w] -> [N, C * a * b], a coarse layout."""
    for axis in (2, 3):
        side = content.shape[axis]
        starts = np.arange(min(CELLS, side)) * side // min(CELLS, side)
        lengths = np.diff([*starts, side]).reshape(-1, *[1] * (3 - axis))
        content = np.add.reduceat(content, starts, axis=axis) / lengths
    return content.reshape(len(content), -1).astype(np.float32)
