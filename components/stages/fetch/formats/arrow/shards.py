"""Read Hugging Face data sets on disk without the package ``datasets``: Arrow files of ``save_to_disk``, and Parquet shards.

``save_to_disk`` writes ``state.json`` (the names of its Arrow streams) into a folder per split, below ``dataset_dict.json`` if
there are several. Features (which column is an image, names of classes) are JSON in the schema's metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from components.stages.fetch.files.names import relative_name, split_of
from components.stages.fetch.files.walk import Walk
from components.stages.fetch.formats.documents import read_json

BATCH = 32  # rows of a Parquet file that are decoded at once


def find_shards(walk: Walk) -> dict[str, list[Path]]:
    """Return the set's own name of each split -> its files in order; "" for a set without splits. Empty if there is none."""
    root = walk.root
    if (root / "dataset_dict.json").is_file():
        splits = read_json(walk, root / "dataset_dict.json").get("splits", [])
        return {str(split): _saved(walk, root / relative_name(str(split), str(root))) for split in splits}
    if (root / "state.json").is_file():
        return {"": _saved(walk, root)}
    found: dict[str, list[Path]] = {}
    for folder in (root, *(path for path in walk.folders(root))):
        for path in (path for path in walk.entries(folder) if path.suffix == ".parquet"):
            words = re.split(r"[^A-Za-z]+", path.relative_to(root).with_suffix("").as_posix())
            name = next((word for word in words if split_of(word)), "")
            found.setdefault(name, []).append(path)
    return found


def _saved(walk: Walk, folder: Path) -> list[Path]:
    state = read_json(walk, folder / "state.json")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise ValueError(f"{folder}: saved with a selection of rows; call flatten_indices() before save_to_disk()")
    files = [str(file["filename"]) for file in state.get("_data_files", [])]
    return [folder / relative_name(name, f"{folder}/state.json") for name in files]


def read_features(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return (column -> its feature as Hugging Face describes it, column -> Arrow's type) of a shard."""
    with _opened(path) as file:
        schema = file.schema_arrow if path.suffix == ".parquet" else file.schema
    given = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = given.get("info", {}).get("features", {}) if isinstance(given, dict) else {}
    return features if isinstance(features, dict) else {}, {field.name: str(field.type) for field in schema}


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a shard with these columns; of "image.path" comes {"image": {"path": ...}}."""
    with _opened(path) as file:
        if path.suffix == ".parquet":
            batches = file.iter_batches(batch_size=BATCH, columns=list(columns))
            yield from chain.from_iterable(batch.to_pylist() for batch in batches)
            return
        for batch in file:
            chosen = [(*column.partition(".")[::2], batch) for column in columns]
            for row in range(batch.num_rows):
                yield {name: _value(part, name, inner, row) for name, inner, part in chosen}


def _value(batch: Any, name: str, inner: str, row: int) -> Any:
    column = batch.column(name)
    return {inner: column.field(inner)[row].as_py()} if inner else column[row].as_py()


class Images:
    """The pictures of a shard, read in ascending order of rows; going back starts again.

    ``field``: of the column's struct, "" if the column itself has bytes.
    """

    def __init__(self, shard: Path, column: str, field: str) -> None:
        self._shard, self._column, self._field = shard, column, field
        self._next = 0  # row that ``_rows`` yields next
        self._rows: Iterator[dict[str, Any]] = iter(())
        self._last: Any = None

    def read(self, row: int) -> bytes:
        """Return the bytes of the picture in a row. ValueError if there are none."""
        if self._next == 0 or row < self._next - 1:
            self._next, self._rows = 0, read_rows(self._shard, [self._column])
        while self._next <= row:
            self._last = next(self._rows)[self._column]
            self._next += 1
        data = (self._last or {}).get(self._field) if self._field else self._last
        if not isinstance(data, bytes):
            raise ValueError(f"{self._shard}, row {row}: no bytes of a picture; save the set with its pictures in it")
        return data


@dataclass(frozen=True)
class Cell:
    """The picture in a row of a shard."""

    images: Images
    row: int

    def read(self) -> bytes:
        return self.images.read(self.row)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a shard with pyarrow. ValueError if it is not readable."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        if path.suffix == ".parquet":
            with ParquetFile(path) as file:
                yield file
        else:
            with pyarrow.memory_map(str(path)) as source, pyarrow.ipc.open_stream(source) as stream:
                yield stream
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not readable: {str(error).splitlines()[0]}") from None
