"""Digest of a Python file's syntax tree without comments, docstrings and layout.

It is the same under every supported Python: positions are ignored, and so are empty fields, which only newer versions may
have. Two files with the same digest compile to the same code, except for line numbers and docstrings.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

UNSEEN = {"type_ignores", "type_comment", "kind"}  # of the tree's fields: comments, and the u of u"text"


def code_digest(path: Path) -> str:
    """Compute the SHA-256 (hexadecimal) of the file's syntax tree. Raises SyntaxError."""
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4096)
def _digest(path: Path, mtime: int, size: int) -> str:
    return text_digest(path.read_text(encoding="utf-8"), str(path))


def text_digest(text: str, name: str = "<text>") -> str:
    """Compute the SHA-256 (hexadecimal) of the syntax tree of a module's text."""
    return hashlib.sha256("".join(_canonical(ast.parse(text, name))).encode()).hexdigest()


def _canonical(node: object) -> Iterator[str]:
    """Serialise the tree as text: names of nodes, their fields in order, constants."""
    if isinstance(node, ast.JoinedStr):
        node = ast.JoinedStr(values=_merged(node.values))
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for field, value in ast.iter_fields(node):
            if field in UNSEEN or value is None or value == []:
                continue
            yield f" {field}="
            yield from _canonical(_without_texts(value) if field == "body" and isinstance(value, list) else value)
        if isinstance(node, ast.Constant) and node.value is None:
            yield " value=None"
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            yield from _canonical(item)
        yield "]"
    else:
        yield f"{type(node).__name__}:{node!a};"


def _without_texts(body: list[ast.stmt]) -> list[ast.stmt]:
    """Drop docstrings, other string statements, and ``pass``."""
    return [statement for statement in body if not (_is_text(statement) or isinstance(statement, ast.Pass))]


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Merge neighbouring constants of an f-string, whose boundaries differ between versions of Python."""
    merged: list[ast.expr] = []
    for value in values:
        last = merged[-1] if merged else None
        if isinstance(value, ast.Constant) and isinstance(last, ast.Constant):
            merged[-1] = ast.Constant(value=str(last.value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            merged.append(value)
    return merged
