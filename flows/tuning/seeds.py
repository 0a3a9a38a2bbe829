"""Write the runs and links of a run's other seeds into params.yaml, without touching any other line of it.

The blocks of the repeated run get anchors, and the others are one line each, so that an edit of the first run is one of all:

    flowers_seed1: {recipe: classification, view: flowers, model: *flowers_model, train: {<<: *flowers_train, seed: 1}, ...}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from components.core.config.params import Params
from components.core.config.seeds import EVALUATE, metrics_of, repeated_links, seed_role, seed_run
from components.core.config.strict import SettingsError, named, parse

SHARED = ("model", "train", "export", "evaluate")  # blocks of the first run that the others refer to


def with_seeds(text: str, run: str, seeds: Sequence[int]) -> str:
    """Return the text of params.yaml with the runs and links of ``seeds``; those of seeds that are not listed are removed.

    SettingsError if the text is not as expected, or a name is taken. With one seed or none nothing is repeated.
    """
    named(parse_params(without(text, run)).runs, run, "runs")
    text = _with_list(without(text, run), run, seeds)
    params = parse_params(text)
    own = params.runs[run].train.get("seed", 0)
    if seeds and own not in seeds:
        raise SettingsError(f"seeds: {list(seeds)} is not allowed: runs.{run}.train.seed, {own}, must be one of them")
    others = [seed for seed in seeds if seed != own]
    if taken := [seed_run(run, seed) for seed in others if seed_run(run, seed) in params.runs]:
        raise SettingsError(f"runs.{taken[0]}: the name is taken by a block that `flows seeds` has not written; rename it")
    if not others:
        return text
    links = _link_lines(params, run, others)
    text, anchors = _with_anchors(text, run)
    lines = text.splitlines(keepends=True)
    at = _end_of(lines, _position(text, ["runs"], run)[0])
    indent = " " * _position(text, ["runs"], run)[1]
    lines[at:at] = [f"{indent}{line}\n" for line in _run_lines(params, run, others, anchors)]
    return _with_links("".join(lines), links)


def parse_params(text: str) -> Params:
    """Parse the structure of params.yaml, without its cross references."""
    return parse(Params, YAML(typ="safe", pure=True).load(text), "")


def without(text: str, run: str) -> str:
    """Return the text without the lines that ``with_seeds`` has written for the run."""
    name = rf"^[ ]+{re.escape(run)}_seed\d+"
    ours = rf"{name}: \{{recipe: .*<<: \*.*\}}\n|{name}(_\w+)?: \{{run: .*from: .*\}}\n"
    text = re.sub(ours, "", text, flags=re.MULTILINE)
    return re.sub(r"^links:\n(?![ ]|\n*[ ])", "links: {}\n", text, flags=re.MULTILINE)


def _run_lines(params: Params, run: str, seeds: Sequence[int], anchors: dict[str, str]) -> list[str]:
    block = params.runs[run]
    head = f"recipe: {block.recipe}, view: {block.view}, model: *{anchors['model']}"
    rest = ", ".join(f"{key}: *{anchors[key]}" for key in ("export", "evaluate"))
    return [
        f"{seed_run(run, seed)}: {{{head}, train: {{<<: *{anchors['train']}, seed: {seed}}}, {rest}, promote: {{}}}}"
        for seed in seeds
    ]


def _link_lines(params: Params, run: str, seeds: Sequence[int]) -> list[str]:
    """Return the links of the other seeds: those of the first run, and from each seed's metrics to the first evaluation."""
    lines = []
    for seed in seeds:
        other = seed_run(run, seed)
        for name, link in repeated_links(params, run).items():
            key = f"{other}_{name.removeprefix(f'{run}_')}"
            lines.append(f"{key}: {{run: {other}, stage: {link.stage}, role: {link.role}, from: {link.artifact}}}")
        lines.append(f"{other}: {{run: {run}, stage: {EVALUATE}, role: {seed_role(seed)}, from: {metrics_of(other)}}}")
    return lines


def _load(text: str) -> Any:
    return YAML(typ="rt", pure=True).load(text)


def _position(text: str, path: list[str], key: str) -> tuple[int, int]:
    """Return (line, column) of a key."""
    node = _load(text)
    for part in path:
        node = node[part]
    line, column = node.lc.key(key)
    return int(line), int(column)


def _end_of(lines: list[str], first: int) -> int:
    """Return the line after the block that begins in line ``first``."""
    indent = len(lines[first]) - len(lines[first].lstrip())
    end = first + 1
    for index in range(first + 1, len(lines)):
        content = lines[index].strip()
        deeper = len(lines[index]) - len(lines[index].lstrip()) > indent
        if content and not deeper:
            break
        end = index + 1 if content else end
    return end


def _with_anchors(text: str, run: str) -> tuple[str, dict[str, str]]:
    """Return the text with an anchor on each shared block of the run, and block -> name of its anchor."""
    block = _load(text)["runs"][run]
    anchors = {}
    lines = text.splitlines(keepends=True)
    for key in reversed(SHARED):  # from the end, so that columns of earlier keys stay right
        if key not in block:
            raise SettingsError(f"runs.{run}.{key}: missing; it is required")
        value = block[key]
        name = value.anchor.value if isinstance(value, CommentedMap) and value.anchor.value else None
        anchors[key] = name or f"{run}_{key}"
        if name is None:
            line, column = block.lc.key(key)
            at = column + len(key) + 1  # after the colon
            lines[line] = f"{lines[line][:at]} &{anchors[key]}{lines[line][at:]}"
    return "".join(lines), anchors


def _with_list(text: str, run: str, seeds: Sequence[int]) -> str:
    """Return the text with ``seeds: [...]`` in the run's block, or without it if there are none."""
    block, lines = _load(text)["runs"][run], text.splitlines(keepends=True)
    if block.fa.flow_style():
        raise SettingsError(f"runs.{run}: is written in one line; write its keys one below the other first")
    if list(block.get("seeds", ())) == list(seeds):
        return text
    if "seeds" in block:
        line = block.lc.key("seeds")[0]
        del lines[line : _end_of(lines, line)]
    if seeds:
        line, column = block.lc.key("view")
        lines.insert(line + 1, f"{' ' * column}seeds: [{', '.join(map(str, seeds))}]\n")
    return "".join(lines)


def _with_links(text: str, links: list[str]) -> str:
    """Return the text with ``links`` at the beginning of its block of this name."""
    content, lines = _load(text), text.splitlines(keepends=True)
    if "links" not in content:
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        return "".join([*lines, "\nlinks:\n", *(f"  {line}\n" for line in links)])
    line = content.lc.key("links")[0]
    block = content["links"]
    if not block:
        lines[line : line + 1] = ["links:\n", *(f"  {entry}\n" for entry in links)]
        return "".join(lines)
    if block.fa.flow_style():
        raise SettingsError("links: is written in one line; write its keys one below the other first")
    indent = " " * block.lc.key(next(iter(block)))[1]
    lines[line + 1 : line + 1] = [f"{indent}{entry}\n" for entry in links]
    return "".join(lines)
