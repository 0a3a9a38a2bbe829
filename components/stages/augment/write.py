"""A view's arrays on disk, written chunk by chunk; digest and statistics are taken on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.core.files import write_atomically
from components.stages.augment.draws import Augmenter, Draws

CHUNK = 2**24  # bytes of images that are handled at once; the augmented copies depend on it
STD_FLOOR = 1 / 127.5  # one grey level in [-1, 1] units: constant images must not divide by zero


def original_chunks(images: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    """uint8 [n, H, W, C] copies of the rows, in order."""
    step = max(1, CHUNK // images[0].nbytes)
    for start in range(0, len(rows), step):
        yield images[rows[start : start + step]]


def augmented_chunks(images: np.ndarray, rows: np.ndarray, augmenter: Augmenter, copy: int, seed: int) -> Iterator[np.ndarray]:
    """The rows once more, augmented: the draws are functions of (seed, copy, place)."""
    for number, chunk in enumerate(original_chunks(images, rows)):
        yield augmenter(chunk, Draws.make(len(chunk), seed, "copies", copy, number))


def corrupt_in_place(images: np.ndarray, corruption: Augmenter, seed: int) -> None:
    """uint8 [N, H, W, C], overwritten: the draws are functions of (seed, place in the dataset), whatever the image's split."""
    step = max(1, CHUNK // images[0].nbytes)
    for number, start in enumerate(range(0, len(images), step)):
        part = images[start : start + step]
        corruption(part, Draws.make(len(part), seed, "corrupt", number))


class Writer:
    """Writes arrays into ``folder``; ``digest`` is the SHA-256 over names, types, shapes and bytes in the order of writing."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Hexadecimal."""
        return self._digest.hexdigest()

    def images(self, split: str, shape: tuple[int, ...], chunks: Iterator[np.ndarray]) -> np.ndarray:
        """``<split>.image.npy`` of ``shape`` [N, H, W, C]; returns how often each grey level occurs, int64 [C, 256]."""
        name = f"{split}.image"
        array = np.lib.format.open_memmap(self._folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=shape)
        self._digest.update(f"{name} uint8 {shape}\n".encode())
        levels, done = np.zeros((shape[3], 256), dtype=np.int64), 0
        for chunk in chunks:
            array[done : done + len(chunk)] = chunk
            self._digest.update(chunk.tobytes())
            levels += np.stack([np.bincount(chunk[..., c].ravel(), minlength=256) for c in range(shape[3])])
            done += len(chunk)
        assert done == len(array), (done, shape)
        array.flush()
        return levels

    def column(self, split: str, column: str, indices: np.ndarray) -> None:
        """``<split>.<column>.npy``, int64 [N]."""
        name = f"{split}.{column}"
        self._digest.update(f"{name} int64 {indices.shape}\n".encode() + indices.astype("<i8").tobytes())
        np.save(self._folder / f"{name}.npy", indices.astype(np.int64), allow_pickle=False)

    def texts(self, split: str, texts: list[str]) -> None:
        """``<split>.text.json``, N strings."""
        data = (json.dumps(texts, ensure_ascii=False, indent=0) + "\n").encode()
        self._digest.update(f"{split}.text\n".encode() + data)
        write_atomically(self._folder / f"{split}.text.json", data)


def statistics(levels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) a channel in [-1, 1] units, exact in float64, from counts int64 [C, 256] of the grey levels."""
    values = np.arange(256) / 127.5 - 1
    share = levels / levels.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt((share * (values - mean[:, None]) ** 2).sum(axis=1))
    return tuple(mean.tolist()), tuple(np.maximum(std, STD_FLOOR).tolist())
