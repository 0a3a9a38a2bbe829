"""Read a table (CSV, TSV, Parquet) to rows of text: encoding, delimiter, header."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.stages.fetch.files.walk import Walk

TEXT = (".csv", ".tsv", ".txt")
TABLES = (*TEXT, ".parquet")
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MAX_TABLE = 2**31  # bytes
PREVIEW = 50  # lines by which the delimiter is recognised

Cell = str | list[str]


@dataclass(frozen=True)
class Rows:
    """A table. ``rows``: (where, cells); a cell of a Parquet file may be a list. ``delimiter``: None for Parquet."""

    header: list[str]
    rows: list[tuple[str, list[Cell]]]
    delimiter: str | None


def read_rows(path: Path, walk: Walk, encoding: str = "utf-8", delimiter: str | None = None) -> Rows:
    """Read the whole table. ValueError if it is not readable; rows of another length than the header become faults."""
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, walk)
    text = _decode(walk.read(path, MAX_TABLE), path, encoding)
    delimiter = delimiter or sniff(text, path)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[tuple[str, list[Cell]]] = []
    try:
        for cells in lines:
            where = f"{path}, line {lines.line_num}"
            if not header:
                header = [cell.strip() for cell in cells]
            elif cells and len(cells) != len(header):
                walk.faults.add(f"{where}: {len(cells)} cells, the header has {len(header)}")
            elif cells:
                rows.append((where, list(cells)))
    except csv.Error as error:
        raise ValueError(f"{path}, line {lines.line_num}: not readable as a table: {error}") from None
    return Rows(header, rows, delimiter)


def _decode(data: bytes, path: Path, encoding: str) -> str:
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        hint = "save it as UTF-8, or set encoding (cp1252 for Windows in Western Europe, utf-16 for Excel's Unicode text)"
        raise ValueError(f"{path}, line {line}: not readable as {encoding}; {hint}") from None


def sniff(text: str, path: Path) -> str:
    """Return the delimiter that gives the first lines the same, largest number of cells; a comma if none divides them."""
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    preview = text.splitlines()[:PREVIEW]

    def cells(delimiter: str) -> tuple[bool, int, bool]:
        try:
            counts = [len(row) for row in csv.reader(preview, delimiter=delimiter) if row]
        except csv.Error:
            return False, 0, False
        most = counts[0] if counts else 0
        return most > 1 and len(set(counts)) == 1, most, delimiter == usual

    best = max(DELIMITERS, key=cells)
    return best if cells(best)[1] > 1 else usual


def _read_parquet(path: Path, walk: Walk) -> Rows:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(walk.note(path)) as file:
            header = file.schema_arrow.names
            if any("binary" in str(column.type) for column in file.schema_arrow):
                raise ValueError(f"{path}: a column holds bytes; pictures inside Parquet are read by the source huggingface")
            values = file.read().to_pylist()
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path}: not readable as Parquet: {error}") from None
    return Rows(header, [(f"{path}, row {i}", [_text(row[c]) for c in header]) for i, row in enumerate(values, 1)], None)


def _text(value: Any) -> Cell:
    """Return a value as in a CSV file; a list keeps its items."""
    if isinstance(value, list):
        return [str(item) for item in value if item is not None]
    return "" if value is None else str(value)
