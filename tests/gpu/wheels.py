"""Packages that the check needs beside torch, for a machine without a network: pinned as in requirements.lock."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"
COMPILED = ("pydantic-core", "numpy")  # all others are pure Python; torch's own environment mostly has numpy
NEEDED = {  # package -> module
    "numpy": "numpy",
    "pydantic": "pydantic",
    "pydantic-core": "pydantic_core",
    "annotated-types": "annotated_types",
    "typing-inspection": "typing_inspection",
    "typing-extensions": "typing_extensions",
    "ruamel-yaml": "ruamel.yaml",
    "tqdm": "tqdm",
}
TESTS = {"pytest": "pytest", "pluggy": "pluggy", "iniconfig": "iniconfig", "packaging": "packaging", "pygments": "pygments"}


def missing() -> list[str]:
    """Return the needed packages that cannot be imported here."""
    return [package for package, module in NEEDED.items() if not _is_here(module)]


def _is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent of a dotted name
        return False


def pins(lock: Path = LOCK) -> list[str]:
    """Return ``name==version`` of all packages to carry, as the lock file pins them."""
    pinned = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"([A-Za-z0-9._-]+)==([^\s;\\]+)", line):
            pinned[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2]
    return [f"{name}=={pinned[name]}" for name in (*NEEDED, *TESTS)]


def advice() -> str:
    """Return the lines that say which wheels to carry."""
    listed = " ".join(pins())
    compiled = " and ".join(COMPILED)
    return (
        f"wheels to carry: {listed}\n"
        f"({compiled} are compiled: for that machine's Python and processor; all others are pure Python. "
        "`python -m pip download --no-deps --only-binary=:all: -d wheels ...` here, "
        "`python -m pip install --no-index --no-deps wheels/*.whl` there; torch with CUDA must be there.)"
    )
