"""Many images through graphs: a few at a time, and each through the graphs of its own domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

CHUNK = 64  # images: their codes are larger than they are
CELLS = 4  # a side, of what a content code is reduced to


def in_chunks(act: Callable[..., tuple[np.ndarray, ...]], *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """``act`` on ``arrays``, each [N, ...], CHUNK rows at a time; its answers, each [N, ...]."""
    number = len(arrays[0])
    if number == 0:  # not every operator takes an empty batch
        return tuple(answer[:0] for answer in act(*(np.zeros((1, *array.shape[1:]), array.dtype) for array in arrays)))
    starts = range(0, number, CHUNK)
    answers = [act(*(array[start : start + CHUNK] for array in arrays)) for start in starts]
    return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))


def of_each(domain: np.ndarray, act: Callable[[int, np.ndarray], Sequence[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """``act(k, indices)`` for the images of each k of ``domain``, int64 [N]; its answers, [N, ...], in the images' order."""
    indices = [np.flatnonzero(domain == k) for k in np.unique(domain)]
    answers = [act(int(domain[here[0]]), here) for here in indices]
    order = np.argsort(np.concatenate(indices))
    return tuple(np.concatenate(parts)[order] for parts in zip(*answers, strict=True))


def cells(content: np.ndarray) -> np.ndarray:
    """float32 [N, C, h, w] -> [N, C * a * b]: means over at most 4 x 4 cells, what is left of where things are."""
    for axis in (2, 3):
        side = content.shape[axis]
        starts = np.arange(min(CELLS, side)) * side // min(CELLS, side)
        lengths = np.diff([*starts, side]).reshape(-1, *[1] * (3 - axis))
        content = np.add.reduceat(content, starts, axis=axis) / lengths
    return content.reshape(len(content), -1).astype(np.float32)
