"""Texts to tokens and back: UTF-8 bytes, or byte-level BPE as in CLIP (Radford et al., arXiv:2103.00020; Sennrich et al. 2016).

The vocabulary of a BPE is, in this order: the 256 bytes, the 256 bytes that end a word, one token per merge, start of text,
end of text (OpenAI's order, so that ids fit their weights). Shipped with exports: numpy and the standard library alone.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np

FILE = "tokeniser.json"
BYTES, BPE, OPENAI = "bytes", "bpe", "openai"
END_OF_WORD = "</w>"
SYMBOLS = 2 * 256  # tokens of a BPE before its merges
SPECIAL = 2  # start and end of text
CACHED = 2**16  # words whose tokens are remembered

# Contractions, letters and digits, anything else; ``words`` divides the second kind. An underscore is \w, but no letter.
PARTS = re.compile(r"'(?i:s|t|re|ve|m|ll|d)|[^\W_]+|(?:[^\w\s]|_)+")
QUOTES = str.maketrans({**dict.fromkeys("ʼ‘’‚‛", "'"), **dict.fromkeys("“”„‟", '"')})


@dataclass(frozen=True)
class Tokeniser:
    """Texts to int64 [N, T]. ``kind``: "bytes", or "bpe" and "openai", which differ in where the merges come from.

    ``merges``: pairs of symbols in order of rank; ``context_length``: T, start and end of text included.
    """

    kind: str
    context_length: int
    merges: tuple[tuple[str, str], ...] = ()

    @classmethod
    def read(cls, path: Path | str) -> Tokeniser:
        """Read a file that ``write`` has written. ValueError names a broken one."""
        try:
            fields = json.loads(Path(path).read_text(encoding="utf-8"))
            merges = tuple(_pair(merge) for merge in fields["merges"])
            return cls(fields["kind"], fields["context_length"], merges)
        except (KeyError, TypeError, UnicodeDecodeError, ValueError) as error:
            raise ValueError(f"{path}: not a tokeniser: {error!r}") from None

    def as_json(self) -> dict[str, Any]:
        """Return the content of the file: kind, context_length, and merges as "a b"."""
        merges = [" ".join(merge) for merge in self.merges]
        return {"kind": self.kind, "context_length": self.context_length, "merges": merges}

    @property
    def vocabulary_size(self) -> int:
        """Number of ids."""
        return 256 if self.kind == BYTES else SYMBOLS + len(self.merges) + SPECIAL

    @property
    def start_id(self) -> int | None:
        """Id of the start of a text; None for bytes."""
        return None if self.kind == BYTES else self.vocabulary_size - 2

    @property
    def end_id(self) -> int | None:
        """Id of the end of a text, the largest; None for bytes."""
        return None if self.kind == BYTES else self.vocabulary_size - 1

    @property
    def pad_id(self) -> int:
        """Id after the end; as in CLIP it is that of a token, so that the end alone says where a text ends."""
        return 0

    def facts(self) -> dict[str, Any]:
        """Return what a view's facts say of its tokens."""
        names = ("context_length", "vocabulary_size", "start_id", "end_id", "pad_id")
        return {name: getattr(self, name) for name in names}

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text of any length, without start and end. ValueError for half a surrogate, or a NUL in bytes."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"text: {text!r} holds half a surrogate pair, which is no character") from None
        if self.kind == BYTES:
            if 0 in data:
                raise ValueError(f"text: {text!r} holds a NUL, which stands for padding")
            return list(data)
        return [token for word in words(clean(text)) for token in self._word(word)]

    def tokens(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return ``tokens`` int64 [N, T] and ``cut`` bool [N]: True where a text was longer and lost its last tokens.

        A text that is cut keeps its end token; bytes are cut after the last whole character that fits.
        """
        rows = np.full((len(texts), self.context_length), self.pad_id, dtype=np.int64)
        cut = np.zeros(len(texts), dtype=np.bool_)
        for number, text in enumerate(texts):
            ids = self._with_ends(self.encode(text))
            cut[number] = len(ids) > self.context_length
            ids = self._fitting(ids) if cut[number] else ids
            rows[number, : len(ids)] = ids
        return rows, cut

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of the ids up to the end of text, cleaned as it was encoded."""
        special = {self.start_id, self.end_id}
        kept: list[int] = []
        for token in map(int, ids):
            if token == self.end_id or (self.kind == BYTES and token == self.pad_id):
                break
            kept += [token] if token not in special else []
        if self.kind == BYTES:
            return bytes(kept).decode(errors="replace")
        symbols = "".join(self._symbols[token] for token in kept).replace(END_OF_WORD, " ")
        return bytes(_BYTES_OF.get(symbol, 32) for symbol in symbols).decode(errors="replace").strip()

    def _with_ends(self, ids: list[int]) -> list[int]:
        return ids if self.start_id is None or self.end_id is None else [self.start_id, *ids, self.end_id]

    def _fitting(self, ids: list[int]) -> list[int]:
        if self.end_id is None:
            return list(bytes(ids[: self.context_length]).decode(errors="ignore").encode())
        return [*ids[: self.context_length - 1], self.end_id]

    def _word(self, word: str) -> list[int]:
        """Return the ids of one word, from the cache if it was seen."""
        if (ids := self._cache.get(word)) is None:
            symbols = symbols_of(word)
            ids = [self._ids[symbol] for symbol in merged(symbols, self._ranks)]
            if len(self._cache) < CACHED:
                self._cache[word] = ids
        return ids

    @cached_property
    def _cache(self) -> dict[str, list[int]]:
        return {}

    @cached_property
    def _symbols(self) -> list[str]:
        single = list(SYMBOL_OF.values())
        return [*single, *(symbol + END_OF_WORD for symbol in single), *("".join(merge) for merge in self.merges)]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self._symbols)}

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        return {merge: rank for rank, merge in enumerate(self.merges)}


def clean(text: str) -> str:
    """Normalise as OpenAI's tokeniser: straight quotes, NFC, HTML entities, single spaces, lower case.

    Theirs also repairs wrongly decoded text (library ``ftfy``); this does not.
    """
    text = unicodedata.normalize("NFC", text.translate(QUOTES))
    text = html.unescape(html.unescape(text))
    return re.sub(r"\s+", " ", text).strip().lower()


def words(text: str) -> Iterator[str]:
    r"""Divide a clean text into contractions, runs of letters, single digits and runs of anything else but spaces.

    OpenAI's pattern is 's|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+; ``re`` has no \p.
    """
    for part in PARTS.findall(text):
        if part.isalpha() or not part[0].isalnum():
            yield part
            continue
        for letters, run in groupby(part, str.isalpha):
            characters = "".join(run)
            yield from [characters] if letters else characters


def symbols_of(word: str) -> list[str]:
    """Return a printable symbol per byte of the word; the last one ends the word."""
    symbols = [SYMBOL_OF[byte] for byte in word.encode()]
    symbols[-1] += END_OF_WORD
    return symbols


def merged(symbols: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Merge the pair of lowest rank, everywhere in the word, until no pair has a rank (Sennrich et al. 2016, algorithm 1)."""
    while len(symbols) > 1:
        pair = min(pairwise(symbols), key=lambda pair: ranks.get(pair, len(ranks)))
        if pair not in ranks:
            break
        symbols = _merge(symbols, pair)
    return symbols


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    place = 0
    while place < len(symbols):
        here = tuple(symbols[place : place + 2]) == pair
        joined.append("".join(pair) if here else symbols[place])
        place += 2 if here else 1
    return joined


def _pair(merge: str) -> tuple[str, str]:
    first, second = merge.split(" ")
    return first, second


def _symbols_of_bytes() -> dict[int, str]:
    """Map bytes to printable characters: printable Latin-1 stands for itself, and comes first; the rest follows from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + number) for number, byte in enumerate(others)}


SYMBOL_OF = _symbols_of_bytes()
_BYTES_OF = {symbol: byte for byte, symbol in SYMBOL_OF.items()}
