"""Load served code from an export folder as a package, so that one process can load several versions of a family."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

PREFIX = "served_"


def load_served(folder: Path) -> Any:
    """Load the export in ``folder`` as the registry does and return ``Served(folder)``. Writes nothing to the folder.

    ``served.py`` becomes a package whose modules are in ``code/``, laid out as below ``components/``, so that relative imports
    work as in the repository.
    """
    # Served code that loads a linked export has a copy of this file, with a class _Finder of its own.
    if not any(getattr(finder, "prefix", None) == PREFIX for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    name, path = f"{PREFIX}{uuid4().hex}", folder / "served.py"
    spec = importlib.util.spec_from_file_location(
        name, path, loader=_Loader(name, str(path)), submodule_search_locations=[str(folder / "code")]
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Served(folder)


def load_linked(folder: Path, role: str) -> Any | None:
    """Load the linked model that is shipped with the export in ``folder`` under ``role``; None if there is none."""
    linked = folder / "linked" / role
    return load_served(linked) if linked.is_dir() else None


class _Loader(SourceFileLoader):
    """Write no bytecode: a __pycache__ would become part of the stage's out and of a link's digest."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None: ...


class _Finder(MetaPathFinder):
    """Find modules of served packages, including late imports, with the loader above."""

    prefix = PREFIX

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX) or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec
