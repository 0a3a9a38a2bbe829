"""The files that a module runs through: itself and every file of ours that it imports, directly or not.

Read from the source, not by importing: every import statement counts, inside functions too, but for those that only a type
checker or ``python -m`` executes. What is imported by a name in a string (the catalogues) is the caller's to name.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

COMPONENTS = Path(__file__).resolve().parents[2]
PACKAGE = "components"
# Catalogues: a new entry changes nothing for the others. Which entry a stage uses is named beside its files.
CATALOGUES = frozenset({"families/__init__.py", "networks/__init__.py", "stages/fetch/__init__.py"})


def closure(files: Iterable[str], components: Path = COMPONENTS) -> list[str]:
    """``files`` and all that they import, as sorted paths below ``components``."""
    todo, visited = list(files), set[str]()
    while todo:
        file = todo.pop()
        if file not in visited:
            visited.add(file)
            state = (components / file).stat()
            todo += imported(components, file, state.st_mtime_ns, state.st_size) - visited
    return sorted(visited - CATALOGUES)


def file_of(module: str, components: Path = COMPONENTS) -> str | None:
    """The file of ``components.<module>``, as a path below ``components``; None if there is no such module."""
    path = components.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if module.split(".", maxsplit=1)[0] == PACKAGE and candidate.is_file():
            return candidate.relative_to(components).as_posix()
    return None


@lru_cache(maxsize=4096)
def imported(components: Path, file: str, mtime: int, size: int) -> frozenset[str]:
    """The files that one file imports, and the packages that hold it and them."""
    tree = ast.parse((components / file).read_text(encoding="utf-8"), file)
    package = [PACKAGE, *file.split("/")[:-1]]
    names = {name for node in _executed(tree) for name in _imported_names(node, package)}
    parts = [name.split(".") for name in names]
    modules = {".".join(part[:length]) for part in [*parts, package] for length in range(1, len(part) + 1)}
    return frozenset(path for module in modules if (path := file_of(module, components)))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below ``node``, but for the bodies of ``if TYPE_CHECKING`` and ``if __name__ == ...``."""
    if isinstance(node, ast.If) and any(name in ast.dump(node.test) for name in ("'TYPE_CHECKING'", "'__name__'")):
        for other in node.orelse:
            yield from _executed(other)
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _executed(child)


def _imported_names(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Full dotted names that an import statement may mean, modules or names in modules."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        yield module
        yield from (f"{module}.{alias.name}" for alias in node.names)
