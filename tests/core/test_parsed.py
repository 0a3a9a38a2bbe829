"""The cache of parsed texts gives back what the parser gave, or nothing."""

import math
from datetime import date

import pytest

from components.core.config.parsed import ParsedTexts, as_json
from components.core.inputs.declared import parse_yaml


@pytest.mark.parametrize("content", [{"a": [1, 1.5, True, None, "x", {"b": {}}]}, [], "text", -0.0, 10**30])
def test_what_json_gives_back_is_kept(content):
    assert as_json(content) is not None


@pytest.mark.parametrize("content", [{1: "a"}, math.nan, [math.inf], (1,), date(2026, 1, 1), {"a": {None: 1}}, b"x"])
def test_what_json_would_change_is_not(content):
    assert as_json(content) is None


def test_a_text_is_parsed_once_and_its_content_is_new_each_time(tmp_path):
    asked = []

    def parse(text):
        asked.append(text)
        return parse_yaml(text)

    first = ParsedTexts(tmp_path / "p" / "x.json")
    for text in ("a: [1]", "a: [2]", "b: 2026-01-01"):
        first.get(text, parse, "k")
    first.save()
    second = ParsedTexts(tmp_path / "p" / "x.json")
    second.get("a: [1]", parse, "k")["a"].append(5)
    assert second.get("a: [1]", parse, "k") == {"a": [1]}
    assert len(asked) == 3
    second.get("a: [1]", parse, "another parser")
    second.get("b: 2026-01-01", parse, "k")
    assert len(asked) == 5


def test_a_damaged_cache_is_parsed_anew(tmp_path):
    path = tmp_path / "x.json"
    texts = ParsedTexts(path)
    texts.get("a: 1", parse_yaml, "k")
    texts.save()
    for damage in ("", "[", path.read_text().replace("{\\", "")):
        path.write_text(damage)
        assert ParsedTexts(path).get("a: 1", parse_yaml, "k") == {"a": 1}
