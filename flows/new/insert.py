"""Insert blocks into params.yaml as text: every other byte of the file stays, comments and order too."""

from __future__ import annotations

import io
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.nodes import MappingNode, Node

from flows.yaml_edit import end_of, line_end, value_of

WIDTH = 120  # characters of a line
SHORT = 100  # a mapping is written in one line up to here


def insert(text: str, section: str, name: str, block: dict[str, Any]) -> str:
    """Return the YAML document ``text`` with ``block`` appended to the mapping ``section`` under ``name``.

    The section may be missing, empty, or in one line. ValueError if the document or the section is no mapping.
    """
    document = YAML().compose(io.StringIO(text))
    if not isinstance(document, MappingNode):
        raise ValueError("a mapping is expected")
    value = value_of(document, section)
    if value is None:
        start = text if not text or text.endswith("\n") else f"{text}\n"
        return f"{start}\n{section}:\n{render({name: block}, indent=2)}"
    if not isinstance(value, MappingNode):
        return _fill_null(text, section, value, render({name: block}, indent=2))
    if value.flow_style:
        return _into_flow(text, value, name, block)
    indent = value.value[0][0].start_mark.column
    end = line_end(text, end_of(value))
    return text[:end] + ("" if text[:end].endswith("\n") else "\n") + render({name: block}, indent) + text[end:]


def _fill_null(text: str, section: str, value: Node, rendered: str) -> str:
    if value.tag != "tag:yaml.org,2002:null":
        raise ValueError(f"{section}: a mapping is expected")
    end = line_end(text, value.end_mark.index)
    if value.value:  # null or ~ is written out
        return f"{text[: value.start_mark.index].rstrip(' ')}{text[value.end_mark.index : end]}{rendered}{text[end:]}"
    return text[:end] + ("" if text[:end].endswith("\n") else "\n") + rendered + text[end:]


def _into_flow(text: str, value: MappingNode, name: str, block: dict[str, Any]) -> str:
    """Append to ``{...}``; an empty one becomes a block, which is easier to read."""
    start, end = value.start_mark.index, value.end_mark.index
    if not value.value:
        behind = line_end(text, end)
        rest = text[end:behind]
        newline = "" if rest.endswith("\n") else "\n"
        return text[:start].rstrip(" ") + rest + newline + render({name: block}, indent=2) + text[behind:]
    inside = text[: end - 1].rstrip()
    comma = "" if inside.endswith(",") else ","
    return f"{inside}{comma} {name}: {_flow(block)}{text[end - 1 :]}"


def render(content: dict[str, Any], indent: int = 0) -> str:
    """Render as YAML, short mappings in one line, and indent every line."""
    yaml = YAML()
    yaml.width = WIDTH - indent
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(_styled(content, top=True), out)
    return "".join(f"{' ' * indent}{line}" for line in out.getvalue().splitlines(keepends=True))


def _styled(value: Any, top: bool = False) -> Any:
    if isinstance(value, dict):
        styled = CommentedMap((key, _styled(entry)) for key, entry in value.items())
        if not top and len(_flow(value)) <= SHORT:
            styled.fa.set_flow_style()
        return styled
    if isinstance(value, list):
        items = CommentedSeq(_styled(entry, top=True) for entry in value)  # - Affine: {p: 0.5}
        if not any(isinstance(entry, dict) for entry in value):
            items.fa.set_flow_style()
        return items
    return value


def _flow(value: Any) -> str:
    yaml = YAML()
    yaml.width = 10**9
    yaml.default_flow_style = True
    out = io.StringIO()
    yaml.dump(value, out)
    return out.getvalue().strip()
