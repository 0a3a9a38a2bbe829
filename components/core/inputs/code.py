"""Import snapshot: a stage runs the code of its digest even if files are edited meanwhile.

Python imports a module on first use, which may be hours after the start. The sources are therefore read at the start of the
stage and compared with the digest, and every later import uses the copy in memory. An edit changes neither what the stage
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
    """The code to compare with a digest. ``package``: the folder of the package whose modules have digests.

    ``edited``: returns the names of the files whose text (absolute path -> bytes) differs from the stage's digest.
    """

    package: Path
    edited: Callable[[Mapping[str, bytes]], list[str]]


class Sources(MetaPathFinder):
    """Import finder for the package's modules as of the creation of this object."""

    def __init__(self, package: Path) -> None:
        self.name = package.name
        self.package = package
        self.states = {str(path): file_state(path) for path in package.rglob("*.py")}
        self.texts = {path: Path(path).read_bytes() for path in self.states}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as Python's own finder does, and attach the loader of this module."""
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
        """Return the source of a module, or its byte code, which Python matches to a source only by size and second."""
        text = self.sources.texts.get(str(path))
        if text is None and self.path in self.sources.states and file_state(path)[0] <= self.sources.states[self.path][0]:
            raise OSError(f"{path} is older than its source")
        return super().get_data(path) if text is None else text

    def set_data(self, path: Any, data: Any, *, _mode: int = 0o666) -> None:
        """Cache the byte code, unless its source has changed since."""
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
