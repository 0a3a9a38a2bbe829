"""CASIA-OLHWDB's characters, .pot (Liu and others, ICDAR 2011): pen strokes, one character a record.

A record: its bytes u16, code 4 bytes as a little-endian number (reversed against .gnt), number of strokes u16, points i16 x, y;
(-1, 0) ends a stroke, (-1, -1) the character.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from components.stages.fetch.handwriting.reading import Parts, Reader
from components.stages.fetch.handwriting.samples import SUFFIX, PenStrokes, Sample
from components.stages.views.strokes import Strokes

HEADER = 8  # bytes before the points
END = (-1, -1)
END_OF_STROKE = (-1, 0)


def read_pot(reader: Reader, parts: Parts) -> Iterator[Sample]:
    """Yield the samples of a file. ValueError where a record contradicts itself or breaks off."""
    while reader.left:
        reader.begin()
        (size,) = reader.numbers("H", "the record's header")
        code = reader.take(4, "the record's header")
        (number,) = reader.numbers("H", "the record's header")
        count = size - HEADER
        if count < 4 or count % 4:
            raise reader.fault(f"{size:,} bytes are claimed; {HEADER} and 4 for each point are expected")
        offset = reader.offset
        points = reader.take(count, "the points")
        try:
            strokes = parse_points(points)
        except ValueError as error:
            raise reader.fault(str(error)) from None
        if len(strokes) != number:
            raise reader.fault(f"{number} strokes are claimed, {len(strokes)} are there")
        content = PenStrokes(parts, reader.place, offset, count, parse_points)
        yield Sample(reader.record, (code[::-1],), content, suffix=SUFFIX)


def parse_points(data: bytes) -> Strokes:
    """Return the strokes, int16 [points, 2] each. ValueError unless the last pair alone ends the character."""
    pairs = np.frombuffer(data, "<i2").reshape(-1, 2)
    ends = np.flatnonzero((pairs == END_OF_STROKE).all(1))
    over = np.flatnonzero((pairs == END).all(1))
    if not len(over) or over[0] != len(pairs) - 1:
        raise ValueError("the end of the character, (-1, -1), is not where the record ends")
    if not len(ends) or ends[-1] != len(pairs) - 2:
        raise ValueError("the last stroke has no end, (-1, 0)")
    strokes = tuple(pairs[start:end] for start, end in zip([0, *(ends[:-1] + 1)], ends, strict=True))
    if not all(map(len, strokes)):
        raise ValueError("a stroke without points")
    return strokes
