"""Edit a YAML text at the positions of its nodes: every other byte stays, comments, order and layout too."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from components.core.config.strict import SettingsError


def node_at(text: str, path: Sequence[str | int]) -> Any:
    """Return the mapping node under the keys ``path``, numbers in lists. SettingsError if there is none."""
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    node = YAML(pure=True).compose(io.StringIO(text))
    for index, key in enumerate(("", *path)):
        if isinstance(key, int):
            node = node.value[key]
        elif key:
            node = value_of(node, key)
        inside = isinstance(path[index], int) if index < len(path) else False
        if not isinstance(node, SequenceNode if inside else MappingNode):
            expected = "a list" if inside else "a mapping"
            raise SettingsError(f"{'.'.join(map(str, path[:index])) or 'the file'}: {expected} is expected")
    return node


def value_of(mapping: Any, key: str) -> Any:
    """Return the node of a key's value, or None."""
    return next((value for name, value in mapping.value if name.value == key), None)


def end_of(node: Any) -> int:
    """Return the index behind the node's text. A block's own end mark lies behind the comments that follow it."""
    if isinstance(node.value, str) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return end_of(last[1] if isinstance(last, tuple) else last)


def line_end(text: str, index: int) -> int:
    """Return the index behind the line that holds the character before ``index``."""
    if index and text[index - 1] == "\n":
        return index
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def add_key(text: str, path: Sequence[str | int], key: str, value: str) -> str:
    """Return the text with ``key: value`` as the last key of the mapping at ``path`` (of the file: as the first).

    ``value``: YAML in one line.
    """
    node = node_at(text, path)
    if node.flow_style:
        return _into_flow(text, node, key, value)
    first = node.value[0][0]
    if not path:
        start = first.start_mark.index
        return f"{text[:start]}{key}: {value}\n{text[start:]}"
    end = text.find("\n", end_of(node))
    end = len(text) if end < 0 else end
    return f"{text[:end]}\n{' ' * first.start_mark.column}{key}: {value}{text[end:]}"


def _into_flow(text: str, node: Any, key: str, value: str) -> str:
    """Insert into ``{a: 1}``, which may go over several lines, and may be JSON."""
    quote = '"' if node.value and node.value[0][0].style == '"' else ""
    written = value if not quote or value[:1] in '{["0123456789' else f'"{value}"'
    words = f"{quote}{key}{quote}: {written}"
    if not node.value:
        return f"{text[: node.start_mark.index + 1]}{words}{text[node.start_mark.index + 1 :]}"
    end = end_of(node.value[-1][1])
    return f"{text[:end]}, {words}{text[end:]}"


def set_value(text: str, path: Sequence[str | int], key: str, value: str) -> str:
    """Return the text with the key's value replaced by ``value``, YAML in one line, or with the key added."""
    old = value_of(node_at(text, path), key)
    if old is None:
        return add_key(text, path, key, value)
    return f"{text[: old.start_mark.index]}{value}{text[end_of(old) :]}"
