"""Load served code from an export folder as a package of its own: two versions of one family may live in one process."""

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
    """Return ``Served(folder)`` of the export in ``folder``, as the registry will load it. Nothing is written there.

    ``served.py`` becomes a package whose modules lie in ``code/``, laid out as below ``components/``: relative imports mean
    there what they mean in the repository.
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
    """Return the served model that travels with the export in ``folder`` under ``role``, or None."""
    linked = folder / "linked" / role
    return load_served(linked) if linked.is_dir() else None


class _Loader(SourceFileLoader):
    """Write no bytecode: __pycache__ beside the code would become a part of an out, and of what a link's digest covers."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None: ...


class _Finder(MetaPathFinder):
    """Find the modules of served packages, however late they are imported, with the loader above."""

    prefix = PREFIX

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX) or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec
