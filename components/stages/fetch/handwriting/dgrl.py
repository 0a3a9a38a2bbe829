"""CASIA-HWDB 2's pages of text lines, .dgrl, and the header that .tcs (touching characters) shares with it.

Header: its bytes i32 = 36 + the illustration's, name of the format 8 bytes, illustration, code type 20 bytes, bytes of a code
i16, bits of a pixel i16. Then page height, width and number of lines i32; a line: number of characters i32, their codes, top,
left, height, width i32, pixels row by row, 255 = paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from components.stages.fetch.handwriting.reading import MAX_RECORD, Parts, Reader
from components.stages.fetch.handwriting.samples import Bitmap, Page, Sample

FIXED = 36  # bytes of the header besides the illustration
MAX_ILLUSTRATION = 2**16
MAX_SIDE = 32_768  # pixels of a page or line
LINE_BREAK = b"\n"


@dataclass(frozen=True)
class Header:
    """Header of a page. ``code_length``: bytes of a character's code."""

    form: str
    illustration: str
    code_type: str
    code_length: int


def read_header(reader: Reader, form: str) -> Header:
    """Read the header of a file of the format ``form``. ValueError if it is another."""
    (size,) = reader.numbers("i", "the header")
    if not FIXED <= size <= FIXED + MAX_ILLUSTRATION:
        raise reader.fault(f"a header of {size:,} bytes is not possible: {FIXED} to {FIXED + MAX_ILLUSTRATION:,}")
    name, illustration, code_type = (_text(reader.take(count, "the header")) for count in (8, size - FIXED, 20))
    length, bits = reader.numbers("hh", "the header")
    if name.upper() != form:
        raise reader.fault(f"the format {name!r} is not {form}")
    if not 1 <= length <= 4 or bits != 8:
        raise reader.fault(f"codes of {length} bytes and pixels of {bits} bits; 1 to 4 bytes and 8 bits are read")
    return Header(name, illustration, code_type, length)


def read_dgrl(reader: Reader, parts: Parts, unit: str = "line") -> Iterator[Sample]:
    """Yield the lines of a page, or with ``unit`` "page" the page. ValueError where it contradicts itself or breaks off."""
    header = read_header(reader, "DGRL")
    height, width, number = reader.numbers("iii", "the page's size")
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_RECORD):
        raise reader.fault(f"a page of {width} x {height} pixels is not possible")
    lines: list[tuple[int, int, Bitmap]] = []
    codes: list[bytes] = []
    for index in range(number):
        line, (top, left) = _read_line(reader, parts, header.code_length)
        if unit == "line":
            yield line
            continue
        assert isinstance(line.content, Bitmap)
        if top < 0 or left < 0 or top + line.content.height > height or left + line.content.width > width:
            raise reader.fault(f"the line is not inside the page of {width} x {height} pixels")
        lines.append((top, left, line.content))
        codes += [*([LINE_BREAK] if index else []), *line.codes]
    if reader.left or number < 0:
        raise reader.fault(f"{number} lines are claimed, and {reader.left:,} bytes follow them")
    if lines:
        yield Sample(1, tuple(codes), Page(width, height, tuple(lines)))


def _read_line(reader: Reader, parts: Parts, length: int) -> tuple[Sample, tuple[int, int]]:
    """Read a line; return it with its (top, left)."""
    reader.begin()
    (count,) = reader.numbers("i", "the line's header")
    codes = reader.take(count * length, "the line's codes")
    top, left, height, width = reader.numbers("iiii", "the line's header")
    if count < 1 or not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise reader.fault(f"{count} characters on {width} x {height} pixels are not possible")
    offset = reader.skip(width * height, "the pixels")
    split = tuple(codes[start : start + length] for start in range(0, len(codes), length))
    return Sample(reader.record, split, Bitmap(parts, reader.place, offset, width, height)), (top, left)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("gb18030", "replace").strip()
