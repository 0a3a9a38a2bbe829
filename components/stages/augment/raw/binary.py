"""Readers of two binary formats of published image sets, with checks of headers and lengths."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

CIFAR_RECORD = 1 + 3 * 32 * 32  # label, then planar RGB


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read a uint8 array from an IDX file (http://yann.lecun.com/exdb/mnist), plain or gzip.

    Header, big endian: two zero bytes, 8 for uint8, the number of dimensions, then each size as 32 bits.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: broken gzip file: {error}") from None
    start = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, 8, dimensions]) or len(data) < start:
        raise ValueError(f"{path}: starts with {data[:4].hex()}, not with the header of {dimensions}-dimensional bytes")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", dimensions, offset=4))
    if len(data) - start != int(np.prod(shape)):
        raise ValueError(f"{path}: {len(data) - start} bytes of data, the header says {shape}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def read_cifar10(path: Path) -> np.ndarray:
    """Map uint8 [N, 3073]: label byte, then 32 x 32 planar RGB (https://www.cs.toronto.edu/~kriz/cifar.html)."""
    size = path.stat().st_size
    if size == 0 or size % CIFAR_RECORD:
        raise ValueError(f"{path}: {size} bytes, not a multiple of a record's {CIFAR_RECORD}")
    return np.asarray(np.memmap(path, np.uint8, mode="r")).reshape(-1, CIFAR_RECORD)
