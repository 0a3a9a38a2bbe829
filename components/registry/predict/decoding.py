"""Read and decode pictures in batches, with threads; broken ones are reported and passed over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np

from components.registry.monitor.incoming import Unreadable, read
from components.registry.predict.model import Decode
from components.registry.predict.pictures import Picture

WORKERS = max(1, min(8, os.cpu_count() or 1))

Broken = Callable[[Picture, str], None]  # called with each picture that cannot be read, and why
Decoded = Future[np.ndarray]


def batches(
    pictures: Iterable[Picture], decode: Decode, size: int, broken: Broken
) -> Iterator[tuple[list[Picture], np.ndarray]]:
    """Yield at most ``size`` pictures and their pixels, uint8 [n, H, W, C], n >= 1, in the order of ``pictures``.

    One batch is decoded ahead, and no more: memory does not grow with the number of pictures.
    """
    source = iter(pictures)
    with ThreadPoolExecutor(WORKERS) as pool:

        def submit() -> list[tuple[Picture, Decoded]]:
            return [(picture, pool.submit(_pixels, picture, decode)) for picture in islice(source, size)]

        ahead = submit()
        while ahead:
            batch, ahead = ahead, submit()
            whole = list(_whole(batch, broken))
            if whole:
                yield [picture for picture, _ in whole], np.stack([pixels for _, pixels in whole])


def _pixels(picture: Picture, decode: Decode) -> np.ndarray:
    try:
        return decode(read(picture.path))
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except Unreadable as error:
        raise ValueError(str(error)) from None


def _whole(batch: list[tuple[Picture, Decoded]], broken: Broken) -> Iterator[tuple[Picture, np.ndarray]]:
    for picture, future in batch:
        try:
            yield picture, future.result()
        except ValueError as error:
            broken(picture, str(error))
