"""Which tests to run for a fault: the files that import the module or mirror it, and of these the tests that run the line."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

IMPORT = re.compile(r"^ *(?:from ([\w.]+) import (.+)|import ([\w.]+))", re.MULTILINE)
IMPORTED = "imported"  # the context of lines that run when a module is imported


def covering_files(root: Path, files: list[str]) -> list[str]:
    """Return the test files that mirror one of the files, then those that import it or a module that imports it."""
    tests = {str(path.relative_to(root)): _imports(path) for path in sorted(root.glob("tests/**/test_*.py"))}
    ours = [path for room in ("components", "flows") for path in (root / room).rglob("*.py")]
    users = {_module(str(path.relative_to(root))): _imports(path) for path in ours}
    modules = {_module(file) for file in files}
    near = modules | {user for user, imported in users.items() if modules & imported}
    ranks = (
        [test for test in tests if any(_mirrors(test, file) for file in files)],
        [test for test, imported in tests.items() if modules & imported],
        [test for test, imported in tests.items() if near & imported],
    )
    return list(dict.fromkeys(test for rank in ranks for test in rank))


def _mirrors(test: str, file: str) -> bool:
    rooms = [part for part in Path(file).parts[:-1] if part not in ("components", "stages", "registry", "shared")]
    return Path(test).parts[1:-1] == tuple(rooms) or Path(test).stem == f"test_{Path(file).stem}" != "test_recipe"


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules, or names in them, that the file imports; read from its lines, since parsing every file takes seconds."""
    found = set()
    for module, names, plain in IMPORT.findall(path.read_text(encoding="utf-8")):
        found |= (
            {plain} if plain else {module, *(f"{module}.{name.split()[0]}" for name in names.split(",") if name.strip(" ()"))}
        )
    return frozenset(found)


def covering_tests(known: dict[str, Any], file: str, lines: range, seconds: float) -> list[str]:
    """Return the tests that run one of the lines, the quickest first, as many as take at most ``seconds`` together.

    Lines that run at import, such as defaults, belong to every test that was run.
    """
    contexts = {context for line in lines for context in known["lines"][file].get(str(line), [])}
    everywhere = IMPORTED in contexts
    chosen = [test for test in known["seconds"] if everywhere or test in contexts or test.partition("::")[0] in contexts]
    found, total = [], 0.0
    for test in sorted(chosen, key=known["seconds"].__getitem__):
        total += known["seconds"][test]
        if found and total > seconds:
            break
        found.append(test)
    return found
