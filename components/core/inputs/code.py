"""The code that a stage runs through is the code of its digest, though files are edited while it runs.

Python imports a module when it is first used, which may be hours after the start. So the sources are read when the stage
starts and compared with the digest, and every later import takes them from memory. An edit then changes neither what the stage
runs nor what it records. Worker processes import from the files: they call ``runtime.require_code_at_start``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from components.core.files import file_state


@dataclass(frozen=True)
class Code:
    """``package``: the folder of the package whose modules have digests. ``edited``: names of the files whose text
    (absolute path -> bytes) is not that of the stage's digest.
    """

    package: Path
    edited: Callable[[Mapping[str, bytes]], list[str]]


class Sources(MetaPathFinder):
    """The package's modules as they were when this was made."""

    def __init__(self, package: Path) -> None:
        self.name = package.name
        self.package = package
        self.states = {str(path): file_state(path) for path in package.rglob("*.py")}
        self.texts = {path: Path(path).read_bytes() for path in self.states}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As Python's own finder, with our loader."""
        if fullname.partition(".")[0] != self.name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.origin in self.states and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.origin, self)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, sources: Sources) -> None:
        super().__init__(fullname, path)
        self.sources = sources

    def path_stats(self, path: Any) -> dict[str, Any]:
        state = self.sources.states.get(str(path))
        return {"mtime": state[0] // 10**9, "size": state[1]} if state else dict(super().path_stats(path))

    def get_data(self, path: Any) -> bytes:
        """The text of a module, or its byte code, which Python tells from that of another text only by size and second."""
        text = self.sources.texts.get(str(path))
        if text is None and self.path in self.sources.states and file_state(path)[0] <= self.sources.states[self.path][0]:
            raise OSError(f"{path} is older than its source")
        return super().get_data(path) if text is None else text

    def set_data(self, path: Any, data: Any, *, _mode: int = 0o666) -> None:
        """Keep the byte code for others, unless it is of a text that is no longer there."""
        if self.path in self.sources.states and file_state(self.path) == self.sources.states[self.path]:
            super().set_data(path, data, _mode=_mode)


@contextmanager
def frozen(sources: Sources) -> Iterator[None]:
    """Import the package's modules from ``sources`` inside the block."""
    sys.meta_path.insert(0, sources)
    try:
        yield
    finally:
        sys.meta_path.remove(sources)
