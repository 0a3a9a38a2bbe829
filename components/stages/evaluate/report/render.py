"""Render a page to HTML, and add sections to a rendered page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from components.stages.evaluate.report.page import Page, Section, cell
from components.stages.evaluate.report.template import LINKS, LINKS_ONLY, PAGE, SECTIONS, SECTIONS_ONLY, STYLE


def render(page: Page) -> str:
    """Return the page as one HTML text without scripts or addresses; the same page gives the same text."""
    return _rendered(PAGE, page=page, style=Markup(STYLE), marks=(Markup(LINKS), Markup(SECTIONS)))  # noqa: S704


def with_sections(html: str, sections: Sequence[Section]) -> str:
    """Return the rendered page with ``sections`` after its own; ValueError if ``html`` is no page of ``render``."""
    if html.count(LINKS) != 1 or html.count(SECTIONS) != 1:
        raise ValueError("this is no page of a report: `dvc repro` writes it again")
    html = html.replace(LINKS, _rendered(LINKS_ONLY, sections=sections) + LINKS)
    return html.replace(SECTIONS, _rendered(SECTIONS_ONLY, sections=sections) + SECTIONS)


def _rendered(template: str, **values: Any) -> str:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["cell"] = cell
    return environment.from_string(template).render(**values).lstrip()
