"""HCL2000's characters, .hcl (Zhang and others, ICDAR 2009): a file a writer, GB 2312's first level in order.

A header of 512 bytes, then 3,755 pictures of 512: 64 rows of 8 bytes, the leftmost pixel in the highest bit, 1 = ink.
"""

from __future__ import annotations

from collections.abc import Iterator

from components.stages.fetch.handwriting.codes import LEVEL_1, level_1
from components.stages.fetch.handwriting.reading import Parts, Reader
from components.stages.fetch.handwriting.samples import Bits, Sample

BLOCK = 512  # bytes of the header, and of each picture
SIDE = 64  # pixels
LENGTH = BLOCK * (LEVEL_1 + 1)


def read_hcl(reader: Reader, parts: Parts) -> Iterator[Sample]:
    """Yield the samples of a file. ValueError if its length is not that of all characters."""
    if reader.left > LENGTH:
        raise reader.fault(f"{reader.left:,} bytes; a file of {LEVEL_1:,} characters has {LENGTH:,}")
    reader.skip(BLOCK, "the header")
    for code in level_1():
        reader.begin()
        offset = reader.skip(BLOCK, "the pixels")
        yield Sample(reader.record, (code,), Bits(parts, reader.place, offset, SIDE, SIDE))
