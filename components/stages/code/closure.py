"""The files that a run's recipe, its network, and what it serves are made of, through all imports.

dvc.yaml could find the files of a run's recipe and model by name, and nothing that these import. So ``wire@<run>`` writes the
digests of all of them into ``outputs/code/<run>``, which the stages depend on: an edit of a shared file makes stale just the
runs that are made of it. Only the ``FAMILIES`` are followed; the rest of the house stands in dvc.yaml by name.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

FAMILIES = (
    "families",
    "networks",
    "diffusion",
    "adversarial",
    "metrics",
    "serving",
    "translation",
)  # packages below components/
ROOM = Path(__file__).resolve().parents[2]
CATALOGUES = {"families/__init__.py", "networks/__init__.py"}  # a new entry changes nothing for the others


def code_of(recipe: str, model: str) -> dict[str, dict[str, str]]:
    """What the run's stages run through: trained | evaluated | exported -> file below components/ -> SHA-256.

    "trained" leaves out what the recipe imports in ``evaluate``; "exported" is what is served.
    """
    own = [f"families/{recipe}/recipe.py", _model_file(model)]
    return {
        "trained": digests(closure(own, skip=("evaluate",))),
        "evaluated": digests(closure(own)),
        "exported": digests([f"families/{recipe}/served.py", *shipped_files(recipe, model)]),
    }


def shipped_files(recipe: str, model: str) -> list[str]:
    """The files that stand beside the served code: what its ``SHIPPED`` names, and the network, with all that they import."""
    shipped = literal(ROOM / "families" / recipe / "served.py", "SHIPPED")
    return closure([*shipped, _model_file(model)]) if shipped else []


def _model_file(model: str) -> str:
    from components.networks import MODELS

    return MODELS[model].partition(":")[0].removeprefix("components.").replace(".", "/") + ".py"


def literal(path: Path, name: str) -> tuple[str, ...]:
    """The value of a module's constant, read without running the module; () where it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", None) for target in node.targets] == [name]:
            return tuple(ast.literal_eval(node.value))
    return ()


def digests(files: Iterable[str]) -> dict[str, str]:
    return {file: hashlib.sha256((ROOM / file).read_bytes()).hexdigest() for file in sorted(set(files))}


def closure(files: Iterable[str], skip: tuple[str, ...] = ()) -> list[str]:
    """``files`` (below components/) and every file of the families that they import, but for inside functions ``skip``."""
    todo, seen = list(files), set()
    while todo:
        file = todo.pop()
        if file not in seen:
            seen.add(file)
            todo += [found for found in imported(file, skip) if found not in CATALOGUES]
    return sorted(seen)


def imported(file: str, skip: tuple[str, ...]) -> set[str]:
    """The families' files that ``file`` imports, anywhere but for type checkers."""
    tree = ast.parse((ROOM / file).read_text(encoding="utf-8"))
    names = {name for node in walk(tree, skip) for name in imported_names(node, file)}
    found = {path for name in names if name.split(".")[0] in FAMILIES and (path := module_file(name))}
    return {path.relative_to(ROOM).as_posix() for path in found}


def walk(node: ast.AST, skip: tuple[str, ...]) -> Iterator[ast.AST]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    if isinstance(node, ast.FunctionDef) and node.name in skip:
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from walk(child, skip)


def imported_names(node: ast.AST, file: str) -> Iterator[str]:
    """Dotted names below ``components`` that an import statement in ``file`` may mean, modules or not."""
    if isinstance(node, ast.Import):
        yield from (alias.name.removeprefix("components.") for alias in node.names if alias.name.startswith("components."))
    if isinstance(node, ast.ImportFrom):
        base = (node.module or "").split(".") if node.module else []
        if node.level:
            base = [*file.split("/")[: -node.level], *base]
        elif base[:1] != ["components"]:
            return
        else:
            base = base[1:]
        yield ".".join(base)
        yield from (".".join([*base, alias.name]) for alias in node.names)


def module_file(name: str) -> Path | None:
    """The file of module ``name``; None where there is none, as for a name inside a module."""
    path = ROOM.joinpath(*name.split("."))
    return next((candidate for candidate in (path.with_suffix(".py"), path / "__init__.py") if candidate.is_file()), None)
