"""HIT-OR3C's characters (Zhou and others, DAS 2010): ``<writer>_images`` or ``<writer>_vectors``, codes in a file beside.

Images: number u32, height u8, width u8, then pixels row by row. Codes (``<writer>_labels``, or ``labels`` for all writers):
number i16, bytes of a code i8, codes; who reads them without these three bytes shifts every code. Vectors: number i32, bytes of
each character i16, then per character the number of strokes u8, the points of each stroke u8, x and y u8.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from components.stages.fetch.handwriting.reading import Parts, Reader
from components.stages.fetch.handwriting.samples import SUFFIX, Bitmap, PenStrokes, Sample
from components.stages.views.strokes import Strokes


def read_labels(reader: Reader) -> list[bytes]:
    """Return the codes. ValueError unless the file holds exactly as many as it claims."""
    number, length = reader.numbers("hb", "the header")
    if number < 1 or not 1 <= length <= 4 or reader.left != number * length:
        raise reader.fault(f"{number} codes of {length} bytes are claimed, {reader.left:,} bytes follow")
    data = reader.take(number * length, "the codes")
    return [data[start : start + length] for start in range(0, len(data), length)]


def read_images(reader: Reader, parts: Parts, codes: list[bytes]) -> Iterator[Sample]:
    """Yield the pictures, one for each code. ValueError where the file contradicts itself or its codes."""
    number, height, width = reader.numbers("IBB", "the header")
    if not height or not width:
        raise reader.fault(f"pictures of {width} x {height} pixels are not possible")
    _same_number(reader, number, codes)
    for code in codes:
        reader.begin()
        offset = reader.skip(width * height, "the pixels")
        yield Sample(reader.record, (code,), Bitmap(parts, reader.place, offset, width, height))
    _finished(reader)


def read_vectors(reader: Reader, parts: Parts, codes: list[bytes]) -> Iterator[Sample]:
    """Yield the strokes, one character for each code. ValueError where the file contradicts itself or its codes."""
    (number,) = reader.numbers("i", "the header")
    _same_number(reader, number, codes)
    sizes = reader.numbers(f"{len(codes)}h", "the characters' sizes")
    if min(sizes) < 1 or sum(sizes) != reader.left:
        raise reader.fault(f"the characters claim {sum(sizes):,} bytes, {reader.left:,} follow")
    for code, size in zip(codes, sizes, strict=True):
        reader.begin()
        offset = reader.offset
        try:
            parse_vector(reader.take(size, "the strokes"))
        except ValueError as error:
            raise reader.fault(str(error)) from None
        yield Sample(reader.record, (code,), PenStrokes(parts, reader.place, offset, size, parse_vector), suffix=SUFFIX)


def parse_vector(data: bytes) -> Strokes:
    """Return the strokes, int16 [points, 2] each. ValueError if the counts do not give the number of bytes."""
    numbers = np.frombuffer(data, np.uint8)
    strokes = int(numbers[0])
    counts = numbers[1 : 1 + strokes].astype(np.int64)
    expected = 1 + strokes + 2 * int(counts.sum())
    if not strokes or len(counts) < strokes or not counts.all() or expected != len(data):
        raise ValueError(f"{strokes} strokes of {counts.sum():,} points are claimed in {len(data):,} bytes")
    points = numbers[1 + strokes :].reshape(-1, 2).astype(np.int16)
    return tuple(np.split(points, np.cumsum(counts)[:-1]))


def _same_number(reader: Reader, number: int, codes: list[bytes]) -> None:
    if number != len(codes):
        raise reader.fault(f"{number:,} characters are claimed, and {len(codes):,} codes are beside")


def _finished(reader: Reader) -> None:
    if reader.left:
        raise reader.fault(f"{reader.left:,} bytes follow the last character")
