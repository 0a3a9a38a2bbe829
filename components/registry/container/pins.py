"""Pinned requirements of a model's server: the packages that it imports and what these need, by the versions of the lock."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

from components.registry.model_registry import onnx_runtime

SERVER = ("starlette", "uvicorn", "python-multipart")
MODEL = ("numpy", "pillow")
SAMPLING = ("torch", "safetensors")  # of exports that ship weights


def pins(export: Path, lock: Path) -> list[str]:
    """Return ``name==version`` of each package, sorted. ValueError for a package that the lock does not name.

    The companions of torch's CUDA build are left to torch, which pins them itself.
    """
    locked = locked_versions(lock)
    weights = any(export.rglob("weights.safetensors"))
    names = [*SERVER, *MODEL, onnx_runtime(), *(SAMPLING if weights else ())]
    missing = [name for name in names if normal(name) not in locked]
    if missing:
        raise ValueError(f"{lock} does not pin {', '.join(missing)}")
    return [f"{name}=={locked[name]}" for name in sorted(needed(names)) if name in locked]


def needed(names: list[str]) -> set[str]:
    """Return the normal names of installed packages: ``names`` and everything that they require here, without extras."""
    todo, found = [normal(name) for name in names], set[str]()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        parsed = [Requirement(line) for line in lines]
        todo += [normal(other.name) for other in parsed if other.marker is None or other.marker.evaluate({"extra": ""})]
    return found


def locked_versions(lock: Path) -> dict[str, str]:
    """Return normal name -> version of every pin in the file, without a local label such as ``+cpu``."""
    text = lock.read_text(encoding="utf-8")
    return {normal(name): pin.partition("+")[0] for name, pin in re.findall(r"(?m)^([\w.-]+)==([^\s;#]+)", text)}


def normal(name: str) -> str:
    """Normalise a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
