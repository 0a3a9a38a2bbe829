"""docs/data.md: its blocks are valid, and it names every source and suffix."""

import re
from pathlib import Path

from components.core import catalogue
from components.core.config.strict import parse, read_yaml
from components.stages.fetch.files.names import SPLIT_NAMES
from components.stages.fetch.files.pictures import Own
from components.stages.fetch.files.suffixes import IMAGES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"


def test_the_blocks_of_the_page_are_valid_and_name_every_source_of_own_files():
    text = PAGE.read_text(encoding="utf-8")
    blocks = [
        block
        for part in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        for block in read_yaml(PAGE, part)["datasets"].items()
    ]
    for name, block in blocks:
        parse(catalogue.load("source", block["source"], name).Settings, block, f"datasets.{name}")
    sources = [name for name in catalogue.names("source") if issubclass(catalogue.load("source", name, ""), Own)]
    assert [block["source"] for _, block in blocks if block["source"] in sources] == sources
    for word in (*IMAGES, *SPLIT_NAMES):
        assert word in text, word


def test_every_setting_of_own_files_has_a_description():
    for name in catalogue.names("source"):
        source = catalogue.load("source", name, "")
        if issubclass(source, Own):
            fields = {key: field for key, field in source.Settings.model_fields.items() if key not in ("source", "path")}
            assert [key for key, field in fields.items() if not field.description] == [], name
