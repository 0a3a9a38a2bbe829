"""Sheets of translations: by domain, by random style, by reference, and along a line between two styles."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.core.recipe import Report
from components.metrics.sheets import sheet
from components.translation.judges import RealImages, Settings, translate

COLUMNS = 8  # styles, references, or steps between two styles


def add_sheets(report: Report, served: Any, real: RealImages, settings: Settings) -> None:
    styles = bool(served.facts["style_width"])
    if len(real.domains) > 2 or not styles:
        report.pictures["domains"] = domains_sheet(served, real, settings)
    if styles:
        report.pictures["styles"] = styles_sheet(served, real, settings)
        report.pictures["references"] = references_sheet(served, real, settings)
        report.pictures["interpolation"] = interpolation_sheet(served, real, settings)


def inputs_of(real: RealImages, rows: int) -> list[tuple[np.ndarray, int, int]]:
    """(image [1, H, W, C], source, target) per row: pairs evenly spaced over all pairs, images in turn."""
    pairs = real.pairs()
    picked = [pairs[index * len(pairs) // rows] if rows < len(pairs) else pairs[index % len(pairs)] for index in range(rows)]
    picked.sort()
    inputs = [(real.of_domain(source), row, source, target) for row, (source, target) in enumerate(picked)]
    return [(images[[row % len(images)]], source, target) for images, row, source, target in inputs]


def domains_sheet(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """Rows: inputs. Columns: the input, then a column per domain: the translation, or the input in its own domain."""
    cells = []
    for image, source, _ in inputs_of(real, settings.rows):
        cells.append(image)
        for target in range(len(real.domains)):
            cells.append(image if target == source else translate(served, image, target, seed=settings.seed))
    return sheet(np.concatenate(cells), 1 + len(real.domains))


def styles_sheet(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """Rows: inputs. Columns: the input, then its translations to one domain in random styles, the same in every row."""
    cells = []
    for image, _, target in inputs_of(real, settings.rows):
        cells += [image, translate(served, image.repeat(COLUMNS, 0), target, seed=settings.seed)]
    return sheet(np.concatenate(cells), 1 + COLUMNS)


def references_sheet(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """A block per source domain: its first row shows references of the other domains, its first column the inputs."""
    per_domain, blocks = max(1, settings.rows // len(real.domains)), []
    for source in range(len(real.domains)):
        others = np.resize([target for target in range(len(real.domains)) if target != source], COLUMNS)
        examples = [real.references(target, COLUMNS, settings.seed)[[column]] for column, target in enumerate(others.tolist())]
        reference = np.concatenate(examples)
        blocks += [np.full_like(reference[:1], 128), reference]
        for image in real.of_domain(source)[:per_domain]:
            repeated = np.repeat(image[None], COLUMNS, 0)
            blocks += [image[None], translate(served, repeated, others, reference=reference)]
    return sheet(np.concatenate(blocks), 1 + COLUMNS)


def interpolation_sheet(served: Any, real: RealImages, settings: Settings) -> np.ndarray:
    """Rows: inputs. Columns: input | example | translations along the line between both examples' styles | example."""
    cells = []
    for row, (image, _, target) in enumerate(inputs_of(real, settings.rows)):
        ends = real.references(target, 2 * (row + 1), settings.seed)[-2:]
        first, last = served.styles_of(ends, np.full(2, target, np.int64))
        steps = np.linspace(0, 1, COLUMNS, dtype=np.float32)[:, None]
        between = translate(served, image.repeat(COLUMNS, 0), target, style=(1 - steps) * first + steps * last)
        cells += [image, ends[:1], between, ends[1:]]
    return sheet(np.concatenate(cells), 3 + COLUMNS)
