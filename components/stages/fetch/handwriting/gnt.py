"""CASIA-HWDB's characters, .gnt (Liu and others, ICDAR 2011): one grey picture a record.

A record: its bytes u32 = 10 + width * height, code 2 bytes in reading order, width u16, height u16, pixels row by row, 255 =
paper.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.stages.fetch.handwriting.reading import Parts, Reader
from components.stages.fetch.handwriting.samples import Bitmap, Sample

HEADER = 10  # bytes before the pixels


def read_gnt(reader: Reader, parts: Parts) -> Iterator[Sample]:
    """Yield the samples of a file. ValueError where a record contradicts itself or breaks off."""
    while reader.left:
        reader.begin()
        (size,) = reader.numbers("I", "the record's header")
        code = reader.take(2, "the record's header")
        width, height = reader.numbers("HH", "the record's header")
        if not width or not height or size != HEADER + width * height:
            raise reader.fault(f"{size:,} bytes are claimed, {width} x {height} pixels are {HEADER + width * height:,}")
        offset = reader.skip(width * height, "the pixels")
        yield Sample(reader.record, (code,), Bitmap(parts, reader.place, offset, width, height))
