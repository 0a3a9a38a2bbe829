"""Near-duplicates: pictures whose perceptual hashes differ in few bits, confirmed by their pixels.

The hash is that of pHash (Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2.1):
signs of the 63 lowest coefficients of a discrete cosine transform against their median.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.stages.augment.quality.thumbnails import GREY_SIDE, Thumbnails

LOW = 8  # coefficients on each side
SCALE = 1024  # of the integer cosines; all sums are below 2^53, so that float64 is exact
MAX_PAIRS = 3_000_000  # candidates by hash: a set with more has nearly equal pictures throughout, and the search is ended
NOISE = 4  # variance of a difference that is no difference: compression
RELATIVE = 3  # hundredths of a picture's own variance that a difference may have
SHIFT = 25  # levels by which the brightness may differ
CHUNK = 2**14  # pairs


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows, ``first`` < ``second``, int64 [P]. ``complete``: the search was not ended by ``MAX_PAIRS``."""

    first: np.ndarray
    second: np.ndarray
    complete: bool = True

    def __len__(self) -> int:
        return len(self.first)


def perceptual_hash(grey: np.ndarray) -> np.ndarray:
    """Compute uint64 [N] of int16 [N, 32, 32]."""
    angles = np.outer(np.arange(LOW), 2 * np.arange(GREY_SIDE) + 1) * (np.pi / (2 * GREY_SIDE))
    cosines = np.rint(SCALE * np.cos(angles))  # [8, 32]
    weights = np.uint64(1) << np.arange(LOW * LOW - 1, dtype=np.uint64)
    hashes = [np.zeros(0, dtype=np.uint64)]
    for start in range(0, len(grey), CHUNK):
        spectrum = cosines @ grey[start : start + CHUNK].astype(np.float64) @ cosines.T
        low = spectrum.reshape(-1, LOW * LOW)[:, 1:]  # without the mean brightness
        hashes.append(((low > np.median(low, axis=1, keepdims=True)) * weights).sum(axis=1, dtype=np.uint64))
    return np.concatenate(hashes)


def close_hashes(hashes: np.ndarray, distance: int) -> Pairs:
    """Find all pairs of uint64 [N] that differ in at most ``distance`` bits.

    Of distance + 1 bands of bits, at least one is equal in such a pair: only hashes that share a band are compared.
    """
    found = np.zeros(0, dtype=np.int64)
    edges = np.arange(distance + 2) * 64 // (distance + 1)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        band = (hashes >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        found = np.union1d(found, _close_in_band(hashes, band, distance))
        if len(found) > MAX_PAIRS:
            break
    complete = len(found) <= MAX_PAIRS
    found = found[:MAX_PAIRS]
    return Pairs(found // max(1, len(hashes)), found % max(1, len(hashes)), complete)


def _close_in_band(hashes: np.ndarray, band: np.ndarray, distance: int) -> np.ndarray:
    """Return first * N + second of the close pairs with equal bands: each is compared with the next, the next but one, ..."""
    order = np.argsort(band, kind="stable")
    ordered, bands = hashes[order], band[order]
    alive, step, pairs, number = np.arange(len(hashes)), 1, [np.zeros(0, dtype=np.int64)], 0
    while len(alive) and number <= MAX_PAIRS:
        alive = alive[alive + step < len(hashes)]
        alive = alive[bands[alive] == bands[alive + step]]
        close = alive[np.bitwise_count(ordered[alive] ^ ordered[alive + step]) <= distance]
        one, other = order[close], order[close + step]
        pairs.append(np.minimum(one, other) * len(hashes) + np.maximum(one, other))
        number, step = number + len(close), step + 1
    return np.concatenate(pairs)


def confirmed(pairs: Pairs, thumbnails: Thumbnails) -> Pairs:
    """Keep the pairs whose pixels differ by no more than compression and brightness would make them."""
    flat, scatter = thumbnails.small.reshape(len(thumbnails.small), -1), thumbnails.scatter
    size, same = flat.shape[1], np.zeros(len(pairs), dtype=np.bool_)
    for start in range(0, len(pairs), CHUNK):
        part = slice(start, start + CHUNK)
        first, second = pairs.first[part], pairs.second[part]
        difference = flat[first].astype(np.int64) - flat[second]
        shift = difference.sum(axis=1)
        rest = size * (difference**2).sum(axis=1) - shift**2  # variance of the difference, times size^2
        own = np.minimum(scatter[first], scatter[second])
        same[part] = (rest <= NOISE * size**2 + RELATIVE * own // 100) & (np.abs(shift) <= SHIFT * size)
    return Pairs(pairs.first[same], pairs.second[same], pairs.complete)


def near_duplicates(thumbnails: Thumbnails, digests: Sequence[bytes], distance: int) -> Pairs:
    """Find the near-duplicates among different pictures: rows of the first picture of each digest."""
    seen: dict[bytes, int] = {}
    for row, digest in enumerate(digests):
        if digest:
            seen.setdefault(digest, row)
    rows = np.array(sorted(seen.values()), dtype=np.int64)
    close = close_hashes(perceptual_hash(thumbnails.grey[rows]), distance)
    return confirmed(Pairs(rows[close.first], rows[close.second], close.complete), thumbnails)


def identities(digests: Sequence[bytes], pairs: Pairs) -> list[bytes]:
    """Return the digests with those of near-duplicates, and of their near-duplicates, replaced by the least of them."""
    parent: dict[bytes, bytes] = {}

    def root(digest: bytes) -> bytes:
        while (above := parent.get(digest, digest)) != digest:
            parent[digest] = parent.get(above, above)
            digest = above
        return digest

    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        low, high = sorted((root(digests[first]), root(digests[second])))
        parent[high] = low
    return [root(digest) for digest in digests]
