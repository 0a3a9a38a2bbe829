"""Exact quantile of a stream that does not fit in memory: radix selection on the bits of the floats."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

DIGIT = 16  # bits a pass
SIZE = 1 << DIGIT


def streamed_quantile(read: Callable[[], Iterable[Tensor]], share: float) -> Tensor:
    """Compute the ``share`` quantile of all values that ``read()`` yields, float64 [], as ``numpy.quantile`` (linear).

    The values are finite and of one dtype; every ``read()`` yields the same ones. It is called three times for float32 and
    narrower types, five times for float64.
    """
    count, dtype = 0, torch.float32
    for values in read():
        count, dtype = count + values.numel(), torch.promote_types(values.dtype, torch.float32)
    position = share * (count - 1)
    low = int(position)
    below, above = _order_statistics(read, dtype, (low, min(low + 1, count - 1)))
    return below + (above - below) * (position - low)


def _order_statistics(read: Callable[[], Iterable[Tensor]], dtype: torch.dtype, ranks: tuple[int, ...]) -> list[Tensor]:
    """Select the values of these ranks (from 0) in ascending order; each pass determines the next 16 bits."""
    bits = torch.finfo(dtype).bits
    prefixes: list[int | None] = [None] * len(ranks)
    left = list(ranks)
    for shift in range(bits - DIGIT, -1, -DIGIT):
        counts = torch.zeros(len(ranks), SIZE, dtype=torch.int64)
        for values in read():
            keys = _ordered_bits(values.to(dtype).flatten())
            for index, prefix in enumerate(prefixes):
                counts[index] += _digits(keys, shift, prefix).bincount(minlength=SIZE).cpu()
        for index, prefix in enumerate(prefixes):
            total = counts[index].cumsum(0)
            digit = int(torch.searchsorted(total, left[index], right=True))
            left[index] -= int(total[digit] - counts[index, digit])
            prefixes[index] = digit - SIZE // 2 if prefix is None else (prefix << DIGIT) + digit
    return [_from_ordered_bits(prefix, dtype) for prefix in prefixes if prefix is not None]


def _digits(keys: Tensor, shift: int, prefix: int | None) -> Tensor:
    """Extract 16 bits at ``shift`` from the keys that begin with ``prefix``; the first digit, signed, is offset to >= 0."""
    if prefix is None:
        return (keys >> shift) + SIZE // 2
    return (keys[keys >> (shift + DIGIT) == prefix] >> shift) & (SIZE - 1)


def _ordered_bits(values: Tensor) -> Tensor:
    """Map floats to signed integers of the same order: for a negative float, flip all bits but the sign."""
    kind = torch.int64 if values.dtype == torch.float64 else torch.int32
    keys = values.view(kind)
    return torch.where(keys < 0, keys ^ torch.iinfo(kind).max, keys)


def _from_ordered_bits(key: int, dtype: torch.dtype) -> Tensor:
    kind = torch.int64 if dtype == torch.float64 else torch.int32
    return torch.tensor(key ^ torch.iinfo(kind).max if key < 0 else key, dtype=kind).view(dtype).double()
