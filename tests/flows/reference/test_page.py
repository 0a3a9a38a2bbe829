"""docs/settings.md: no setting is left out, and none without a meaning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.core import catalogue
from components.core.config.params import Params
from components.core.config.strict import Name, Strict
from components.core.settings import ROOT
from flows.reference.page import PAGE, page, sections, unexplained
from flows.reference.tables import settings_of, table


class Inner(Strict):
    """How often."""

    every: int | None = Field(default=None, ge=1, lt=9, description="in minutes")


class Block(Strict):
    """A block. ``view``: the view; ``mode`` (of work): fast or not."""

    view: Name
    mode: Literal[1, 3, "both"] = 3
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    silent: bool = False


def test_a_class_becomes_a_table() -> None:
    rows = {row.key: (row.takes, row.default, row.meaning) for row in settings_of(Block)}
    assert rows["view"][1:] == ("required", "the view")
    assert rows["mode"] == ("1, 3 or both", "3", "fast or not (of work)")
    assert rows["inner.every"] == ("a whole number or null, at least 1, less than 9", "null", "in minutes")
    assert rows["many[].every"] == rows["inner.every"]
    assert rows["silent"] == ("true or false", "false", "")
    assert "| `mode` | 1, 3 or both | `3` | fast or not (of work) |\n" in table(settings_of(Block))


def test_every_setting_has_a_meaning_and_every_block_a_section() -> None:
    assert unexplained() == []
    headings = " ".join(heading for heading, _, _ in sections())
    assert all(
        f"`{field.alias or name}" in headings for name, field in Params.model_fields.items() if name not in ("root", "seed")
    )
    for kind in ("recipe", "network", "source"):
        assert all(f"`{name}`" in headings for name in catalogue.names(kind))


def test_the_page_in_the_repository_has_today_s_defaults_and_ranges() -> None:
    """A default or a bound that changes unseen would change what everybody's params.yaml means: `make docs` writes the page."""
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page()
