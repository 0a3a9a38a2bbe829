"""Write the findings about the pictures of a view, as they are in the dataset, before any corruption."""

from __future__ import annotations

from pathlib import Path

from components.core.files import write_atomically
from components.stages.augment.divide import Divided
from components.stages.augment.policy.policies import ViewSettings
from components.stages.augment.quality.similarity import Similarity
from components.stages.augment.report.findings import findings
from components.stages.augment.report.quality import write_quality
from components.stages.augment.report.sheet import quality_sheet


def write_findings(folder: Path, name: str, data: Divided, similarity: Similarity, settings: ViewSettings) -> None:
    """Write ``quality.json``, the tables, and ``quality.png`` if there is anything to show. ``name``: of the view."""
    found = findings(data, similarity, settings)
    write_quality(folder, found, data.table.sizes[sorted(found.places)])
    sheet = quality_sheet(name, data.table.images, found)
    if sheet:
        write_atomically(folder / "quality.png", sheet)
