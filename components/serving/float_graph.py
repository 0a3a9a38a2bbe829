"""The float graph beside a quantised one: an export with ``float.onnx`` can be served, measured and scored in float too."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FLOAT = "float.onnx"  # the graph that ``model.onnx`` was quantised from; served code does not load it
MODEL = "model.onnx"


def is_quantised(export: Path) -> bool:
    """Return whether the export in the folder ``export`` is quantised."""
    return (export / FLOAT).is_file()


@contextmanager
def float_export(export: Path) -> Iterator[Path]:
    """Yield a temporary folder of links to the files of a quantised export, with its float graph as ``model.onnx``."""
    with tempfile.TemporaryDirectory(prefix="float-") as name:
        folder = Path(name)
        for path in export.resolve().iterdir():
            if path.name not in (FLOAT, MODEL):
                (folder / path.name).symlink_to(path)
        (folder / MODEL).symlink_to(export.resolve() / FLOAT)
        yield folder
