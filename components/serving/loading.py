"""Served code from an export folder, as a package of its own: two versions of one recipe may live in one process."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4


def load_served(folder: Path) -> Any:
    """``served.py``'s ``Served`` of the export in ``folder``, as the registry will load it. Nothing is written there.

    What was shipped with it lies in ``code/`` and is imported relatively to it (``shipped``).
    """
    name = f"served_{uuid4().hex}"
    code = [str(folder / "code")]
    spec = importlib.util.spec_from_file_location(name, folder / "served.py", submodule_search_locations=code)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with no_bytecode():
        spec.loader.exec_module(module)
    return module.Served(folder)


def load_linked(folder: Path, role: str) -> Any | None:
    """The served model that travels with the export in ``folder`` under ``role``; None where there is none."""
    linked = folder / "linked" / role
    return load_served(linked) if linked.is_dir() else None


def shipped(served: str, name: str) -> Any:
    """Module ``name`` ("models.unet") of what was shipped with the served code whose module is called ``served``."""
    with no_bytecode():
        return importlib.import_module(f".{name}", served)


@contextmanager
def no_bytecode() -> Iterator[None]:
    """Python's __pycache__ beside the code would become a part of an out, and of what a link's digest covers."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
