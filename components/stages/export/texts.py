"""The tokeniser in an export whose served code reads texts."""

from __future__ import annotations

from pathlib import Path

from components.core.files import write_json
from components.core.recipe import Exportable
from components.serving.text import FILE
from components.stages.views.view import View


def write_tokeniser(exportable: Exportable, view: View, folder: Path) -> None:
    """Write the view's tokeniser to the export ``folder`` of a model whose facts have a ``context_length``."""
    if "context_length" in exportable.facts:
        write_json(folder / FILE, view.tokeniser.as_json(), ensure_ascii=False)
