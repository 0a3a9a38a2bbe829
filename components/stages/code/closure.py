"""Transitive closure of a module's imports within this package.

It is computed from the source, without importing: every import statement counts, also in functions, except those that only a
type checker or ``python -m`` executes. The caller adds modules that are imported by name (the catalogues).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

COMPONENTS = Path(__file__).resolve().parents[2]
PACKAGE = "components"
# Catalogues: a new entry does not affect the others. The caller adds the entry that a stage uses.
CATALOGUES = frozenset({"families/__init__.py", "networks/__init__.py", "stages/fetch/__init__.py"})


def closure(files: Iterable[str], components: Path = COMPONENTS) -> list[str]:
    """Return ``files`` and all that they import, as sorted paths below ``components``."""
    todo, visited = list(files), set[str]()
    while todo:
        file = todo.pop()
        if file not in visited:
            visited.add(file)
            state = (components / file).stat()
            todo += imported(components, file, state.st_mtime_ns, state.st_size) - visited
    return sorted(visited - CATALOGUES)


def file_of(module: str, components: Path = COMPONENTS) -> str | None:
    """Return the file of ``components.<module>`` as a path below ``components``; None if there is no such module."""
    path = components.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if module.split(".", maxsplit=1)[0] == PACKAGE and candidate.is_file():
            return candidate.relative_to(components).as_posix()
    return None


@lru_cache(maxsize=4096)
def imported(components: Path, file: str, mtime: int, size: int) -> frozenset[str]:
    """Return the files that one file imports, and the ``__init__`` files of all packages involved."""
    tree = ast.parse((components / file).read_text(encoding="utf-8"), file)
    package = [PACKAGE, *file.split("/")[:-1]]
    names = {name for node in _executed(tree) for name in _imported_names(node, package)}
    parts = [name.split(".") for name in names]
    modules = {".".join(part[:length]) for part in [*parts, package] for length in range(1, len(part) + 1)}
    return frozenset(path for module in modules if (path := file_of(module, components)))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below ``node``, except the bodies of ``if TYPE_CHECKING`` and ``if __name__ == ...``."""
    if isinstance(node, ast.If) and any(name in ast.dump(node.test) for name in ("'TYPE_CHECKING'", "'__name__'")):
        for other in node.orelse:
            yield from _executed(other)
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _executed(child)


def _imported_names(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Yield the full dotted names that an import statement may refer to, modules or names in modules."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        yield module
        yield from (f"{module}.{alias.name}" for alias in node.names)
