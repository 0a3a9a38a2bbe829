"""Write a view's arrays chunk by chunk, with digest and statistics.

Per split: ``image`` uint8 [N, H, W, C] of ``stored_size``; a file int64 [N] per column. If the view has them: ``image_mask``
bool [N, H, W]; ``boxes`` float32 [N, M, 4], ``box_label`` int64 and ``box_mask`` bool [N, M]; ``labels`` float32 [N, K];
``text``, the captions as JSON, and their ``tokens`` [captions, T], uint8 of bytes, else uint16, with ``token_start`` int64
[N + 1]: image i has those from token_start[i] to token_start[i + 1] - 1; ``tokeniser.json`` unless they are bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from components.core.files import write_atomically
from components.stages.views.draws import Augmenter, Draws
from components.stages.views.frames import Arrays

CHUNK = 2**24  # bytes of images that are handled at once; the augmented copies depend on it
STD_FLOOR = 1 / 127.5  # one grey level in [-1, 1] units: constant images must not divide by zero


def original_chunks(arrays: Arrays, rows: np.ndarray) -> Iterator[Arrays]:
    """Yield copies of the rows of ``image`` uint8 [N, H, W, C] with masks and boxes, in order."""
    step = max(1, CHUNK // arrays["image"][0].nbytes)
    for start in range(0, len(rows), step):
        yield {name: array[rows[start : start + step]] for name, array in arrays.items()}


def augmented_chunks(arrays: Arrays, rows: np.ndarray, augmenter: Augmenter, copy: int, seed: int) -> Iterator[Arrays]:
    """Yield augmented copies of the rows; the draws are functions of (seed, copy, place)."""
    for number, chunk in enumerate(original_chunks(arrays, rows)):
        yield augmenter.move(chunk, Draws.make(len(chunk["image"]), seed, "copies", copy, number))


def corrupt_in_place(arrays: Arrays, corruption: Augmenter, seed: int) -> None:
    """Corrupt ``image`` uint8 [N, H, W, C] with masks and boxes in place.

    The draws are functions of (seed, place in the dataset), independent of the image's split.
    """
    step = max(1, CHUNK // arrays["image"][0].nbytes)
    for number, start in enumerate(range(0, len(arrays["image"]), step)):
        part = {name: array[start : start + step] for name, array in arrays.items()}
        moved = corruption.move(part, Draws.make(len(part["image"]), seed, "corrupt", number))
        for name, array in part.items():
            array[:] = moved[name]


class Writer:
    """Writer of arrays to ``folder``; ``digest``: SHA-256 over names, types, shapes and bytes in the order of writing."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal digits."""
        return self._digest.hexdigest()

    def pictures(self, split: str, count: int, chunks: Iterator[Arrays]) -> np.ndarray:
        """Write ``<split>.image.npy`` uint8 [N, H, W, C] and a file per mask or box array, of ``count`` images in chunks.

        Adds only the images to the digest; ``moving`` adds the rest. Returns the histogram of grey levels, int64 [C, 256].
        """
        first = next(chunks)
        maps = {name: self._map(split, name, array.dtype, (count, *array.shape[1:])) for name, array in first.items()}
        shape = maps["image"].shape
        self._digest.update(f"{split}.image uint8 {shape}\n".encode())
        levels, done = np.zeros((shape[3], 256), dtype=np.int64), 0
        for chunk in chain([first], chunks):
            image = chunk["image"]
            for name, array in chunk.items():
                maps[name][done : done + len(image)] = array
            self._digest.update(image.tobytes())
            levels += np.stack([np.bincount(image[..., c].ravel(), minlength=256) for c in range(shape[3])])
            done += len(image)
        assert done == count, (done, shape)
        for array in maps.values():
            array.flush()
        return levels

    def _map(self, split: str, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
        return np.lib.format.open_memmap(self._folder / f"{split}.{name}.npy", mode="w+", dtype=dtype, shape=shape)

    def moving(self, split: str, name: str) -> None:
        """Add ``<split>.<name>.npy``, which ``pictures`` has written, to the digest."""
        array = np.load(self._folder / f"{split}.{name}.npy", mmap_mode="r", allow_pickle=False)
        self._digest.update(f"{split}.{name} {array.dtype} {array.shape}\n".encode())
        for start in range(0, len(array), 4096):
            self._digest.update(np.asarray(array[start : start + 4096]).tobytes())

    def array(self, split: str, name: str, array: np.ndarray) -> None:
        """Write ``<split>.<name>.npy`` of any type and shape."""
        array = np.ascontiguousarray(array)
        self._digest.update(f"{split}.{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
        np.save(self._folder / f"{split}.{name}.npy", array, allow_pickle=False)

    def column(self, split: str, column: str, indices: np.ndarray) -> None:
        """Write ``<split>.<column>.npy``, int64 [N]."""
        name = f"{split}.{column}"
        self._digest.update(f"{name} int64 {indices.shape}\n".encode() + indices.astype("<i8").tobytes())
        np.save(self._folder / f"{name}.npy", indices.astype(np.int64), allow_pickle=False)

    def texts(self, split: str, texts: list[Any]) -> None:
        """Write ``<split>.text.json``: N captions, or N lists of captions."""
        data = (json.dumps(texts, ensure_ascii=False, indent=0) + "\n").encode()
        self._digest.update(f"{split}.text\n".encode() + data)
        write_atomically(self._folder / f"{split}.text.json", data)


def statistics(levels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute (mean, std) per channel in [-1, 1] units from the histogram of grey levels, int64 [C, 256].

    The sums are exact integers and the final operations correctly rounded, so that every machine gets the same bits. With n
    pixels v in 0..255 and x = v / 127.5 - 1: mean x = (2 sum v - 255 n) / (255 n) and
    var x = 4 (n sum v^2 - (sum v)^2) / (255 n)^2.
    """
    values = np.arange(256, dtype=np.int64)
    means, stds = [], []
    for counts in levels:
        number, total, squares = (int((counts * values**power).sum()) for power in (0, 1, 2))
        means.append((2 * total - 255 * number) / (255 * number))
        stds.append(max(2 * math.sqrt(number * squares - total**2) / (255 * number), STD_FLOOR))
    return tuple(means), tuple(stds)
