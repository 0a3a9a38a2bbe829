"""Character codes of the GB standards: bytes as they are stored -> a character."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

# Nothing that is written: control, unassigned, private use (GB 18030 maps its free area there), surrogates.
NO_CHARACTER = ("Cc", "Cf", "Cn", "Co", "Cs")
LEVEL_1 = 3755  # characters of GB 2312's first level, B0A1 to D7F9


def decode(code: bytes) -> str | None:
    """Return the character of a code in GB 18030, without NUL at either end; None if it is not exactly one.

    GB 18030 and not ``gb2312``: HWDB has characters outside GB 2312, and Python's codec differs at A1A4 and A1AA.
    """
    try:
        character = code.strip(b"\0").decode("gb18030")
    except UnicodeDecodeError:
        return None
    return character if len(character) == 1 and unicodedata.category(character) not in NO_CHARACTER else None


def is_padded(code: bytes) -> bool:
    """Whether a code of one byte is filled up with NUL, as ASCII's symbols are in HWDB."""
    return len(code) > 1 and len(code.strip(b"\0")) == 1


def level_1() -> Iterator[bytes]:
    """Yield the codes of GB 2312's first level in order: B0A1 (啊) ... D7F9 (座), 94 a row, D7FA to D7FE empty."""
    for index in range(LEVEL_1):
        row, cell = divmod(index, 94)
        yield bytes([0xB0 + row, 0xA1 + cell])
